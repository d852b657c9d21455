"""What people are told of a run while it works and when it is over. All of it goes to stderr."""

import math
import os
import signal
import stat
import time
from collections.abc import Iterable, Sequence

from ..act.asks import Words
from ..act.reap import Left
from ..act.worker import Exit, Worker
from ..masking import masked
from ..model import Figures, Outcome, Reason, TaskCounts, Verdict, Why, WorkerState
from ..record.events import EventLog
from ..record.report import Summary, last_line
from ..record.sentences import present_reason, statement
from ..show.progress import Pace, Progress
from ..show.text import saying
from ..show.writer import ProgressWriter
from ..sources.base import Task
from .counts import Counts
from .halting import Halting
from .job import Job
from .records import Ended

EVENT = 1.0
"""Seconds between two events of progress."""
SUMMARY = (
    "done",
    "failed",
    "buried",
    "given_back",
    "returned_done",
    "before",
    "left",
    "pauses",
    "paused_for",
    "kernel_kills",
    "peak_memory",
    "memory",
    "seconds",
    "message",
)
"""What the event of the end says."""
NO_MANAGER = Why(Reason.NO_LOAD_MANAGER)


NOBODYS = (
    "it has left the worker's session, parent and environment, so that only a control group of the worker's own "
    "would have told whose it is"
)
SAYINGS = 3
"""Workers that are shown with what they say of themselves."""
TOLD = 10
"""Tasks that failed and are named; the others are only counted."""
WORDS = 200
"""Characters of a task's last words in a message."""
SHOWN = 60
"""Characters of a value that a message has."""


class Teller:
    """Shows progress and messages of one run; ``quiet`` leaves messages only. A program that the run is a guest in is
    told both instead of people."""

    def __init__(self, job: Job, events: EventLog | None = None) -> None:
        self._job = job
        self._audience = job.audience
        self._events = events
        self._event_at = 0.0
        self._told = 0
        self._began = time.monotonic()
        self.writer = ProgressWriter(job.stderr, self._began, block=job.settings.bar or not _is_pipe(job.stdout))
        self._pace = Pace()
        self._figures: Figures | None = None

    def due(self) -> float:
        """When `show` wants to be called."""
        return min(self._due(), self._audience.due if self._audience is not None else math.inf)

    def _due(self) -> float:
        """... for those who look."""
        if self._events is not None:
            return self._event_at
        return math.inf if self._job.settings.quiet or self.writer.dead else self.writer.due

    def heard(self, verdict: Verdict) -> None:
        self._figures = verdict.figures or self._figures

    def say(self, text: str) -> None:
        """A message that people should see, quiet or not."""
        if self._events is not None:
            self._events.put("message", text=text)
        elif self._audience is None:
            self.writer.say(f"loadkeeper: {text}")
        if self._audience is not None:
            self._audience.said(text)

    def settled(self, ended: Ended) -> None:
        """Which task failed, and how; the job log and the journal have all of them."""
        task, outcome, left, roomless, _, said = ended
        if outcome is Outcome.DONE or self._events is not None:
            return
        self._told += 1
        if self._told == TOLD + 1:
            self.say(f"more tasks than these {TOLD} have failed; --joblog FILE lists them all")
        elif self._told <= TOLD:
            told = statement(left.ended_for) if left.ended_for else how(left)
            told = f"a disk was full while it ran, so that its output may be cut ({told})" if roomless else told
            if task.failures > 1:
                told += f", after {task.failures} tries"
            if said and (task.failures > 1 or self._job.settings.results is not None):
                told += f"; it said last: {readable(said.splitlines()[-1], WORDS)}"
            self.say(f"{task_name(task)} {'is buried' if outcome is Outcome.BURIED else 'failed'}: {told}")

    def left(self, left: Sequence[Left]) -> None:
        """Processes that outlive the run."""
        for pid, command, why in left[:TOLD]:
            self.say(f"left behind: process {pid} ({command}), which a worker has started; {why or NOBODYS}")
        if len(left) > TOLD:
            self.say(f"left behind: {len(left) - TOLD} processes more")

    def show(
        self, now: float, tasks: TaskCounts, workers: Iterable[Worker], verdict: Verdict | None, fault: str
    ) -> None:
        """Progress, if it is time for it."""
        if now < self.due():
            return
        progress = self._progress(now, tasks, list(workers), verdict, fault)
        if self._audience is not None and now >= self._audience.due:
            self._audience.progressed(progress, now)
        if now < self._due():
            return
        if self._events is not None:
            self._event_at = now + EVENT
            self._events.put(
                "progress",
                tasks=tasks,
                paused=progress.paused,
                gauges=progress.gauges or None,
                reason=progress.reason or None,
                fault=fault or None,
            )
        else:
            self.writer.update(progress, now)

    def _progress(
        self, now: float, tasks: TaskCounts, workers: list[Worker], verdict: Verdict | None, fault: str
    ) -> Progress:
        finished = tasks.done + tasks.failed + tasks.buried
        self._pace.note(now, finished)
        remaining = None if tasks.waiting is None else tasks.waiting + tasks.running
        return Progress(
            name=self._job.name,
            tasks=tasks,
            paused=sum(worker.state is WorkerState.PAUSED for worker in workers),
            ending=sum(worker.state is WorkerState.ENDING for worker in workers),
            gauges=self._figures.gauges if self._figures else {},
            reason=self._reason(tasks, workers, verdict),
            elapsed=now - self._began,
            left=self._pace.left(now, finished, remaining),
            fault=fault,
            saying=_sayings(workers),
        )

    def _reason(self, tasks: TaskCounts, workers: list[Worker], verdict: Verdict | None) -> str:
        if verdict is None:
            return present_reason(NO_MANAGER)
        pool = verdict.pools.get(self._job.pool)
        paused = [w.paused_why for w in workers if w.state is WorkerState.PAUSED and w.paused_why is not None]
        ending = [w.ended_for for w in workers if w.state is WorkerState.ENDING and w.ended_for is not None]
        more = pool.why if pool is not None and tasks.waiting != 0 else None
        return present_reason(more, paused, ending, self._job.kind)

    def summary(self, counts: Counts, halting: Halting, left: int | None) -> Summary:
        """``left``: tasks that are not done; None: nobody knows how many."""
        figures = self._figures
        return Summary(
            done=counts.done,
            failed=counts.failed,
            buried=counts.buried,
            given_back=counts.given_back,
            returned_done=counts.returned_done,
            before=counts.before,
            left=left,
            pauses=counts.pauses,
            paused_for=counts.paused_for,
            kernel_kills=counts.kernel_kills,
            peak_memory=figures.peak_memory if figures else None,
            memory=figures.memory if figures else None,
            memory_of="workers" if self._job.settings.limits.workers_memory is not None else "node",
            seconds=time.monotonic() - self._began,
            critical=halting.critical,
            stopped=halting.exit_code,
            message=halting.brief,
            parallel=self._job.settings.exit_parallel,
            halted=halting.parallel_code,
        )

    def close(self, summary: Summary, *, quiet: bool = False) -> None:
        """``quiet``: without a last line, for an error is told instead."""
        quiet = quiet or self._job.settings.quiet or self._events is not None
        self.writer.close("" if quiet else last_line(summary))
        if self._events is not None:
            figures = {name: getattr(summary, name) for name in SUMMARY}
            self._events.put("summary", exit_code=summary.exit_code, **figures)
            self._events.close()


