"""One started process with all its members: its state, its clocks, and what is done to it.

The process manager's loop owns workers and calls them; nothing here waits. A worker that is neither paused nor ended
costs no look at /proc at all. To act on several at once, use `pause.pause_all`, `end.end_all` and their like, which
share their looks.
"""

import signal
from typing import NamedTuple

from ..linux.cgroup import Leaf
from ..linux.members import Membership, membership
from ..linux.process import Process
from ..model import Reason, Why, WorkerState
from .asks import Ask, Words
from .end import GRACE, StopTo, end_all, tick_all
from .look import passes
from .members import Members
from .pause import Found, assert_all, pause_all, resume_all
from .reap import remove_later
from .states import TABLE, Event

KILL_AGAIN = 0.5
"""Seconds after a kill by the load manager until ours."""
CHECK = 0.2
"""Seconds between two looks at whether a paused worker still stands ..."""
SLOW = 1.0
"""... and at whether it has come to stand, once it has taken so many seconds: a look costs 9 µs for each process."""
SOON = 1.0
"""Seconds in which one whose memory is wanted back is to end from its checkpoint, before it gets a signal."""
FOR_MEMORY = frozenset(
    {
        Reason.MEMORY_END,
        Reason.MEMORY_AHEAD,
        Reason.BUDGET_END,
        Reason.NEVER_FITS,
        Reason.CAP,
        Reason.STOP_IGNORED,
    }
)


class Exit(NamedTuple):
    """How a worker ended; ``code`` and ``signal`` are its leader's. Code -1: somebody else reaped it."""

    code: int
    signal: int
    peak: int  # bytes: its leaf's, else ru_maxrss of the leader and all it waited for (never below our own peak)
    cpu_seconds: float
    ended_for: Why | None  # why we ended it, None: it ended by itself
    unasked_kill: bool  # SIGKILL that we did not send: the kernel's memory killer, or somebody else

    @property
    def timed_out(self) -> bool:
        return self.ended_for is not None and self.ended_for.reason is Reason.TIMEOUT


