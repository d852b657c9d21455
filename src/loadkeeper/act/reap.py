"""What workers leave behind: adopted children, which nobody else waits for, and leaves that are not empty yet."""

import os
import signal
import time
from collections.abc import Collection
from typing import NamedTuple

from ..linux.cgroup import Leaf
from ..linux.members import Key, mark, marked
from ..linux.proc import PROC, Stat, read
from ..linux.process import Process, adopted, ended, is_subreaper, reap_adopted
from ..linux.undying import command, hindrance

_leaves: dict[str, list[Leaf]] = {}
EVERY = 0.05
"""Seconds between two looks at our own children."""
_PAUSE = 0.005
_TICKS = os.sysconf("SC_CLK_TCK")
_EMPTY = 2


LOAD_MANAGER = b"loadkeeper.load_manager"
"""In the arguments of load managers, which come back to us as what workers leave does."""


class Left(NamedTuple):
    """A process that outlives the run."""

    pid: int
    command: str
    why: str  # what keeps it from being ended; empty: nothing says whose it is


def remove_later(run: str, leaf: Leaf) -> None:
    """A leaf whose worker is gone and whose members are killed, but not dead yet: the run's `Reaper` removes it."""
    _leaves.setdefault(run, []).append(leaf)


class Reaper:
    """Waits for what comes back to us as the subreaper, and ends what finished workers of one run left running.

    Adopted children that have ended are reaped, whoever they were; those of living workers are left alone. ``guest``:
    in somebody else's program every child that we did not start is the program's, also where it is a subreaper or
    process 1: only what bears the run's mark is touched."""

    def __init__(self, run: str, *, guest: bool = False) -> None:
        self._run = run
        self._guest = guest
        self._ours: set[Key] = set()  # of a guest: what has come back to the program and is the run's
        self._sessions: dict[int, float] = {}  # of a guest: those of finished workers, and when each ended
        self._due = 0.0
        self._ending = 0  # leftovers that were alive at the last turn
        self._before = {child.pid for child in adopted()}  # who comes back to us and is nobody's of this run

    @property
    def busy(self) -> bool:
        """Something is being ended or removed: turn again soon."""
        return self._ending > 0 or bool(_leaves.get(self._run))

    def turn(self, now: float, live: Collection[int]) -> int:
        """Reap, and KILL leftovers of this run's workers whose ``n`` is not in ``live``; how many those were.

        Their task has had its fate and their leader is dead, so there is nobody to be graceful for. What a killed one
        leaves in turn comes back to us too, until nothing is left. Called more often than needed, it does nothing."""
        if now < self._due:
            return 0
        self._due = now + EVERY
        self._remove_leaves()
        self._look_as_guest()
        return self._look(live)

    def ends(self, leader: int) -> None:
        """A worker is about to be reaped: of what it leaves to somebody else's program it is known now what is ours."""
        if self._guest and is_subreaper():
            self._sessions[leader] = time.clock_gettime(time.CLOCK_BOOTTIME)
            self._look_as_guest()

    def end_leftovers(self, timeout: float = 2.0) -> bool:
        """Kill everything that is left of the run, until looks find nothing any more; False: something would not die.

        A subreaper need only look at its own children; else all environments are read, until two looks are empty."""
        deadline = time.monotonic() + timeout
        empty = 0
        while empty < (1 if self._adopts() else _EMPTY) or _leaves.get(self._run) or self._ours:
            self._remove_leaves()
            found = self._look(()) if self._adopts() else self._kill_marked()
            empty = 0 if found else empty + 1
            if time.monotonic() > deadline:
                return False
            self._look_as_guest()
            if found or _leaves.get(self._run) or self._ours:
                time.sleep(_PAUSE)
        return True

    def left(self) -> list[Left]:
        """Who came back to us and lives: it would not die, is another user's, or has left session, parent and
        environment, so that nothing says whose it is. Empty where nothing comes back."""
        if not self._adopts():
            return []
        alive = [child.pid for child in adopted() if not ended(child) and child.pid not in self._before]
        found = [Left(pid, command(pid), hindrance(pid)) for pid in alive if not _is_load_manager(pid)]
        return [left for left in found if left.why or mark(left.pid) is None]

    def _adopts(self) -> bool:
        """What comes back to this process is ours to wait for."""
        return not self._guest and is_subreaper()

    def _look(self, live: Collection[int]) -> int:
        """At our own children: nothing comes back to who is no subreaper."""
        self._ending = sum(self._deal_with(child, live) for child in adopted()) if self._adopts() else 0
        return self._ending

    def _deal_with(self, child: Stat, live: Collection[int]) -> int:
        if ended(child):
            reap_adopted(child)
            return 0
        worker = (mark(child.pid) or b"").decode("utf-8", "replace")
        run, _, n = worker.rpartition(".")
        if run != self._run or not n.isdigit() or int(n) in live:
            return 0
        return _kill(child.pid, child.start_time)

    def _kill_marked(self) -> int:
        return sum(_kill(found.pid, found.start_time) for found in marked(self._run))

    def _look_as_guest(self) -> None:
        """Where the program is a subreaper or process 1, what workers leave comes to it: what is known to be ours, by
        its mark while it lived, or by its worker's session, does not stay a zombie."""
        if not self._guest or not is_subreaper():
            return
        there = {(child.pid, child.start_time): child for child in adopted()}
        self._ours &= there.keys()
        for key, child in there.items():
            if not ended(child):
                if (mark(child.pid) or b"").startswith(self._run.encode() + b"."):
                    self._ours.add(key)
            elif key in self._ours or child.start_time < self._sessions.get(child.session, 0) * _TICKS:
                reap_adopted(child)
                self._ours.discard(key)

    def _remove_leaves(self) -> None:
        left = [leaf for leaf in _leaves.pop(self._run, []) if not leaf.remove()]
        if left:
            _leaves[self._run] = left


def _is_load_manager(pid: int) -> bool:
    return LOAD_MANAGER in (read(f"{PROC}/{pid}/cmdline") or b"")


def _kill(pid: int, start_time: int) -> int:
    process = Process.open(pid, start_time)
    if process is None:
        return 0
    process.send(signal.SIGKILL)
    process.close()
    return 1
