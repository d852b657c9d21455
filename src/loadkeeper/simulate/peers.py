"""The rules of other tools, each reduced to what decides when a worker starts, stands, goes on or ends.

They are yardsticks for `decide`: the same node, the same tasks, and the defaults that their manuals recommend. What a
rule takes from where is said at each; where a tool measures the whole machine, it is given the container's truth.
"""

from collections.abc import Callable

from ..model import Outcome, WorkerState
from .counts import Counts
from .machine import Process
from .work import Work

KEPT = 0.10
"""Of all memory, what each is told to keep free: the default of our own ``--memory``."""


class Peer:
    """A fixed number of workers at most; a subclass adds what its tool does beside that."""

    LOOK = 0.1
    """Seconds between two looks."""

    def __init__(self, work: Work, most: int) -> None:
        self.work, self.machine, self.most = work, work.machine, most
        self.counts = Counts()

    def look(self) -> float:
        """One look. Returns the seconds until the next."""
        self.work.forget_exits()
        self.act()
        self.counts.looks += 1
        self.counts.note_pauses(self.machine)
        return self.LOOK

    def act(self) -> None:
        self.fill(self.most)

    # -------------------------------------------------------------------------------------------- what all of them do

    def fill(self, most: int) -> None:
        """Up to so many workers in all, higher priorities first."""
        work = self.work
        left = most
        for pool in sorted(work.pools.values(), key=lambda pool: (-pool.priority, pool.name)):
            if pool.arrive > self.machine.now:
                continue
            room = left if pool.max_workers is None else min(left, pool.max_workers)
            wants = min(room, work.live[pool.name] + len(work.waiting[pool.name]))
            work.slots[pool.name] = wants
            left -= wants
        work.refill()

    def keep(self) -> None:
        """Start nobody, not even for one that ends."""
        for name in self.work.slots:
            self.work.slots[name] = 0

    def free(self) -> float:
        """Available memory as a share of all."""
        return self.machine.available() / self.machine.memory

    def living(self, *, paused: bool | None = None) -> list[Process]:
        """Who is not on the way out, oldest first; with ``paused`` those that stand, or those that do not."""
        found = [
            worker
            for worker in self.machine.workers.values()
            if worker.outcome is None and worker.state is not WorkerState.ENDING
        ]
        return [worker for worker in found if paused is None or worker.want_stop == paused]

    def pause(self, worker: Process) -> None:
        self.counts.pauses += 1
        self.machine.pause(worker)

    def end(self, worker: Process, *, kill: bool = False) -> None:
        self.counts.ends += 1
        if kill:
            self.machine.kill(worker, Outcome.GIVEN_BACK)
        else:
            self.machine.end(worker, Outcome.GIVEN_BACK)

    def is_ending(self) -> bool:
        return len(self.living()) < len(self.machine.workers)


class Memfree(Peer):
    """GNU parallel 20221122 ``--load 100% --memfree``: nothing starts below the size or on a busy node; below half of
    the size the youngest is killed and put back."""

    LOOK = 1.0

    def act(self) -> None:
        runnable = sum(share * threads for share, threads in (worker.wants() for worker in self.living()))
        busy = runnable + self.machine.foreign_threads() > self.machine.cpus
        if self.free() >= KEPT and not busy:
            self.fill(self.most)
        else:
            self.keep()
        living = self.living()
        if self.free() < KEPT / 2 and living and not self.is_ending():
            self.end(living[-1])


class Memsuspend(Peer):
    """GNU parallel 20221122 ``--memsuspend``: below twice the size the youngest stands, below it all but the oldest;
    above twice the size one goes on."""

    LOOK = 0.33
    """Measured: 330 ms from the line to the last stop."""

    def act(self) -> None:
        self.fill(self.most)
        running, standing = self.living(paused=False), self.living(paused=True)
        if self.free() < KEPT:
            for worker in running[1:]:
                self.pause(worker)
        elif self.free() < 2 * KEPT:
            if len(running) > 1:
                self.pause(running[-1])
        elif standing:
            self.machine.go_on(standing[0])
        if not self.living(paused=False) and standing:
            self.machine.go_on(standing[0])


class KillOnPressure(Peer):
    """earlyoom's defaults beside a fixed number: below 10 % the biggest is asked to end, below 5 % killed; then the
    effect is awaited. systemd-oomd and the like differ in the gauge, not in the act."""

    def act(self) -> None:
        self.fill(self.most)
        living = self.living()
        if not living or self.is_ending() or self.free() >= 0.10:
            return
        self.end(max(living, key=lambda worker: worker.rss), kill=self.free() < 0.05)


class TwoLines(Peer):
    """HTCondor's usual policy: below one line the youngest stands, above another the oldest goes on, and whoever has
    stood for ten minutes is preempted."""

    LOOK = 1.0
    PREEMPT = 600.0

    def act(self) -> None:
        if self.living(paused=True):
            self.keep()
        else:
            self.fill(self.most)
        running, standing = self.living(paused=False), self.living(paused=True)
        if self.free() < KEPT and running:
            self.pause(running[-1])
        elif self.free() > 2 * KEPT and standing:
            self.machine.go_on(standing[0])
        for worker in standing:
            if worker.paused_since is not None and self.machine.now - worker.paused_since > self.PREEMPT:
                self.end(worker)


class Reference(Peer):
    """jamset/process-load-manager, the prototype whose idea this program carries on: one start a look, ends in start
    order above the reserve, pauses in start order above the CPU's limit. A cycle takes 3.7 s (measured)."""

    LOOK = 3.7
    CPU = 0.9

    def act(self) -> None:
        machine = self.machine
        living, standing = self.living(), self.living(paused=True)
        held = [worker.rss for worker in living]
        reserve, total = (1 - KEPT) * machine.memory, machine.memory
        mean = sum(held) / len(held) if held else 0.0
        cores = sum(worker.takes for worker in living)
        share = cores / len(living) if living else 0.0
        limit = self.CPU * machine.cpus
        self.keep()
        if not living:
            self.fill(1)
        elif machine.available() < 0.03 * total:
            return  # its list of whom to end is made and dropped
        elif sum(held) > reserve:
            self._relieve(living, sum(held) - reserve, lambda worker: worker.rss, self.end)
        elif cores + share <= limit and standing:
            machine.go_on(standing[0])
        elif cores + share <= limit and sum(held) + 2 * mean < reserve - KEPT * total:
            self.fill(len(machine.workers) + 1)
        elif cores > limit:
            self._relieve(self.living(paused=False), cores - limit, lambda worker: worker.takes, self.pause)

    @staticmethod
    def _relieve(
        workers: list[Process], excess: float, part: Callable[[Process], float], act: Callable[[Process], None]
    ) -> None:
        """In start order, until the excess is covered."""
        for worker in workers:
            if excess <= 0:
                return
            excess -= part(worker)
            act(worker)


PEERS: dict[str, Callable[[Work, int], Peer]] = {
    "fixed": Peer,
    "memfree": Memfree,
    "memsuspend": Memsuspend,
    "kill-on-pressure": KillOnPressure,
    "two-lines": TwoLines,
    "reference": Reference,
}
