"""What the load manager is told: the run's whole state."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, cast

from ..act.asks import Words
from ..act.worker import Exit, Worker
from ..linux.process import own_peak
from ..masking import masked
from ..model import Outcome, PoolReport, Report, RunState, TaskCounts, Want, WorkerExit, WorkerReport
from ..settings import RunSettings

SHOWN = 60
"""Characters of a value that people are shown."""
LOOKED_AT = 4096
"""Bytes of it in which a password is looked for: one that is cut in two would not be known for one."""
NOTHING = Words()


class Reported(Protocol):
    """A run, as far as the load manager hears of it."""

    @property
    def run(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def pool(self) -> str: ...
    @property
    def settings(self) -> RunSettings: ...


class Work(Protocol):
    """What a worker is at: its ``task``. Number 0: it waits for the next."""

    @property
    def number(self) -> int: ...
    @property
    def value(self) -> bytes: ...
    @property
    def floor(self) -> int: ...


@dataclass
class Reports:
    """Makes the messages of one run, numbered. Exits are told again until the load manager has confirmed them."""

    job: Reported
    number: int = 0
    exits: list[WorkerExit] = field(default_factory=list)
    wants: dict[str, Want] = field(default_factory=dict)
    changes: dict[str, str] = field(default_factory=dict)
    troubles: Mapping[int, object] = field(default_factory=dict)
    deadline: Callable[[Worker], float | None] | None = None  # until when its task must be answered
    _exit_number: int = 0
    _own_peak: int = 0

    def exited(self, worker: Worker, left: Exit, outcome: Outcome, by_kernel: bool, now: float) -> None:
        """A worker is gone: the load manager learns from it."""
        self._exit_number += 1
        exit = WorkerExit(
            number=self._exit_number,
            n=worker.n,
            pool=worker.pool,
            kind=self.job.kind,
            peak=left.peak,
            cpu_seconds=left.cpu_seconds,
            active=worker.active(now),
            outcome=outcome,
            at=now,
            peak_is_bound=self.is_bound(left.peak),
            killed_by_kernel=by_kernel,
        )
        self.exits.append(exit)

    def is_bound(self, peak: int) -> bool:
        """A child's peak that is not above our own says nothing of the child. Ours only grows: what is not above what
        it was once needs no look."""
        if peak > self._own_peak:
            self._own_peak = own_peak()
        return peak <= self._own_peak

    def confirmed(self, number: int) -> None:
        """Exits up to this one were heard."""
        self.exits = [gone for gone in self.exits if gone.number > number]

    def make(  # noqa: PLR0913, PLR0917 - the parts of a report
        self,
        workers: Collection[Worker],
        tasks: TaskCounts,
        waiting: int | None,
        state: RunState,
        sensors: dict[str, float | None],
        heard: int,
        now: float,
    ) -> Report:
        """``waiting``: so many workers more would have something to do. ``heard``: the last verdict that was made
        true."""
        self.number += 1
        settings = self.job.settings
        pool = PoolReport(self.job.pool, self.job.kind, waiting, settings.priority, settings.jobs, settings.pause)
        live = self._live(workers, now)
        return Report(
            run=self.job.run,
            number=self.number,
            pools=[pool],
            workers=live,
            exits=self.exits,
            tasks=tasks,
            state=state,
            confirmed=heard,
            wants=self.wants,
            changes=self.changes,
            sensors=sensors,
        )

    def _live(self, workers: Iterable[Worker], now: float) -> list[WorkerReport]:
        troubles = self.troubles
        return [_worker(one, self._patience(one, now), now, str(troubles.get(one.n, ""))) for one in workers]

    def _patience(self, worker: Worker, now: float) -> float:
        """Of its pauses together: a task that must be answered is ended in time for that."""
        settings = self.job.settings
        by = self.deadline(worker) if self.deadline is not None else None
        if by is None:
            return settings.limits.max_pause
        return min(settings.limits.max_pause, worker.paused_in_all(now) + max(0.0, by - now - settings.grace))


def _worker(worker: Worker, patience: float, now: float, trouble: str) -> WorkerReport:
    task = cast(Work, worker.task)
    words = worker.words if worker.ask is None or worker.words != NOTHING else worker.ask.words
    return WorkerReport(
        n=worker.n,
        pool=worker.pool,
        task=str(task.number or ""),
        pid=worker.process.pid,
        start_time=worker.process.start_time,
        started=worker.started,
        state=worker.state,
        active=worker.active(now),
        paused_since=worker.paused_since,
        paused_for=max(0.0, worker.paused_for),
        floor=task.floor,
        patience=patience,
        leaf=worker.leaf.path if worker.leaf else None,
        value=masked(task.value[:LOOKED_AT].decode("utf-8", "backslashreplace"))[:SHOWN],
        trouble=trouble,
        asked=worker.asked_at is not None and not worker.stands_by_itself,
        stands=worker.stands_by_itself,
        progress=words.progress,
        saying=masked(words.text),
        need=words.need,
    )
