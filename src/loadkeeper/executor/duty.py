"""What an executor owes the load manager: it reports its processes, hears the verdict and makes it true.

Where no load manager comes up, calls are done all the same, by as many processes as there are CPUs."""

import contextlib
import logging
import math
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterable
from typing import cast

from ..act.worker import Exit, Worker
from ..errors import LoadkeeperError
from ..launcher import Launcher
from ..linux.process import Process
from ..masking import masked
from ..member import Member
from ..model import Hello, Outcome, PoolVerdict, Reason, RunState, TaskCounts, Verdict, Want, Why
from ..obey.acting import Act, Actor
from ..obey.crew import Crew
from ..obey.reports import Reports, Work
from ..obey.troubles import Troubles
from .calls import ExecutorStopped
from .plan import Plan, text
from .records import Records

LOGGER = logging.getLogger("loadkeeper.executor")
ALONE = 5.0
"""Seconds without a load manager after which we work without: one comes up in 0.2."""
ROUTINE = 0.05
"""Seconds between two reports when processes only came and went, or calls began to wait."""
SOON = 0.005
"""... and when there is anything else to tell."""
REPORT = 1.0
"""Seconds between two reports when nothing happened."""
SUSPEND = 2.0
"""Seconds by which a turn may be late; more was a suspend of the machine, or a stop of the program."""
KEPT = frozenset({Reason.WORK_DONE, Reason.OPERATOR, Reason.UNKNOWN, Reason.SILENT})
"""Why a pool may have no slots though processes that wait for calls should stay: none of these is about memory."""
UNTOLD = PoolVerdict(slots=0, why=Why(Reason.NO_LOAD_MANAGER))


def launched() -> tuple[Launcher | None, str]:
    """A load manager is on its way: to be called before anything else that takes a while. Or why there can be none."""
    try:
        launcher = Launcher(os.environ)
    except (LoadkeeperError, OSError) as error:
        return None, str(error)
    with contextlib.suppress(LoadkeeperError, OSError):  # it is tried again
        launcher.launch()
    return launcher, ""


