"""Signals to the process manager, which wake its loop."""

import signal
from collections import deque
from collections.abc import Callable
from enum import StrEnum


class Order(StrEnum):
    """What a program wants of the run that it has begun."""

    STOP = "stop"  # as a first SIGTERM does ...
    STOP_NOW = "stop-now"  # ... and a second one
    DRAIN = "drain"
    PAUSE = "pause"
    RESUME = "resume"


class Orders:
    """Those of any thread, kept until the loop looks; before it has begun, too."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._given: deque[Order] = deque()

    def give(self, order: Order) -> None:
        self._given.append(order)
        self._wake()

    def take(self) -> list[Order]:
        return [self._given.popleft() for _ in range(len(self._given))]


class Signals:
    """Signals to a stand-alone process manager, counted until the loop looks. Main thread only.

    A signal that was inherited as ignored (nohup, a shell's background job) stays ignored."""

    WATCHED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH)

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._seen: list[signal.Signals] = []
        self._before = {}
        for number in self.WATCHED:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._note)

    def _note(self, number: int, _frame: object) -> None:
        self._seen.append(signal.Signals(number))
        self._wake()

    def take(self) -> list[signal.Signals]:
        seen, self._seen = self._seen, []
        return seen

    def close(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
