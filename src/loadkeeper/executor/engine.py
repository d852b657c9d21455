"""The works of an executor: one thread waits for all of its processes, hands over calls and takes what comes back.

`Engine._work` reads as a table of contents; start there."""

import threading
import time
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from functools import partial

from ..act.reap import Reaper
from ..act.worker import Exit, Worker
from ..errors import LoadkeeperError
from ..executor_process import READY, UNFIT
from ..linux.process import NotOurChildError
from ..linux.spawn import MachineFull
from ..linux.wake import Wake
from ..model import Reason, Why, WorkerState
from ..obey.crew import Crew
from ..obey.demand import STALE, Demand
from ..obey.troubles import late
from .calls import Buffer, Call, ExecutorStopped, WorkerLost
from .desk import Desk, copy
from .duty import LOGGER, Duty, launched
from .fates import Fates, hopeless, unfit
from .hand import SMALL, Hand
from .plan import Plan
from .start import Starter

BATCH = 4
"""Starts in one turn: each takes 0.7 to 1.5 ms, in which no answer is taken."""
HELD_START = 0.1
"""Seconds until a start that the machine refused is tried again, and between two looks at who wakes nobody."""
LEAVES = 10.0
"""Seconds in which a process that was told to leave does so: threads and exit handlers of calls may need some."""


