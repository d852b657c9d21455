"""What the load manager is told: the run's whole state."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from ..act.worker import Worker
from ..model import PoolReport, Report, RunState, TaskCounts, Want, WorkerExit, WorkerReport
from ..sources.base import Task
from .job import Job

SHOWN = 60
"""Characters of a value that people are shown."""


@dataclass
class Counts:
    """What has happened to tasks so far."""

    done: int = 0
    failed: int = 0
    given_back: int = 0  # attempts that we ended
    buried: int = 0
    pauses: int = 0
    paused_for: float = 0.0
    kernel_kills: int = 0
    returned: set[int] = field(default_factory=set)  # numbers of tasks that were given back and are not done yet
    returned_done: int = 0


def report(
    job: Job,
    number: int,
    workers: Iterable[Worker],
    exits: list[WorkerExit],
    counts: Counts,
    state: RunState,
    confirmed: int,
    wants: dict[str, Want],
    retrying: int,
    now: float,
) -> Report:
    """The message for this moment."""
    settings = job.settings
    waiting = job.source.waiting()
    if waiting is not None:
        waiting += retrying
    live = [_worker(worker, settings.limits.max_pause, now) for worker in workers]
    pool = PoolReport(job.pool, job.kind, waiting, settings.priority, settings.jobs, settings.pause)
    tasks = TaskCounts(waiting, len(live), counts.done, counts.failed, counts.given_back, counts.buried)
    return Report(job.run, number, [pool], live, exits, tasks, state, confirmed, wants)


def _worker(worker: Worker, patience: float, now: float) -> WorkerReport:
    task = worker.task
    assert isinstance(task, Task)
    return WorkerReport(
        n=worker.n,
        pool=worker.pool,
        task=str(task.number),
        pid=worker.process.pid,
        start_time=worker.process.start_time,
        started=worker.started,
        state=worker.state,
        active=worker.active(now),
        paused_since=worker.paused_since,
        paused_for=worker.paused_for,
        floor=task.floor,
        patience=patience,
        leaf=worker.leaf.path if worker.leaf else None,
        value=task.value[:SHOWN].decode("utf-8", "backslashreplace"),
    )
