"""The work of a world: which task waits where, and what became of each. The process manager's part of a simulation."""

from collections import deque

from ..model import Limits, Outcome
from .machine import FAILS, Machine, Process
from .world import Pool, Task, World, draw_tasks, read_limits


class Work:
    """Starts tasks where a place is free, and takes back those whose worker ended."""

    def __init__(self, world: World, machine: Machine, seed: int) -> None:
        self.machine = machine
        self.pools = {pool.name: pool for pool in world.pools}
        self.limits: dict[str, Limits] = {pool.name: read_limits(pool) for pool in world.pools}
        self.tasks = draw_tasks(world, seed)
        self.waiting: dict[str, deque[Task]] = {pool.name: deque() for pool in world.pools}
        self.slots: dict[str, int] = dict.fromkeys(self.pools, 0)
        self.live: dict[str, int] = dict.fromkeys(self.pools, 0)
        self.ended_at: dict[int, float] = {}
        self.settled_at = 0.0  # when the last task so far was done, or failed or buried for good
        self.floors: dict[int, int] = {}
        self.failed: set[int] = set()
        self.buried: set[int] = set()
        self.lost_seconds = 0.0  # of work that was begun and not finished
        self.given_back = 0
        self._unfinished = sum(len(tasks) for tasks in self.tasks.values())
        self._kernel_kills: dict[int, int] = {}
        machine.refill = self.refill
        for pool in world.pools:
            machine.at(pool.arrive, lambda pool=pool: self._arrive(pool))  # type: ignore[misc]

    @property
    def is_done(self) -> bool:
        return self._unfinished == 0

    def _arrive(self, pool: Pool) -> None:
        self.waiting[pool.name].extend(self.tasks[pool.name])
        self.refill()

    def refill(self) -> None:
        """Take in what exited, then start what has a place."""
        for worker in self.machine.exited[self._seen_exits() :]:
            self._take_back(worker)
        for name, waiting in self.waiting.items():
            while waiting and self.live[name] < self.slots[name]:
                task = waiting.popleft()
                self.live[name] += 1
                self.machine.start(self.pools[name], task, self.floors.get(task.number, 0))

    def _seen_exits(self) -> int:
        """Exits are kept until the next look; those before were taken in when they came."""
        taken, self._taken = self._taken, len(self.machine.exited)
        return min(taken, self._taken)

    _taken = 0

    def forget_exits(self) -> None:
        self.machine.exited.clear()
        self.machine.killed.clear()
        self._taken = 0

    def _take_back(self, worker: Process) -> None:
        self.live[worker.pool.name] -= 1
        task, now = worker.task, self.machine.now
        if worker.outcome is Outcome.DONE:
            self.ended_at[task.number] = now
            self._settle()
            return
        self.lost_seconds += worker.active
        if worker.outcome is Outcome.BURIED:
            self.buried.add(task.number)
            self._settle()
        elif worker.n in self.machine.killed and self._kills(task) >= FAILS:
            self.failed.add(task.number)
            self._settle()
        else:
            self.given_back += 1
            self.floors[task.number] = int(1.5 * worker.top)
            self.waiting[worker.pool.name].appendleft(task)

    def _settle(self) -> None:
        self._unfinished -= 1
        self.settled_at = self.machine.now

    def _kills(self, task: Task) -> int:
        self._kernel_kills[task.number] = self._kernel_kills.get(task.number, 0) + 1
        return self._kernel_kills[task.number]
