"""The control groups above us, each with its files kept open: what it limits, what it uses, what could be reclaimed.

Limits of a living container change (Kubernetes resizes in place), so nothing of them is remembered: each look reads
them again, and those levels that had no limit every 100 ms.
"""

from msgspec import Struct

from ..linux.gauges import SYS, Gauge, exists
from ..linux.hierarchy import UNIFIED, Level, Mount, levels
from . import readings

UNLIMITED_AGAIN = 0.1  # seconds until a level without a limit is asked again


class MemoryState(Struct, frozen=True):
    """What limits memory. ``available`` is ``None`` where its usage or its statistics cannot be read."""

    name: str  # `cgroup /docker/...`, or a batch system's variable
    limit: int
    available: int | None
    dirty: int
    swap_free: int | None = None  # what it may still swap out; None: as much as the machine
    swap_limit: int | None = None


class CpuState(Struct, frozen=True):
    """What limits the CPUs by time, in cores. ``used`` are the CPU seconds of all in it, ever; ``None``: unknown."""

    name: str  # as of a MemoryState
    quota: float
    used: float | None


class MemoryLevel:
    """One control group's memory. ``read`` gives ``None`` while it has no limit.

    available = limit - usage + active_file + inactive_file + slab_reclaimable. Shared memory and tmpfs are on the
    anonymous lists, locked pages on the unevictable one: neither counts as reclaimable. Dirty pages do: reclaim waits
    for them, it does not kill (with them subtracted: 47 MiB where 850 could be taken, 6 of 6 tries, kernel 6.18).
    """

    def __init__(self, level: Level) -> None:
        self.name = f"cgroup {level.name}"
        self.directory = level.directory
        self._stat = Gauge(f"{level.directory}/memory.stat")
        self._asked = float("-inf")

    def read(self, now: float) -> MemoryState | None:
        if now - self._asked < UNLIMITED_AGAIN:
            return None
        state = self._read()
        self._asked = now if state is None else float("-inf")
        return state

    def carries_limit(self) -> bool:
        """Has it a limit of its own, not only an ancestor's?"""
        return any(readings.limit(gauge.read()) is not None for gauge in self._limits())

    def _read(self) -> MemoryState | None:
        raise NotImplementedError

    def _limits(self) -> tuple[Gauge, ...]:
        raise NotImplementedError

    def _state(self, limit: int, used: int | None, stat: bytes | None, keys: "_Keys") -> MemoryState:
        if used is None or stat is None:
            return MemoryState(self.name, limit, None, 0)
        reclaimable = sum(readings.field(stat, key) or 0 for key in keys.reclaimable)
        dirty = sum(readings.field(stat, key) or 0 for key in keys.dirty)
        return MemoryState(self.name, limit, max(0, limit - used + reclaimable), dirty)


class _Keys(Struct, frozen=True):
    reclaimable: tuple[bytes, ...]
    dirty: tuple[bytes, ...]


_V1_KEYS = _Keys((b"total_active_file ", b"total_inactive_file "), (b"total_dirty ", b"total_writeback "))
_V2_KEYS = _Keys((b"active_file ", b"inactive_file ", b"slab_reclaimable "), (b"file_dirty ", b"file_writeback "))


class MemoryLevelV1(MemoryLevel):
    """Version 1 tells the least limit of the group and its ancestors (those we cannot see, too) in memory.stat."""

    def __init__(self, level: Level) -> None:
        super().__init__(level)
        self._usage = Gauge(f"{level.directory}/memory.usage_in_bytes")
        self._limit = Gauge(f"{level.directory}/memory.limit_in_bytes")

    def _read(self) -> MemoryState | None:
        stat = self._stat.read()
        inherited = readings.field(stat, b"hierarchical_memory_limit ") if stat else None
        own = readings.limit(self._limit.read()) if inherited is None else None
        least = own if inherited is None else readings.as_limit(inherited)
        if least is None:
            return None
        return self._state(least, readings.number(self._usage.read()), stat, _V1_KEYS)

    def _limits(self) -> tuple[Gauge, ...]:
        return (self._limit,)


