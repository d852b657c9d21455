"""How busy the CPUs are, in cores, over a window of a few clock ticks."""

from collections import deque
from typing import NamedTuple

from .levels import CpuState
from .readings import CpuTimes

STEP = 0.1
"""Seconds between two samples at least. /proc/stat counts in ticks of 10 ms."""
WINDOW = 0.3
"""Seconds that a reading looks back. Cut off to ticks, two CPUs are 3.5 % off over 0.1 s and 1 % over 0.3 s."""


class Busy(NamedTuple):
    cores: float  # of the capacity: in use, or out of reach because others use them
    steal: float  # cores that the hypervisor took, part of the machine's busy ones


class _Sample(NamedTuple):
    now: float
    idle: dict[int, float]
    steal: float
    used: dict[str, float]  # CPU seconds by level with a quota


class Processors:
    """Remembers the samples of one window.

    Busy is what is not idle on the wall clock, not the sum of the busy fields: those are sampled at the tick and miss
    what runs between two, while idle time is exact. Waiting for I/O is idle; stolen time is busy. Under a quota the
    room is the lesser of what the quota and what the machine's idle CPUs leave.
    """

    def __init__(self) -> None:
        self._samples: deque[_Sample] = deque()
        self._cpus = 0.0
        self.busy: Busy | None = None  # over the last window; None before there are two samples
        self.seconds = 0.0  # core seconds so busy since the first sample: exact over any span, ticks do not add up

    def due(self, now: float) -> bool:
        return not self._samples or not 0 <= now - self._samples[-1].now < STEP

    def add(self, now: float, times: dict[int, CpuTimes], quotas: list[CpuState], cpus: float) -> None:
        """One sample: the CPUs of the affinity, every level with a quota, and the capacity in cores."""
        if not times:
            self._forget()
            return
        used = {level.name: level.used for level in quotas if level.used is not None}
        idle = {cpu: time.idle for cpu, time in times.items()}
        sample = _Sample(now, idle, sum(time.steal for time in times.values()), used)
        last = self._samples[-1] if self._samples else None
        if last and (last.idle.keys() != idle.keys() or cpus != self._cpus or now <= last.now):
            self._forget()  # a CPU went or came, or the limit changed: nothing to compare with
            last = None
        self._cpus = cpus
        self._samples.append(sample)
        if last:
            self.seconds += _busy(last, sample, quotas, cpus) * (now - last.now)
            self._look_back(sample, quotas, cpus)

    def _forget(self) -> None:
        self._samples.clear()
        self.busy = None

    def _look_back(self, sample: _Sample, quotas: list[CpuState], cpus: float) -> None:
        while len(self._samples) > 2 and sample.now - self._samples[1].now >= WINDOW:
            self._samples.popleft()
        first = self._samples[0]
        cores = min(cpus, max(0.0, _busy(first, sample, quotas, cpus)))
        self.busy = Busy(cores, max(0.0, (sample.steal - first.steal) / (sample.now - first.now)))


def _busy(first: _Sample, last: _Sample, quotas: list[CpuState], cpus: float) -> float:
    """Cores not available in between; a little below 0 or above ``cpus`` where ticks were cut off."""
    passed = last.now - first.now
    room = sum(last.idle[cpu] - first.idle[cpu] for cpu in last.idle) / passed
    for level in quotas:
        before, after = first.used.get(level.name), last.used.get(level.name)
        if before is not None and after is not None:
            room = min(room, level.quota - (after - before) / passed)
    if cpus < len(last.idle):
        room = min(room, cpus)  # idle CPUs that are not for us
    return cpus - room
