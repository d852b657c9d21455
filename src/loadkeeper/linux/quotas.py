"""Whether what a file system says is free is less than ours by a quota, as far as mountinfo tells (proc(5))."""

import os

from .gauges import read_once

_TOLD_NOWHERE = (b"afs", b"beegfs", b"btrfs", b"ceph", b"cifs", b"fuse", b"gpfs", b"lustre", b"nfs", b"panfs", b"smb")
"""Kinds of file systems, and beginnings of them, whose mount options do not name quotas."""


def may_have_a_quota(path: str, mountinfo: str = "/proc/self/mountinfo") -> bool:
    try:
        device = os.stat(path).st_dev
    except OSError:
        return False
    wanted = b"%d:%d" % (os.major(device), os.minor(device))
    lines = (read_once(mountinfo) or b"").splitlines()
    return any(_names_a_quota(line) for line in lines if line.split(b" ")[2:3] == [wanted])


def _names_a_quota(line: bytes) -> bool:
    before, _, after = line.partition(b" - ")
    kind, _, options = after.partition(b" ")
    if kind.startswith(_TOLD_NOWHERE):
        return True
    words = before.split(b" ")[5:6] + options.split(b" ")[-1:]
    return any(b"quota" in option and option != b"noquota" for word in words for option in word.split(b","))
