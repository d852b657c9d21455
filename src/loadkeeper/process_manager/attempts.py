"""Tasks become attempts, and attempts fates: what is taken from the source, started, judged, tried again and told."""

import errno
import math
import time
from typing import NamedTuple

from ..act.worker import Exit, Worker
from ..linux.spawn import MachineFull, SpawnError
from ..masking import masked
from ..model import Outcome, Reason, TaskCounts, Verdict
from ..obey.acting import Actor
from ..obey.crew import Crew
from ..obey.fate import LATER, Judge
from ..obey.reports import Reports
from ..record.events import EventLog
from ..record.sentences import statement
from ..settings import Payload
from ..sources.base import Burial, Task
from .again import AT_ONCE, Again
from .appetite import Appetite
from .attempt import Attempt
from .brake import Brake
from .brokers import Brokers
from .counts import Counts
from .crowd import Crowd
from .halting import Halting, Settled
from .job import Job
from .kept import Hand, Kept
from .line import Said, Verb
from .records import NOT_EXECUTED, Ended, Records
from .slots import Slots
from .starting import Starter
from .telling import Teller, how, task_name

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
UNFIT = frozenset({errno.E2BIG, errno.EINVAL})
"""A command that cannot be started for what its arguments are."""
EXITED = Exit(0, 0, 0, 0.0, None, False)
"""How a kept worker's attempt ends that it answers itself; its code says the rest."""


class End(NamedTuple):
    """How an attempt ended, and what it said; ``wait``: seconds after which it wants to be tried again."""

    outcome: Outcome
    again: bool
    left: Exit
    result: bytes
    said: bytes
    bury: bool
    wait: float | None
    lives: bool  # its worker does, and has said so itself


