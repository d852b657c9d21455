"""The process manager: one per run. Its loop takes tasks, acts on the load manager's verdict and records.

`Loop.manage` reads as a table of contents; start there."""

import os
import signal
import time
from collections.abc import Iterable, Mapping

from ..act.reap import Reaper
from ..act.worker import Exit, Worker
from ..linux.forks import try_threads
from ..linux.process import Process, become_subreaper
from ..linux.spawn import make_room, most_descriptors, seal
from ..member import Member
from ..model import Hello, Outcome, Reason, RunState, Verdict, Want, Why
from ..obey.acting import Act, Actor, over_time
from ..obey.crew import Crew
from ..obey.reports import Reports
from ..obey.troubles import Troubles, late
from ..record.events import EventLog
from ..record.journal import Verb
from ..record.report import Summary
from .attempts import Attempts
from .checkpoints import is_short
from .halting import Halting
from .job import Job
from .losses import Losses
from .sensors import Sensors
from .telling import Teller, worker_name
from .wake import Order, Signals

STOPS = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
ENDS = frozenset({Order.STOP, Order.STOP_NOW})
STEERED = {Order.DRAIN: Want.DRAIN, Order.PAUSE: Want.PAUSE, Order.RESUME: Want.RUN}
ROUTINE = 0.05
"""Seconds between two reports when workers only came and went inside their slots."""
REPORT = 1.0
"""Seconds between two reports when nothing happened."""
TICK = 0.05
"""Seconds between two looks at what no event tells: time-outs, adopted children, workers without a pidfd."""
GATHER = 0.002
"""Seconds for which answers of kept workers are taken before all else is looked after."""
STOOD = 0.02
"""Seconds by which a turn of the loop may be late before the load manager does what is urgent itself."""
SUSPEND = 2.0
"""Seconds by which a turn of the loop may be late; more was a suspend of the machine, or a stop of this process."""
TO_LOOK = 4096
"""Descriptors that are enough to look at everybody with at the end, when no worker would inherit the limit any more."""
STALE = 1.0
"""Seconds after ^Z until those go on that stood for it, though no load manager says how things stand by now."""


