"""Where a run keeps what it writes."""

import contextlib
import os
from collections.abc import Mapping

from ..errors import PlaceError


def state_dir(environment: Mapping[str, str]) -> str:
    """``$XDG_STATE_HOME/loadkeeper``, else ``~/.local/state/loadkeeper``, made if need be. Raises PlaceError."""
    base = environment.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    path = environment.get("LOADKEEPER_STATE_DIR") or f"{base}/loadkeeper"
    try:
        os.makedirs(path, 0o700, exist_ok=True)
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        raise PlaceError(
            f"the state directory {path} cannot be used: {error.strerror}; "
            "set XDG_STATE_HOME to a directory that you may write to"
        ) from None
    return path


def sync_directory(path: str) -> None:
    """What is new in it is found after a power loss, too. A disk that fails says so elsewhere."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
