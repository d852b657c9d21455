"""The process manager: one per run. Its loop takes tasks, acts on the load manager's verdict and records.

`ProcessManager.manage` reads as a table of contents; start there."""

import os
import select
import signal
import time
from collections import deque

from ..act.reap import Reaper
from ..act.worker import Exit, Worker
from ..errors import PlaceError
from ..linux.process import Process, become_subreaper, own_peak
from ..linux.spawn import MachineFull, SpawnError
from ..member import Member
from ..model import Hello, Outcome, Reason, RunState, Want, Why, WorkerExit, WorkerState
from ..record.report import Summary
from ..sources.base import Task
from .acting import Act, Actor
from .fate import judge
from .halting import Halting
from .job import Job
from .records import Records
from .reports import Counts, report
from .starting import Starter
from .telling import Teller
from .wake import Signals

BATCH = 16
"""Starts in one turn of the loop: 16 take 8 ms, so a pause never waits long behind them."""
ROUTINE = 0.05
"""Seconds between two reports when workers only came and went inside their slots."""
REPORT = 1.0
"""Seconds between two reports when nothing happened."""
TICK = 0.05
"""Seconds between two looks at workers for which something is due: time-outs, ends, pauses to hold up."""
HELD_START = 0.1
"""Seconds until a start that the kernel refused (no process, no memory) is tried again."""
LOST = 20.0
"""Seconds without a load manager from the start on, after which the run cannot work."""
SUSPEND = 2.0
"""Seconds by which a turn of the loop may be late; more was a suspend of the machine, or a stop of this process."""


