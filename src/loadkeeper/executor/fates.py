"""What becomes of calls whose process has died, and what is counted of all."""

import signal
from concurrent.futures.process import BrokenProcessPool

from ..act.worker import Exit
from ..model import Outcome, TaskCounts
from ..obey.fate import Judge
from ..record.sentences import statement
from .calls import Buffer, Call, ExecutorStopped, WorkerLost, raised
from .hand import Hand
from .plan import Plan
from .records import Records

STILLBORN = 3
"""Processes in a row that died before they were ready, after which there is no hope for the next; ..."""
KILLED = 0.2
"""... one that was killed from outside counts as so many."""


class Fates:
    """Of one executor. ``over``: what was said when everything is to end."""

    def __init__(self, plan: Plan, records: Records) -> None:
        self._plan, self._records = plan, records
        self._judge = Judge(plan.settings.tries)
        self._done = self._failed = self._given_back = self._buried = 0
        self._stillborn = 0.0
        self.over: ExecutorStopped | None = None

    def counts(self, waiting: int, running: int) -> TaskCounts:
        return TaskCounts(waiting, running, self._done, self._failed, self._given_back, self._buried)

    def came_back(self, good: bool) -> None:
        """A call was done, or raised."""
        if good:
            self._done += 1
        else:
            self._failed += 1

    def ready(self) -> None:
        """A process can take calls: the next ones will be able, too."""
        self._stillborn = 0.0

    def idle_died(self, hand: Hand, left: Exit) -> tuple[Outcome, bool, bool]:
        """A process without a call is gone: (outcome, whether the kernel's memory killer did it, whether there is hope
        for the next)."""
        by_kernel = self._judge.by_kernel(left)
        if not (hand.ready or hand.leaving or left.ended_for is not None):
            self._stillborn += KILLED if left.signal in (signal.SIGKILL, signal.SIGTERM) else 1.0
        outcome = Outcome.DONE if hand.leaving else Outcome.GIVEN_BACK
        return outcome, by_kernel, self._stillborn < STILLBORN

    def lost(self, hand: Hand, call: Call, left: Exit, now: float, *, bury: bool) -> tuple[Outcome, bool, bool]:
        """A process is gone with its call: (outcome, whether the kernel's memory killer did it, whether the call is
        tried again). If not, its future has been told."""
        by_kernel, past = self._judge.by_kernel(left), call.past
        past.attempts += 1
        code = left.code or (0 if left.signal else 1)  # it went without a word: that is no success
        outcome, again = self._judge.judge(past, left._replace(code=code), bury=bury, by_kernel=by_kernel)
        again = again and not self._plan.at_most_once and self.over is None
        self._records.lost(hand, outcome, again, left, now)
        self._given_back += outcome is Outcome.GIVEN_BACK
        if not again:
            self._failed += outcome is not Outcome.BURIED
            self._buried += outcome is Outcome.BURIED
            call.fail(self._error(call, left))
        return outcome, by_kernel, again

    def _error(self, call: Call, left: Exit) -> BaseException:
        """What its future says."""
        if self.over is not None and left.ended_for is not None:
            return ExecutorStopped(str(self.over))
        what = f"call {call.number}, {call.name}, has lost its process"
        if self._plan.at_most_once:
            follows = "; it is not run again, for retries=0 says that a second run does harm"
        else:
            follows = ""
        if left.ended_for is not None:
            return WorkerLost(f"{what}: {statement(left.ended_for)}{follows}")
        times = f" {call.past.attempts} times; the last time it was" if call.past.attempts > 1 else ": it was"
        return WorkerLost(f"{what}{times} {how(left)}{follows}")


def how(left: Exit) -> str:
    """It was …"""
    return f"killed by signal {left.signal}" if left.signal else f"ended with exit code {left.code}"


def unfit(content: Buffer) -> BrokenProcessPool:
    """The main module or the initializer failed, as a process has told: it would in every one."""
    cause = raised(content)
    what = f"a process could not be prepared, for {type(cause).__name__}: {cause}; no call can be done"
    error = BrokenProcessPool(what)
    error.__cause__ = cause.__cause__
    return error


def hopeless(left: Exit) -> BrokenProcessPool:
    """None gets so far as to say why."""
    said = f"one process after the other died before it could take a call; the last was {how(left)}"
    return BrokenProcessPool(f"{said}; no call can be done")
