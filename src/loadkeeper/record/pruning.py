"""Directories of runs that are over do not stay for ever; those of living runs are never touched."""

import contextlib
import fcntl
import os
import shutil
import time
from typing import NamedTuple

KEPT_FOR = 30 * 86400.0
"""Seconds."""
KEPT_RUNS = 1000
KEPT_BYTES = 1 << 30
FRESH = 3600.0
"""Seconds: a younger one is never removed, it may be about to be used."""
EVERY = 3600.0
"""Seconds between two looks at them all: a thousand take 35 ms, for which no short run should wait (measured)."""


class _Past(NamedTuple):
    changed: float  # seconds since the epoch
    path: str
    size: int  # bytes on disk


def hold(directory: str) -> int:
    """Say that a run lives in it, until the descriptor is closed or we are gone. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    with contextlib.suppress(OSError):  # a file system without locks: its age protects it
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return descriptor


def prune_now_and_then(directory: str) -> list[str]:
    """`prune`, unless that was done a short while ago; a file beside ``directory`` says when."""
    mark = f"{directory}.pruned"
    try:
        if 0 <= time.time() - os.stat(mark).st_mtime < EVERY:
            return []
    except OSError:
        pass  # never yet
    try:
        os.close(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))
        os.utime(mark)
    except OSError:
        return []  # there is no such place yet, or no room in it
    return prune(directory)


def prune(directory: str, *, seconds: float = KEPT_FOR, runs: int = KEPT_RUNS, size: int = KEPT_BYTES) -> list[str]:
    """Remove what is too old, then the oldest of what is too many or too much; what was removed comes back.

    What cannot be removed stays: it is tried again by the next run."""
    now = time.time()
    past = sorted(_past(directory), reverse=True)
    removed: list[str] = []
    kept = 0
    for place, one in enumerate(past):
        kept += one.size
        old = now - one.changed > seconds or place >= runs or kept > size
        if old and now - one.changed > FRESH and not _lives(one.path):
            shutil.rmtree(one.path, ignore_errors=True)
            removed.append(one.path)
    return removed


def _past(directory: str) -> list[_Past]:
    try:
        with os.scandir(directory) as entries:
            return [found for entry in entries if (found := _measured(entry)) is not None]
    except OSError:
        return []


def _measured(entry: "os.DirEntry[str]") -> _Past | None:
    try:
        if not entry.is_dir(follow_symlinks=False):
            return None
        changed, size = entry.stat(follow_symlinks=False).st_mtime, 0
        with os.scandir(entry.path) as files:
            for file in files:
                found = file.stat(follow_symlinks=False)
                changed, size = max(changed, found.st_mtime), size + 512 * found.st_blocks
    except OSError:
        return None
    return _Past(changed, entry.path, size)


def _lives(path: str) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return True  # not ours to judge
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
