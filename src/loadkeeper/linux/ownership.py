"""Whose a directory is, and who could put another in its place."""

import os
import stat
from collections.abc import Iterator

from .proc import PROC, read

_EVERYBODY = 1 << 32
"""Users that the first user namespace knows."""


def exposed(directory: str) -> str:
    """The first directory on the way to this one, itself included, in which another user could rename what is below:
    it is neither root's nor ours, or others may write to it and it has no sticky bit; ``""`` when there is none. Raises
    OSError.

    A group of the user's own number is taken for the user's alone, as most systems make them."""
    for path, found in _way(directory):
        if not _trusted(found.st_uid) or (_others_write(found) and not found.st_mode & stat.S_ISVTX):
            return path
    return ""


def open_to_all(directory: str) -> str:
    """The same, but only what everybody may write to: a group that shares a place, and who owns it, are trusted."""
    for path, found in _way(directory):
        if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
            return path
    return ""


def ours_alone_to_write(directory: str) -> bool:
    """It is ours, and nobody else may write to it. Raises OSError."""
    found = os.stat(directory)
    return found.st_uid == os.getuid() and not _others_write(found)


def owner(pid: int, root: str = PROC) -> int | None:
    """The effective user of a process; ``None``: it is gone."""
    for line in (read(f"{root}/{pid}/status") or b"").splitlines():
        if line.startswith(b"Uid:"):
            return int(line.split()[2])
    return None


def _way(directory: str) -> Iterator[tuple[str, os.stat_result]]:
    """From the directory up to the root. Raises OSError."""
    path = os.path.realpath(directory)
    while True:
        yield path, os.lstat(path)
        if path == os.path.dirname(path):
            return
        path = os.path.dirname(path)


def _others_write(found: os.stat_result) -> bool:
    if found.st_mode & stat.S_IWOTH:
        return True
    return bool(found.st_mode & stat.S_IWGRP) and found.st_gid not in (0, os.getuid())


def _trusted(user: int) -> bool:
    return user in (0, os.getuid()) or (user == _nobody() and not _sees_everybody())


def _nobody() -> int:
    """Who stands for users that our namespace does not know: in it root's own directories are his."""
    text = read(f"{PROC}/sys/kernel/overflowuid") or b""
    return int(text) if text.strip().isdigit() else 65534


def _sees_everybody() -> bool:
    mapped = (read(f"{PROC}/self/uid_map") or b"").split()
    return not mapped or sum(int(count) for count in mapped[2::3]) >= _EVERYBODY - 1
