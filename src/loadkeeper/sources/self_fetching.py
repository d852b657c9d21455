"""Workers that fetch their tasks from the broker themselves, as those of process-load-manager do: here only how many of
them there should be is known. A task of ours is the life of one worker; its own tasks are between it and the broker,
whose redelivery is the guarantee."""

import random
import threading
import time
from collections.abc import Callable

from ..masking import masked
from ..queues.broker import Broker, QueueError
from ..units import format_duration
from .base import Burial, Source, Task

EVERY = 1.0
"""Seconds between two looks at how many tasks wait."""
AGAIN, LONGEST = 0.2, 30.0
"""Seconds until the next try when the broker cannot be asked, doubled up to the longest."""


class SelfFetching(Source):
    """As many workers are started as tasks wait, while there is room; who runs is left alone."""

    def __init__(self, broker: Broker, wake: Callable[[], None], *, until_empty: bool = False) -> None:
        self._broker, self._wake, self._until_empty = broker, wake, until_empty
        self._backlog: int | None = None
        self._startable = 0  # of the tasks that waited at the last look those for which nobody was started since
        self._taken = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="backlog", daemon=True)
        self._thread.start()

    def waiting(self) -> int | None:
        return self._backlog

    def take(self) -> Task | None:
        if self._startable <= 0:
            return None
        self._startable -= 1
        self._taken += 1
        return Task(self._taken)

    def ready(self) -> bool:
        return self._startable > 0

    def exhausted(self) -> bool:
        return self._until_empty and self._backlog == 0

    def done(self, task: Task, result: bytes = b"") -> None:
        pass

    def give_back(self, task: Task) -> None:
        pass

    def bury(self, task: Task, burial: Burial) -> None:
        pass

    def close(self) -> None:
        self._closing.set()
        self._thread.join(1.0)

    def _run(self) -> None:
        failures, connected = 0, False
        while not self._closing.is_set():
            wait = EVERY
            try:
                if not connected:
                    self._broker.connect()
                    connected = True
                self._look()
                failures = 0
            except QueueError as error:
                connected = False
                wait = min(LONGEST, AGAIN * 2.0 ** min(failures, 16)) * random.uniform(0.75, 1.25)
                failures += 1
                self._backlog, self._startable = None, 0
                self.trouble = masked(f"{error}; the next try is in {format_duration(wait)}")
                self._wake()
            self._closing.wait(wait)
        self._broker.close()

    def _look(self) -> None:
        self.trouble = ""
        counted = self._broker.count()
        before, self._backlog = self._backlog, counted.waiting
        self._startable = counted.waiting or 0
        self._broker.tend(time.monotonic())
        if before != self._backlog or self._startable:
            self._wake()