class Loop:
    """Does a job's tasks with as many workers as the load manager allows."""

    def __init__(self, job: Job) -> None:
        """Raises UsageError and PlaceError when the job log, the runtime or the state directory cannot be used."""
        self.job = job
        try_threads()
        self._began = self._turned = self._ticked = self._reported = self._report_at = time.monotonic()
        self._late = self._resume_at = 0.0
        self._fresh_from = 0  # a verdict that has not heard this report is of a time before we stood
        self._news = False  # something has come but answers of kept workers
        self._fresh = False  # a verdict has come that was not obeyed yet
        self._obeyed = 0  # the number of the last one that was
        self._reports = Reports(job)
        self._halting = Halting()
        self._reaper = Reaper(job.run, guest=not job.standalone)
        self._crew = Crew()
        self._actor = Actor(self._crew.workers, job.settings.grace)
        self._held = job.make_state_dir()
        events = EventLog(job.stderr) if job.settings.json else None
        self._teller = Teller(job, events)
        self._attempts = Attempts(job, self._crew, self._actor, self._reports, self._halting, self._teller, events)
        self._wire = job.wire
        self._sensors = Sensors(job)
        self._troubles = Troubles()
        self._member = Member(self._hello(), job.launcher)
        self._losses = Losses(self._member, self._actor, self._attempts.records, self._teller.say)

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
        self._crew.listen(self.job.wake.fileno(), self._woken)
        self._crew.listen(self._member.fileno(), self._has_news)  # `turn` hears it
        if self._wire is not None:
            self._crew.listen(self._wire.fileno(), self._has_news)  # `turn` hears it
        self._sensors.open()

    def _woken(self) -> None:
        self.job.wake.clear()
        self._has_news()

    def _has_news(self) -> None:
        self._news = True

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
            leaves=self._attempts.starter.base,
            began=time.time(),
            guest=not job.standalone,
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
        left = self._attempts.left()
        self._attempts.leave()
        self.job.source.close()
        if told := self.job.source.told():
            self._teller.say(told)
        self._print_rest()
        if unwritten := self._attempts.records.close():
            self._teller.say(unwritten)
            self._halting.unrecorded()
        self._halting.closed(self.job.settings.halt, *self._attempts.counts.failed_of_all(left or 0))
        summary = self._teller.summary(self._attempts.counts, self._halting, left)
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
        """What waits for its turn or its reader, until somebody stops it; only what is printed is told as done."""
        stops: list[signal.Signals] = []

        def stopped() -> bool:
            stops.extend(self._signals.take() if self._signals is not None else ())
            stops.extend(signal.SIGTERM for order in self._orders() if order in ENDS)
            return not STOPS.isdisjoint(stops)

        printed = self._attempts.starter.close(stopped)
        self._attempts.settle_printed()
        if not printed and self._attempts.starter.printer.broken is None:
            self._halting.unprinted(next((number for number in stops if number in STOPS), signal.SIGTERM))
        self._heed()

    def _over(self) -> bool:
        if self._crew:
            now = time.monotonic()
            return self._halting.at_once and all(late(worker, now) for worker in self._crew.workers.values())
        return self._halting.over or self._attempts.over

    # --------------------------------------------------------------------------------------------- wait, and reap

    def _wait(self) -> Iterable[Worker]:
        """Until a worker ends, a message or signal comes, or something is due; who may have ended comes back."""
        waited = self._due(time.monotonic())
        self._news = False
        ended = self._crew.wait(waited)
        now = time.monotonic()
        until = now + GATHER
        while not (ended or self._news) and self._attempts.busy_lines and now < until:
            ended = self._crew.wait(until - now)  # kept workers have answered, and got their next tasks at once
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
        dues = [self._report_at, self._teller.due(), self._actor.due(), self._attempts.look_due()]
        if self._actor.suspended:
            dues.append(self._resume_at)
        if self._reaper.busy or self._crew.unwatched or (self._crew and self.job.settings.timeout is not None):
            dues.append(self._ticked + TICK)
        if self._wire is not None and self._wire.pending:
            return 0.0
        dues.append(self._attempts.starter.checkpoints.due())
        if self._may_start() and (self._room() > 0 or self._attempts.has_idle):
            dues.append(self._attempts.due(now))
        if (member := self._member.due(now)) is not None:
            dues.append(now + member)
        return max(0.0, min(dues) - now)

    def _reap(self, ended: Iterable[Worker]) -> None:
        """What the load manager says is heard first: it may have ended somebody itself."""
        self._fresh |= self._member.turn(time.monotonic())
        gone = [(worker, left) for worker in ended if (left := self._exited(worker)) is not None]
        if any(self._is_unexplained(left) for _, left in gone):
            self._fresh |= self._member.catch_up()
        for worker, left in gone:
            now, bury = time.monotonic(), self._actor.finished(worker)
            self._troubles.forget(worker)
            outcome = self._attempts.finish(worker, self._ended_by_another(worker, left), now, bury=bury)
            self._report_soon(now, routine=outcome is Outcome.DONE)

    def _exited(self, worker: Worker) -> Exit | None:
        self._reaper.ends(worker.process.pid)
        return worker.exited()

    def _is_unexplained(self, left: Exit) -> bool:
        """Somebody else may have ended it, and the word of it not be here yet: we may have stood still ourselves."""
        if left.ended_for is not None:
            return False
        return left.signal in (signal.SIGTERM, signal.SIGKILL) or (left.code != 0 and self._late > STOOD)

    def _ended_by_another(self, worker: Worker, left: Exit) -> Exit:
        """The load manager sent the signal, for we did not."""
        ending = self._member.ended.pop(worker.n, None)
        if ending is None or left.ended_for is not None:
            return left
        return left._replace(ended_for=ending.why, unasked_kill=False)

    # --------------------------------------------------------------------------------------------------------- heed

    def _heed(self) -> None:
        """Signals, what the program wants that we are a guest in, and a stdout that nobody reads any more."""
        for number in self._signals.take() if self._signals is not None else ():
            if number == signal.SIGTSTP:
                self._suspend()
            elif number in STOPS:
                self._halting.signalled(number)
        for order in self._orders():
            self._follow(order)
        if self._attempts.starter.printer.broken is not None:
            self._halting.output_lost(self._attempts.starter.printer.broken)
        if self.job.source.fault is not None:
            self._halting.tasks_lost(self.job.source.fault)
        self._halt()

    def _orders(self) -> Iterable[Order]:
        return self.job.orders.take() if self.job.orders is not None else ()

    def _follow(self, order: Order) -> None:
        """What an operator could want, too, goes by the load manager: `status` shows it, and `resume` ends it."""
        if order in ENDS:
            self._halting.asked(now=order is Order.STOP_NOW)
        else:
            self._member.steer(STEERED[order])

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
        self._acted(self._losses.turn(self._began, now))
        verdict = self._member.verdict
        if verdict is None:
            self._obeyed = 0
        if verdict is None or not fresh:
            return
        self._reports.confirmed(verdict.exits_heard)
        self._reports.wants, self._reports.changes = verdict.wants, verdict.changes
        self._halting.wanted(verdict.want, critical=verdict.critical and not self._attempts.idle)
        self._halt()
        if verdict.heard >= self._fresh_from:
            self._resume(verdict, now)
        self._acted(self._actor.obey(verdict, now))
        self._obeyed = verdict.number
        if is_short(verdict.figures):
            self._attempts.starter.checkpoints.press(self._crew.workers.values(), now)
        if verdict.paused or verdict.ending:
            self._report_soon(now)  # what is not confirmed in time the load manager does itself
        self._teller.heard(verdict)

    def _acted(self, acts: Iterable[Act]) -> None:
        for act in acts:
            self._attempts.records.acted(act)
            self._report_soon(time.monotonic())

    # -------------------------------------------------------------------------------------------------------- start

    def _may_start(self) -> bool:
        """Nothing forbids to begin with another task."""
        verdict = self._member.verdict
        if verdict is None or verdict.heard < self._fresh_from or verdict.want is Want.PAUSE:
            return False
        return not (self._halting.over or self._attempts.held)

    def _slots(self) -> int:
        """Workers that may live."""
        verdict = self._member.verdict
        pool = verdict.pools.get(self.job.pool) if verdict is not None else None
        return pool.slots if pool is not None else 0

    def _room(self) -> int:
        """Workers that may be started now; below 0: so many are too many."""
        return self._attempts.room(self._slots(), time.monotonic())

    def _start(self) -> None:
        if not self._may_start():
            self._attempts.want_nothing()
            return
        room = self._room()
        self._attempts.want(room, time.monotonic())
        if self._attempts.start(room):
            self._report_soon(time.monotonic(), routine=True)

    # ----------------------------------------------------------------------------------------------- tick and tell

    def _tick(self) -> None:
        """What is due by time alone: time-outs, the next step of an end, a pause to hold up, adopted children."""
        now = time.monotonic()
        self._attempts.settle_printed()
        if self._actor.suspended and now >= self._resume_at:
            self._resume(self._member.verdict, now)
        self._sensors.tell(self._teller.say)
        self._attempts.starter.room.look(now)
        self._attempts.crowd.look(now, len(self._crew))
        self._acted(self._actor.tick(now))
        self._attempts.look(now, self._member.verdict, self._slots())
        self._attempts.starter.checkpoints.turn(self._crew.workers.values(), now)
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
        """Workers that listen for it, the load manager, and people."""
        if self._wire is not None:
            self._wire.turn()
        now = time.monotonic()
        if now >= self._report_at:
            self._send_report(now)
        if now >= self._teller.due():
            fault = self._attempts.fault(now) or self._member.fault or self._troubles.told()
            self._teller.show(now, self._attempts.tasks(), self._crew.workers.values(), self._member.verdict, fault)

    def _report_soon(self, now: float, *, routine: bool = False) -> None:
        self._report_at = min(self._report_at, max(now, self._reported + ROUTINE) if routine else now)

    def _send_report(self, now: float, state: RunState | None = None) -> None:
        workers = self._crew.workers.values()
        sensors, tasks = self._sensors.readings(now), self._attempts.tasks()
        state = state or self._state()
        wanted = self._attempts.wanted(now)
        self._member.report(self._reports.make(workers, tasks, wanted, state, sensors, self._obeyed, now))
        self._reported, self._report_at = now, now + REPORT

    def _state(self) -> RunState:
        if self._halting.over:
            return RunState.CRITICAL if self._halting.critical else RunState.DRAINING
        verdict = self._member.verdict
        return RunState.PAUSED if verdict is not None and verdict.want is Want.PAUSE else RunState.RUNNING
