"""What a dead process manager leaves behind: found by run id and ended, until nothing is found any more."""

import os
import signal
from collections.abc import Iterable

from msgspec import Struct

from .linux import proc
from .linux.cgroup import Leaf, leaves
from .linux.members import marked
from .linux.process import Process, ended
from .model import WorkerReport

AGAIN = 0.02
"""Seconds between two scans while something is still found: 500 environments take 14.5 ms to read."""
EMPTY = 2
"""Scans that must find nothing, one after the other: with the list of workers alone, or one scan, a child forked in
between was left behind in 13 rounds of 20."""

LATEST = 5.0
"""Seconds after the kill until control groups that cannot be removed are left where they are."""


class _Leftovers(Struct):
    run: str
    kill_at: float
    scan_at: float
    leaves: list[Leaf] = []  # of its workers
    known: set[tuple[int, int]] = set()  # its workers' leaders
    empty: int = 0
    asked: set[tuple[int, int]] = set()  # (pid, start time) that were sent TERM


class Guard:
    """Ends what runs have left. TERM together with CONT first; KILL for what is there after the grace."""

    def __init__(self) -> None:
        self._left: list[_Leftovers] = []

    @property
    def busy(self) -> bool:
        return bool(self._left)

    def orphaned(self, run: str, workers: Iterable[WorkerReport], grace: float, now: float) -> None:
        """The process manager of ``run`` is dead; ``workers`` are those that it reported last. Who was frozen with its
        control group can hear its end again."""
        workers = list(workers)
        bases = {os.path.dirname(worker.leaf) for worker in workers if worker.leaf is not None}
        own = [leaf for base in bases for leaf in leaves(base, run)]
        for leaf in own:
            leaf.thaw()
        known = {(worker.pid, worker.start_time) for worker in workers}
        self._left.append(_Leftovers(run, now + grace, now, own, known))

    def due(self, now: float) -> float:
        """When `turn` wants to be called."""
        return min((left.scan_at for left in self._left), default=now + 3600.0)

    def turn(self, now: float) -> None:
        for left in self._left:
            if now >= left.scan_at:
                _scan(left, now)
        self._left = [left for left in self._left if left.empty < EMPTY or not _swept(left, now)]


def _swept(left: _Leftovers, now: float) -> bool:
    """Its control groups are gone; one is busy for a moment after its last process died."""
    left.leaves = [leaf for leaf in left.leaves if not leaf.remove()]
    return not left.leaves or now > left.kill_at + LATEST


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
    left.scan_at = now + AGAIN
    for pid, start_time in found:
        if now < left.kill_at and (pid, start_time) in left.asked:
            continue
        process = Process.open(pid, start_time)
        if process is None:
            continue
        if now < left.kill_at:
            process.send(signal.SIGTERM)
            process.send(signal.SIGCONT)
            left.asked.add((pid, start_time))
        else:
            process.send(signal.SIGKILL)
        process.close()
