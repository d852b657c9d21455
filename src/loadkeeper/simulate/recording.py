"""What happened in a simulation, at a few hundred moments: for its picture."""

from msgspec import Struct

from ..model import Limits, Outcome, WorkerState
from .machine import Machine

MOST = 240
"""Moments that are kept; beyond, every other one goes."""


class Standing(Struct, frozen=True):
    """One worker at one moment."""

    memory: float  # bytes
    cores: float
    paused: bool
    ending: bool


class Moment(Struct, frozen=True):
    at: float  # seconds
    total: float  # bytes, of the node
    cpus: float
    others: float  # bytes that the system and other programs hold
    others_cores: float
    workers: dict[int, Standing]


class Recording:
    """Takes a look at the machine now and then, and notes who ended how."""

    def __init__(self) -> None:
        self.moments: list[Moment] = []
        self.pools: dict[int, str] = {}  # of each worker
        self.ended: list[tuple[float, int]] = []  # when the policy ended whom
        self.killed: list[tuple[float, int]] = []  # when the kernel killed whom
        self.limits = Limits()
        self._every = 0.0
        self._known: set[int] = set()

    def look(self, machine: Machine) -> None:
        self._note_ends(machine)
        if self.moments and machine.now - self.moments[-1].at < self._every:
            return
        self.moments.append(self._moment(machine))
        if len(self.moments) > MOST:
            self.moments = self.moments[::2]
            self._every = 2 * (self._every or machine.now / MOST)

    def _moment(self, machine: Machine) -> Moment:
        workers = {}
        for n, worker in machine.workers.items():
            self.pools[n] = worker.pool.name
            ending = worker.state is WorkerState.ENDING or worker.outcome is not None
            cores = worker.takes if worker.moves else 0.0
            workers[n] = Standing(worker.rss, cores, worker.state is WorkerState.PAUSED, ending)
        others = machine.base + machine.foreign_memory()
        return Moment(machine.now, machine.memory, machine.cpus, others, machine.foreign_use, workers)

    def _note_ends(self, machine: Machine) -> None:
        """Exits are kept by the machine until the policy's next look, so nobody is missed or counted twice."""
        for worker in machine.exited:
            if worker.n in self._known:
                continue
            self._known.add(worker.n)
            if worker.n in machine.killed:
                self.killed.append((machine.now, worker.n))
            elif worker.outcome is not Outcome.DONE:
                self.ended.append((machine.now, worker.n))
