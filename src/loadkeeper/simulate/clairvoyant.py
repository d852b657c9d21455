"""Who knows every curve in advance: starts what fits at all times to come, longest first, and never pauses.

A greedy one, so it can be beaten; it shows how much of the distance to the bound is ignorance of what is to come."""

from collections.abc import Iterator
from heapq import nlargest

from .counts import Counts
from .machine import Process
from .work import Work
from .world import Task

KEPT = 0.10
LOOK = 0.2
GONE = 0.5
"""Seconds that the memory of one that is done may still be there."""
MANY, GRID = 24, 48
"""Of more workers than these the sum is looked at on a grid of so many moments."""
TRIED = 24
"""Waiting tasks that are tried at a look, longest first."""


class Clairvoyant:
    def __init__(self, work: Work) -> None:
        self.work, self.machine = work, work.machine
        self.counts = Counts()

    def look(self) -> float:
        """Start one after the other, while the next one fits."""
        work, machine = self.work, self.machine
        work.forget_exits()
        self.counts.looks += 1
        while self._cores() < machine.cpus and self._start_one():
            pass
        for name in work.slots:  # whoever ends is replaced by nobody until it is looked whether that fits
            work.slots[name] = work.live[name] if self._plenty() else 0
        return LOOK

    def _plenty(self) -> bool:
        """Any of those that wait fit on every core at once."""
        waiting = (task.memory for tasks in self.work.waiting.values() for task in tasks)
        machine = self.machine
        room = (1 - KEPT) * machine.memory - machine.base - machine.foreign_memory()
        return max(waiting, default=0) * machine.cpus <= room / 2 and not self.machine.world.foreign

    def _cores(self) -> float:
        """Cores that those who run want, and others."""
        wants = (worker.wants() for worker in self.machine.workers.values())
        return sum(share * threads for share, threads in wants) + self.machine.foreign_threads()

    def _start_one(self) -> bool:
        """The longest that fits, of the highest priority that waits."""
        work = self.work
        live = [worker for worker in self.machine.workers.values() if worker.outcome is None]
        pools = sorted(work.pools.values(), key=lambda pool: (-pool.priority, pool.name))
        for pool in pools:
            waiting = work.waiting[pool.name]
            if pool.max_workers is not None and work.live[pool.name] >= pool.max_workers:
                continue
            for task in nlargest(TRIED, waiting, key=lambda task: task.seconds):
                if live and not self._fits(live, task):
                    continue
                waiting.remove(task)
                waiting.appendleft(task)
                work.slots[pool.name] = work.live[pool.name] + 1
                work.refill()
                return True
        return False

    def _fits(self, live: list[Process], task: Task) -> bool:
        """Whether the sum of all curves stays below what is kept, until the new one is done."""
        room = (1 - KEPT) * self.machine.memory - self.machine.base
        return all(self._taken(live, task, later) <= room for later in self._moments(live, task))

    def _taken(self, live: list[Process], task: Task, later: float) -> float:
        """Bytes after so many seconds, if nobody stands."""
        taken = task.memory * task.shape.share(later / task.seconds)
        taken += self.machine.foreign_memory(self.machine.now + later)
        for worker in live:
            done = worker.done + later / worker.task.seconds
            if (done - 1.0) * worker.task.seconds <= GONE:
                taken += worker.task.memory * worker.task.shape.share(min(done, 1.0))
        return taken

    def _moments(self, live: list[Process], task: Task) -> Iterator[float]:
        """Where a sum of straight lines can be greatest: at the points of each. Of many curves a grid must do."""
        if len(live) > MANY:
            yield from (point / GRID * task.seconds for point in range(GRID + 1))
            return
        yield from (at * task.seconds for at in task.shape.points)
        for worker in live:
            for at in worker.task.shape.points:
                later = (at - worker.done) * worker.task.seconds
                if 0 < later < task.seconds:
                    yield later
        for foreign in self.machine.world.foreign:
            for edge in (foreign.since, foreign.since + foreign.ramp):
                if 0 < edge - self.machine.now < task.seconds:
                    yield edge - self.machine.now
