"""Tasks that are done again: before new ones, and one that fails at once again and again only after a while."""

import heapq
import math
import random
from collections import deque

from ..sources.base import Task
from ..units import format_duration

AT_ONCE = 1.0
"""Seconds of life below which an attempt has failed at once."""
FROM = 2
"""Failures at once, one after the other, from which on the next try waits. The second try never does: as with GNU
parallel's --retries, which waits before none."""
MOST = 60.0
"""Seconds that a wait may last."""
SPREAD = 0.25
"""Share by which a wait is longer or shorter, so that tasks that fail together do not come together."""


class Again:
    """``first``: seconds before the first wait, doubled with each further one; 0: no waits."""

    def __init__(self, first: float) -> None:
        self._first = first
        self._ready: deque[Task] = deque()
        self._later: list[tuple[float, int, Task]] = []
        self._chance = random.Random()

    def __len__(self) -> int:
        return len(self._ready) + len(self._later)

    def failed(self, task: Task, active: float, now: float) -> None:
        """Its attempt failed after so many seconds, and it is tried again."""
        task.at_once = task.at_once + 1 if active < AT_ONCE else 0
        if (wait := self._wait(task.at_once)) > 0:
            heapq.heappush(self._later, (now + wait, task.number, task))
        else:
            self._ready.append(task)

    def _wait(self, at_once: int) -> float:
        if at_once < FROM:
            return 0.0
        longest = self._first * 2.0 ** min(at_once - FROM, 32)
        return min(MOST, longest) * self._chance.uniform(1 - SPREAD, 1 + SPREAD)

    def given_back(self, task: Task) -> None:
        self._ready.append(task)

    def refused(self, task: Task) -> None:
        """The machine could not start it: it comes first."""
        self._ready.appendleft(task)

    def ready(self, now: float) -> bool:
        """Whether `take` would return a task."""
        return bool(self._ready) or (bool(self._later) and self._later[0][0] <= now)

    def take(self, now: float) -> Task | None:
        if not self._ready and self.ready(now):
            return heapq.heappop(self._later)[2]
        return self._ready.popleft() if self._ready else None

    def due(self) -> float:
        """When the next one that waits is ready."""
        return self._later[0][0] if self._later else math.inf

    def told(self, now: float) -> str:
        """Who waits, for people."""
        if not self._later:
            return ""
        at, number, task = self._later[0]
        who = f"task {number} has failed" if len(self._later) == 1 else f"{len(self._later)} tasks have failed"
        times = f" {task.at_once} times in a row" if len(self._later) == 1 else " again and again"
        return f"{who} at once{times}; the next try is in {format_duration(max(0.0, at - now))}"