def _sayings(workers: Iterable[Worker]) -> list[str]:
    """``task 3 (a.wav): 40 %, page 12``, of the first few that say something."""
    told = []
    for worker in workers:
        words = worker.words if worker.ask is None or worker.words != Words() else worker.ask.words
        said = saying(words.progress, readable(words.text.encode(), WORDS))
        if said and isinstance(worker.task, Task):
            told.append(f"{task_name(worker.task)}: {said}")
        if len(told) == SAYINGS:
            break
    return told


def _is_pipe(descriptor: int) -> bool:
    """Whoever reads it may write to the same terminal (`| less`, `| tee`), where a block would be in its way."""
    kind = os.fstat(descriptor).st_mode
    return stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind)


def task_name(task: Task) -> str:
    """A task as messages name it: `task 3 (a.wav)`."""
    return f"task {task.number} ({readable(task.value, SHOWN)})" if task.values else f"task {task.number}"


def readable(text: bytes, most: int) -> str:
    """At most so many characters, and none that a terminal would act on."""
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in masked(text.decode("utf-8", "backslashreplace")))
    return shown if len(shown) <= most else shown[: most - 3] + "..."


def worker_name(worker: Worker) -> str:
    """A worker as messages name it: `worker 3f9a12c4.7 of task 3 (a.wav), pid 4711`."""
    task = worker.task
    assert isinstance(task, Task)
    if not task.number:
        return f"worker {worker.id}, pid {worker.process.pid}"
    return f"worker {worker.id} of {task_name(task)}, pid {worker.process.pid}"


def how(left: Exit) -> str:
    if left.code < 0:
        return "its exit code is unknown: something in this process has waited for any child, as os.wait() does"
    if not left.signal:
        return f"exit code {left.code}"
    try:
        name = signal.Signals(left.signal).name
    except ValueError:
        name = f"signal {left.signal}"
    return f"killed by {name}"
