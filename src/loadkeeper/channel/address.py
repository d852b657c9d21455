"""Where a load manager is found: a directory of this user's own, one place in it for each node.

The place is keyed by user, pid namespace, boot id, protocol and the innermost cgroup that carries a limit: a container
or a batch job gets a load manager of its own, two terminals share one.
"""

import hashlib
import os
import socket
import stat
from collections.abc import Mapping
from typing import NamedTuple

from ..errors import PlaceError
from ..linux.ownership import exposed
from ..linux.proc import boot_id, pid_namespace
from ..model import PROTOCOL

LONGEST = 107
"""Bytes in the path of a Unix socket (unix(7))."""


class Place(NamedTuple):
    """The directory of one load manager. Names are short, for the socket's path is."""

    directory: str

    @property
    def lock(self) -> str:
        return f"{self.directory}/lm.lock"

    @property
    def socket(self) -> str:
        return f"{self.directory}/lm.sock"

    @property
    def binding(self) -> str:
        """What the socket is called until it listens: ZeroMQ takes the name that it bound away when it closes, and by
        then the socket may be another load manager's."""
        return f"{self.directory}/lm.bind"

    @property
    def log(self) -> str:
        return f"{self.directory}/lm.log"


def runtime_dir(environment: Mapping[str, str]) -> str:
    """The user's directory for sockets and locks; not made yet. ``LOADKEEPER_RUNTIME_DIR`` overrides."""
    if own := environment.get("LOADKEEPER_RUNTIME_DIR"):
        return own
    if base := environment.get("XDG_RUNTIME_DIR"):
        return f"{base}/loadkeeper"
    base = f"/run/user/{os.getuid()}"
    return f"{base}/loadkeeper" if os.access(base, os.W_OK) else f"/tmp/loadkeeper-{os.getuid()}"


def _is_named(environment: Mapping[str, str]) -> bool:
    return bool(environment.get("LOADKEEPER_RUNTIME_DIR") or environment.get("XDG_RUNTIME_DIR"))


def secure(directory: str) -> str:
    """Make the directory if need be, and make sure that it is ours alone, and that nobody else can put another in its
    place. Raises PlaceError."""
    try:
        os.makedirs(os.path.dirname(directory) or ".", exist_ok=True)
        try:
            os.mkdir(directory, 0o700)
        except FileExistsError:
            pass
        found, above = os.lstat(directory), exposed(os.path.dirname(directory) or ".")
    except OSError as error:
        raise PlaceError(
            f"the runtime directory {directory} cannot be used: {error.strerror}; "
            "set XDG_RUNTIME_DIR to a directory that you may write to"
        ) from None
    if not _is_ours(found):
        raise PlaceError(
            f"the runtime directory {directory} is not safe: it must be a directory (no link) of user {os.getuid()} "
            "with mode 0700; remove it, or set XDG_RUNTIME_DIR to another"
        )
    if above:
        raise PlaceError(
            f"the runtime directory {directory} is not safe: others may put another in its place, for {above} is "
            "theirs or they may write to it; set XDG_RUNTIME_DIR to another"
        )
    return directory


def _is_ours(found: os.stat_result) -> bool:
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not stat.S_IMODE(found.st_mode) & 0o077


def place_name(bound_to: str) -> str:
    """The name of the place that the caller's processes belong to; ``bound_to`` is the innermost cgroup that limits
    them, or ``""``."""
    key = "\0".join((str(os.getuid()), pid_namespace(), boot_id(), bound_to, str(PROTOCOL)))
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:10]


def place(environment: Mapping[str, str], bound_to: str) -> Place:
    """The place of the load manager that the caller's processes belong to, made if need be. Raises PlaceError."""
    found = Place(f"{secure(runtime_dir(environment))}/{place_name(bound_to)}")
    if len(os.fsencode(found.socket)) > LONGEST:
        raise PlaceError(
            f"the runtime directory is too long a path for a socket ({found.socket}: {len(found.socket)} bytes, "
            f"{LONGEST} are possible); set XDG_RUNTIME_DIR to a shorter one"
        )
    secure(found.directory)
    return found


def places(environment: Mapping[str, str]) -> list[Place]:
    """Every place of this user that has a socket. Nothing is made. Raises PlaceError when the directory is somebody
    else's: whoever listens there is no load manager of ours. Root may name another user's."""
    root = runtime_dir(environment)
    try:
        kept, names = os.lstat(root), sorted(os.listdir(root))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise PlaceError(
            f"the runtime directory {root} cannot be read: {error.strerror}; "
            "set XDG_RUNTIME_DIR to a directory of your own"
        ) from None
    if not _is_ours(kept) and not (os.getuid() == 0 and _is_named(environment)):
        secure(root)
    return [found for name in names if os.path.exists((found := Place(f"{root}/{name}")).socket)]


def listening(path: str) -> bool:
    """Whether a living process listens on the Unix socket. (A name on disk alone says nothing.)"""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(path)
        except BlockingIOError:
            return True  # its queue is full, so it lives
        except OSError:
            return False
    return True
