"""Calls that wait, and processes that wait for calls: what the threads of a program share."""

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

from .calls import Call
from .hand import Hand


class Desk:
    """Every method holds the lock for a moment. A process that is not idle belongs to one thread: to the one that
    submits while it is ``reserved``, else to the executor's own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._backlog: deque[Call] = deque()
        self._idle: list[Hand] = []
        self._numbers = itertools.count(1)
        self.busy = 0  # processes that have a call, or are reserved for one, ...
        self.allowed = 0  # ... and how many may
        self.handed_at = 0.0  # the last call, seconds of CLOCK_MONOTONIC
        self.broken: BaseException | None = None  # why no call can be done any more

    @property
    def waiting(self) -> int:
        """Calls, those too that were cancelled meanwhile."""
        return len(self._backlog)

    @property
    def idle(self) -> int:
        return len(self._idle)

    # ------------------------------------------------------------------------------------------- the submitting thread

    def put(self, call: Call, refuse: Callable[[], None]) -> tuple[Hand | None, bool]:
        """Queue the call: (``None``, whether it is the only one that waits). Or a process that was idle and is reserved
        for it now. ``refuse`` raises when no more calls are taken; what is broken is raised."""
        with self._lock:
            if self.broken is not None:
                raise copy(self.broken)
            refuse()
            call.number = next(self._numbers)
            if not self._backlog and (hand := self._free()) is not None:
                hand.reserved = True
                self.busy += 1
                return hand, False
            self._backlog.append(call)
            return None, len(self._backlog) == 1

    def give_reserved(self, hand: Hand, call: Call) -> bool | None:
        """Hand the call over; False: some of it waits until the process reads; ``None``: it is dead, the call waits."""
        with self._lock:
            hand.reserved = False
            if hand.gone:
                self.busy -= 1
                self._backlog.appendleft(call)
                return None
            self.handed_at = time.monotonic()
            return hand.give(call)

    def unreserve(self, hand: Hand) -> None:
        """There is no call for it after all."""
        with self._lock:
            hand.reserved = False
            self.busy -= 1
            if not hand.gone:
                self._idle.append(hand)

    # ------------------------------------------------------------------------------------------- the executor's thread

    def take(self, hand: Hand, *, answered: bool = False) -> Call | None:
        """The next call for this process, which may have ``answered`` its last one; ``None``: it waits among the
        idle."""
        with self._lock:
            self.busy -= answered
            while self._backlog and self.busy < self.allowed and hand.live:
                call = self._backlog.popleft()
                if call.begin():  # nobody has cancelled it
                    self.busy += 1
                    self.handed_at = time.monotonic()
                    return call
            if hand.live:
                self._idle.append(hand)
            return None

    def free(self) -> Hand | None:
        """An idle process that may have a call, where one waits: it is idle no more."""
        with self._lock:
            return self._free() if self._backlog else None

    def _free(self) -> Hand | None:
        """One that stands is passed over, by our hand or by another's: its call would wait. `muster` looks at it
        again."""
        while self._idle and self.busy < self.allowed:
            hand = self._idle.pop()
            if hand.live and not hand.worker.process.stopped():
                return hand
        return None

    def answered(self) -> None:
        """A process has its call no more."""
        with self._lock:
            self.busy -= 1

    def requeue(self, call: Call) -> None:
        """It has lost its process, and comes first."""
        with self._lock:
            self._backlog.appendleft(call)

    def muster(self, hands: Iterable[Hand], allowed: int) -> None:
        """Who of those that work is idle, and how many may have a call: a verdict may have changed both."""
        with self._lock:
            self.allowed = allowed
            free = [h for h in hands if h.ready and h.live and h.call is None and not (h.reserved or h.gone)]
            free = [hand for hand in free if not hand.worker.process.stopped()]
            if set(free) != set(self._idle):
                self._idle = free

    def dismiss(self, hand: Hand, *, leaving: bool = False) -> bool:
        """It gets no call any more. False: that is so already; or, with ``leaving``, it has one."""
        with self._lock:
            if hand.gone or (leaving and (hand.call is not None or hand.reserved)):
                return False
            hand.gone, hand.leaving = True, leaving
            if hand in self._idle:
                self._idle.remove(hand)
            return True

    def forget_cancelled(self) -> None:
        """Nobody else may come who takes them from the queue."""
        with self._lock:
            if any(call.future.cancelled() for call in self._backlog):
                self._backlog = deque(call for call in self._backlog if not call.future.cancelled() or call.begin())

    def cancel(self) -> list[Call]:
        """Calls that were never begun leave the queue."""
        with self._lock:
            waiting = [call for call in self._backlog if not call.begun]
            if waiting:
                self._backlog = deque(call for call in self._backlog if call.begun)
            return waiting

    def close(self, error: BaseException) -> list[Call]:
        """No call is taken any more, for the reason that was first; those that waited come back."""
        with self._lock:
            self.broken = self.broken or error
            waiting, self._backlog = list(self._backlog), deque()
            return waiting


def copy(error: BaseException) -> BaseException:
    """Of its own for each who gets it: raising it adds to it."""
    copied = type(error)(*error.args)
    copied.__cause__ = error.__cause__
    return copied
