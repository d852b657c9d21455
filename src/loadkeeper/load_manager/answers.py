"""What the reading and steering verbs get from the load manager."""

from datetime import UTC, datetime
from typing import NamedTuple

from ..decide import Kind, Memory, likely_peak
from ..model import Decision, Reason, RunState, TaskCounts, Want, Why, WorkerReport, WorkerState
from ..record.sentences import end_sentence, sentence
from ..sense.node import NodeReading
from ..settings import change as apply
from ..settings import check_limits
from ..status import (
    CapacityStatus,
    KindStatus,
    NodeStatus,
    PoolStatus,
    RunStatus,
    Status,
    WorkerStatus,
)
from .figures import gauges, of_people
from .runs import Run
from .seeing import Readings


def iso(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).isoformat(timespec="milliseconds")


class View(NamedTuple):
    """What the last look saw and decided. ``epoch``: the wall clock at monotonic 0, for times that people read."""

    node: NodeReading
    decision: Decision
    memory: Memory
    readings: Readings
    epoch: float


def status(view: View, runs: list[Run], pid: int, began: float) -> Status:
    """How things stand. ``pid`` and ``began`` (seconds since the epoch) are the load manager's."""
    node = node_status(view, runs, pid, began)
    told = [_run(run, view) for run in sorted(runs, key=lambda run: run.hello.began)]
    return Status(node=node, nodes=[node], runs=told)


def node_status(view: View, runs: list[Run], pid: int, began: float) -> NodeStatus:
    """The gauges with the strictest lines of any run; of sensors of one name, the youngest run's."""
    node = view.node
    sensors = {name: value for run in runs for name, value in run.sensors(node.now).items()}
    told = gauges(node, sensors, view.decision.lines.values())
    bound = CapacityStatus(node.cpus, node.total, node.capacity.bound_by)
    return NodeStatus(pid, told, bound, iso(began))


def _run(run: Run, view: View) -> RunStatus:
    report = run.report
    state = report.state if report else RunState.RUNNING
    if run.want is Want.PAUSE:
        state = RunState.PAUSED
    elif run.want in (Want.DRAIN, Want.STOP):
        state = RunState.DRAINING
    if run.id in view.decision.critical:
        state = RunState.CRITICAL
    return RunStatus(
        id=run.id,
        name=run.hello.name,
        pid=run.hello.pid,
        node=0,
        lines=of_people(view.decision.lines.get(run.id, {}), view.node.cpus),
        state=state,
        tasks=report.tasks if report else TaskCounts(),
        pools=_pools(run, view),
        workers=[_worker(run, worker, view) for worker in run.workers()],
        command=run.hello.command,
        began=iso(run.hello.began),
        state_dir=run.hello.state_dir,
    )


def _pools(run: Run, view: View) -> list[PoolStatus]:
    pools = run.report.pools if run.report else []
    told = []
    for pool in pools:
        verdict = view.decision.pools.get(run.pool_id(pool.name))
        why = verdict.why if verdict else None
        told.append(
            PoolStatus(
                name=pool.name,
                slots=verdict.slots if verdict else 0,
                priority=pool.priority if run.changed.priority is None else run.changed.priority,
                kind=_kind(pool.kind, view.memory),
                why=sentence(why, subject=pool.name, kind=pool.kind) if why else "",
                reason=why,
            )
        )
    return told


def _kind(name: str, memory: Memory) -> KindStatus:
    """What was learned of the kind: its peak is the quantile that claims rest on."""
    kind = memory.kinds.get(name, Kind())
    return KindStatus(likely_peak(kind), kind.cpu, kind.count, name)


