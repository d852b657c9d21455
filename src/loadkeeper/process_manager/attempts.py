"""Tasks become attempts, and attempts fates: what is taken from the source, started, judged, tried again and told."""

import errno
import time

from ..act.worker import Exit, Worker
from ..linux.spawn import MachineFull, SpawnError
from ..model import Outcome, TaskCounts
from ..obey.crew import Crew
from ..obey.fate import Judge
from ..obey.reports import Reports
from ..record.events import EventLog
from ..sources.base import Task
from .again import Again
from .counts import Counts
from .crowd import Crowd
from .halting import Halting, Settled
from .job import Job
from .records import NOT_EXECUTED, Ended, Records
from .slots import Slots
from .starting import Starter
from .telling import Teller, task_name

TIMED_OUT_CODE = 255
"""Exit code by which GNU parallel counts an attempt that timed out."""
BATCH = 16
"""Starts at once: 16 take 8 ms, so a pause never waits long behind them."""
NO_ROOM = 1
"""Exit code of a task that said it went well and is not believed, for a disk was full while it ran."""
PASSED_OVER = 1000
"""Tasks that an earlier run has done and that are passed over at once."""
HELD_START = 0.1
"""Seconds until a start that the kernel refused (no process, no memory) is tried again."""


class Attempts:
    """Of one run. ``crew`` are those that are at work; the others are told what comes of it.

    Raises UsageError where ``--pause freeze`` is not possible, or the job log cannot be written."""

    def __init__(  # noqa: PLR0913, PLR0917 - whom it tells
        self, job: Job, crew: Crew, reports: Reports, halting: Halting, teller: Teller, events: EventLog | None
    ) -> None:
        self._job, self._crew, self._reports, self._halting, self._teller = job, crew, reports, halting, teller
        self.records = Records(job, events)
        self.starter = Starter(job, teller.say, events)
        self.starter.printer.before, self.starter.printer.after = teller.writer.hide, teller.writer.show
        self.counts = Counts()
        self.crowd = Crowd()
        self._again = Again(job.settings.retry_delay)
        self._judge = Judge(job.settings.tries)
        self._slots = Slots()
        self._next_n = 1
        self._start_at = 0.0
        self._fault = ""

    # ----------------------------------------------------------------------------------------------------- questions

    @property
    def over(self) -> bool:
        """No task is left that nobody works on."""
        return not self._again and self._job.source.exhausted()

    @property
    def held(self) -> bool:
        """What was done cannot be written down or printed fast enough: nothing more is to be started."""
        return self.starter.held or self.records.held

    def room(self, slots: int, now: float) -> int:
        """Of so many slots those that are free, as far as the machine makes processes."""
        live = len(self._crew)
        return int(min(slots - live, self.crowd.room(now, live)))

    def due(self, now: float) -> float:
        """When there is a task to start, if there is room."""
        ready = self._again.ready(now) or self._job.source.ready()
        return self._start_at if ready else self._again.due()

    def left(self) -> int | None:
        """Tasks that are not done; None: nobody knows how many."""
        waiting = self._job.source.waiting()
        return None if waiting is None else waiting + len(self._again) + len(self._crew)

    def tasks(self) -> TaskCounts:
        waiting = self._job.source.waiting()
        return self.counts.tasks(None if waiting is None else waiting + len(self._again), len(self._crew))

    def fault(self, now: float) -> str:
        """What keeps tasks from being started or told, for people."""
        fault = self.records.fault or self._fault or self.crowd.fault or self.starter.fault
        return fault or ("" if self._crew else self._again.told(now))

    # --------------------------------------------------------------------------------------------------------- start

    def start(self, room: int) -> bool:
        """Start workers, a batch at most; whether one was."""
        started = False
        if time.monotonic() < self._start_at:
            return started
        for _ in range(min(BATCH, room)):
            task = self._again.take(time.monotonic()) or self._take()
            if task is None:
                break
            worker = self._launch(task)
            started = started or worker is not None
            if self._halting.over or time.monotonic() < self._start_at:
                break
        return started

    def _take(self) -> Task | None:
        """The next task that no earlier run has done; None: none at the moment. Raises UsageError when the earlier run
        was of other tasks."""
        before, source = self._job.before, self._job.source
        if before is None:
            return source.take()
        for _ in range(PASSED_OVER):
            task = source.take()
            if task is None or task.number not in before:
                return task
            before.check(task.number, self._job.template.texts(task))
            self.counts.before += 1
            self.starter.printer.skip(task.number)
            source.done(task)
        return None

    def _launch(self, task: Task) -> Worker | None:
        """A worker for the task; None: it could not be started, now or ever."""
        n, self._next_n = self._next_n, self._next_n + 1
        task.attempts += 1
        task.slot = self._slots.take()
        try:
            worker = self.starter.start(n, task)
        except MachineFull as error:
            task.attempts -= 1
            self._slots.give(task.slot)
            self._again.refused(task)
            self._start_at = time.monotonic() + HELD_START
            self._fault = str(error)
            if error.errno == errno.EAGAIN:
                self.crowd.refused(time.monotonic(), len(self._crew))
            return None
        except SpawnError as error:
            self._slots.give(task.slot)
            self._refused(task, str(error), bury=error.errno == errno.E2BIG)
            return None
        self._crew.add(worker)
        self.records.started(worker)
        self._fault = ""
        if self._job.settings.delay:
            self._start_at = time.monotonic() + self._job.settings.delay
        return worker

    def _refused(self, task: Task, why: str, *, bury: bool) -> None:
        """The task's own command cannot be executed: it failed, as a shell would have said, with 127; or it can never
        be, whatever the machine."""
        outcome = Outcome.BURIED if bury else Outcome.FAILED
        self.counts.failed += not bury
        self.counts.buried += bury
        self.records.refused(task, outcome)
        self._teller.say(f"{task_name(task)}: {why}")
        self.starter.printer.skip(task.number)
        self._job.source.bury(task)
        self._may_halt(task, outcome, None)

    # -------------------------------------------------------------------------------------------------------- finish

    def finish(self, worker: Worker, left: Exit, now: float, *, bury: bool) -> Outcome:
        """A worker is gone: what becomes of its task. ``bury``: the load manager said that it can never fit."""
        task = worker.task
        assert isinstance(task, Task)
        by_kernel, roomless = self._judge.by_kernel(left), self.starter.was_roomless(worker, now)
        crowded = self._was_crowded(worker, left, now)
        outcome, again = self._judge.judge(
            task, left, bury=bury, by_kernel=by_kernel, roomless=roomless, crowded=crowded * len(self._crew)
        )
        if roomless and outcome is Outcome.FAILED and left.signal == 0:
            left = left._replace(code=left.code or NO_ROOM)
        self.counts.note(worker, outcome, again, by_kernel, now)
        peak_known = not self._reports.is_bound(left.peak)
        said = b"" if again or outcome is Outcome.DONE else self.starter.last_words(worker)
        line = self.records.finished(worker, outcome, again, left, now, peak_known=peak_known, said=said)
        ended = None if again else Ended(task, outcome, left, roomless, line, said)
        self.starter.finished(worker, task, now, shown=not again, roomless=roomless, receipt=ended)
        if ended is not None and self._job.settings.keep_order:
            self._teller.settled(ended)  # its output may wait for long
        self._reports.exited(worker, left, outcome, by_kernel, now)
        self._crew.drop(worker)
        self._slots.give(task.slot)
        self._settle(task, outcome, again, worker.active(now), now)
        if not again:
            self._may_halt(task, outcome, left)
        return outcome

    def _was_crowded(self, worker: Worker, left: Exit, now: float) -> bool:
        """It failed, and at some moment of its life no process could be made."""
        if left.code == left.signal == 0:
            return False
        self.crowd.look(now, len(self._crew), soon=True)
        return self.crowd.refused_since(worker.started)

    def _settle(self, task: Task, outcome: Outcome, again: bool, active: float, now: float) -> None:
        """Tell the source what became of its task. What comes again is kept here until there is room."""
        if again and outcome is Outcome.FAILED:
            self._again.failed(task, active, now)
        elif again:
            self._again.given_back(task)
        elif outcome is Outcome.DONE:
            self._job.source.done(task)
        else:
            self._job.source.bury(task)

    def _may_halt(self, task: Task, outcome: Outcome, left: Exit | None) -> None:
        """``left``: None, it could not be started."""
        rule, counts = self._job.settings.halt, self.counts
        if rule is None:
            return
        code = NOT_EXECUTED
        if left is not None:
            code = TIMED_OUT_CODE if left.timed_out else left.code or (128 + left.signal if left.signal else 0)
        finished, more = counts.done + counts.failed + counts.buried, self.left()
        settled = Settled(
            command=self._job.template.text(task),
            good=outcome is Outcome.DONE,
            code=code,
            done=counts.done,
            failed=counts.failed + counts.buried,
            total=None if more is None else more + finished,
        )
        self._halting.settled(rule, settled)

    def settle_printed(self) -> None:
        """The output of these tasks is where it belongs: now their lines go to the job log, their faults to people."""
        for ended, received in self.starter.receipts():
            self.records.log(ended.line, received)
            if not self._job.settings.keep_order:
                self._teller.settled(ended)
        for number, error in self.starter.printer.unread():
            self._teller.say(f"what task {number} wrote cannot be read from the disk: {error.strerror}")
            self._halting.unrecorded()