class Worker:
    """``started`` and every ``now``: seconds of CLOCK_MONOTONIC. ``task`` is the caller's."""

    def __init__(  # noqa: PLR0913 - it is told everything once, at its start
        self,
        n: int,
        run: str,
        pool: str,
        task: object,
        process: Process,
        *,
        started: float,
        leaf: Leaf | None = None,
        kin: Membership | None = None,
        ask: Ask | None = None,
    ) -> None:
        self.n = n
        self.id = f"{run}.{n}"
        self.run = run
        self.pool = pool
        self.task = task
        self.process = process
        self.leaf = leaf
        self.ask = ask
        self.kin = kin or membership(run)
        self.members = Members(self.id, process, self.kin, leaf)
        self.state = WorkerState.STARTING
        self.started = started
        self.paused_since: float | None = None
        self.paused_for = 0.0  # finished pauses
        self.pauses = 0
        self.asked_at: float | None = None  # it was asked to stand at its checkpoint, and got no signal yet
        self.stopped_at = 0.0  # it was sent its stop then, in the present pause
        self.obeyed: float | None = None  # seconds that the present pause took to hold; None: not yet
        self.undone = 0  # times that somebody else continued it in the present pause, ...
        self.undone_at = 0.0  # ... the last one
        self.paused_why: Why | None = None
        self.ended_for: Why | None = None
        self.killed_at: float | None = None
        self.kill_at: float | None = None
        self.signal_at: float | None = None  # it was asked to end at its checkpoint, and gets its signal then
        self._killed_by_another = False
        self.words = Words()  # what it says of itself by another way than `ask`
        self.mark = 0.0  # seconds that it had run when its present task began
        self._forgiven = 0.0
        self._checked = 0.0

    def __repr__(self) -> str:
        return f"Worker({self.id}, pid {self.process.pid}, {self.state})"

    @property
    def killed(self) -> bool:
        """It was sent SIGKILL, by us."""
        return self.killed_at is not None

    # ------------------------------------------------------------------------------------------------------- clocks

    def active(self, now: float) -> float:
        """Seconds it has run, pauses and forgiven time not counted."""
        pausing = now - self.paused_since if self.paused_since is not None else 0.0
        return max(0.0, now - self.started - self.paused_for - pausing - self._forgiven)

    def begin(self, now: float) -> None:
        """Another task: its time-out and its patience begin anew."""
        self._forgiven += self.paused_for
        self.paused_for = 0.0
        self.words = Words()
        self.mark = self.active(now)

    def working(self, now: float) -> float:
        """Seconds of them that it has been at its present task."""
        return self.active(now) - self.mark

    def paused_in_all(self, now: float) -> float:
        """Seconds of all its pauses, the present one too."""
        return self.paused_for + (now - self.paused_since if self.paused_since is not None else 0.0)

    def forgive(self, seconds: float) -> None:
        """The machine was suspended, or we were: no timeout, no pause and no grace is spent by it."""
        self._forgiven += seconds
        self.stopped_at += seconds
        if self.paused_since is not None:
            self.paused_since += seconds
        if self.asked_at is not None:
            self.asked_at += seconds
        if self.signal_at is not None:
            self.signal_at += seconds
        if self.kill_at is not None:
            self.kill_at += seconds
        if self.killed_at is not None:
            self.killed_at += seconds

    def stood(self, seconds: float) -> None:
        """It was held to its share of the CPU: no timeout is spent by it."""
        self._forgiven += seconds

    # ------------------------------------------------------------------------------------------ one worker at a time

    def pause(self, now: float, why: Why) -> None:
        """Stop it with all its members. No effect on one that is paused (the new why counts) or ending."""
        pause_all({self: why}, now)

    def resume(self, now: float) -> None:
        """Continue it. No effect on one that is not paused."""
        resume_all([self], now)

    def assert_wanted(self, now: float) -> Found:
        """Make a pause hold: stop it again when it does not stand. What was found."""
        return assert_all([self], now)[self]

    def end(  # noqa: PLR0913 - as `end_all`
        self,
        now: float,
        why: Why,
        grace: float = GRACE,
        *,
        kill: bool = False,
        stop_to: StopTo = StopTo.GROUP,
        signum: int = signal.SIGTERM,
    ) -> None:
        """Ask it to end and kill it after ``grace`` seconds, or kill it now. The first why stays."""
        end_all({self: why}, now, grace, kill=kill, stop_to=stop_to, signum=signum)

    def tick(self, now: float) -> float | None:
        """Do what is due by time alone; when the next thing is, ``None``: nothing is."""
        return tick_all([self], now)

    def standing(self) -> bool:
        """The kernel shows it stopped or frozen, with all its known members."""
        return self.members.stand()

    def stopped_by_another(self) -> bool:
        """The kernel shows its leader stopped or frozen, whoever did it."""
        return self.process.stopped() or (self.leaf is not None and self.leaf.frozen())

    def exited(self) -> Exit | None:
        """Look whether it has ended; then end what is left of it, and reap it. ``None``: it lives.

        The group is killed while the leader is unreaped, so that its number is nobody else's."""
        if not self.process.exited():
            return None
        self._end_rest()
        peak = self.leaf.peak() if self.leaf is not None else None
        if self.leaf is not None and not self.leaf.remove():
            remove_later(self.run, self.leaf)
        death = self.process.reap()
        unasked = death.signal == signal.SIGKILL and not self.killed and not self._killed_by_another
        return Exit(death.code, death.signal, peak or death.peak, death.cpu_seconds, self.ended_for, unasked)

    def _end_rest(self) -> None:
        """A table only when it was seen to have members outside its group; what nobody ever saw comes to `Reaper`."""
        if not self.members.known:
            self.process.send_group(signal.SIGKILL)
            if self.leaf is not None:
                self.leaf.kill()
            return
        self.members.find(self.kin.take())  # while ancestry still shows who belongs
        self.members.kill_group()
        passes([self], Members.kill_rest)

    def close(self) -> None:
        self.process.close()

    # ------------------------------------------------------------------------------- the steps of the acts on several

    def enter_pause(self, now: float, why: Why, *, at_once: bool = False) -> bool:
        """Take on the state; True when it is to be stopped now. One that may be asked at its checkpoint is, unless it
        is to stand ``at_once``."""
        before, self.state = self.state, TABLE[self.state, Event.PAUSE]
        if self.state is not WorkerState.PAUSED:
            return False
        self.paused_why = why
        if before is WorkerState.PAUSED:
            return at_once and self.asked_at is not None and self._stop_instead(now)
        self.paused_since = self._checked = self.stopped_at = now
        self.pauses += 1
        self.obeyed = None
        self.undone = 0
        if at_once or self.ask is None or not self.ask.pause(why, now):
            return True
        self.asked_at = now
        return False

    def _stop_instead(self, now: float) -> bool:
        """It was asked long enough."""
        self.asked_at, self.obeyed, self.stopped_at = None, None, now
        return True

    def leave_pause(self, now: float, *, ending: bool = False) -> bool:
        """Take on the state and close the pause's clock; True when there was one. One that stands at its checkpoint and
        is ``ending`` is not told to go on: it would do some more of its work."""
        self.state = TABLE[self.state, Event.CONTINUE]
        if self.paused_since is None:
            return False
        self.asked_at = None
        if self.ask is not None:
            if not ending:
                self.ask.go_on()
            self.ask.forgive(now - self.paused_since)
        self.paused_for += max(0.0, now - self.paused_since)
        self.paused_since = self.paused_why = None
        return True

    def flush(self) -> None:
        """What is wanted of it at its checkpoint is on its way."""
        if self.ask is not None:
            self.ask.flush()

    def check(self, now: float) -> Found:
        """What a paused worker does; one that has stood, or is slow to, is looked at each `CHECK` seconds only."""
        if self.state is not WorkerState.PAUSED or self.paused_since is None:
            return Found.NOT_WANTED
        if self.asked_at is not None:
            return self._check_asked(now, self.asked_at, self.paused_since)
        if now - self._checked < CHECK and (self.obeyed is not None or now - self.stopped_at > SLOW):
            return Found.STANDING if self.obeyed is not None else Found.AWAITED
        self._checked = now
        if self.standing():
            if self.obeyed is None:
                self.obeyed = now - self.stopped_at
            return Found.STANDING
        if self.obeyed is None:
            return Found.RUNNING_ON
        self.undone += 1
        self.undone_at = now
        return Found.CONTINUED

    def _check_asked(self, now: float, asked_at: float, since: float) -> Found:
        """One that was asked at its checkpoint: where it stands it is stopped besides, unless it stays there; where it
        does not come in time it is stopped all the same."""
        assert self.ask is not None
        if self.ask.stands():
            if not self.ask.stays:
                self._stop_instead(now)
                return Found.RUNNING_ON
            if self.obeyed is None:
                self.obeyed = now - since
            return Found.STANDING
        self.obeyed = None
        if now - asked_at < (GRACE if self.ask.busy() else self.ask.patience):
            return Found.AWAITED
        self._stop_instead(now)
        return Found.RUNNING_ON

    @property
    def stands_by_itself(self) -> bool:
        """At its checkpoint, by its own word; no signal holds it."""
        return self.asked_at is not None and self.obeyed is not None

    def enter_end(self, now: float, why: Why, kill_at: float) -> bool:
        """Take on the state; True when it is to get its signal now, not for the second time. One that has checkpoints
        and was at one lately is asked there, and gets its signal later; one that blocks the signal gets none."""
        asked = self.state is WorkerState.ENDING
        stood = self.leave_pause(now, ending=True)
        self.state = TABLE[self.state, Event.END]
        self.ended_for = self.ended_for or why
        self.kill_at = kill_at if self.kill_at is None else min(self.kill_at, kill_at)
        if asked or self.ask is None or kill_at <= now:
            return not asked
        if not self.ask.terminate(why, self.kill_at, now) and not self.ask.deaf:
            return True
        if not self.ask.deaf:
            half = (kill_at - now) / 2
            self.signal_at = now + (min(half, SOON) if why.reason in FOR_MEMORY else half)
        if stood:
            self.flush()
            self.members.proceed()
        return False

    def take_signal(self, now: float) -> bool:
        """The time at its checkpoint is over; True once. One in a critical section has all of its grace."""
        if self.signal_at is None or now < self.signal_at or self.killed or (self.ask is not None and self.ask.busy()):
            return False
        self.signal_at = None
        return True

    def ended_by_another(self, now: float, why: Why, grace: float, *, kill: bool) -> None:
        """The load manager sent the signal, for we did not: what becomes of it is our doing all the same. A kill is
        sent once more when it lives on, for that does no harm."""
        self.enter_end(now, why, now + (min(grace, KILL_AGAIN) if kill else grace))
        self.signal_at = None  # it has had its signal: a second one may mean `at once` to it
        self._killed_by_another = self._killed_by_another or kill

    def step(self, now: float) -> bool:
        """Whether it is to be killed now. One that is to end and stands (somebody stopped it) is continued."""
        self.state = TABLE[self.state, Event.SEEN]
        if self.state is not WorkerState.ENDING or self.killed or self.kill_at is None:
            return False
        if now >= self.kill_at:
            return True
        if not self.process.exited() and self.members.held():
            self.members.proceed()
        return False
