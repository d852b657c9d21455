"""One worker with all its processes: what it holds and uses, over its life."""

from collections import deque
from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from ..linux.gauges import Gauge
from ..linux.proc import Stat
from . import readings
from .everybody import Sought
from .held import GONE, Family
from .readings import TICKS
from .shares import Process

CPU_WINDOW = 0.5
"""Seconds that the CPU of a worker looks back at least: a tick is 2 % of a core over it."""
_STOPPED = frozenset("Tt")
_LEAF_HELD = (b"anon ", b"shmem ", b"kernel ")


class WorkerReading(Struct, frozen=True, kw_only=True):
    """What a worker holds and uses, all its processes together."""

    rss: int | None  # bytes held, shared memory counted once; None until swept
    cpu: float | None  # cores, over the last 0.5 s or more
    cpu_seconds: float  # in all, children that were waited for included
    processes: int  # that live
    state: str  # `running`, `stopped` (every one of them), `frozen`, `gone`
    exiting: bool  # no memory shows any more: `rss` is what it held last, until it is back; 0 once it is `gone`
    members: tuple[Process, ...]  # (pid, start time) of all that were there at the last full sweep, zombies included

    @property
    def stopped(self) -> bool:
        return self.state in {"stopped", "frozen"}


class Life:
    """Largest size and the mean over the time it was not stopped."""

    __slots__ = ("_last", "_now", "_seconds", "_sum", "largest")

    def __init__(self) -> None:
        self.largest = 0
        self._sum = self._seconds = 0.0
        self._last = 0
        self._now: float | None = None

    def add(self, now: float, size: int, *, active: bool) -> None:
        if self._now is not None and active:
            passed = max(0.0, now - self._now)
            self._sum += (self._last + size) / 2 * passed
            self._seconds += passed
        self._now, self._last = now, size
        self.largest = max(self.largest, size)

    def read(self) -> tuple[int, int] | None:
        """(largest, mean) bytes, or ``None`` before it was ever seen to hold anything."""
        if not self.largest:
            return None
        return self.largest, int(self._sum / self._seconds) if self._seconds else self.largest


class Worker:
    """What the sensor remembers of one worker between two sweeps."""

    def __init__(self, leader: Process, leaf: str | None) -> None:
        self.leader = leader
        self._leaf = leaf
        self.life = Life()
        self.family = Family()
        self._told: int | None = None  # bytes, by its leaf
        self.reading: WorkerReading | None = None
        self._cpu: dict[Process, tuple[float, int]] = {}  # CPU seconds and parent of each at the last sweep
        self._left = 0.0  # CPU seconds of members that somebody else waited for
        self._samples: deque[tuple[float, float]] = deque()
        self._leaf_memory = Gauge(f"{leaf}/memory.stat") if leaf else None
        self._leaf_events = Gauge(f"{leaf}/cgroup.events") if leaf else None
        self._leaf_cpu = Gauge(f"{leaf}/cpu.stat") if leaf else None

    def sought(self) -> Sought:
        return Sought(self.leader, tuple(self.family.members), self._leaf)

    # ------------------------------------------------------------------------------------------------------ sweeps

    def look(self, page: int) -> None:
        """Read the memory of the processes known."""
        self.family.read(page)
        self._told = self._leaf_held()

    @property
    def in_leaf(self) -> bool:
        """Does a control group of its own tell what it holds?"""
        return bool(self._told)

    def swept(self, now: float, stats: Sequence[Stat], alive: int) -> WorkerReading:
        """After a full sweep: ``stats`` of all its processes, of which ``alive`` are no zombies."""
        seconds = self._cpu_seconds(stats)
        state = self._state([stat.state for stat in stats])
        size = self._told or self.family.size
        self.life.add(now, size, active=state == "running")
        self.reading = WorkerReading(
            rss=size,
            cpu=self._cores(now, seconds),
            cpu_seconds=max(seconds, self.reading.cpu_seconds if self.reading else 0.0),
            processes=alive,
            state=state,
            exiting=self.family.exiting or state == "gone",
            members=tuple((stat.pid, stat.start_time) for stat in stats),
        )
        return self.reading

    def looked(self, before: WorkerReading, now: float, letters: Sequence[str] | None) -> WorkerReading:
        """After a fast sweep; ``letters`` are the states of its processes where somebody asked for them."""
        state = before.state if letters is None else self._state(letters)
        size = self._told or self.family.size
        self.life.add(now, size, active=state == "running")
        exiting = self.family.exiting or before.state == "gone"
        if size == before.rss and state == before.state and exiting == before.exiting:
            return before
        self.reading = replace(before, rss=size, exiting=exiting, state=state)
        return self.reading

    def _leaf_held(self) -> int | None:
        """In a leaf with a memory controller the kernel knows: its own tmpfs files are in it, too."""
        stat = self._leaf_memory.read() if self._leaf_memory else None
        if not stat:
            return None
        parts = [readings.field(stat, key) for key in _LEAF_HELD]
        return None if parts[0] is None else sum(part or 0 for part in parts)

    # -------------------------------------------------------------------------------------------------------- CPU

    def _cpu_seconds(self, stats: Sequence[Stat]) -> float:
        """CPU seconds of all members ever. A member that is gone was counted by the member that waited for it; where
        its parent was none of them, it is added by hand."""
        leaf = self._leaf_cpu.read() if self._leaf_cpu else None
        micro = readings.field(leaf, b"usage_usec ") if leaf else None
        if micro is not None:
            return micro / 1e6
        now = {(stat.pid, stat.start_time): (_seconds(stat), stat.ppid) for stat in stats}
        pids = {pid for pid, _ in now}
        for process, (seconds, parent) in self._cpu.items():
            if process not in now and parent not in pids:
                self._left += seconds
        self._cpu = now
        return self._left + sum(seconds for seconds, _ in now.values())

    def _cores(self, now: float, seconds: float) -> float | None:
        samples = self._samples
        if samples and seconds < samples[-1][1]:
            seconds = samples[-1][1]  # whoever waited for a member has not been counted yet
        samples.append((now, seconds))
        while len(samples) > 2 and now - samples[1][0] >= CPU_WINDOW:
            samples.popleft()
        began, before = samples[0]
        return (seconds - before) / (now - began) if now > began else None

    # ------------------------------------------------------------------------------------------------------ state

    def _state(self, letters: Sequence[str]) -> str:
        """Stopped only when every process is: one that runs can still grow."""
        living = [letter for letter in letters if letter not in GONE]
        if not living:
            return "gone"
        events = self._leaf_events.read() if self._leaf_events else None
        if events and readings.field(events, b"frozen ") == 1:
            return "frozen"
        return "stopped" if all(letter in _STOPPED for letter in living) else "running"

    def close(self) -> None:
        self.family.close()


def _seconds(stat: Stat) -> float:
    ticks = stat.user_ticks + stat.system_ticks + stat.children_user_ticks + stat.children_system_ticks
    return ticks / TICKS