class ProcessManager:
    """Does a job's tasks with as many workers as the load manager allows.

    Raises PlaceError when the runtime or state directory cannot be used or no load manager comes up."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._workers: dict[int, Worker] = {}
        self._by_descriptor: dict[int, Worker] = {}
        self._gone: list[Worker] = []
        self._again: deque[Task] = deque()  # tasks that failed or were given back, and come before new ones
        self._counts = Counts()
        self._exits: list[WorkerExit] = []  # until the load manager has confirmed them
        self._exit_number = self._report_number = 0
        self._next_n = 1
        self._began = self._turned = self._ticked = self._reported = time.monotonic()
        self._report_at = self._began
        self._start_at = 0.0
        self._waited = 0.0
        self._last_wants: dict[str, Want] = {}

    def manage(self) -> Summary:
        """Work until every task has met its fate, or somebody stops the run; what happened comes back."""
        self._open()
        try:
            while not self._over():
                self._wait()
                self._reap()
                self._heed()
                self._obey()
                self._start()
                self._tick()
                self._tell()
        finally:
            summary = self._close()
        return summary

    # ----------------------------------------------------------------------------------------------- open and close

    def _open(self) -> None:
        job = self.job
        job.make_state_dir()
        self._member = Member(self._hello(), job.environment, job.settings.lm_command)
        self._member.connect()
        self._signals = Signals(job.wake.set) if job.standalone else None
        if job.standalone:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            become_subreaper()
        self._halting = Halting()
        self._starter = Starter(job)
        self._reaper = Reaper(job.run)
        self._actor = Actor(job)
        self._records = Records(job)
        self._teller = Teller(job, self._starter.printer)
        self._epoll = select.epoll()
        self._epoll.register(job.wake.fileno(), select.EPOLLIN)
        self._epoll.register(self._member.fileno(), select.EPOLLIN)

    def _hello(self) -> Hello:
        me = Process.myself()
        settings = self.job.settings
        return Hello(
            run=self.job.run,
            name=self.job.name,
            pid=me.pid,
            start_time=me.start_time,
            limits=settings.limits,
            grace=settings.grace,
            command=self.job.template.shown,
            state_dir=self.job.state_dir,
            began=time.time(),
        )

    def _close(self) -> Summary:
        now = time.monotonic()
        for worker in self._workers.values():  # only after a fault of our own: nobody may be left behind
            worker.end(now, Why(Reason.HALT), 0.0, kill=True)
        self._reaper.end_leftovers()
        self._member.leave()
        self.job.source.close()
        self._starter.close()
        summary = self._summary()
        self._records.close()
        self._teller.close(summary)
        if self._signals is not None:
            self._signals.close()
        self._epoll.close()
        return summary

    def _over(self) -> bool:
        if self._workers:
            return False
        if self._halting.why is not None or self._halting.drain:
            return True
        return not self._again and self.job.source.exhausted()

    # --------------------------------------------------------------------------------------------------------- wait

    def _wait(self) -> None:
        self._waited = self._due(time.monotonic())
        for descriptor, _ in self._epoll.poll(self._waited):
            if descriptor == self.job.wake.fileno():
                self.job.wake.clear()
            elif (worker := self._by_descriptor.get(descriptor)) is not None:
                self._gone.append(worker)
        now = time.monotonic()
        late = now - self._turned - self._waited
        if late > SUSPEND:  # nobody's time runs out by it
            for worker in self._workers.values():
                worker.forgive(late)
        self._turned = now

    def _due(self, now: float) -> float:
        """Seconds until something is due though nothing happens."""
        dues = [self._report_at, self._teller.due(now)]
        if self._watchful():
            dues.append(self._ticked + TICK)
        if self._room() > 0:
            dues.append(max(now, self._start_at) if self._has_task() else now + REPORT)
        if (member := self._member.due(now)) is not None:
            dues.append(now + member)
        return max(0.0, min(dues) - now)

    def _watchful(self) -> bool:
        """Somebody is not simply running, or may run too long."""
        if self._reaper.busy or (self._workers and self.job.settings.timeout is not None):
            return True
        return self._actor.unsettled

    # --------------------------------------------------------------------------------------------------------- reap

    def _reap(self) -> None:
        gone, self._gone = self._gone, []
        for worker in gone:
            left = worker.exited()
            if left is not None:
                self._finish(worker, left)

    def _finish(self, worker: Worker, left: Exit) -> None:
        now = time.monotonic()
        self._drop(worker)
        task: Task = worker.task
        bury = self._actor.finished(worker)
        outcome, again = judge(task, left, worker.ended_for, bury=bury, tries=self.job.settings.tries)
        self._starter.finished(worker.n, shown=not again)
        self._counts.note(worker, task, outcome, again, now)
        self._records.finished(worker, task, outcome, again, left, now)
        self._settle(task, outcome, again)
        self._exit_number += 1
        self._exits.append(self._exit(worker, left, outcome, now))
        self._report_soon(now, routine=outcome is Outcome.DONE)

    def _drop(self, worker: Worker) -> None:
        del self._workers[worker.n]
        descriptor = worker.process.fileno()
        if descriptor is not None:
            del self._by_descriptor[descriptor]
            self._epoll.unregister(descriptor)
        worker.close()

    def _settle(self, task: Task, outcome: Outcome, again: bool) -> None:
        """Tell the source what became of its task. What comes again is kept here until there is room."""
        if again:
            self._again.append(task)
        elif outcome is Outcome.DONE:
            self.job.source.done(task)
        else:
            self.job.source.bury(task)

    def _exit(self, worker: Worker, left: Exit, outcome: Outcome, now: float) -> WorkerExit:
        return WorkerExit(
            number=self._exit_number,
            n=worker.n,
            pool=worker.pool,
            kind=self.job.kind,
            peak=left.peak,
            cpu_seconds=left.cpu_seconds,
            active=worker.active(now),
            outcome=outcome,
            at=now,
            peak_is_bound=left.peak <= own_peak(),
        )

    # --------------------------------------------------------------------------------------------------------- heed

    def _heed(self) -> None:
        """Signals, and a stdout that nobody reads any more."""
        now = time.monotonic()
        for number in self._signals.take() if self._signals is not None else ():
            if number == signal.SIGTSTP:
                self._suspend()
            elif number == signal.SIGWINCH:
                self._teller.resized()
            elif number != signal.SIGCONT:
                self._halting.signalled(number)
        if self._starter.printer.broken is not None:
            self._halting.output_lost(self._starter.printer.broken)
        if self._halting.news:
            self._halt(now)

    def _halt(self, now: float) -> None:
        """End everybody, gently or at once; what they work on is given back."""
        self._halting.news = False
        why = self._halting.why
        if why is not None:
            for worker in self._workers.values():
                self._actor.end(worker, now, why, kill=self._halting.at_once)
            self._report_soon(now)

    def _suspend(self) -> None:
        """^Z: the workers stand before we do; after `fg` those go on that nothing else holds."""
        now = time.monotonic()
        self._actor.suspend(self._workers.values(), now)
        self._send_report(now, RunState.PAUSED)
        self._teller.clear()
        Process.myself().stop()
        now = time.monotonic()
        self._turned = now
        self._actor.resume_all(self._workers.values(), now, self._member.verdict)
        self._send_report(now)

    # --------------------------------------------------------------------------------------------------------- obey

    def _obey(self) -> None:
        """Make the wanted state true."""
        now = time.monotonic()
        fresh = self._member.turn(now)
        if not self._member.connected and self._member.losses == 0 and now - self._began > LOST:
            raise PlaceError(f"no load manager came up within {LOST:.0f} s; see {self._member.log}")
        verdict = self._member.verdict
        if verdict is None or not fresh:
            return
        self._exits = [gone for gone in self._exits if gone.number > verdict.exits_heard]
        self._halting.wanted(verdict.want, critical=verdict.critical)
        if self._halting.news:
            self._halt(now)
        changed = self._actor.obey(verdict, self._workers, now)
        for act in changed:
            self._records.acted(act, now)
        if changed:
            self._report_soon(now)
        self._teller.heard(verdict)

    # -------------------------------------------------------------------------------------------------------- start

    def _room(self) -> int:
        """Workers that may be started now."""
        verdict = self._member.verdict
        if verdict is None or self._halting.why is not None or self._halting.drain or self._actor.suspended:
            return 0
        if self._starter.printer.full or self._records.held:
            return 0
        pool = verdict.pools.get(self.job.pool)
        return pool.slots - len(self._workers) if pool is not None else 0

    def _has_task(self) -> bool:
        return bool(self._again) or self.job.source.waiting() != 0

    def _start(self) -> None:
        now = time.monotonic()
        if now < self._start_at:
            return
        for _ in range(min(BATCH, self._room())):
            task = self._again.popleft() if self._again else self.job.source.take()
            if task is None:
                return
            if not self._launch(task):
                return

    def _launch(self, task: Task) -> bool:
        """Start a worker for the task; False when the machine refuses for the moment."""
        n, self._next_n = self._next_n, self._next_n + 1
        now = time.monotonic()
        try:
            worker = self._starter.start(n, task)
        except MachineFull as error:
            self._again.appendleft(task)
            self._start_at = now + HELD_START
            self._teller.said(str(error))
            return False
        except SpawnError as error:
            self._refused(task, str(error), now)
            return True
        self._workers[n] = worker
        descriptor = worker.process.fileno()
        if descriptor is not None:
            self._by_descriptor[descriptor] = worker
            self._epoll.register(descriptor, select.EPOLLIN)
        self._report_soon(now, routine=True)
        return True

    def _refused(self, task: Task, why: str, now: float) -> None:
        """The task's own command cannot be executed: it failed, as a shell would have said, with 127."""
        self._counts.failed += 1
        self._records.refused(task, why, now)
        self._teller.said(why)
        self.job.source.bury(task)

    # ----------------------------------------------------------------------------------------------- tick and tell

    def _tick(self) -> None:
        """What is due by time alone: time-outs, the next step of an end, a pause to hold up, adopted children."""
        now = time.monotonic()
        if now < self._ticked + TICK:
            return
        self._ticked = now
        timeout = self.job.settings.timeout
        for worker in list(self._workers.values()):
            if timeout is not None and worker.active(now) > timeout and worker.state is not WorkerState.ENDING:
                why = Why(Reason.TIMEOUT, reading=worker.active(now), line=timeout)
                self._actor.end(worker, now, why)
                self._records.acted(Act(worker, "end", why), now)
            if worker.state is not WorkerState.RUNNING:
                self._actor.look_after(worker, now)
            if worker.process.fileno() is None:
                self._gone.append(worker)  # no pidfd here: look at it at each tick
        self._reaper.turn(now, {worker.n for worker in self._workers.values()})

    def _report_soon(self, now: float, *, routine: bool = False) -> None:
        self._report_at = min(self._report_at, max(now, self._reported + ROUTINE) if routine else now)

    def _send_report(self, now: float, state: RunState | None = None) -> None:
        self._report_number += 1
        verdict = self._member.verdict
        message = report(
            self.job,
            self._report_number,
            self._workers.values(),
            self._exits,
            self._counts,
            state or (RunState.DRAINING if self._halting.over else RunState.RUNNING),
            verdict.number if verdict else 0,
            self._wants(),
            len(self._again),
            now,
        )
        self._member.report(message)
        self._reported, self._report_at = now, now + REPORT

    def _wants(self) -> dict[str, Want]:
        if self._member.verdict is not None:
            self._last_wants = self._member.verdict.wants
        return self._last_wants

    def _tell(self) -> None:
        now = time.monotonic()
        if now >= self._report_at:
            self._send_report(now)
        self._teller.show(now, self._counts, self._workers.values(), self.job.source.waiting(), len(self._again))

    def _summary(self) -> Summary:
        return self._teller.summary(self._counts, self._halting, time.monotonic() - self._began)