class MemoryLevelV2(MemoryLevel):
    """Version 2. ``memory.high`` counts as a limit: who goes above it is throttled until nothing moves."""

    def __init__(self, level: Level) -> None:
        super().__init__(level)
        self._usage = Gauge(f"{level.directory}/memory.current")
        self._max = Gauge(f"{level.directory}/memory.max")
        self._high = Gauge(f"{level.directory}/memory.high")
        self._swap_max = Gauge(f"{level.directory}/memory.swap.max")
        self._swap = Gauge(f"{level.directory}/memory.swap.current")

    def _read(self) -> MemoryState | None:
        limits = [value for gauge in self._limits() if (value := readings.limit(gauge.read())) is not None]
        if not limits:
            return None
        state = self._state(min(limits), readings.number(self._usage.read()), self._stat.read(), _V2_KEYS)
        swap_limit = readings.limit(self._swap_max.read())
        if swap_limit is None:
            return state
        swap_free = max(0, swap_limit - (readings.number(self._swap.read()) or 0))
        return MemoryState(state.name, state.limit, state.available, state.dirty, swap_free, swap_limit)

    def _limits(self) -> tuple[Gauge, ...]:
        return (self._max, self._high)


class CpuLevel:
    """One control group's CPU quota, of either version. ``read`` gives ``None`` while it has none."""

    def __init__(self, level: Level, usage: str | None, *, unified: bool) -> None:
        self.name = f"cgroup {level.name}"
        self.directory = level.directory
        self._unified = unified
        self._quota = Gauge(f"{level.directory}/{'cpu.max' if unified else 'cpu.cfs_quota_us'}")
        self._period = Gauge(f"{level.directory}/cpu.cfs_period_us")
        self._usage = Gauge(usage) if usage else None

    def read(self) -> CpuState | None:
        quota = readings.quota(self._quota.read()) if self._unified else self._quota_v1()
        return CpuState(self.name, quota, self._used()) if quota else None

    def _quota_v1(self) -> float | None:
        quota, period = readings.number(self._quota.read()), readings.number(self._period.read())
        return quota / period if quota and period and quota > 0 else None

    def _used(self) -> float | None:
        content = self._usage.read() if self._usage else None
        if content is None:
            return None
        if self._unified:
            micro = readings.field(content, b"usage_usec ")
            return None if micro is None else micro / 1e6
        nano = readings.number(content)
        return None if nano is None else nano / 1e9


class Ancestry(Struct, frozen=True):
    """All levels that can limit this process, innermost first, of the version that is in charge of each controller."""

    memory: tuple[MemoryLevel, ...]
    cpu: tuple[CpuLevel, ...]
    cpuset: tuple[Level, ...]
    unified: tuple[Level, ...]  # every level of version 2, with or without controllers: they have the pressure files

    def places(self) -> list[tuple[str, str]]:
        """What was found, to compare with another search."""
        every: list[tuple[str, tuple[MemoryLevel | CpuLevel | Level, ...]]] = [
            ("memory", self.memory),
            ("cpu", self.cpu),
            ("cpuset", self.cpuset),
            ("unified", self.unified),
        ]
        return [(kind, f"{level.name} {level.directory}") for kind, found in every for level in found]


def ancestry(mounts: list[Mount], membership: dict[str, str], sys_root: str) -> Ancestry:
    """Levels from where a process stands up to the top of what can be seen. A controller of version 1 that is mounted
    is in charge; else version 2 is."""

    def found(controller: str) -> tuple[Level, ...]:
        seen = [
            Level(_moved(level.directory, sys_root), level.name) for level in levels(controller, mounts, membership)
        ]
        return tuple(level for level in seen if exists(level.directory))

    unified = found(UNIFIED)
    memory: list[MemoryLevel] = [MemoryLevelV1(level) for level in found("memory")]
    if not memory:
        memory = [MemoryLevelV2(level) for level in unified if exists(f"{level.directory}/memory.max")]
    cpu = _cpu_v1(found("cpu"), found("cpuacct"))
    if not cpu:
        cpu = [
            CpuLevel(level, f"{level.directory}/cpu.stat", unified=True)
            for level in unified
            if exists(f"{level.directory}/cpu.max")
        ]
    return Ancestry(tuple(memory), tuple(cpu), found("cpuset") or unified, unified)


def _cpu_v1(quotas: tuple[Level, ...], accounts: tuple[Level, ...]) -> list[CpuLevel]:
    """The quota is in one hierarchy and the usage in another, often mounted together: they belong to each other where
    the group has the same name in both."""
    usage = {level.name: f"{level.directory}/cpuacct.usage" for level in accounts}
    return [CpuLevel(level, usage.get(level.name), unified=False) for level in quotas]


def _moved(directory: str, sys_root: str) -> str:
    """The same directory under another root than ``/sys``, for saved trees."""
    return sys_root + directory.removeprefix(SYS) if directory.startswith(f"{SYS}/") else directory
