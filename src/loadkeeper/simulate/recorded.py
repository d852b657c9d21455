"""From what a load manager saw of a run to a world: the same node, tasks and neighbours, to be played again.

A task's memory is noted over its own progress. Progress is time, but while the cores were full a worker's share of
them against what its kind takes on an idle node. Attempts that were ended are no tasks: what came of them is seen in
the attempt that went well. Other runs are taken as they were, as somebody else's load.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from statistics import mean, median, quantiles
from typing import Any, NamedTuple

from msgspec import Struct

from ..decide import Kind, Memory
from ..model import Amount, ExitSeen, Limits, Outcome, PoolSeen, Seen, WorkerSeen, WorkerState

FULL = 0.97
"""Of the cores: on a fuller node a worker's share says nothing about its want."""
POINTS = 32
"""Of a task's curve."""
STEPS = 120
"""In which the load of others is told."""
COARSE = 0.01
"""Of the node: smaller changes of somebody else's load are not told."""
NOISE = 0.05
"""Of the cores: less load of others is none (the two gauges that it is the difference of have not quite one window)."""
LEAST_SECONDS = 1e-3
WINDOW = 0.5
"""Seconds over which a worker's cores are measured."""
FEW = 5
"""Sweeps below which a task is known by its exit alone."""
ENOUGH = 10
"""Readings from which a worker's want is known; below, it is what is usual in its pool."""
LEAST_CORES = 0.01


class Recorded(Struct, frozen=True):
    """A run as it was. ``world``: as `simulate` reads it."""

    world: dict[str, Any]
    kinds: dict[str, Kind]  # that the load manager knew when it began
    limits: Limits  # the run's, as they were in the end
    makespan: float  # seconds from its first look to the last exit
    tasks: int
    cut: int  # workers that had not ended when the record ends; they are no tasks
    late: bool  # the record begins when workers live already


class _Life:
    """A worker's course. Mutable."""

    def __init__(self) -> None:
        self.samples: list[_Sample] = []
        self._cores: list[tuple[float, float, bool]] = []  # at what active second, as measured, on a full node

    def note(self, worker: WorkerSeen, *, full: bool) -> None:
        if worker.rss is None or worker.exiting or worker.state is WorkerState.ENDING:
            return
        if worker.cpu is not None and worker.state is WorkerState.RUNNING:
            self._cores.append((worker.active, worker.cpu, full))
        self.samples.append(_Sample(worker.active, worker.rss, worker.cpu if full else None))

    def want(self, until: float) -> float | None:
        """Cores that it takes on an idle node: its mean there, else nearly the most that it got; None: unknown.

        ``until``: its active seconds in the end; readings that may reach beyond are left out."""
        cores = [one for at, one, _ in self._cores if at < until - WINDOW]
        idle = [one for at, one, full in self._cores if at < until - WINDOW and not full]
        if len(idle) >= ENOUGH:
            return max(mean(idle), LEAST_CORES)
        return max(quantiles(cores, n=10)[-1], LEAST_CORES) if len(cores) >= ENOUGH else None


class _Sample(NamedTuple):
    active: float  # seconds
    rss: int
    cores: float | None  # while the node was full; None: it was not


class _Task(NamedTuple):
    pool: str
    life: "_Life | None"
    exit: ExitSeen
    full: bool  # the node, when it ended


