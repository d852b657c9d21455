"""From the threads of a run to the one thread of the program that waits for it: there everything is called, one call
at a time, so that a program needs no locks and may use in a callback what belongs to its thread."""

import logging
import threading
from collections import deque
from collections.abc import Callable

from ..saying import LOGGER
from .progress import Progress

Call = Callable[[], None]


class _Once:
    """A call that was made, or will be: an exception in the waiting thread (^C) may come at any moment, also between
    taking it and making it, and must lose none."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self.made = threading.Event()

    def __call__(self) -> None:
        if self.made.is_set():
            return
        try:
            self._call()
        finally:
            self.made.set()


class Callbacks:
    """What is to be called, in its order; of progress only the latest that was not taken yet."""

    def __init__(self) -> None:
        self._there = threading.Condition()
        self._calls: deque[_Once] = deque()
        self._progress: Progress | None = None
        self._ended = False
        self._abandoned = False
        self.notify: Call = _nothing  # called in a thread of the run when there is something to take

    # ------------------------------------------------------------------------------------------ the threads of the run

    def post(self, call: Call) -> threading.Event:
        """To be called soon; returns at once, with what is set when that has happened."""
        once = _Once(call)
        with self._there:
            if not self._abandoned:
                self._calls.append(once)
        self._tell()
        return once.made

    def deliver(self, call: Call) -> None:
        """To be called soon; returns when it was, or when nobody takes calls any more."""
        made = self.post(call)
        while not self._abandoned and not made.wait(1.0):
            pass

    def show(self, progress: Progress) -> None:
        with self._there:
            self._progress = progress
        self._tell()

    def end(self) -> None:
        """The run is over: nothing comes any more."""
        with self._there:
            self._ended = True
        self._tell()

    def _tell(self) -> None:
        with self._there:
            self._there.notify_all()
        self.notify()

    # -------------------------------------------------------------------------------------------- the thread that waits

    def take(self, *, wait: bool = True) -> Call | Progress | None:
        """The next one; it stays the next one until it was called. None: the run is over and nothing is left, or
        (without ``wait``) nothing is there."""
        with self._there:
            while not (self._next() or self._progress or self._ended) and wait:
                self._there.wait()
            if (call := self._next()) is not None:
                return call
            progress, self._progress = self._progress, None
            return progress

    def _next(self) -> Call | None:
        while self._calls and self._calls[0].made.is_set():
            self._calls.popleft()
        return self._calls[0] if self._calls else None

    @property
    def over(self) -> bool:
        with self._there:
            return self._ended and self._next() is None and self._progress is None

    def abandon(self) -> None:
        """Nobody takes calls any more: whoever waits for one goes on."""
        with self._there:
            self._abandoned = True
            self._calls.clear()


def safely(call: Callable[[], object], what: str) -> None:
    """A callback that fails stops nothing and is not lost."""
    try:
        call()
    except Exception:
        logging.getLogger(LOGGER).exception("loadkeeper: %s has failed", what)


def _nothing() -> None:
    pass
