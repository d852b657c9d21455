"""What a dead process manager leaves behind: found by run id and ended, until nothing is found any more."""

import signal
from dataclasses import dataclass, field

from .linux.members import marked
from .linux.process import Process

AGAIN = 0.02
"""Seconds between two scans while something is still found: 500 environments take 14.5 ms to read."""
EMPTY = 2
"""Scans that must find nothing, one after the other: with the list of workers alone, or one scan, a child forked in
between was left behind in 13 rounds of 20."""


@dataclass
class _Leftovers:
    run: str
    kill_at: float
    scan_at: float
    empty: int = 0
    asked: set[tuple[int, int]] = field(default_factory=set)  # (pid, start time) that were sent TERM


class Guard:
    """Ends what runs have left. TERM together with CONT first; KILL for what is there after the grace."""

    def __init__(self) -> None:
        self._left: list[_Leftovers] = []

    @property
    def busy(self) -> bool:
        return bool(self._left)

    def orphaned(self, run: str, grace: float, now: float) -> None:
        """The process manager of ``run`` is dead."""
        self._left.append(_Leftovers(run, now + grace, now))

    def due(self, now: float) -> float:
        """When `turn` wants to be called."""
        return min((left.scan_at for left in self._left), default=now + 3600.0)

    def turn(self, now: float) -> None:
        for left in self._left:
            if now >= left.scan_at:
                _scan(left, now)
        self._left = [left for left in self._left if left.empty < EMPTY]


def _scan(left: _Leftovers, now: float) -> None:
    found = marked(left.run)
    left.empty = 0 if found else left.empty + 1
    left.scan_at = now + AGAIN
    for pid, start_time, _ in found:
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