class Recorder:
    """Takes the looks of one run, in their order."""

    def __init__(self, run: str) -> None:
        self._run = run
        self._first: Seen | None = None
        self._last: Seen | None = None
        self._swept: float | None = None
        self._lives: dict[str, _Life] = {}
        self._tasks: list[_Task] = []
        self._pools: dict[str, PoolSeen] = {}
        self._arrived: dict[str, float] = {}
        self._others: list[tuple[float, float, float]] = []  # at, bytes, cores
        self._ended_at = 0.0
        self._late = False
        self._kinds: dict[str, Kind] = {}

    def look(self, seen: Seen, memory: Memory) -> None:
        """``memory``: what was remembered before it."""
        mine = [worker for worker in seen.workers if self._is_mine(worker.pool)]
        pools = [pool for pool in seen.pools if pool.run == self._run]
        exits = [gone for gone in seen.exits if self._is_mine(gone.pool)]
        if not (mine or pools or exits):
            return
        if self._first is None:
            self._first, self._late, self._kinds = seen, bool(mine), memory.kinds
        self._last = seen
        for pool in pools:
            self._pools[pool.id] = pool
            self._arrived.setdefault(pool.id, seen.now)
        if seen.swept is not None and seen.swept != self._swept:
            self._swept = seen.swept
            self._sweep(seen, mine)
        for gone in exits:
            self._gone(gone, seen)

    def _is_mine(self, pool: str) -> bool:
        return pool.rpartition("/")[0] == self._run

    def _sweep(self, seen: Seen, mine: Sequence[WorkerSeen]) -> None:
        full = _is_full(seen)
        for worker in mine:
            self._lives.setdefault(worker.id, _Life()).note(worker, full=full)
        if seen.swept_available is not None:
            held = sum(worker.rss or 0 for worker in mine)
            cores = sum(worker.cpu or 0.0 for worker in seen.workers if not self._is_mine(worker.pool))
            if seen.busy is not None and seen.busy - seen.own > NOISE * seen.cpus:
                cores += seen.busy - seen.own
            self._others.append((seen.now, max(0.0, seen.total - seen.swept_available - held), cores))

    def _gone(self, gone: ExitSeen, seen: Seen) -> None:
        life = self._lives.pop(gone.id, None)
        self._ended_at = seen.now
        if gone.outcome in (Outcome.DONE, Outcome.FAILED, Outcome.BURIED):
            self._tasks.append(_Task(gone.pool, life, gone, _is_full(seen)))

    def made(self) -> Recorded | None:
        """None: no task of the run ended in what was recorded."""
        if self._first is None or self._last is None or not self._tasks:
            return None
        began = self._first.now
        wants = {pool: _want(self._tasks, pool) for pool in self._pools}
        pools = [self._pool(id, pool, wants[id], began) for id, pool in sorted(self._pools.items())]
        world = {
            "name": self._run,
            "group": "recorded",
            "about": "a run that was, from its black box",
            "node": {"cpus": self._first.cpus, "memory": self._first.total},
            "foreign": [
                *_skyline(self._of_others(1), began, "memory"),
                *_skyline(self._of_others(2), began, "threads"),
            ],
            "pools": [pool for pool in pools if pool["each"]],
        }
        makespan = self._ended_at - began
        limits = next(iter(self._pools.values())).limits
        return Recorded(world, self._kinds, limits, makespan, len(self._tasks), len(self._lives), self._late)

    def _pool(self, id: str, pool: PoolSeen, want: float, began: float) -> dict[str, Any]:
        tasks = sorted((task for task in self._tasks if task.pool == id), key=_started)
        told: dict[str, Any] = {
            "name": id.rpartition("/")[2],
            "run": self._run,
            "kind": pool.kind,
            "priority": pool.priority,
            "arrive": self._arrived[id] - began,
            "pause": "auto" if pool.pausable else "never",
            "limits": limits_of(pool.limits),
            "each": [_sort(task, want) for task in tasks],
        }
        return told if pool.max_workers is None else {**told, "max_workers": pool.max_workers}

    def _of_others(self, which: int) -> list[tuple[float, float]]:
        """Means over at most `STEPS` stretches; memory or cores."""
        size = max(1, len(self._others) // STEPS)
        stretches = (self._others[at : at + size] for at in range(0, len(self._others), size))
        return [(part[0][0], sum(one[which] for one in part) / len(part)) for part in stretches]


def _is_full(seen: Seen) -> bool:
    return seen.busy is None or seen.busy >= FULL * seen.cpus


# --------------------------------------------------------------------------------------------------------------- tasks


def _started(task: _Task) -> tuple[float, str]:
    """Order of starts; who was too short to be swept stands where its number is."""
    return (int(task.exit.id.rpartition(".")[2]), task.exit.id)


def _want(tasks: Iterable[_Task], pool: str) -> float:
    """Cores that one of the pool takes where there are enough."""
    mine = [task for task in tasks if task.pool == pool]
    idle = [want for task in mine if (want := _own_want(task)) is not None]
    if idle:
        return median(idle)
    means = [task.exit.cpu_seconds / task.exit.active for task in mine if task.exit.active > 0]
    return max(max(means, default=1.0), LEAST_CORES)


def _own_want(task: _Task) -> float | None:
    return task.life.want(task.exit.active) if task.life is not None else None


def _sort(task: _Task, usual: float) -> dict[str, Any]:
    """One task as a world has it."""
    life, gone = task.life, task.exit
    want = _own_want(task) or usual
    curve = list(_curve(life, want)) if life is not None else []
    seconds = max(_idle_seconds(task, want), LEAST_SECONDS)
    peak = max(gone.peak, max((rss for _, rss in curve), default=0))
    threads = max(1, round(want)) if want > 1 else 1
    told: dict[str, Any] = {"seconds": seconds, "memory": peak, "cpu": min(1.0, want / threads), "threads": threads}
    if peak and len(curve) > 1:
        told["shape"] = _shape(curve, seconds, peak)
    return told


def _curve(life: _Life, want: float) -> Iterator[tuple[float, int]]:
    """(progress in seconds of an idle node, bytes)."""
    at = before = 0.0
    for sample in life.samples:
        at += (sample.active - before) * _speed(sample, want)
        before = sample.active
        yield at, sample.rss


def _speed(sample: _Sample, want: float) -> float:
    return 1.0 if sample.cores is None else min(1.0, max(sample.cores / want, 0.05))


def _idle_seconds(task: _Task, want: float) -> float:
    life, gone = task.life, task.exit
    if life is None or len(life.samples) < FEW:
        return min(gone.active, gone.cpu_seconds / want) if task.full else gone.active
    last = life.samples[-1]
    worked = sum((b.active - a.active) * _speed(b, want) for a, b in pairwise(life.samples))
    worked += life.samples[0].active * _speed(life.samples[0], want)
    return worked + max(0.0, gone.active - last.active) * _speed(last, want)


def _shape(curve: list[tuple[float, int]], seconds: float, peak: int) -> list[tuple[float, float]]:
    """Points of progress and share, thinned so that each stretch keeps its greatest."""
    size = max(1, -(-len(curve) // POINTS))
    parts = [curve[at : at + size] for at in range(0, len(curve), size)]
    points: list[tuple[float, float]] = []
    for part in parts:
        progress, rss = max(part, key=lambda point: point[1])
        share = min(max(0.0, progress / seconds), 1.0)
        if not points or share > points[-1][0] + 1e-6:
            points.append((share, rss / peak))
    return points


# -------------------------------------------------------------------------------------------------------------- others


def _skyline(levels: list[tuple[float, float]], began: float, what: str) -> Iterator[dict[str, Any]]:
    """Blocks that stand on each other: each rise begins one, each fall ends the latest. The first is there from the
    beginning, the last stays."""
    if not levels:
        return
    least = COARSE * max(level for _, level in levels)
    standing: list[tuple[float, float, float]] = []  # since, height, ramp
    top = 0.0
    before = 0.0
    for at, level in levels:
        now = max(0.0, at - began)
        if level > top + least:
            standing.append((before if standing else 0.0, level - top, now - before if standing else 0.0))
            top = level
        while standing and level < top - least:
            since, height, ramp = standing.pop()
            fall = min(height, top - level)
            top -= fall
            if height - fall > least:
                standing.append((since, height - fall, ramp))
            yield _block(what, since, fall, ramp, now)
        before = now
    for since, height, ramp in standing:
        yield _block(what, since, height, ramp, None)


def _block(what: str, since: float, height: float, ramp: float, until: float | None) -> dict[str, Any]:
    told: dict[str, Any] = {"from": since, what: int(height) if what == "memory" else height}
    if what == "memory" and ramp:
        told["ramp"] = ramp
    return told if until is None else {**told, "until": max(until, since + LEAST_SECONDS)}


# -------------------------------------------------------------------------------------------------------------- limits

_AMOUNTS = ("cpu", "memory", "memory_pause", "memory_end", "workers_memory", "workers_cpu", "swap")
_FIGURES = ("memory_gap", "memory_per_worker", "memory_need", "max_pause", "give_up")


def limits_of(limits: Limits) -> dict[str, Any]:
    """As a world's pool has them: what is not the default, ``cpu`` only where it is a promise or off."""
    told: dict[str, Any] = {}
    for name in (*_AMOUNTS, *_FIGURES):
        value = getattr(limits, name)
        if value != getattr(Limits(), name):
            told[name] = "off" if value is None else _text(value) if isinstance(value, Amount) else value
    return told


def _text(amount: Amount) -> str:
    if amount.share is not None:
        return f"{amount.share:.4%}"
    whole = amount.absolute or 0.0
    return str(int(whole)) if whole.is_integer() else repr(whole)
