"""Why a process lives on that was sent SIGKILL, or runs on that was sent SIGSTOP: in words, for people."""

import os
import re

from . import proc
from .gauges import read_once
from .hierarchy import levels, parse_membership, parse_mounts
from .proc import PROC
from .process import ended

_IDS = re.compile(rb"^Uid:\s+(\d+)\s+\d+\s+(\d+)", re.MULTILINE)
SHOWN = 60
"""Characters of a command."""
_HELD = frozenset("DTtI")


def hindrance(pid: int, root: str = PROC) -> str:
    """What keeps signals from the process; empty when it is gone or nothing is seen to."""
    found = proc.stat(pid, root)
    if found is None or ended(found):
        return ""
    return _stranger(pid, root) or _frozen(pid, root) or _waits(pid, found.state, root)


def command(pid: int, root: str = PROC) -> str:
    """The process's arguments, or its name in brackets, as people may see them."""
    words = (proc.read(f"{root}/{pid}/cmdline") or b"").rstrip(b"\0")
    name = words.replace(b"\0", b" ") or b"[%b]" % (proc.read_record(f"{root}/{pid}/comm") or b"").rstrip(b"\n")
    text = "".join(c if c.isprintable() else "?" for c in name.decode("utf-8", "replace"))
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 2]}.."


def _stranger(pid: int, root: str) -> str:
    """kill(2): the sender's real or effective user must be the target's real or saved one."""
    ids = _IDS.search(read_once(f"{root}/{pid}/status") or b"")
    mine = {os.getuid(), os.geteuid()}
    if ids is None or 0 in mine or not mine.isdisjoint({int(ids[1]), int(ids[2])}):
        return ""
    return f"it has become another user's ({_user(int(ids[1]))}), so that we may not signal it"


def _user(number: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def _frozen(pid: int, root: str) -> str:
    mounts = parse_mounts(read_once(f"{root}/self/mountinfo") or b"")
    for level in levels("freezer", mounts, parse_membership(read_once(f"{root}/{pid}/cgroup") or b"")):
        if (read_once(f"{level.directory}/freezer.state") or b"").startswith(b"FR"):
            return f"somebody has frozen its control group {level.directory}, where no signal arrives before the thaw"
    return ""


def _waits(pid: int, state: str, root: str) -> str:
    if state not in _HELD:
        return ""
    where = (proc.read_record(f"{root}/{pid}/wchan") or b"").decode("ascii", "replace")
    inside = f" in {where}" if where not in ("", "0") else ""
    return f"it waits inside the kernel{inside} (state {state}), where no signal arrives"
