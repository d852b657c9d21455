"""Where what a load manager learns and decides is kept, in the state directory of its user."""

import contextlib
import hashlib
import os
import shutil
import time
from glob import escape, glob
from typing import NamedTuple

from ..errors import PlaceError
from ..record.places import state_dir
from ..saying import say
from ..sense.capacity import binding_cgroup

KEPT_FOR = 180 * 86400.0
"""Seconds since anything of a node was written last."""


class Keeping(NamedTuple):
    """Of one node: a machine by its host name, or a container by that and its innermost limiting cgroup; the same after
    a boot. Nodes that share a home directory share no file."""

    kinds: str  # a file
    black_box: str  # a directory


def of_this_node() -> Keeping | None:
    """Of the node that this process runs on; None where nothing can be kept, which is said."""
    try:
        state = state_dir(os.environ)
    except PlaceError as error:
        say(f"nothing that is learned or decided can be kept: {error}")
        return None
    key = f"{os.uname().nodename}\0{binding_cgroup()}"
    name = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:10]
    tidy(state)
    return Keeping(f"{state}/kinds/{name}.json", f"{state}/black-box/{name}")


def tidy(state: str) -> None:
    """Nodes come and go, containers daily: what one has left that is not seen any more does not stay for ever."""
    oldest = time.time() - KEPT_FOR
    for path in (*glob(f"{escape(state)}/kinds/*"), *glob(f"{escape(state)}/black-box/*")):
        with contextlib.suppress(OSError):  # another load manager tidies, too
            if os.stat(path).st_mtime < oldest:
                shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
