"""What a dead process manager leaves behind: found by run id and ended, until nothing is found any more."""

import os
import signal
import time
from collections.abc import Iterable

from msgspec import Struct

from .linux import proc
from .linux.cgroup import Leaf, leaves
from .linux.members import Key, marked
from .linux.process import Process, ended
from .model import WorkerReport
from .saying import say

AGAIN = 0.02
"""Seconds between two scans while something is still found: 500 environments take 14.5 ms to read."""
SHARE = 0.25
"""Of a core, what scans may cost where there are many processes."""
EMPTY = 2
"""Scans that must find nothing, one after the other: with the list of workers alone, or one scan, a child forked in
between was left behind in 13 rounds of 20."""
LATEST = 3.0
"""Seconds after the kill until it is said who does not die; from then on nobody waits for them, and ..."""
SELDOM = 1.0
"""... so many seconds pass between two scans."""
TICKS = os.sysconf("SC_CLK_TCK")


class _Leftovers(Struct):
    run: str
    kill_at: float
    scan_at: float
    born_before: float  # clock ticks after boot: younger ones may be what cleans up after the others
    leaves: list[Leaf] = []  # of its workers
    known: set[tuple[int, int]] = set()  # its workers' leaders
    empty: int = 0
    asked: set[tuple[int, int]] = set()  # (pid, start time) that were sent TERM
    undying: bool = False  # somebody does not die of KILL


class Guard:
    """Ends what runs have left. TERM together with CONT first; KILL for what is there after the grace."""

    def __init__(self) -> None:
        self._left: list[_Leftovers] = []

    @property
    def busy(self) -> bool:
        """Something is being ended that can be."""
        return any(not left.undying for left in self._left)

    @property
    def runs(self) -> set[str]:
        """Whose leftovers are being ended."""
        return {left.run for left in self._left}

    def orphaned(  # noqa: PLR0913, PLR0917 - all that is known of the dead
        self,
        run: str,
        workers: Iterable[WorkerReport],
        grace: float,
        now: float,
        below: str | None = None,
        others: Iterable[Key] = (),
    ) -> None:
        """The process manager of ``run`` is dead; ``workers`` are those that it reported last, their control groups are
        ``below`` a directory, ``others`` are children of it that have no mark yet. Who was frozen with its control
        group can hear its end again."""
        own = leaves(below, run) if below is not None else []
        for leaf in own:
            leaf.thaw()
        known = {*others, *((worker.pid, worker.start_time) for worker in workers)}
        born_before = TICKS * time.clock_gettime(time.CLOCK_BOOTTIME)
        self._left.append(_Leftovers(run, now + grace, now, born_before, own, known))

    def due(self, now: float) -> float:
        """When `turn` wants to be called."""
        return min((left.scan_at for left in self._left), default=now + 3600.0)

    def turn(self, now: float) -> list[str]:
        """Look for those that are due; runs of which nothing is left come back."""
        for left in self._left:
            if now >= left.scan_at:
                _scan(left, now)
        gone = [left for left in self._left if left.empty >= EMPTY and _removed(left)]
        self._left = [left for left in self._left if left not in gone]
        return [left.run for left in gone]


def _removed(left: _Leftovers) -> bool:
    """Its control groups are gone; one is busy for a moment after its last process died."""
    left.leaves = [leaf for leaf in left.leaves if not leaf.remove()]
    return not left.leaves


def _find(left: _Leftovers) -> set[tuple[int, int]]:
    """Who names the run in its environment, and, for a program may clear it, whom its process manager had reported and
    who is in their control groups."""
    found = {(pid, start_time) for pid, start_time, _ in marked(left.run)}
    inside = (proc.stat(pid) for leaf in left.leaves for pid in leaf.members())
    found |= {(stat.pid, stat.start_time) for stat in inside if stat is not None and not ended(stat)}
    reported = ((proc.stat(pid), start_time) for pid, start_time in left.known)
    return found | {(s.pid, start) for s, start in reported if s is not None and s.start_time == start and not ended(s)}


def _scan(left: _Leftovers, now: float) -> None:
    found = _find(left)
    left.empty = 0 if found else left.empty + 1
    for pid, start_time in found:
        if now >= left.kill_at:
            _send(pid, start_time, signal.SIGKILL)
        elif (pid, start_time) not in left.asked and start_time <= left.born_before:
            _send(pid, start_time, signal.SIGTERM, signal.SIGCONT)
            left.asked.add((pid, start_time))
    if not left.undying and now > left.kill_at + LATEST:
        left.undying = True
        pids = ", ".join(str(pid) for pid, _ in sorted(found)) or "of a control group"
        say(f"of run {left.run}, processes {pids} do not die of SIGKILL")
    cost = (time.monotonic() - now) / SHARE
    left.scan_at = now + (SELDOM if left.undying else max(AGAIN, cost))


def _send(pid: int, start_time: int, *signals: signal.Signals) -> None:
    process = Process.open(pid, start_time)
    if process is not None:
        for number in signals:
            process.send(number)
        process.close()
