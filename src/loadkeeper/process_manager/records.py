"""What a run writes down: its journal, and the job log where one is wanted."""

import os
import time
from typing import NamedTuple

from msgspec.structs import replace

from ..act.worker import Exit
from ..model import Outcome, Why
from ..obey.acting import Act
from ..record.events import EventLog
from ..record.joblog import TIMED_OUT, Joblog, Line
from ..record.journal import NAME, Event, Fate, Header, Journal, Verb
from ..record.sentences import sentence, statement
from ..sources.base import Task
from .attempt import Attempt
from .job import Job

WORDS = 1000
"""Tasks of one run whose last words the journal has."""
NOT_EXECUTED = 127
"""Exit code of a command that could not be executed, as a shell says it."""


class Ended(NamedTuple):
    """A task that has met its fate, until its output is out."""

    task: Task
    outcome: Outcome
    left: Exit
    roomless: bool  # a disk was full while it ran
    line: Line | None  # for the job log
    said: bytes = b""  # the end of its output, of one that failed


class Records:
    """Raises UsageError when the job log cannot be written: before anything is started."""

    def __init__(self, job: Job, events: EventLog | None = None) -> None:
        self._job = job
        self._events = events
        self._words = 0
        settings = job.settings
        again = settings.resume or settings.resume_failed
        self._joblog = Joblog.open(settings.joblog, append=again) if settings.joblog else None
        header = Header(job.run, job.name, job.template.shown, os.getpid(), time.time())
        self._journal = Journal.open(f"{job.state_dir}/{NAME}", header)

    @property
    def held(self) -> bool:
        """The disk does not take what is written: nothing new should be started."""
        journal, joblog, events = self._journal, self._joblog, self._events
        return journal.full or (joblog is not None and joblog.full) or (events is not None and events.full)

    @property
    def fault(self) -> str:
        """What cannot be written at the moment, for people; empty when all is well."""
        kept = (self._journal, self._joblog, self._events)
        return next((one.fault for one in kept if one is not None and one.fault), "")

    def started(self, attempt: Attempt) -> None:
        """The journal knows it by how it ends."""
        if self._events is None:
            return
        task, worker = attempt.task, attempt.worker
        self._events.put(
            "start", task=task.number, value=task.value, attempt=task.attempts, worker=worker.id, pid=worker.process.pid
        )

    def finished(  # noqa: PLR0913 - a row
        self,
        attempt: Attempt,
        outcome: Outcome,
        again: bool,
        left: Exit,
        now: float,
        *,
        lives: bool = False,
        peak_known: bool = True,
        said: bytes = b"",
    ) -> Line | None:
        """How an attempt ended. The task's line for the job log comes back, for `log` once its output is out.
        ``lives``: its worker is kept, so that nobody knows what the attempt alone took. ``peak_known``: its peak is
        its own, not ours from before its exec."""
        task, worker = attempt.task, attempt.worker
        fate = Fate(
            task=task.number,
            value=task.value,
            attempt=task.attempts,
            worker=worker.n,
            outcome=outcome,
            again=again,
            code=left.code,
            signal=left.signal,
            began=attempt.began,
            seconds=now - attempt.started,
            paused=attempt.paused(now),
            peak=left.peak if peak_known and not lives else None,
            cpu=None if lives else left.cpu_seconds,
            why=left.ended_for,
            said=self._kept(said),
        )
        self._journal.outcome(fate)
        self._told(fate)
        if again or self._joblog is None:
            return None
        code, signal = TIMED_OUT if left.timed_out else (left.code, left.signal)
        return self._line(task, attempt.began, now - attempt.started, code, signal)

    def _kept(self, said: bytes) -> bytes:
        """Last words for the journal: a run of a million failures keeps those of the first."""
        self._words += bool(said)
        return said if self._words <= WORDS else b""

    def log(self, line: Line | None, received: int = 0) -> None:
        """The task is done with, and its output is out. ``received``: bytes it wrote to stdout."""
        if line is not None and self._joblog is not None:
            self._joblog.add(replace(line, received=received))

    def refused(self, task: Task, outcome: Outcome) -> None:
        """Its command could not be executed."""
        fate = Fate(task.number, task.value, task.attempts, 0, outcome, False, code=NOT_EXECUTED, signal=0)
        self._journal.outcome(fate)
        self._told(fate)
        self.log(self._line(task, time.time(), 0.0, NOT_EXECUTED, 0))

    def _told(self, fate: Fate) -> None:
        if self._job.audience is not None:
            self._job.audience.finished(fate)
        if self._events is None:
            return
        self._events.put(
            "finish",
            task=fate.task,
            value=fate.value,
            attempt=fate.attempt,
            worker=f"{self._job.run}.{fate.worker}" if fate.worker else None,
            outcome=fate.outcome,
            again=fate.again,
            code=fate.code,
            signal=fate.signal,
            seconds=fate.seconds,
            paused=fate.paused,
            peak_memory=fate.peak,
            cpu_seconds=fate.cpu,
            why=statement(fate.why) if fate.why else None,
        )

    def _line(self, task: Task, began: float, seconds: float, code: int, signal: int) -> Line:
        return Line(task.number, began, seconds, 0, code, signal, self._job.template.text(task))

    def acted(self, act: Act) -> None:
        """Something was done to a worker."""
        task = act.worker.task
        assert isinstance(task, Task)
        self._journal.event(Event(time.time(), act.verb, act.worker.id, task.number, act.why))
        if self._events is not None:
            why = sentence(act.why) if act.why else None
            self._events.put(act.verb.value, task=task.number, worker=act.worker.id, why=why)

    def happened(self, verb: Verb, why: Why | None = None, amount: float | None = None) -> None:
        """Something that concerns the whole run."""
        self._journal.event(Event(time.time(), verb, self._job.run, None, why, amount))

    def close(self) -> str:
        """Write what is left; what could not be written, for people."""
        faults = [] if self._journal.close() else [f"the journal is not complete: {self._journal.fault}"]
        if self._joblog is not None and not self._joblog.close():
            faults.append(f"the job log is not complete: {self._joblog.fault}")
        return "; ".join(faults)