class Engine:
    """Of one executor, from its first call on. Raises LoadkeeperError where it can never work."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        launcher, fault = launched()
        self._desk = Desk()
        self._shut = False  # no call comes any more
        self._interrupted = self._forked = False
        self._starter = Starter(plan)
        self._crew = Crew()
        self._wake = Wake()
        self._duty = Duty(plan, self._crew, self._starter.base, launcher, fault)
        self._fates = Fates(plan, self._duty.records)
        self._demand = Demand()
        self._buffer = memoryview(bytearray(SMALL))
        self._next_n = 1
        self._start_at = 0.0
        self._attention = True  # there is something to look after besides answers
        self._due = 0.0
        self.thread = threading.Thread(target=self._run, name=f"loadkeeper-executor-{plan.run}")

    # ---------------------------------------------------------------------------------------------- from other threads

    @property
    def broken(self) -> BaseException | None:
        """Why no call can be done any more."""
        return self._desk.broken

    @property
    def is_copy(self) -> bool:
        """We are in a fork of the program that works."""
        return self._forked

    def submit(self, call: Call, refuse: Callable[[], None]) -> None:
        """Queue the call, or hand it to an idle process at once: that spares the way through the other thread.
        ``refuse``: raises when no more calls are taken."""
        if self._forked:
            raise RuntimeError("this executor belongs to the process that made it, of which this is a fork")
        hand, first = self._desk.put(call, refuse)
        if hand is not None:
            self._give_reserved(hand, call)
        elif first:
            self._wake.set()

    def _give_reserved(self, hand: Hand, call: Call) -> None:
        try:
            fit = call.begin() and call.pack(self._starter.by_value)
        except BaseException:
            self._unreserve(hand)
            raise
        if not fit:
            self._unreserve(hand)
            return
        sent = self._desk.give_reserved(hand, call)
        if sent is None:
            self._wake.set()
        elif not sent:
            self._crew.until_writable(hand.channel.fileno(), True)

    def _unreserve(self, hand: Hand) -> None:
        self._desk.unreserve(hand)
        self._wake.set()  # calls may have come, or the word to leave

    def shut(self, *, cancel: bool = False) -> None:
        """No call comes any more; with ``cancel`` those that wait are not done either."""
        self._shut = True
        for call in self._desk.cancel() if cancel else ():
            call.future.cancel()
            call.begin()
        self.release()

    def release(self) -> None:
        """The executor is gone, or the interpreter ends: what waits is done, and no more comes. Takes no lock, for the
        collector may call it anywhere."""
        self._shut = True
        if not self._forked:
            self._wake.set()

    def interrupt(self) -> None:
        """End what runs: somebody pressed ^C, which the processes have not heard, for each has a session of its own."""
        self._interrupted = True
        self.shut(cancel=True)

    def forked(self) -> None:
        """We are a copy in another process, without the thread: let go of what is its own there."""
        self._forked = True
        self._wake.close()
        self._crew.close()
        for worker in self._crew.workers.values():
            _hand(worker).close()

    # ---------------------------------------------------------------------------------------------------- the thread

    def _run(self) -> None:
        try:
            self._crew.listen(self._wake.fileno(), self._woken)
            self._duty.open(self._attend)
            self._work()
        except BaseException as error:
            LOGGER.critical("the executor %s fails", self._plan.name, exc_info=True)
            self._break(BrokenProcessPool(f"the executor fails: {type(error).__name__}: {error}"))
        finally:
            self._close()

    def _work(self) -> None:
        """Until everything is done that will be."""
        while not self._over():
            for worker in self._crew.wait(max(0.0, self._due - time.monotonic())):
                self._ended(worker)
            now = time.monotonic()
            if self._attention or now >= self._due:
                self._attention = False
                self._look_after(now)

    def _over(self) -> bool:
        """Nobody is left, and nothing will be begun. Who cannot be killed is not waited for."""
        desk = self._desk
        if (not self._shut and desk.broken is None) or desk.waiting:
            return False
        if desk.busy and not self._crew.workers:
            return False  # a call is being handed over
        now = time.monotonic()
        return all(late(worker, now) for worker in self._crew.workers.values())

    def _woken(self) -> None:
        self._wake.clear()
        self._attend()

    def _attend(self) -> None:
        self._attention = True

    def _look_after(self, now: float) -> None:
        """The load manager's word, then what follows from it and from what has come."""
        duty, desk, before = self._duty, self._desk, self._duty.wanted
        if self._shut:
            desk.forget_cancelled()
        duty.tasks = self._fates.counts(desk.waiting, desk.busy)
        duty.wanted = max(self._wanted(now), min(1, desk.waiting))  # one at least: calls go on, and it may say no
        if (before > 0) is not (duty.wanted > 0):
            duty.report_soon(now, routine=before > 0)
        duty.turn(now)
        self._heed(now)
        working = self._working()
        desk.muster(working, duty.slots(len(working)))
        self._pump()
        self._trim()
        self._start(now)
        self._due = min(duty.due(now), self._own_due(now))

    def _own_due(self, now: float) -> float:
        hands = self._hands()
        dues = [hand.leave_by for hand in hands if hand.leave_by is not None and hand.leave_by > now]
        if self._crew.unwatched or any(hand.gone for hand in hands):
            dues.append(now + HELD_START)
        if self._waiting() > 0:
            dues += [due for due in (self._start_at, self._desk.handed_at + STALE) if due > now]
        return min(dues, default=float("inf"))

    def _hands(self) -> list[Hand]:
        return list(map(_hand, self._crew.workers.values()))

    def _working(self) -> list[Hand]:
        return [hand for hand in self._hands() if not hand.gone]

    # ------------------------------------------------------------------------------------------------ who has a call

    def _pump(self) -> None:
        """Calls to those that wait for one."""
        while (hand := self._desk.free()) is not None:
            self._next(hand)

    def _next(self, hand: Hand, *, answered: bool = False) -> None:
        """Its next call; or it waits among the idle, or leaves."""
        if hand.gone or (hand.taken and hand.taken == self._plan.max_tasks):
            if answered:
                self._desk.answered()
            self._leave(hand)
            return
        while (call := self._desk.take(hand, answered=answered)) is not None:
            answered = False
            if call.pack(self._starter.by_value):
                if not hand.give(call):
                    self._crew.until_writable(hand.channel.fileno(), True)
                return
            self._desk.answered()
            self._fates.came_back(False)
        if self._shut or len(self._crew) > self._desk.allowed:
            self._attention = True  # it may be one too many

    # ------------------------------------------------------------------------------------------------- what comes back

    def _readable(self, hand: Hand) -> None:
        """Its socket takes more of a call, or has something of it."""
        if hand.unsent and hand.flush():
            self._crew.until_writable(hand.channel.fileno(), False)
        try:
            message = hand.receive(self._buffer)
        except EOFError:
            self._hush(hand)
        except ValueError as error:
            LOGGER.error("process %d of %s sent %s; it is ended", hand.worker.process.pid, self._plan.name, error)
            self._hush(hand)
            self._end([hand], kill=True)
        else:
            if message is not None:
                self._heard(hand, *message)

    def _heard(self, hand: Hand, kind: int, content: Buffer) -> None:
        if kind == READY:
            hand.ready = self._attention = True
            self._fates.ready()
            self._next(hand)
        elif kind == UNFIT:
            hand.unfit = unfit(content)  # told when it is gone: what it logs by then has arrived
        elif (call := hand.call) is not None:
            hand.call = None
            self._demand.answered(hand.spent)
            self._next(hand, answered=True)  # it works while we unpack
            self._fates.came_back(call.settle(kind, content))

    def _hush(self, hand: Hand, *, leaving: bool = False) -> bool:
        """It is given nothing any more, and not listened to. False as `Desk.dismiss`."""
        if not self._desk.dismiss(hand, leaving=leaving):
            return False
        self._crew.ignore(hand.channel.fileno())
        hand.leave_by = time.monotonic() + LEAVES
        self._attention = True
        return True

    # ---------------------------------------------------------------------------------------------------------- ends

    def _ended(self, worker: Worker) -> None:
        """A process is gone, as it seems; what it sent before is taken in first."""
        hand = _hand(worker)
        if not worker.process.exited():
            return
        self._hush(hand)
        self._drain(hand)
        left = worker.exited()
        assert left is not None
        now = time.monotonic()
        bury = self._duty.actor.finished(worker)
        left = self._duty.ended_by_another(worker, left, now)
        self._lose(hand, left, now, bury=bury)
        self._crew.drop(worker)
        hand.close()
        self._attention = True

    def _drain(self, hand: Hand) -> None:
        try:
            while not hand.leaving and (message := hand.receive(self._buffer)) is not None:
                self._heard(hand, *message)
        except (EOFError, ValueError):
            pass

    def _lose(self, hand: Hand, left: Exit, now: float, *, bury: bool) -> None:
        """What becomes of the call that it had; without one, of those that wait."""
        call = hand.call
        if call is None:
            outcome, by_kernel, hope = self._fates.idle_died(hand, left)
            if hand.unfit is not None or not hope:
                self._break(hand.unfit or hopeless(left))
        else:
            outcome, by_kernel, again = self._fates.lost(hand, call, left, now, bury=bury)
            hand.call = None
            self._desk.answered()
            if again:
                self._desk.requeue(call)
        self._duty.gone(hand.worker, left, outcome, by_kernel, now)

    def _break(self, error: BaseException) -> None:
        """No call can be done any more: those that wait fail, and so does who submits another."""
        for call in self._desk.close(error):
            call.fail(copy(error))
        self._attention = True

    def _heed(self, now: float) -> None:
        """Somebody wants an end of everything."""
        stopped = self._duty.stopped
        if stopped is not None and self._desk.broken is None:
            self._break(stopped)
        if self._duty.at_once or self._interrupted:
            self._fates.over = stopped or ExecutorStopped("the executor was interrupted by ^C")
            self._break(self._fates.over)
            self._end(self._hands())
        self._end([hand for hand in self._hands() if hand.leave_by is not None and now >= hand.leave_by])

    def _end(self, hands: list[Hand], *, kill: bool = False) -> None:
        live = [hand.worker for hand in hands if hand.worker.state is not WorkerState.ENDING]
        self._duty.actor.end(dict.fromkeys(live, Why(Reason.HALT)), time.monotonic(), kill=kill)

    # ------------------------------------------------------------------------------------------------- more, and fewer

    def _trim(self) -> None:
        """Those that are idle and too many leave; all that have no call, when nothing is to be done any more."""
        desk = self._desk
        over = (self._shut or desk.broken is not None) and not desk.waiting
        if self._duty.keeps_idle and not over:
            return
        hands = self._working()
        surplus = len(hands) if over else len(hands) - desk.allowed
        for hand in hands:
            if surplus > 0 and (hand.ready or over) and self._leave(hand):
                surplus -= 1

    def _leave(self, hand: Hand) -> bool:
        """Tell it to leave: the end of its socket is the word for that. False: it has a call."""
        if not self._hush(hand, leaving=True):
            return False
        hand.close()
        if hand.worker.state is WorkerState.PAUSED or not hand.ready:
            self._end([hand])  # it does not read
        return True

    def _waiting(self) -> int:
        """Calls that wait for none of the processes that are there."""
        coming = sum(not hand.ready for hand in self._working())
        return self._desk.waiting - self._desk.idle - coming

    def _wanted(self, now: float) -> int:
        """Processes more that calls would keep busy."""
        return self._demand.more(self._waiting(), len(self._working()), now - self._desk.handed_at)

    def _start(self, now: float) -> None:
        """More processes, as many as calls want and the load manager allows."""
        if self._desk.broken is not None or now < self._start_at:
            return
        wanted = min(self._wanted(now), self._desk.allowed - len(self._crew))
        for _ in range(min(BATCH, wanted)):
            if not self._start_one(now):
                return
        self._attention = self._attention or wanted > BATCH

    def _start_one(self, now: float) -> bool:
        n, self._next_n = self._next_n, self._next_n + 1
        try:
            hand = self._starter.start(n)
        except (MachineFull, NotOurChildError) as error:
            self._start_at = now + HELD_START
            if isinstance(error, NotOurChildError):
                self._break(BrokenProcessPool(str(error)))
            return False
        except Exception as error:
            broken = BrokenProcessPool(f"no process can be started: {error}")
            broken.__cause__ = None if isinstance(error, LoadkeeperError) else error
            self._break(broken)
            return False
        self._crew.add(hand.worker)
        self._crew.listen(hand.channel.fileno(), partial(self._readable, hand))
        if hand.unsent:
            self._crew.until_writable(hand.channel.fileno(), True)
        self._duty.report_soon(now, routine=True)
        return True

    # --------------------------------------------------------------------------------------------------------- close

    def _close(self) -> None:
        """Nobody is left behind."""
        self._shut = True
        self._break(RuntimeError("cannot schedule new futures after shutdown"))
        self._end(self._hands(), kill=True)
        Reaper(self._plan.run).end_leftovers()
        for hand in self._hands():
            if hand.call is not None:
                hand.call.fail(WorkerLost(f"call {hand.call.number}, {hand.call.name}: the executor has ended"))
            hand.close()
        self._duty.close()
        self._crew.close()


def _hand(worker: Worker) -> Hand:
    hand = worker.task
    assert isinstance(hand, Hand)
    return hand
