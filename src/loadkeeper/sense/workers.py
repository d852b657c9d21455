"""All workers' memory and CPU. Two costs: the *full sweep* looks at every process of the machine, finds members and
reads memory, CPU and state; the *fast sweep* reads only the memory of the members known."""

import os
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping

from msgspec.structs import replace

from ..linux import proc
from ..linux.gauges import spare_descriptors
from ..linux.proc import PROC, Stat
from .held import GONE, Held
from .kin import kin
from .shares import Process, ShareMeter
from .worker import Worker, WorkerReading

__all__ = ["WorkerReading", "WorkerSensor"]

ENDED = 4096  # lives of workers that are no longer followed, kept until their exit has been told

Members = Callable[[Mapping[str, Process], Mapping[Process, str]], dict[str, list[Stat]]]
"""(leaders, known members) → every worker's processes."""


class WorkerSensor:
    """Follows workers by id. ``readings`` holds the last reading of each, ``lives`` (largest, mean) bytes of each, of
    those forgotten too. One owner: not for several threads at once.

    ``members`` finds the processes; ``meter`` measures what is shared.
    """

    def __init__(self, proc_root: str = PROC, members: Members | None = None, meter: ShareMeter | None = None) -> None:
        self._proc_root = proc_root
        self._members = members or self._one_pass
        self._meter = meter or ShareMeter(proc_root)
        self._page = os.sysconf("SC_PAGE_SIZE")
        self._workers: dict[str, Worker] = {}
        self._owners: dict[Process, str] = {}
        self._open = 0
        self._most_open = spare_descriptors()
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
        for process in list(gone.members):
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
    def lives(self) -> dict[str, tuple[int, int]]:
        living = {worker: life for worker, known in self._workers.items() if (life := known.life.read())}
        return {**self._ended, **living}

    # ------------------------------------------------------------------------------------------------------ sweeps

    def sweep(self, now: float) -> dict[str, WorkerReading]:
        """The full sweep: members, memory, CPU, state of every worker."""
        self._take_answers(now)
        leaders = {worker: known.leader for worker, known in self._workers.items()}
        found = self._members(leaders, self._owners) if leaders else {}
        for worker, known in self._workers.items():
            self._sweep_one(worker, known, found.get(worker, []), now)
        return self.readings

    def fast(self, now: float, watch: Collection[str] = ()) -> dict[str, WorkerReading]:
        """The fast sweep: memory of the members known; state as well of those in ``watch``. What was never swept in
        full has no reading."""
        self._take_answers(now)
        for worker, known in self._workers.items():
            before = known.reading
            if before is None:
                continue
            size, exiting = known.held(self._page)
            state = known.state(self._letters(before.members)) if worker in watch else before.state
            known.life.add(now, size, active=state == "running")
            known.reading = self.readings[worker] = replace(
                before, rss=size, exiting=exiting or before.state == "gone", state=state, swept=now
            )
        return self.readings

    def _sweep_one(self, worker: str, known: Worker, stats: list[Stat], now: float) -> None:
        members = tuple((stat.pid, stat.start_time) for stat in stats)
        alive = self._settle(worker, known, stats)
        size, exiting = known.held(self._page)
        self._ask(known, now)
        seconds = known.cpu_seconds(stats)
        state = known.state([stat.state for stat in stats])
        known.life.add(now, size, active=state == "running")
        known.reading = self.readings[worker] = WorkerReading(
            rss=size,
            cpu=known.cores(now, seconds),
            cpu_seconds=max(seconds, known.reading.cpu_seconds if known.reading else 0.0),
            processes=len(alive),
            state=state,
            exiting=exiting or (state == "gone" and bool(stats)),
            members=members,
            swept=now,
        )

    def _settle(self, worker: str, known: Worker, stats: list[Stat]) -> list[Process]:
        """Let those go that are gone, take in those that are new. Returns those that live."""
        alive = {(stat.pid, stat.start_time): stat for stat in stats if stat.state not in GONE}
        gone = [process for process in known.members if process not in alive]
        new = [process for process in alive if process not in known.members]
        for process in gone:
            self._drop(known, process)
        for process in new:
            self._owners[process] = worker
            keep_open = self._open < self._most_open
            self._open += keep_open
            known.members[process] = Held(process, alive[process].ppid, self._proc_root, keep_open=keep_open)
        if new and len(known.members) > 1:
            self._lend(known, new)
        if gone or new:
            for member in known.members.values():
                member.moved()
        return list(alive)

    def _lend(self, known: Worker, new: list[Process]) -> None:
        """What a new child holds at first sight is its parent's, up to the parent's size."""
        by_pid = {pid: member for (pid, _), member in known.members.items()}
        for process in new:
            member = known.members[process]
            parent = by_pid.get(member.parent)
            if parent is not None and member.read(self._page) and parent.read(self._page):
                member.lend(parent.resident)

    def _drop(self, known: Worker, process: Process) -> None:
        member = known.members.pop(process)
        self._open -= member.kept_open
        self._owners.pop(process, None)
        member.close()

    def _ask(self, known: Worker, now: float) -> None:
        """Have measured what may share, where no leaf tells it."""
        if known.in_leaf:
            return
        alone = len(known.members) == 1
        for process, member in known.members.items():
            if member.wants_measuring(now, alone=alone):
                self._meter.ask(process)

    def _take_answers(self, now: float) -> None:
        for process, share in self._meter.answers():
            owner = self._workers.get(self._owners.get(process, ""))
            if owner is not None and process in owner.members:
                owner.members[process].measured(share, now)

    def _letters(self, members: tuple[Process, ...]) -> list[str]:
        found = [(process, proc.stat(process[0], self._proc_root)) for process in members]
        return [stat.state for process, stat in found if stat is not None and stat.start_time == process[1]]

    def _one_pass(self, leaders: Mapping[str, Process], known: Mapping[Process, str]) -> dict[str, list[Stat]]:
        stats = [stat for pid in proc.pids(self._proc_root) if (stat := proc.stat(pid, self._proc_root)) is not None]
        return kin(stats, leaders, known)

    def close(self) -> None:
        """Let go of every file and of the measuring thread."""
        for worker in list(self._workers):
            self.forget(worker)
        self._meter.close()
