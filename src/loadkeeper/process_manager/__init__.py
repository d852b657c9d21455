"""The process manager: one per run. Its loop takes tasks, acts on the load manager's verdict and records.

`ProcessManager.manage` reads as a table of contents; start there."""

import errno
import os
import signal
import time
from collections.abc import Iterable, Mapping

from ..act.reap import Reaper
from ..act.worker import Exit, Worker
from ..errors import PlaceError
from ..linux.forks import try_threads
from ..linux.process import Process, become_subreaper
from ..linux.spawn import MachineFull, SpawnError, make_room, most_descriptors, seal
from ..member import Member
from ..model import Hello, Outcome, Reason, RunState, TaskCounts, Verdict, Want, Why
from ..record.events import EventLog
from ..record.journal import Verb
from ..record.report import Summary
from ..sources.base import Task
from .acting import Act, Actor, over_time
from .again import Again
from .crew import Crew, Slots
from .crowd import Crowd
from .fate import Judge
from .halting import Halting, Settled
from .job import Job
from .records import NOT_EXECUTED, Ended, Records
from .reports import Counts, Reports
from .sensors import Sensors
from .starting import Starter
from .telling import Teller, task_name, worker_name
from .troubles import Troubles, late
from .wake import Signals

STOPS = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
TIMED_OUT_CODE = 255
"""Exit code by which GNU parallel counts an attempt that timed out."""
BATCH = 16
"""Starts in one turn of the loop: 16 take 8 ms, so a pause never waits long behind them."""
NO_ROOM = 1
"""Exit code of a task that said it went well and is not believed, for a disk was full while it ran."""
PASSED_OVER = 1000
"""Tasks that an earlier run has done and that are passed over in one turn."""
ROUTINE = 0.05
"""Seconds between two reports when workers only came and went inside their slots."""
REPORT = 1.0
"""Seconds between two reports when nothing happened."""
TICK = 0.05
"""Seconds between two looks at what no event tells: time-outs, adopted children, workers without a pidfd."""
HELD_START = 0.1
"""Seconds until a start that the kernel refused (no process, no memory) is tried again."""
LOST = 20.0
"""Seconds without a load manager after which a run that never had one cannot work, and in any other one who stands goes
on alone."""
MISSED = 3.0
"""Seconds after the death of a load manager until it is said that no other one comes."""
STOOD = 0.02
"""Seconds by which a turn of the loop may be late before the load manager does what is urgent itself."""
SUSPEND = 2.0
"""Seconds by which a turn of the loop may be late; more was a suspend of the machine, or a stop of this process."""
TO_LOOK = 4096
"""Descriptors that are enough to look at everybody with at the end, when no worker would inherit the limit any more."""
STALE = 1.0
"""Seconds after ^Z until those go on that stood for it, though no load manager says how things stand by now."""


