"""What the kernel's files say, as numbers. Pure: ``bytes`` in, a reading out, ``None`` where it cannot be read."""

import re
from collections.abc import Iterable
from typing import NamedTuple

KIB = 1024
TICKS = 100
"""In a second: the kernel shows times in 1/100 s whatever its own clock is (USER_HZ)."""
_UNLIMITED = 1 << 62
"""Version 1 writes "no limit" as the largest number of whole pages below 2**63."""
_WORDS = (b"SwapTotal:", b"SwapFree:", b"Dirty:", b"Writeback:", b"CommitLimit:", b"Committed_AS:")
_TOTAL = re.compile(rb"^some avg10=([\d.]+) .*?total=(\d+)", re.MULTILINE)


class Machine(NamedTuple):
    """The lines of /proc/meminfo that we use, in bytes."""

    total: int
    available: int
    swap_total: int
    swap_free: int
    dirty: int  # dirty and in writeback
    commit_limit: int
    committed: int


class CpuTimes(NamedTuple):
    """One CPU's line of /proc/stat, seconds since boot."""

    idle: float  # waiting for I/O included: it could be used
    steal: float


class Pressure(NamedTuple):
    """The line ``some`` of a pressure file: the share of time in which at least one task waited."""

    average: float  # share over the last 10 s, 0..1
    total: float  # seconds waited, ever


def meminfo(content: bytes | None) -> Machine | None:
    """/proc/meminfo. ``None`` without MemTotal or MemAvailable; what else is missing counts as 0."""
    if content is None:
        return None
    total, available = field(content, b"MemTotal:"), field(content, b"MemAvailable:")
    if total is None or available is None:
        return None
    rest = [field(content, word) or 0 for word in _WORDS]
    swap_total, swap_free, dirty, writeback, commit_limit, committed = (kib * KIB for kib in rest)
    return Machine(total * KIB, available * KIB, swap_total, swap_free, dirty + writeback, commit_limit, committed)


def cpu_times(content: bytes | None, wanted: Iterable[int] | None = None) -> dict[int, CpuTimes]:
    """The ``cpuN`` lines of /proc/stat, of all CPUs or of those ``wanted`` that are on line. Empty if unreadable."""
    if content is None:
        return {}
    found = {}
    for line in content.partition(b"\nintr")[0].split(b"\n"):
        fields = line.split()
        if len(fields) < 6 or not fields[0].startswith(b"cpu") or not fields[0][3:].isdigit():
            continue
        cpu = int(fields[0][3:])
        if wanted is None or cpu in wanted:
            try:
                ticks = int(fields[4]) + int(fields[5]), int(fields[8]) if len(fields) > 8 else 0
            except ValueError:
                continue
            found[cpu] = CpuTimes(ticks[0] / TICKS, ticks[1] / TICKS)
    return found


def pressure(content: bytes | None) -> Pressure | None:
    match = _TOTAL.search(content) if content else None
    return Pressure(float(match[1]) / 100, int(match[2]) / 1e6) if match else None


def number(content: bytes | None) -> int | None:
    """A file with one number; ``max`` and version 1's "no limit" are ``None`` too: use ``limit`` to tell them apart."""
    try:
        return int(content) if content is not None else None
    except ValueError:
        return None


def limit(content: bytes | None) -> int | None:
    """A memory limit in bytes; ``None`` where there is none."""
    value = number(content)
    return None if value is None else as_limit(value)


def as_limit(value: int) -> int | None:
    return None if value < 0 or value >= _UNLIMITED else value


def field(content: bytes, key: bytes) -> int | None:
    """The number after ``key`` at the start of a line: memory.stat, cpu.stat, cgroup.events, meminfo.

    Found, not split: of the 50 lines of a memory.stat we want four, and this runs at each look (0.4 us each).
    """
    if content.startswith(key):
        start = len(key)
    else:
        at = content.find(b"\n" + key)
        if at < 0:
            return None
        start = at + 1 + len(key)
    end = content.find(b"\n", start)
    words = content[start : end if end >= 0 else None].split(None, 1)
    return number(words[0]) if words else None


def quota(content: bytes | None) -> float | None:
    """cpu.max of version 2 (``50000 100000``) in cores; ``None`` where there is none."""
    words = (content or b"").split()
    if len(words) != 2 or not words[0].isdigit() or not words[1].isdigit() or int(words[1]) == 0:
        return None
    return int(words[0]) / int(words[1])


def cpu_list(text: str) -> frozenset[int]:
    """``0-3,8`` as a set. Empty where it makes no sense."""
    cpus: set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.strip().partition("-")
        if first.isdigit() and (last.isdigit() or not last):
            cpus.update(range(int(first), int(last or first) + 1))
    return frozenset(cpus)


def allowed_cpus(status: bytes | None) -> frozenset[int]:
    """The affinity, from /proc/PID/status. It may name CPUs that are not on line."""
    for line in (status or b"").splitlines():
        if line.startswith(b"Cpus_allowed_list:"):
            return cpu_list(line.partition(b":")[2].decode("ascii", "replace"))
    return frozenset()
