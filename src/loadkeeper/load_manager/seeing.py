"""From what the runs report and the sensors measure to what `decide` is shown."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from ..model import (
    ExitSeen,
    PauseMode,
    PoolSeen,
    Seen,
    Want,
    WorkerExit,
    WorkerReport,
    WorkerSeen,
    WorkerState,
)
from ..sense.node import NodeReading
from ..sense.own import Own
from ..sense.workers import WorkerReading, WorkerSensor
from .runs import Run

Readings = Mapping[str, WorkerReading]
"""By worker id."""


@dataclass
class Obedience:
    """How long workers take to stand after they were to be paused."""

    asked: dict[str, float] = field(default_factory=dict)
    stood: dict[str, float] = field(default_factory=dict)

    def note(self, paused: Collection[str], readings: Readings, gently: Collection[str], now: float) -> None:
        """``gently``: those that are asked at their checkpoints, and were sent no signal."""
        for worker in paused:
            if worker in gently:
                continue
            asked = self.asked.setdefault(worker, now)
            reading = readings.get(worker)
            if worker not in self.stood and reading is not None and reading.stopped:
                self.stood[worker] = now - asked
        for worker in [w for w in self.asked if w not in paused or w in gently]:
            del self.asked[worker]
            self.stood.pop(worker, None)

    def of(self, worker: str, now: float) -> float | None:
        """Seconds until it stood; what has passed so far while it does not; None when it was not asked."""
        if worker not in self.asked:
            return None
        return self.stood.get(worker, now - self.asked[worker])

    def watch(self) -> list[str]:
        """Whose state matters at each look: those that are to stand."""
        return list(self.asked)


def asked_gently(runs: Iterable[Run]) -> set[str]:
    """Workers that are asked at their checkpoints to stand, or stand there, with no signal sent."""
    return {run.worker_id(one.n) for run in runs for one in run.workers() if one.asked or one.stands}


class Picture(NamedTuple):
    """What the sensors and the watch over pauses say at one look."""

    node: NodeReading
    sensor: WorkerSensor
    own: Own
    obedience: Obedience
    throttled: Collection[str]  # workers that stand for a part of each 200 ms
    swept: float
    swept_available: int | None


def see(runs: list[Run], picture: Picture, jitter: float) -> Seen:
    """One picture of everything. The exits of each run are taken in: they are in no later picture."""
    node = picture.node
    workers: list[WorkerSeen] = []
    exits: list[ExitSeen] = []
    wants: dict[str, Want] = {}
    for run in runs:
        kinds = {pool.name: pool.kind for pool in run.report.pools} if run.report else {}
        workers += [_worker(run, worker, kinds, picture) for worker in run.workers()]
        exits += [_exit(run, gone, picture.sensor.life(run.worker_id(gone.n))) for gone in run.exits]
        run.exits = []
        wants |= {name: want for name, want in run.wants.items() if "/" not in name}
    return Seen(
        now=node.now,
        total=node.total,
        cpus=node.cpus,
        available=node.available,
        busy=node.busy,
        own=picture.own.own if node.busy is None else picture.own.within(node.busy),
        gauges=dict(node.gauges),
        dirty=node.dirty,
        swap_total=node.swap_total,
        swept=picture.swept or None,
        swept_available=picture.swept_available,
        workers=tuple(workers),
        pools=tuple(pool for run in runs for pool in _pools(run, node.now)),
        exits=tuple(exits),
        sensors={run.id: run.sensors(node.now) for run in runs if run.report is not None and run.report.sensors},
        wants=wants,
        jitter=jitter,
    )


def _worker(run: Run, worker: WorkerReport, kinds: Mapping[str, str], picture: Picture) -> WorkerSeen:
    now = picture.node.now
    identity = run.worker_id(worker.n)
    reading = picture.sensor.readings.get(identity)
    obeyed = picture.obedience.of(identity, now)
    state = state_of(worker, reading, throttled=identity in picture.throttled)
    if worker.n in run.asked:
        state = WorkerState.ENDING
    since = 0.0 if state is WorkerState.PAUSED else max(0.0, now - run.heard_at)
    return WorkerSeen(
        id=run.worker_id(worker.n),
        pool=run.pool_id(worker.pool),
        kind=kinds.get(worker.pool, worker.pool),
        state=state,
        started=worker.started,
        active=worker.active + since,
        paused_since=worker.paused_since,
        paused_for=worker.paused_for,
        patience=worker.patience,
        floor=worker.floor,
        rss=reading.rss if reading else None,
        processes=reading.processes if reading else 1,
        cpu=reading.cpu if reading else None,
        cpu_seconds=reading.cpu_seconds if reading else 0.0,
        exiting=reading.exiting if reading else False,
        obeyed=obeyed,
        need=worker.need,
    )


def state_of(worker: WorkerReport, reading: WorkerReading | None, *, throttled: bool = False) -> WorkerState:
    """What is so, where the kernel shows it, or the worker itself says that it stands. A report tells what its process
    manager wants to be so: one that is paused there runs on until it obeys, and one that is to go on may be told so
    already."""
    if worker.state is WorkerState.ENDING or reading is None:
        return worker.state
    if worker.stands:
        return WorkerState.PAUSED
    return WorkerState.PAUSED if reading.stopped and not throttled else WorkerState.RUNNING


def _pools(run: Run, now: float) -> list[PoolSeen]:
    if run.report is None:
        return []
    return [
        PoolSeen(
            id=run.pool_id(pool.name),
            run=run.id,
            kind=pool.kind,
            waiting=pool.waiting,
            priority=pool.priority if run.changed.priority is None else run.changed.priority,
            max_workers=pool.max_workers if run.changed.jobs is None else run.changed.jobs,
            pausable=pool.pause is not PauseMode.NEVER,
            limits=run.changed.limits,
            want=_want(run, pool.name),
            silent=run.silent(now),
        )
        for pool in run.report.pools
    ]


def _want(run: Run, pool: str) -> Want:
    """The sterner of what the operator wants of the run and of the pool."""
    order = (Want.RUN, Want.PAUSE, Want.DRAIN, Want.STOP)
    return max(run.want, run.wants.get(run.pool_id(pool), Want.RUN), key=order.index)


def _exit(run: Run, gone: WorkerExit, life: tuple[int, int] | None) -> ExitSeen:
    """``ru_maxrss`` of a child smaller than its process manager is the manager's own: an upper bound, used only where
    no sweep saw the worker."""
    largest, mean = life or (0, None)
    peak = gone.peak if life is None or not gone.peak_is_bound else 0
    return ExitSeen(
        id=run.worker_id(gone.n),
        pool=run.pool_id(gone.pool),
        kind=gone.kind,
        peak=max(largest, peak),
        mean=mean,
        cpu_seconds=gone.cpu_seconds,
        active=gone.active,
        outcome=gone.outcome,
        killed_by_kernel=gone.killed_by_kernel,
    )
