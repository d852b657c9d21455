"""All workers' memory and CPU. Two costs: the *full sweep* looks at every process of the machine, finds members and
reads memory, CPU and state; the *fast sweep* reads only the memory of the members known."""

import os
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping

from ..linux import proc
from ..linux.gauges import spare_descriptors
from ..linux.proc import PROC, Stat
from .everybody import Kin
from .held import GONE, Held
from .shares import Process, ShareMeter
from .worker import Worker, WorkerReading

__all__ = ["WorkerReading", "WorkerSensor"]

ENDED = 4096  # lives of workers that are no longer followed, kept until their exit has been told
PATIENCE = 0.005
"""Seconds: a look may be late by this. Two families of 55 MiB and five processes each, changing all the time, take
10 ms to measure; with 5 ms they are 1 % off (the median), with 30 ms 0."""


class WorkerSensor:
    """Follows workers by id. ``readings`` holds the last reading of each, ``lives`` (largest, mean) bytes of each, of
    those forgotten too. One owner: not for several threads at once.

    ``meter`` measures what is shared.
    """

    def __init__(self, proc_root: str = PROC, meter: ShareMeter | None = None) -> None:
        self._proc_root = proc_root
        self._meter = meter or ShareMeter(proc_root)
        self._page = os.sysconf("SC_PAGE_SIZE")
        self._workers: dict[str, Worker] = {}
        self._open = 0
        self._most_open = spare_descriptors() // 2
        self._kin = Kin(proc_root, self._most_open)
        self._ended: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self.readings: dict[str, WorkerReading] = {}

    # ----------------------------------------------------------------------------------------------------- follow

    def follow(self, worker: str, pid: int, start_time: int, leaf: str | None = None) -> None:
        """From now on. Again with the same process: no effect; with another one: a new worker."""
        known = self._workers.get(worker)
        if known is not None:
            if known.leader == (pid, start_time):
                return
            self.forget(worker)
        self._workers[worker] = Worker((pid, start_time), leaf)

    def forget(self, worker: str) -> None:
        """It is gone, or somebody else's. Its life can still be read."""
        gone = self._workers.pop(worker, None)
        if gone is None:
            return
        for process in list(gone.family.members):
            self._drop(gone, process)
        self.readings.pop(worker, None)
        life = gone.life.read()
        if life is not None:
            self._ended[worker] = life
            while len(self._ended) > ENDED:
                self._ended.popitem(last=False)

    def keep(self, workers: Mapping[str, tuple[int, int, str | None]]) -> None:
        """Follow exactly these: id → (pid, start time, leaf)."""
        for worker in self._workers.keys() - workers.keys():
            self.forget(worker)
        for worker, (pid, start_time, leaf) in workers.items():
            self.follow(worker, pid, start_time, leaf)

    def life(self, worker: str) -> tuple[int, int] | None:
        """(largest, mean over its active life) bytes; ``None`` if no sweep ever saw it hold anything."""
        known = self._workers.get(worker)
        return known.life.read() if known is not None else self._ended.get(worker)

    @property
    def lives(self) -> "Lives":
        return Lives(self)

    def followed(self) -> list[str]:
        """Whose life can be told: those followed, and those forgotten a while ago."""
        return [*self._workers, *(worker for worker in self._ended if worker not in self._workers)]

    # ------------------------------------------------------------------------------------------------------ sweeps

    def sweep(self, now: float, patience: float = PATIENCE) -> dict[str, WorkerReading]:
        """The full sweep: members, memory, CPU, state of every worker. Waits at most ``patience`` seconds for shared
        memory to be measured where a worker's processes changed; what takes longer counts from the next sweep on."""
        self._take_answers()  # they are about the members as they were
        found = self._kin.find({worker: known.sought() for worker, known in self._workers.items()})
        alive = {worker: self._settle(known, found.get(worker, [])) for worker, known in self._workers.items()}
        for known in self._workers.values():
            known.look(self._page)
        self._measure_shares(now, patience)
        for worker, known in self._workers.items():
            self.readings[worker] = known.swept(now, found.get(worker, []), alive[worker])
        return self.readings

    def fast(self, now: float, watch: Collection[str] = ()) -> dict[str, WorkerReading]:
        """The fast sweep: memory of the members known; state as well of those in ``watch``. What was never swept in
        full has no reading."""
        self._take_answers()
        for worker, known in self._workers.items():
            if (before := known.reading) is not None:
                known.look(self._page)
                letters = self._letters(before.members) if worker in watch else None
                self.readings[worker] = known.looked(before, now, letters)
        return self.readings

    def _settle(self, known: Worker, stats: list[Stat]) -> int:
        """Let those go that are gone, take in those that are new. Returns how many live."""
        alive = {(stat.pid, stat.start_time): stat for stat in stats if stat.state not in GONE}
        members = known.family.members
        for process in [process for process in members if process not in alive]:
            self._drop(known, process)
        new = [self._held(process, stat.ppid) for process, stat in alive.items() if process not in members]
        if new:
            known.family.add(new, self._page)
        return len(alive)

    def _held(self, process: Process, parent: int) -> Held:
        keep_open = self._open < self._most_open
        self._open += keep_open
        return Held(process, parent, self._proc_root, keep_open=keep_open)

    def _drop(self, known: Worker, process: Process) -> None:
        member = known.family.remove(process)
        self._open -= member.kept_open
        member.close()

    def _measure_shares(self, now: float, patience: float) -> None:
        """Of those that may share, where no leaf tells it."""
        for worker, known in self._workers.items():
            if not known.in_leaf and known.family.wants_measuring(now):
                known.family.asked(now)
                self._meter.ask(worker, tuple(known.family.members))
        self._take_answers(patience)

    def _take_answers(self, patience: float = 0.0) -> None:
        for worker, shares in self._meter.answers(patience):
            if worker in self._workers:
                self._workers[worker].family.measured(shares)

    def _letters(self, members: tuple[Process, ...]) -> list[str]:
        found = [(process, proc.stat(process[0], self._proc_root)) for process in members]
        return [stat.state for process, stat in found if stat is not None and stat.start_time == process[1]]

    def close(self) -> None:
        """Let go of every file and of the measuring thread."""
        for worker in list(self._workers):
            self.forget(worker)
        self._kin.close()
        self._meter.close()


class Lives(Mapping[str, tuple[int, int]]):
    """(largest, mean) bytes by worker, looked up when asked: thousands may be remembered, and one is wanted."""

    def __init__(self, sensor: WorkerSensor) -> None:
        self._sensor = sensor

    def __getitem__(self, worker: str) -> tuple[int, int]:
        life = self._sensor.life(worker)
        if life is None:
            raise KeyError(worker)
        return life

    def __iter__(self) -> Iterator[str]:
        return (worker for worker in self._sensor.followed() if self._sensor.life(worker) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)