class Attempts:
    """Of one run. ``crew`` are those that are at work; the others are told what comes of it.

    Raises UsageError where ``--pause freeze`` is not possible, or the job log cannot be written."""

    def __init__(  # noqa: PLR0913, PLR0917 - whom it tells
        self,
        job: Job,
        crew: Crew,
        actor: Actor,
        reports: Reports,
        halting: Halting,
        teller: Teller,
        events: EventLog | None,
    ) -> None:
        self._job, self._crew, self._actor, self._reports = job, crew, actor, reports
        self._halting, self._teller = halting, teller
        self.records = Records(job, events)
        self.starter = Starter(job, teller.say, events)
        self.starter.printer.before, self.starter.printer.after = teller.writer.hide, teller.writer.show
        self.counts = Counts()
        self.crowd = Crowd()
        queue = job.settings.queue
        self._queued = queue is not None
        self._again = Again(job.settings.retry_delay, always=self._queued)
        self._brake = Brake()
        self._judge = Judge(job.settings.tries, later=LATER if self._queued else None)
        self.kept = Kept(queue, crew, actor, self._heard, teller.say) if queue is not None and queue.kept else None
        self._appetite = Appetite(job.source, self._again, self._brake, self.kept)
        self._brokers = Brokers(job.source, job.settings.grace, actor, teller.say)
        self._now: dict[int, Attempt] = {}  # by the worker's n
        self._slots = Slots()
        self._places: dict[int, int] = {}  # slots of kept workers, by n
        self._next_n = 1
        self._start_at = 0.0
        self._fault = ""
        self._answered = False  # by a kept worker, a moment ago
        if self._queued:
            reports.deadline = self._deadline

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
        return max(self._start_at, self._brake.until) if ready else self._again.due()

    def left(self) -> int | None:
        """Tasks that are not done; None: nobody knows how many. Of a queue those that we hold."""
        waiting = 0 if self._queued else self._job.source.waiting()
        return None if waiting is None else waiting + len(self._again) + len(self._now)

    def tasks(self) -> TaskCounts:
        waiting = self._job.source.waiting()
        return self.counts.tasks(None if waiting is None else waiting + len(self._again), len(self._now))

    def wanted(self, now: float) -> int | None:
        """So many workers more would have something to do; None: nobody knows."""
        if self._queued:
            return self._appetite.workers(len(self._crew), now)
        waiting = self._job.source.waiting()
        return None if waiting is None else waiting + len(self._again)

    @property
    def busy_lines(self) -> bool:
        """A kept worker has answered since this was asked last."""
        answered, self._answered = self._answered, False
        return answered

    @property
    def has_idle(self) -> bool:
        """A kept worker waits for a task."""
        return self.kept is not None and self.kept.free() is not None

    @property
    def idle(self) -> bool:
        """Nothing waits and nothing is worked on."""
        return not self._now and not self._again and self._job.source.waiting() == 0

    def fault(self, now: float) -> str:
        """What keeps tasks from being started or told, for people."""
        fault = self.records.fault or self._fault or self.crowd.fault or self.starter.fault
        fault = fault or self._job.source.trouble or self._brake.fault(now)
        return fault or ("" if self._crew else self._again.told(now))

    # --------------------------------------------------------------------------------------------------------- start

    def want(self, room: int, now: float) -> None:
        """Tell the source how many tasks could be started."""
        if self._queued:
            self._appetite.want(room, len(self._crew), now)

    def want_nothing(self) -> None:
        if self._queued:
            self._job.source.want(0)

    def start(self, room: int) -> bool:
        """Start workers, a batch at most, and give tasks to those that wait for one; whether one was started."""
        started, now = False, time.monotonic()
        if now < self._start_at or (self._queued and self._brake.holds(now)):
            return started
        while (hand := self.kept.free() if self.kept is not None else None) is not None:
            task = self._again.take(now) or self._take()
            if task is None:
                return started
            self._give(hand, task)
        for _ in range(min(BATCH, room)):
            if self.kept is not None and self._appetite.worth(len(self._crew), now) == 0:
                break
            task = self._again.take(time.monotonic()) or self._take()
            if task is None:
                break
            started = self._launch(task) or started
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

    def _launch(self, task: Task) -> bool:
        """A worker for the task; False: it could not be started, now or ever."""
        n, self._next_n = self._next_n, self._next_n + 1
        task.attempts += 1
        slot = task.slot = self._slots.take()
        hand = None
        try:
            if self.kept is None:
                worker = self.starter.start(n, task)
            else:
                hand = self.starter.start_kept(n, slot)
                worker = hand.worker
        except MachineFull as error:
            task.attempts -= 1
            self._slots.give(slot)
            self._again.refused(task, time.monotonic())
            self._start_at = time.monotonic() + HELD_START
            self._fault = str(error)
            if error.errno == errno.EAGAIN:
                self.crowd.refused(time.monotonic(), len(self._crew))
            return False
        except SpawnError as error:
            self._slots.give(slot)
            self._refused(task, str(error), error.errno or 0)
            return False
        self._crew.add(worker)
        if hand is not None and self.kept is not None:
            self._places[n] = slot
            self.kept.add(hand)
            task.attempts -= 1
            self._give(hand, task)
        else:
            self._begin(Attempt(task, worker, worker.started))
        self._fault = ""
        if self._job.settings.delay:
            self._start_at = time.monotonic() + self._job.settings.delay
        return True

    def _give(self, hand: Hand, task: Task) -> None:
        assert self.kept is not None
        task.attempts += 1
        task.slot = self._places[hand.worker.n]
        now = time.monotonic()
        self._appetite.given(now)
        attempt = Attempt(task, hand.worker, now)
        self._begin(attempt)
        self.kept.give(hand, attempt)

    def _begin(self, attempt: Attempt) -> None:
        self._now[attempt.worker.n] = attempt
        self.records.started(attempt)

    def _refused(self, task: Task, why: str, number: int) -> None:
        """The task's own command cannot be executed: it failed, as a shell would have said, with 127; or it can never
        be, whatever the machine."""
        bury = number == errno.E2BIG or self._queued
        outcome = Outcome.BURIED if bury else Outcome.FAILED
        if self._queued and number in UNFIT:
            why += f"; --payload {Payload.STDIN} or {Payload.FILE} gives a payload that is no argument"
        self.counts.failed += not bury
        self.counts.buried += bury
        self.records.refused(task, outcome)
        self._teller.say(f"{task_name(task)}: {why}")
        self.starter.printer.skip(task.number)
        self._job.source.bury(task, Burial(masked(why)))
        if self._queued:
            self._brake.failed_at_once(time.monotonic())
        self._may_halt(task, outcome, None)

    # -------------------------------------------------------------------------------------------------------- finish

    def finish(self, worker: Worker, left: Exit, now: float, *, bury: bool) -> Outcome:
        """A worker is gone: what becomes of its task. ``bury``: the load manager said that it can never fit."""
        hand = self.kept.drop(worker) if self.kept is not None else None
        attempt = self._now.get(worker.n)
        by_kernel = self._judge.by_kernel(left)
        if attempt is None:
            outcome = Outcome.DONE if left.code == left.signal == 0 else Outcome.GIVEN_BACK
        else:
            outcome = self._conclude(attempt, left, now, hand=hand, bury=bury, by_kernel=by_kernel)
        self._reports.exited(worker, left, outcome, by_kernel, now)
        self._crew.drop(worker)
        if hand is not None:
            self.starter.gone(hand)
            self._slots.give(self._places.pop(worker.n))
        elif attempt is not None:
            self._slots.give(attempt.task.slot)
        return outcome

    def _heard(self, hand: Hand, said: Said) -> None:
        """A kept worker has said something of its task. Raises ValueError: it makes no sense."""
        attempt, now = hand.attempt, time.monotonic()
        assert attempt is not None
        if said.verb is Verb.PROGRESS:
            hand.worker.words = hand.worker.words._replace(progress=said.share, text=said.text)
            self._job.source.progress(attempt.task, said.share, said.text)
            return
        content = said.content if said.verb is not Verb.LATER else b""
        seconds = said.seconds if said.verb is Verb.LATER else None
        code = {Verb.DONE: 0, Verb.FAILED: 1, Verb.LATER: LATER}[said.verb]
        self._answered = True
        self._conclude(attempt, EXITED._replace(code=code), now, hand=hand, lives=True, content=content, wait=seconds)
        assert self.kept is not None
        self.kept.over(hand, now)
        goes_on = hand.free and not self._halting.over and not self.held
        if goes_on and (task := self._again.take(now) or self._take()) is not None:
            self._give(hand, task)

    def _conclude(  # noqa: PLR0913 - all that is known of its end
        self,
        attempt: Attempt,
        left: Exit,
        now: float,
        *,
        hand: Hand | None = None,
        lives: bool = False,
        bury: bool = False,
        by_kernel: bool = False,
        content: bytes = b"",
        wait: float | None = None,
    ) -> Outcome:
        """An attempt is over. ``lives``: its worker does, and has said so, with a result or a reason as ``content``."""
        task, worker = attempt.task, attempt.worker
        del self._now[worker.n]
        roomless = self.starter.was_roomless(attempt.started, now)
        crowded = self._was_crowded(attempt.started, left, now)
        outcome, again = self._judge.judge(
            task, left, bury=bury, by_kernel=by_kernel, roomless=roomless, crowded=crowded * len(self._crew)
        )
        result, fault = content, ""
        if hand is None and outcome is Outcome.DONE and self._job.source.wants_result(task):
            result, fault = self._result(worker)
        if fault:
            outcome, again, left = Outcome.FAILED, False, left._replace(code=NO_ROOM)
        if roomless and outcome is Outcome.FAILED and left.signal == 0:
            left = left._replace(code=left.code or NO_ROOM)
        active = attempt.active(now)
        self.counts.note(attempt, outcome, again, by_kernel, now)
        self._appetite.finished(active, answered=lives)
        peak_known = not self._reports.is_bound(left.peak)
        said = (
            b""
            if again or outcome is Outcome.DONE
            else fault.encode() or content or self.starter.last_words(worker, hand)
        )
        line = self.records.finished(attempt, outcome, again, left, now, lives=lives, peak_known=peak_known, said=said)
        ended = None if again else Ended(task, outcome, left, roomless, line, said)
        if hand is None:
            self.starter.finished(worker, task, now, shown=not again, roomless=roomless, receipt=ended)
        else:
            self.starter.part_finished(hand, task, shown=not again, receipt=ended)
        if ended is not None and self._job.settings.keep_order:
            self._teller.settled(ended)  # its output may wait for long
        end = End(outcome, again, left, result, said, bury, wait, lives)
        self._settle(task, end, active, now)
        if not again:
            self._fate(task, end)
            self._may_halt(task, outcome, left)
        return outcome

    def _result(self, worker: Worker) -> tuple[bytes, str]:
        """What goes back to the queue, for somebody waits for it; or why it cannot."""
        try:
            result = self.starter.result(worker)
        except OSError as error:
            return b"", f"its result cannot be read: {error.strerror}"
        return (b"", "its result is larger than a queue takes (64 MiB)") if result is None else (result, "")

    def _was_crowded(self, started: float, left: Exit, now: float) -> bool:
        """An attempt has failed, and at some moment of it no process could be made."""
        if left.code == left.signal == 0:
            return False
        self.crowd.look(now, len(self._crew), soon=True)
        return self.crowd.refused_since(started)

    def _settle(self, task: Task, end: End, active: float, now: float) -> None:
        """What comes again is kept here until there is room."""
        failed = end.outcome is Outcome.FAILED
        if failed and active < AT_ONCE:
            self._brake.failed_at_once(now)
        else:
            self._brake.went()
        if not end.again:
            return
        if failed:
            self._again.failed(task, active, now)
        elif self._queued and end.left.code == LATER and end.left.ended_for is None:
            self._again.postponed(task, now, end.wait)
        else:
            self._again.given_back(task, now)

    def _fate(self, task: Task, end: End) -> None:
        """Tell the source what became of its task."""
        self._brokers.answered(task.number)
        if end.outcome is Outcome.DONE:
            self._job.source.done(task, end.result)
            return
        ended = end.left.ended_for
        why = statement(ended) if ended else "it said that it failed" if end.lives else how(end.left)
        if task.failures > 1:
            why += f", after {task.failures} tries"
        need = None
        if end.bury and ended is not None and ended.reason is not Reason.CAP:
            need = max(task.floor, int(ended.need or 0), int(ended.held or 0))
            why = f"it never fits here: {why}"
        self._job.source.bury(task, Burial(masked(why), end.said, need))

    # --------------------------------------------------------------------------------------------- what others may do

    def look(self, now: float, verdict: Verdict | None, slots: int) -> None:
        """What is due by time alone: tasks that others should have, kept workers that are too many."""
        source = self._job.source
        if source.patience is not None:
            for task in self._again.stale(now - source.patience):
                self._return(task)
        if self._queued:
            self._brokers.look(self._now.values(), now)
        if self.kept is not None:
            over = self._halting.over or (self.over and not self._now)
            self.kept.trim(verdict, slots, now, over=over)

    def look_due(self) -> float:
        return self.kept.due() if self.kept is not None else math.inf

    def _return(self, task: Task) -> None:
        self.starter.printer.skip(task.number)
        self._job.source.give_back(task)

    def _deadline(self, worker: Worker) -> float | None:
        attempt = self._now.get(worker.n)
        return self._job.source.deadline(attempt.task) if attempt is not None else None

    def leave(self) -> None:
        """The run is over: what is not done goes back where it came from."""
        for task in self._again.leave():
            self._return(task)

    # ---------------------------------------------------------------------------------------------------------- halting

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
