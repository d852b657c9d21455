"""The node's gauges: one ``NodeReading`` at each look, from files that are kept open."""

import os
from collections.abc import Mapping

from msgspec import Struct

from ..linux.gauges import SYS, Gauge
from ..linux.proc import PROC
from . import readings
from .bounds import MACHINE, Bound, Capacity, least
from .levels import CpuState, MemoryState
from .memory import memory
from .pressure import Pressures
from .processors import Processors
from .surroundings import Surroundings


class NodeReading(Struct, frozen=True, kw_only=True):
    """One look at the node. Bytes, cores, shares 0..1; ``None`` is unknown."""

    now: float
    capacity: Capacity
    available: int | None  # bytes that can still be taken before reclaim fails
    available_bound_by: str  # where the least is: `machine`, `cgroup /...`, `commit limit`, a batch system's variable
    busy: float | None  # cores in use, of capacity.cpus; over the last 0.3 s
    busy_seconds: float  # core seconds in use since the sensor began
    steal: float | None  # cores of `busy` that the hypervisor took
    gauges: dict[str, float | None]  # `swap` (share in use, 0 where there is none), `pressure.cpu|memory|io`
    dirty: int  # bytes dirty or in writeback where memory binds: a stop may take longer
    swap_total: int  # bytes that can be used from here; 0: no swap
    swap_free: int

    @property
    def total(self) -> int:
        return self.capacity.memory

    @property
    def cpus(self) -> float:
        return self.capacity.cpus


class NodeSensor:
    """Reads the node as this process sees it. ``environment`` is where a batch system's grant is looked for.

    What cannot be read is ``None``, never an error. One owner: not for several threads at once.
    """

    def __init__(
        self, proc_root: str = PROC, sys_root: str = SYS, environment: Mapping[str, str] | None = None
    ) -> None:
        self._around = Surroundings(proc_root, sys_root, os.environ if environment is None else environment)
        self._meminfo = Gauge(f"{proc_root}/meminfo")
        self._stat = Gauge(f"{proc_root}/stat")
        self._processors = Processors()
        self._pressures = Pressures(proc_root)
        self._total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")  # until meminfo has told
        self._cpu_bounds = [Bound(MACHINE, os.cpu_count() or 1)]
        self.capacity = _capacity(Bound(MACHINE, self._total), self._cpu_bounds)
        self.last: NodeReading | None = None
        self._quotas: frozenset[str] = frozenset()  # directories of the levels that have a CPU quota
        self._limits: frozenset[str] = frozenset()  # ... a memory limit

    def read(self, now: float, held: int = 0, own_seconds: float | None = None) -> NodeReading:
        """One look. ``held`` bytes and ``own_seconds`` of CPU (ever growing) are what our workers use: they count
        against what a batch system granted, which no file of the kernel shows."""
        self._around.look(now)
        if self._processors.due(now):
            self._sample_processors(now, own_seconds)
        machine = readings.meminfo(self._meminfo.read())
        self._total = machine.total if machine else self._total
        here = memory(machine, self._total, self._memory_states(now, held), strict=self._around.strict_commit)
        self.capacity = _capacity(here.total, self._cpu_bounds)
        busy = self._processors.busy
        self.last = NodeReading(
            now=now,
            capacity=self.capacity,
            available=here.available,
            available_bound_by=here.available_bound_by,
            busy=busy.cores if busy else None,
            busy_seconds=self._processors.seconds,
            steal=busy.steal if busy else None,
            gauges={
                "swap": here.swap_used if machine else None,
                **self._pressures.read(now, self._around.ancestry.unified, self._limits | self._quotas),
            },
            dirty=here.dirty,
            swap_total=here.swap_total,
            swap_free=here.swap_free,
        )
        return self.last

    def binding_cgroup(self) -> str | None:
        """The directory of the innermost control group that carries a memory limit, a CPU quota or a narrower cpuset;
        ``None`` where none does, and before the first look."""
        return self._around.binding()

    def _memory_states(self, now: float, held: int) -> list[MemoryState]:
        """Everything beside the machine that has a memory limit, the innermost first."""
        found = [(level.directory, state) for level in self._around.ancestry.memory if (state := level.read(now))]
        self._limits = frozenset([directory for directory, _ in found])
        states = [state for _, state in found]
        granted = self._around.grant.memory
        if granted:
            size = int(granted.value)
            states.insert(0, MemoryState(granted.name, size, max(0, size - held), 0))
        return states

    def _sample_processors(self, now: float, own_seconds: float | None) -> None:
        times = self._around.usable(readings.cpu_times(self._stat.read()))
        quotas = [(level.directory, state) for level in self._around.ancestry.cpu if (state := level.read())]
        self._quotas = frozenset([directory for directory, _ in quotas])
        states = [state for _, state in quotas]
        granted = self._around.grant.cpus
        if granted:
            states.insert(0, CpuState(granted.name, granted.value, own_seconds))
        bounds = [*self._around.cpus(), *(Bound(state.name, state.quota) for state in reversed(states))]
        self._cpu_bounds = bounds
        self._processors.add(now, times, states, min(bound.value for bound in bounds))


def _capacity(memory_bound: Bound, cpu_bounds: list[Bound]) -> Capacity:
    cpus = least(cpu_bounds)
    return Capacity(float(cpus.value), int(memory_bound.value), cpus.name, memory_bound.name)