def _worker(run: Run, worker: WorkerReport, view: View) -> WorkerStatus:
    identity = run.worker_id(worker.n)
    reading = view.readings.get(identity)
    state, why = _state(run, worker, view)
    kinds = {pool.name: pool.kind for pool in run.report.pools} if run.report else {}
    return WorkerStatus(
        pid=worker.pid,
        pool=worker.pool,
        task=worker.task,
        state=state,
        why=_why(why, state, identity, kinds.get(worker.pool, "")),
        memory=reading.rss if reading else None,
        cpu=reading.cpu if reading else None,
        started=iso(view.epoch + worker.started),
        paused_for=worker.paused_for,
        id=identity,
        processes=reading.processes if reading else 1,
        reason=why,
        value=worker.value,
        trouble=worker.trouble,
        progress=worker.progress,
        saying=worker.saying,
    )


def _why(why: Why | None, state: WorkerState, worker: str, kind: str) -> str:
    if why is None:
        return ""
    return end_sentence(why) if state is WorkerState.ENDING else sentence(why, subject=worker, kind=kind)


def _state(run: Run, worker: WorkerReport, view: View) -> tuple[WorkerState, Why | None]:
    """What is wanted of it, for the process manager makes that true; its report may be a moment older."""
    identity = run.worker_id(worker.n)
    ending, paused = view.decision.ending.get(identity), view.decision.paused.get(identity)
    if ending is not None or worker.state is WorkerState.ENDING:
        return WorkerState.ENDING, ending.why if ending else None
    if paused is not None:
        return WorkerState.PAUSED, paused
    if worker.state is WorkerState.PAUSED:
        stands_with_its_run = run.report is not None and run.report.state is RunState.PAUSED
        return (WorkerState.PAUSED, Why(Reason.SUSPENDED)) if stands_with_its_run else (WorkerState.RUNNING, None)
    seen = worker.state is WorkerState.STARTING and identity in view.readings
    return (WorkerState.RUNNING if seen else worker.state), None


def steer(runs: list[Run], want: Want, names: list[str]) -> tuple[list[str], list[str]]:
    """Set what the operator wants; (whom it reached, names that nobody has)."""
    reached: list[str] = []
    unknown: list[str] = []
    for name in names or [run.id for run in runs]:
        found = [hit for run in runs if (hit := _steer_one(run, want, name))]
        reached += found
        if not found:
            unknown.append(name)
    return reached, unknown


def _steer_one(run: Run, want: Want, name: str) -> str | None:
    """A run by id or name (its only pool means the run), a pool as RUN/POOL or by its name, a worker by id or pid."""
    pools = [pool.name for pool in run.report.pools] if run.report else []
    if name in _names(run):
        run.want = want
        if want is Want.RUN:
            run.wants.clear()
        return run.id
    for pool in pools:
        if name in (run.pool_id(pool), pool):
            run.wants[run.pool_id(pool)] = want
            return run.pool_id(pool)
    for worker in run.workers():
        if name in (run.worker_id(worker.n), str(worker.pid)):
            run.wants[run.worker_id(worker.n)] = want
            return run.worker_id(worker.n)
    return None


def change(
    runs: list[Run], settings: dict[str, str], names: list[str], node: NodeReading | None
) -> tuple[list[str], list[str]]:
    """Change settings of whole runs; (whom it reached, names of no run). Raises SettingsError, and nothing changes."""
    for run in (run for run in runs if not names or not set(names).isdisjoint(_names(run))):
        limits = apply(run.hello.limits, {**run.changes, **settings}).limits
        if node is not None:
            check_limits(limits, node.total, node.cpus, node.capacity.bound_by)
    reached: list[str] = []
    unknown: list[str] = []
    for name in names or [run.id for run in runs]:
        found = [run for run in runs if name in _names(run)]
        for run in found:
            run.change(settings)
        reached += [run.id for run in found]
        if not found:
            unknown.append(name)
    return reached, unknown


def _names(run: Run) -> tuple[str, ...]:
    """A run by id or name; its only pool means the run."""
    pools = [pool.name for pool in run.report.pools] if run.report else []
    return (run.id, run.hello.name, *([run.pool_id(pools[0])] if len(pools) == 1 else []))