class Duty:
    """``tasks``, and how many more processes would be ``wanted``, are set by whoever counts, before each turn."""

    def __init__(self, plan: Plan, crew: Crew, leaves: str | None, launcher: Launcher | None, fault: str) -> None:
        """``leaves``: the directory below which processes get control groups of their own; the rest is what `launched`
        has said."""
        self._plan, self._crew, self._fault = plan, crew, fault
        command = text(masked(shlex.join(sys.orig_argv)))
        self.records = Records(plan, command)
        self.reports = Reports(plan)
        self.actor = Actor(crew.workers, plan.settings.grace)
        self.tasks = TaskCounts()
        self.wanted = 0
        self.stopped: ExecutorStopped | None = None
        self.at_once = False  # what runs is ended, too
        self._troubles = Troubles()
        self._member = Member(self._hello(command, leaves), launcher) if launcher is not None else None
        self._began = self._reported = self._report_at = self._planned = time.monotonic()
        self._obeyed = self._losses = 0
        self._alone = False

    def _hello(self, command: str, leaves: str | None) -> Hello:
        settings, me = self._plan.settings, Process.myself()
        hello = Hello(
            run=self._plan.run,
            name=self._plan.name,
            pid=me.pid,
            start_time=me.start_time,
            limits=settings.limits,
            grace=settings.grace,
            command=command,
            state_dir=self.records.directory,
            leaves=leaves,
            began=time.time(),
            guest=True,
        )
        me.close()
        return hello

    def open(self, heard: Callable[[], None]) -> None:
        """Bring up the load manager; ``heard`` is called when it says something. One that does not come at once is
        tried again."""
        member = self._member
        if member is None:
            return
        try:
            member.connect()
        except (LoadkeeperError, OSError) as error:
            member.fault = str(error)
        self._crew.listen(member.fileno(), heard)

    def close(self) -> None:
        """Nothing of the run is left."""
        self._send_report(time.monotonic())  # the last processes teach what those of their kind need, too
        self.records.close()
        if self._member is not None:
            self._member.leave()

    # --------------------------------------------------------------------------------------------------------- turns

    def due(self, now: float) -> float:
        """When `turn` must be called at the latest."""
        dues = [self._report_at, self.actor.due(), self._patience]
        if self._member is not None and (member := self._member.due(now)) is not None:
            dues.append(now + member)
        self._planned = min(dues)
        return self._planned

    def turn(self, now: float) -> None:
        """Hear what there is to hear, do what is due."""
        if (late := now - self._planned) > SUSPEND:  # nobody's patience is spent by it
            for worker in self._crew.workers.values():
                worker.forgive(late)
        member = self._member
        fresh = member.turn(now) if member is not None else False
        self._mind_loss(now)
        if member is not None and member.verdict is not None and fresh:
            self._obey(member.verdict, now)
        self._go_on_alone(now)
        self._acted(self.actor.tick(now))
        self._look_for_troubles(now)
        if now >= self._report_at:
            self._send_report(now)

    def _obey(self, verdict: Verdict, now: float) -> None:
        self.reports.confirmed(verdict.exits_heard)
        self.reports.wants, self.reports.changes = verdict.wants, verdict.changes
        self._heed(verdict)
        self._acted(self.actor.obey(verdict, now))
        self._obeyed = verdict.number
        if verdict.paused or verdict.ending:
            self.report_soon(now)  # what is not confirmed in time the load manager does itself

    def _heed(self, verdict: Verdict) -> None:
        """What the operator wants of the whole run, and whether the load manager gives up."""
        if verdict.critical:
            said = "memory is below the end line, and nothing of ours is left to end: the executor gives up"
            self.stop(ExecutorStopped(said), at_once=True)
        elif verdict.want is Want.STOP:
            self.stop(ExecutorStopped("the executor was stopped by the operator (loadkeeper stop)"), at_once=True)
        elif verdict.want is Want.DRAIN:
            self.stop(ExecutorStopped("the executor was drained by the operator: no call is begun any more"))

    def stop(self, why: ExecutorStopped, *, at_once: bool = False) -> None:
        """Nothing is begun any more; with ``at_once`` what runs is ended."""
        self.stopped = self.stopped or why
        self.at_once = self.at_once or at_once

    def _acted(self, acts: Iterable[Act]) -> None:
        for act in acts:
            self.records.acted(act)
            self.report_soon(time.monotonic())

    def _look_for_troubles(self, now: float) -> None:
        for worker, trouble in self._troubles.look(self._crew.workers.values(), self.actor.throttles, now):
            LOGGER.warning("process %d of %s: %s", worker.process.pid, self._plan.name, trouble)
        if self.reports.troubles != self._troubles.found:
            self.reports.troubles = self._troubles.found
            self.report_soon(now)

    # ------------------------------------------------------------------------------------------------------- verdict

    def slots(self, working: int) -> int:
        """How many processes may have a call now; ``working`` of them live."""
        verdict = self._verdict()
        if verdict is None:
            return self._most_alone() if self._alone else 0
        if self.stopped is not None or verdict.want is not Want.RUN:
            return 0
        pool = self._pool()
        return max(pool.slots, working) if pool.why is not None and pool.why.reason is Reason.WORK_DONE else pool.slots

    @property
    def keeps_idle(self) -> bool:
        """Processes beyond the slots may stay while they wait for calls."""
        why = self._pool().why
        return self._verdict() is None or (why is not None and why.reason in KEPT)

    def _verdict(self) -> Verdict | None:
        return self._member.verdict if self._member is not None else None

    def _pool(self) -> PoolVerdict:
        verdict = self._verdict()
        return verdict.pools.get(self._plan.pool, UNTOLD) if verdict is not None else UNTOLD

    # ------------------------------------------------------------------------------------------ load managers that die

    def _mind_loss(self, now: float) -> None:
        member = self._member
        if member is not None and member.connected:
            if member.losses > self._losses:
                self._losses = member.losses
                self.actor.take_over(now)
            self._alone = False
            return
        since = self._began if member is None or member.lost_at is None else member.lost_at
        if self._alone or (member is not None and now - since < ALONE):
            return
        self._alone = True
        fault = (member.fault if member is not None else self._fault) or "none comes up"
        LOGGER.warning(
            "%s: there is no load manager (%s); calls are done by at most %d processes, and nothing watches the node",
            self._plan.name,
            fault,
            self._most_alone(),
        )
        self.actor.take_over(now)

    def _go_on_alone(self, now: float) -> None:
        """Nobody says who may run: one of those that stand goes on when no call runs."""
        if self._alone:
            workers = self._crew.workers.values()
            self._acted(
                self.actor.go_on_alone(now, [worker for worker in workers if not cast(Work, worker.task).number])
            )

    def _most_alone(self) -> int:
        return self._plan.settings.jobs or len(os.sched_getaffinity(0))

    @property
    def _patience(self) -> float:
        """When we work alone at the latest, seconds of CLOCK_MONOTONIC."""
        member = self._member
        if self._alone or (member is not None and member.connected):
            return math.inf
        return self._began if member is None else (member.lost_at or self._began) + ALONE

    # ---------------------------------------------------------------------------------------------- ends of processes

    def ended_by_another(self, worker: Worker, left: Exit, now: float) -> Exit:
        """Whether the load manager sent the signal, for we did not."""
        member = self._member
        if member is None or left.ended_for is not None:
            return left
        by_signal = left.signal in (signal.SIGTERM, signal.SIGKILL)
        if by_signal and member.connected and member.catch_up() and member.verdict is not None:
            self._obey(member.verdict, now)
        ending = member.ended.pop(worker.n, None)
        return left if ending is None else left._replace(ended_for=ending.why, unasked_kill=False)

    def gone(self, worker: Worker, left: Exit, outcome: Outcome, by_kernel: bool, now: float) -> None:
        """A process is no more: the load manager learns from it."""
        self._troubles.forget(worker)
        self.reports.exited(worker, left, outcome, by_kernel, now)
        self.report_soon(now, routine=outcome is Outcome.DONE)

    # -------------------------------------------------------------------------------------------------------- reports

    def report_soon(self, now: float, *, routine: bool = False) -> None:
        self._report_at = min(self._report_at, max(now, self._reported + (ROUTINE if routine else SOON)))

    def _send_report(self, now: float) -> None:
        self._reported, self._report_at = now, now + REPORT
        if self._member is not None:
            workers, wanted = self._crew.workers.values(), self.wanted
            self._member.report(self.reports.make(workers, self.tasks, wanted, self._state(), {}, self._obeyed, now))

    def _state(self) -> RunState:
        if self.stopped is not None:
            return RunState.DRAINING
        verdict = self._verdict()
        return RunState.PAUSED if verdict is not None and verdict.want is Want.PAUSE else RunState.RUNNING
