"""Where a run keeps what it writes."""

import contextlib
import os
from collections.abc import Mapping

from ..errors import PlaceError
from ..linux.ownership import open_to_all, ours_alone_to_write


def state_dir(environment: Mapping[str, str]) -> str:
    """``$XDG_STATE_HOME/loadkeeper``, else ``~/.local/state/loadkeeper``, made if need be. Raises PlaceError."""
    base = environment.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    path = environment.get("LOADKEEPER_STATE_DIR") or f"{base}/loadkeeper"
    if not _is_text(path):
        raise PlaceError(f"the state directory {path!r} has a name that is no text; set XDG_STATE_HOME to another")
    try:
        make_private(path)
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
        above = open_to_all(os.path.dirname(path) or ".")
    except OSError as error:
        raise PlaceError(
            f"the state directory {path} cannot be used: {error.strerror}; "
            "set XDG_STATE_HOME to a directory that you may write to"
        ) from None
    if above:
        raise PlaceError(
            f"the state directory {path} is not safe: everybody may put another in its place, for {above} has no "
            "sticky bit; set XDG_STATE_HOME to another"
        )
    return path


def sync_directory(path: str) -> None:
    """What is new in it is found after a power loss, too. A disk that fails says so elsewhere."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _is_text(path: str) -> bool:
    """Messages name it, and they are text."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def make_private(path: str) -> None:
    """A directory of this user alone, and what is missing above it. Raises OSError, and PlaceError for one that is
    there already and that others may write to or replace: they would take over what we put there."""
    try:
        os.mkdir(path, 0o700)
    except FileNotFoundError:
        make_private(os.path.dirname(path) or ".")
        make_private(path)
    except FileExistsError:
        if not os.path.isdir(path):
            raise
        if not ours_alone_to_write(path):
            raise PlaceError(
                f"the directory {path} is not safe: it must be of user {os.getuid()}, and others may not write to it; "
                "set XDG_STATE_HOME to another, or take the right from them"
            ) from None
