"""How much of the CPU that is in use is ours: workers, those that exited since, process managers and load manager. What
is left is foreign load."""

from collections import deque
from collections.abc import Collection, Iterable, Mapping

from msgspec import Struct

from ..linux.proc import PROC, stat
from .readings import TICKS
from .shares import Process
from .worker import WorkerReading

WINDOW = 0.5
"""Seconds between two samples that are compared, at least: a tick of each of 20 processes is 0.4 cores over it."""

ABSENT = 120  # sweeps without a worker until its exit is no longer awaited


class Own(Struct, frozen=True):
    """Cores, over one and the same window."""

    own: float
    foreign: float | None  # None while the node's own figure is unknown

    def within(self, busy: float) -> float:
        """What of ``busy``, a reading over another window, is ours: all that is not foreign. A worker that started in
        between would else be taken for foreign load until the next sweep."""
        return self.own if self.foreign is None else max(0.0, busy - self.foreign)


class OwnCpu:
    """Adds up CPU seconds that are ours; children of a millisecond too, that only their exit tells of.

    ``add`` goes with each full sweep, ``exited`` with each exit in between. A worker that is both in a sweep and among
    the exits counts once.
    """

    def __init__(self, proc_root: str = PROC) -> None:
        self._proc_root = proc_root
        self._counted: dict[str, float] = {}  # by worker: its CPU seconds that are in `seconds`
        self._absent: dict[str, int] = {}  # of these: sweeps without it, while its exit is awaited
        self._managers: dict[Process, float] = {}
        self._samples: deque[tuple[float, float, float | None]] = deque()
        self.seconds = 0.0  # ours, ever
        self.last = Own(0.0, None)

    def exited(self, exits: Iterable[tuple[str, float]]) -> None:
        """(worker, CPU seconds of its whole life), each once."""
        for worker, seconds in exits:
            self.seconds += max(0.0, seconds - self._counted.pop(worker, 0.0))

    def add(
        self,
        now: float,
        readings: Mapping[str, WorkerReading],
        managers: Collection[Process],
        busy_seconds: float | None,
    ) -> Own:
        """``busy_seconds``: the node's, ever growing (``NodeReading.busy_seconds``); ``None``: unknown."""
        for worker, reading in readings.items():
            before = self._counted.get(worker, 0.0)
            self._counted[worker] = max(before, reading.cpu_seconds)
            self.seconds += self._counted[worker] - before
        self._let_go(readings)
        for process in managers:
            self._add_manager(process)
        self._managers = {process: seconds for process, seconds in self._managers.items() if process in managers}
        self._samples.append((now, self.seconds, busy_seconds))
        while len(self._samples) > 2 and now - self._samples[1][0] >= WINDOW:
            self._samples.popleft()
        self.last = self._compare()
        return self.last

    def _let_go(self, readings: Mapping[str, WorkerReading]) -> None:
        """A worker whose exit nobody tells, because its process manager died, is not remembered for ever."""
        self._absent = {worker: self._absent.get(worker, 0) + 1 for worker in self._counted.keys() - readings.keys()}
        for worker in [worker for worker, sweeps in self._absent.items() if sweeps > ABSENT]:
            del self._counted[worker]

    def _add_manager(self, process: Process) -> None:
        """Itself alone: the children it waited for are workers, and counted as such. What it used before it was first
        seen is no part of any window."""
        now = stat(process[0], self._proc_root)
        if now is None or now.start_time != process[1]:
            return
        seconds = (now.user_ticks + now.system_ticks) / TICKS
        self.seconds += max(0.0, seconds - self._managers.get(process, seconds))
        self._managers[process] = seconds

    def _compare(self) -> Own:
        (began, own_before, busy_before), (now, own, busy) = self._samples[0], self._samples[-1]
        if now <= began:
            return self.last
        cores = (own - own_before) / (now - began)
        if busy is None or busy_before is None:
            return Own(cores, None)
        return Own(cores, max(0.0, (busy - busy_before) / (now - began) - cores))
