"""Where what a load manager learns and decides is kept, in the state directory of its user."""

import hashlib
import os
import sys
from typing import NamedTuple

from ..errors import PlaceError
from ..record.places import state_dir
from ..sense.capacity import binding_cgroup


class Keeping(NamedTuple):
    """Of one node: the machine, or the container whose innermost limiting cgroup names it; the same after a boot."""

    kinds: str  # a file
    black_box: str  # a directory


def of_this_node() -> Keeping | None:
    """Of the node that this process runs on; None where nothing can be kept, which is said on stderr."""
    try:
        state = state_dir(os.environ)
    except PlaceError as error:
        print(f"loadkeeper: nothing that is learned or decided can be kept: {error}", file=sys.stderr)
        return None
    name = hashlib.sha256(binding_cgroup().encode("utf-8", "surrogateescape")).hexdigest()[:10]
    return Keeping(f"{state}/kinds/{name}.json", f"{state}/black-box/{name}")