class ProcessManager:
    """Does a job's tasks with as many workers as the load manager allows."""

    def __init__(self, job: Job) -> None:
        """Raises UsageError and PlaceError when the job log, the runtime or the state directory cannot be used."""
        self.job = job
        try_threads()
        self._began = self._turned = self._ticked = self._reported = self._report_at = time.monotonic()
        self._start_at = self._late = self._resume_at = 0.0
        self._fresh_from = 0  # a verdict that has not heard this report is of a time before we stood
        self._next_n = 1
        self._again = Again(job.settings.retry_delay)
        self._counts = Counts()
        self._reports = Reports(job)
        self._halting = Halting()
        self._judge = Judge(job.settings.tries)
        self._reaper = Reaper(job.run)
        self._crew = Crew()
        self._slots = Slots()
        self._actor = Actor(self._crew.workers, job.settings.grace)
        self._held = job.make_state_dir()
        events = EventLog(job.stderr) if job.settings.json else None
        self._records = Records(job, events)
        self._teller = Teller(job, events)
        self._starter = Starter(job, events)
        self._crowd = Crowd()
        self._starter.printer.before, self._starter.printer.after = self._teller.writer.hide, self._teller.writer.show
        self._sensors = Sensors(job)
        self._troubles = Troubles()
        self._member = Member(self._hello(), job.launcher)
        self._losses = self._missed = 0  # load managers that died, and of those whose successor was missed
        self._fresh = False  # a verdict has come that was not obeyed yet
        self._fault = ""

    def manage(self) -> Summary:
        """Work until every task has met its fate, or somebody stops the run; what happened comes back.

        Raises PlaceError when no load manager comes up."""
        self._open()
        try:
            while not self._over():
                self._reap(self._wait())
                self._heed()
                self._obey()
                self._start()
                self._tick()
                self._tell()
            self._heed()
        except BaseException:
            self._close(fault=True)
            raise
        return self._close()

    # ----------------------------------------------------------------------------------------------- open and close

    def _open(self) -> None:
        self._signals = Signals(self.job.wake.set) if self.job.standalone else None
        if self.job.standalone:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            become_subreaper()
            seal()
        self._member.connect()
        self._crew.listen(self.job.wake.fileno(), self.job.wake.clear)
        self._crew.listen(self._member.fileno(), lambda: None)  # `turn` hears it
        self._sensors.open()

    def _hello(self) -> Hello:
        job, me = self.job, Process.myself()
        return Hello(
            run=job.run,
            name=job.name,
            pid=me.pid,
            start_time=me.start_time,
            limits=job.settings.limits,
            grace=job.settings.grace,
            command=job.template.shown,
            state_dir=job.state_dir,
            leaves=self._starter.base,
            began=time.time(),
        )

    def _close(self, *, fault: bool = False) -> Summary:
        """Nobody is left behind, after a ``fault`` neither; what was written is printed and on disk."""
        make_room(min(most_descriptors(), TO_LOOK))  # who cannot look finds nobody
        self._actor.end(dict.fromkeys(self._crew.workers.values(), Why(Reason.HALT)), time.monotonic(), kill=True)
        self._reaper.end_leftovers()
        self._name_survivors()
        self._send_report(time.monotonic())  # the last workers teach what those of their kind need, too
        self._member.leave()
        self._sensors.close()
        left = self._left()
        self.job.source.close()
        self._print_rest()
        if unwritten := self._records.close():
            self._teller.say(unwritten)
            self._halting.unrecorded()
        self._halting.closed(self.job.settings.halt, *self._counts.failed_of_all(left or 0))
        summary = self._teller.summary(self._counts, self._halting, left)
        self._teller.close(summary, quiet=fault)
        if self._signals is not None:
            self._signals.close()
        self._crew.close()
        os.close(self._held)
        return summary

    def _name_survivors(self) -> None:
        """Whom no end has reached."""
        self._troubles.soon()
        self._look_for_troubles(time.monotonic())
        for worker in self._crew.workers.values():
            trouble = self._troubles.found.get(worker.n)
            self._teller.say(f"left behind: {worker_name(worker)}" + (f"; {trouble.plain}" if trouble else ""))
        self._teller.left(self._reaper.left())

    def _print_rest(self) -> None:
        """What waits for its turn or its reader, until a signal comes; only what is printed is told as done."""
        stops: list[signal.Signals] = []

        def stopped() -> bool:
            stops.extend(self._signals.take() if self._signals is not None else ())
            return not STOPS.isdisjoint(stops)

        printed = self._starter.close(stopped)
        self._settle_printed()
        if not printed and self._starter.printer.broken is None:
            self._halting.unprinted(next((number for number in stops if number in STOPS), signal.SIGTERM))
        self._heed()

    def _settle_printed(self) -> None:
        """The output of these tasks is where it belongs: now their lines go to the job log, their faults to people."""
        for ended, received in self._starter.receipts():
            self._records.log(ended.line, received)
            if not self.job.settings.keep_order:
                self._teller.settled(ended)
        for number, error in self._starter.printer.unread():
            self._teller.say(f"what task {number} wrote cannot be read from the disk: {error.strerror}")
            self._halting.unrecorded()

    def _left(self) -> int | None:
        """Tasks that are not done; None: nobody knows how many."""
        waiting = self.job.source.waiting()
        return None if waiting is None else waiting + len(self._again) + len(self._crew)

    def _over(self) -> bool:
        if self._crew:
            now = time.monotonic()
            return self._halting.at_once and all(late(worker, now) for worker in self._crew.workers.values())
        return self._halting.over or (not self._again and self.job.source.exhausted())

    # --------------------------------------------------------------------------------------------- wait, and reap

    def _wait(self) -> Iterable[Worker]:
        """Until a worker ends, a message or signal comes, or something is due; who may have ended comes back."""
        waited = self._due(time.monotonic())
        ended = self._crew.wait(waited)
        now = time.monotonic()
        self._late = now - self._turned - waited
        if self._late > SUSPEND:  # nobody's time runs out by it
            for worker in self._crew.workers.values():
                worker.forgive(self._late)
            self._began += self._late
            self._distrust(now)
        self._turned = now
        return ended

    def _due(self, now: float) -> float:
        """Seconds until something is due though nothing happens."""
        dues = [self._report_at, self._teller.due(), self._actor.due()]
        if self._actor.suspended:
            dues.append(self._resume_at)
        if self._reaper.busy or self._crew.unwatched or (self._crew and self.job.settings.timeout is not None):
            dues.append(self._ticked + TICK)
        if self._room() > 0:
            dues.append(self._start_at if self._has_task() else self._again.due())
        if (member := self._member.due(now)) is not None:
            dues.append(now + member)
        return max(0.0, min(dues) - now)

    def _reap(self, ended: Iterable[Worker]) -> None:
        """What the load manager says is heard first: it may have ended somebody itself."""
        self._fresh |= self._member.turn(time.monotonic())
        gone = [(worker, left) for worker in ended if (left := worker.exited()) is not None]
        if any(self._is_unexplained(left) for _, left in gone):
            self._fresh |= self._member.catch_up()
        for worker, left in gone:
            self._finish(worker, self._ended_by_another(worker, left))

    def _is_unexplained(self, left: Exit) -> bool:
        """Somebody else may have ended it, and the word of it not be here yet: we may have stood still ourselves."""
        if left.ended_for is not None:
            return False
        return left.signal in (signal.SIGTERM, signal.SIGKILL) or (left.code != 0 and self._late > STOOD)

    def _ended_by_another(self, worker: Worker, left: Exit) -> Exit:
        """The load manager sent the signal, for we did not."""
        verdict = self._member.verdict
        ending = verdict.ending.get(worker.n) if verdict is not None else None
        if ending is None or not ending.asked or left.ended_for is not None:
            return left
        return left._replace(ended_for=ending.why, unasked_kill=False)

    def _finish(self, worker: Worker, left: Exit) -> None:
        now = time.monotonic()
        task = worker.task
        assert isinstance(task, Task)
        by_kernel, roomless = self._judge.by_kernel(left), self._starter.was_roomless(worker, now)
        bury = self._actor.finished(worker)
        crowded = self._was_crowded(worker, left, now)
        outcome, again = self._judge.judge(
            task, left, bury=bury, by_kernel=by_kernel, roomless=roomless, crowded=crowded * len(self._crew)
        )
        if roomless and outcome is Outcome.FAILED and left.signal == 0:
            left = left._replace(code=left.code or NO_ROOM)
        self._counts.note(worker, outcome, again, by_kernel, now)
        peak_known = not self._reports.is_bound(left.peak)
        said = b"" if again or outcome is Outcome.DONE else self._starter.last_words(worker)
        line = self._records.finished(worker, outcome, again, left, now, peak_known=peak_known, said=said)
        ended = None if again else Ended(task, outcome, left, roomless, line, said)
        self._starter.finished(worker, task, now, shown=not again, roomless=roomless, receipt=ended)
        if ended is not None and self.job.settings.keep_order:
            self._teller.settled(ended)  # its output may wait for long
        self._reports.exited(worker, left, outcome, by_kernel, now)
        self._crew.drop(worker)
        self._troubles.forget(worker)
        self._slots.give(task.slot)
        self._settle(task, outcome, again, worker.active(now), now)
        if not again:
            self._may_halt(task, outcome, left)
        self._report_soon(now, routine=outcome is Outcome.DONE)

    def _was_crowded(self, worker: Worker, left: Exit, now: float) -> bool:
        """It failed, and at some moment of its life no process could be made."""
        if left.code == left.signal == 0:
            return False
        self._crowd.look(now, len(self._crew), soon=True)
        return self._crowd.refused_since(worker.started)

    def _settle(self, task: Task, outcome: Outcome, again: bool, active: float, now: float) -> None:
        """Tell the source what became of its task. What comes again is kept here until there is room."""
        if again and outcome is Outcome.FAILED:
            self._again.failed(task, active, now)
        elif again:
            self._again.given_back(task)
        elif outcome is Outcome.DONE:
            self.job.source.done(task)
        else:
            self.job.source.bury(task)

    def _may_halt(self, task: Task, outcome: Outcome, left: Exit | None) -> None:
        """``left``: None, it could not be started."""
        rule, counts = self.job.settings.halt, self._counts
        if rule is None:
            return
        code = NOT_EXECUTED
        if left is not None:
            code = TIMED_OUT_CODE if left.timed_out else left.code or (128 + left.signal if left.signal else 0)
        finished, more = counts.done + counts.failed + counts.buried, self._left()
        settled = Settled(
            command=self.job.template.text(task),
            good=outcome is Outcome.DONE,
            code=code,
            done=counts.done,
            failed=counts.failed + counts.buried,
            total=None if more is None else more + finished,
        )
        self._halting.settled(rule, settled)

    # --------------------------------------------------------------------------------------------------------- heed

    def _heed(self) -> None:
        """Signals, and a stdout that nobody reads any more."""
        for number in self._signals.take() if self._signals is not None else ():
            if number == signal.SIGTSTP:
                self._suspend()
            elif number in STOPS:
                self._halting.signalled(number)
        if self._starter.printer.broken is not None:
            self._halting.output_lost(self._starter.printer.broken)
        if self.job.source.fault is not None:
            self._halting.tasks_lost(self.job.source.fault)
        self._halt()

    def _halt(self) -> None:
        """End everybody, gently or at once, when that is new; what they work on is given back."""
        news, why = self._halting.take()
        if not news:
            return
        if self._halting.message:
            self._teller.say(self._halting.message)
        now = time.monotonic()
        if why is not None:
            ended = dict.fromkeys(self._crew.workers.values(), why)
            self._actor.end(ended, now, kill=self._halting.at_once)
            self._acted(Act(Verb.KILL if self._halting.at_once else Verb.END, *one) for one in ended.items())
        self._report_soon(now)

    def _suspend(self) -> None:
        """^Z: the workers stand before we do; after `fg` those go on that nothing else holds by then."""
        self._actor.suspend(time.monotonic())
        self._send_report(time.monotonic(), RunState.PAUSED)
        self._teller.writer.clear()
        Process.myself().stop()
        now = self._turned = time.monotonic()
        self._resume_at = now + STALE
        self._distrust(now)

    def _distrust(self, now: float) -> None:
        """We stood for a while: what the load manager said before is not how things are."""
        self._send_report(now)
        self._fresh_from = self._reports.number

    def _resume(self, verdict: Verdict | None, now: float) -> None:
        if self._actor.suspended:
            self._actor.resume(verdict, now)
            self._report_soon(now)

    # --------------------------------------------------------------------------------------------------------- obey

    def _obey(self) -> None:
        """Make the wanted state true."""
        now = time.monotonic()
        fresh, self._fresh = self._fresh, False
        self._note_losses(now)
        verdict = self._member.verdict
        if verdict is None or not fresh:
            return
        self._reports.confirmed(verdict.exits_heard)
        self._reports.wants, self._reports.changes = verdict.wants, verdict.changes
        self._halting.wanted(verdict.want, critical=verdict.critical)
        self._halt()
        if verdict.heard >= self._fresh_from:
            self._resume(verdict, now)
        self._acted(self._actor.obey(verdict, now))
        if verdict.paused or verdict.ending:
            self._report_soon(now)  # what is not confirmed in time the load manager does itself
        self._teller.heard(verdict)

    def _note_losses(self, now: float) -> None:
        """A load manager that died is replaced; one that never came ends the run."""
        if self._member.losses > self._losses and self._member.connected:
            self._losses = self._member.losses
            self._records.happened(Verb.FOUND, amount=float(self._losses))
            self._teller.say("the load manager died; another one has taken over")
        if not self._member.connected and self._member.losses == 0 and now - self._began > LOST:
            raise PlaceError(f"no load manager came up within {LOST:.0f} s; its log is {self._member.log}")
        if self._member.lost_at is not None:
            self._bear_loss(now - self._member.lost_at, now)

    def _bear_loss(self, seconds: float, now: float) -> None:
        """No other load manager comes: what runs goes on, and in the end who stands, one at a time."""
        if seconds >= MISSED and self._missed < self._member.losses:
            self._missed = self._member.losses
            why = f": {self._member.fault}" if self._member.fault else ""
            self._teller.say(
                f"the load manager died and no other one comes up{why}; nothing new is started until one does; "
                f"its log is {self._member.log}"
            )
        if seconds >= LOST:
            self._acted(self._actor.go_on_alone(now))

    def _acted(self, acts: Iterable[Act]) -> None:
        for act in acts:
            self._records.acted(act)
            self._report_soon(time.monotonic())

    # -------------------------------------------------------------------------------------------------------- start

    def _room(self) -> int:
        """Workers that may be started now."""
        verdict = self._member.verdict
        if verdict is None or verdict.heard < self._fresh_from:
            return 0
        if self._halting.over or self._starter.held or self._records.held:
            return 0
        pool = verdict.pools.get(self.job.pool)
        live = len(self._crew)
        return int(min(pool.slots - live, self._crowd.room(time.monotonic(), live))) if pool is not None else 0

    def _has_task(self) -> bool:
        return self._again.ready(time.monotonic()) or self.job.source.ready()

    def _start(self) -> None:
        if time.monotonic() < self._start_at:
            return
        for _ in range(min(BATCH, self._room())):
            task = self._again.take(time.monotonic()) or self._take()
            if task is None or not self._launch(task) or self._halting.over:
                return

    def _take(self) -> Task | None:
        """The next task that no earlier run has done; None: none at the moment. Raises UsageError when the earlier run
        was of other tasks."""
        before, source = self.job.before, self.job.source
        if before is None:
            return source.take()
        for _ in range(PASSED_OVER):
            task = source.take()
            if task is None or task.number not in before:
                return task
            before.check(task.number, self.job.template.texts(task))
            self._counts.before += 1
            self._starter.printer.skip(task.number)
            source.done(task)
        return None

    def _launch(self, task: Task) -> bool:
        """Start a worker for the task; False when no other may be started right now."""
        n, self._next_n = self._next_n, self._next_n + 1
        task.attempts += 1
        task.slot = self._slots.take()
        try:
            worker = self._starter.start(n, task)
        except MachineFull as error:
            task.attempts -= 1
            self._slots.give(task.slot)
            self._again.refused(task)
            self._start_at = time.monotonic() + HELD_START
            self._fault = str(error)
            if error.errno == errno.EAGAIN:
                self._crowd.refused(time.monotonic(), len(self._crew))
            return False
        except SpawnError as error:
            self._slots.give(task.slot)
            self._refused(task, str(error), bury=error.errno == errno.E2BIG)
            return True
        self._crew.add(worker)
        self._records.started(worker)
        self._fault = ""
        now = time.monotonic()
        self._report_soon(now, routine=True)
        if self.job.settings.delay:
            self._start_at = now + self.job.settings.delay
        return not self.job.settings.delay

    def _refused(self, task: Task, why: str, *, bury: bool) -> None:
        """The task's own command cannot be executed: it failed, as a shell would have said, with 127; or it can never
        be, whatever the machine."""
        outcome = Outcome.BURIED if bury else Outcome.FAILED
        self._counts.failed += not bury
        self._counts.buried += bury
        self._records.refused(task, outcome)
        self._teller.say(f"{task_name(task)}: {why}")
        self._starter.printer.skip(task.number)
        self.job.source.bury(task)
        self._may_halt(task, outcome, None)

    # ----------------------------------------------------------------------------------------------- tick and tell

    def _tick(self) -> None:
        """What is due by time alone: time-outs, the next step of an end, a pause to hold up, adopted children."""
        now = time.monotonic()
        self._settle_printed()
        if self._actor.suspended and now >= self._resume_at:
            self._resume(self._member.verdict, now)
        self._sensors.tell(self._teller.say)
        self._starter.room.look(now)
        self._crowd.look(now, len(self._crew))
        self._acted(self._actor.tick(now))
        if now < self._ticked + TICK:
            return
        self._ticked = now
        late: Mapping[Worker, Why] = over_time(self._crew.workers.values(), self.job.settings.timeout, now)
        self._actor.end(late, now)
        self._acted(Act(Verb.END, *one) for one in late.items())
        self._reaper.turn(now, self._crew.workers.keys())
        self._look_for_troubles(now)

    def _look_for_troubles(self, now: float) -> None:
        """Workers that cannot be killed, do not stand, or stand without us."""
        for worker, trouble in self._troubles.look(self._crew.workers.values(), self._actor.throttles, now):
            self._teller.say(f"{worker_name(worker)}: {trouble}")
        if self._reports.troubles != self._troubles.found:
            self._report_soon(now)
        self._reports.troubles = self._troubles.found

    def _tell(self) -> None:
        """The load manager, and people."""
        now = time.monotonic()
        if now >= self._report_at:
            self._send_report(now)
        if now >= self._teller.due():
            fault = self._records.fault or self._fault or self._crowd.fault or self._starter.fault
            fault = fault or self._member.fault or self._troubles.told()
            if not self._crew and not fault:
                fault = self._again.told(now)
            self._teller.show(now, self._tasks(), self._crew.workers.values(), self._member.verdict, fault)

    def _tasks(self) -> TaskCounts:
        waiting = self.job.source.waiting()
        return self._counts.tasks(None if waiting is None else waiting + len(self._again), len(self._crew))

    def _report_soon(self, now: float, *, routine: bool = False) -> None:
        self._report_at = min(self._report_at, max(now, self._reported + ROUTINE) if routine else now)

    def _send_report(self, now: float, state: RunState | None = None) -> None:
        verdict = self._member.verdict
        number = verdict.number if verdict else 0
        workers = self._crew.workers.values()
        sensors, tasks = self._sensors.readings(now), self._tasks()
        self._member.report(self._reports.make(workers, tasks, state or self._state(), sensors, number, now))
        self._reported, self._report_at = now, now + REPORT

    def _state(self) -> RunState:
        if self._halting.over:
            return RunState.CRITICAL if self._halting.critical else RunState.DRAINING
        verdict = self._member.verdict
        return RunState.PAUSED if verdict is not None and verdict.want is Want.PAUSE else RunState.RUNNING
