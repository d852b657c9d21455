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
    """``first``: seconds before the first wait, doubled with each further one; 0: no waits. With ``always`` every try
    after a failure waits, however long the attempt took: where others work on the same queue there is no hurry."""

    def __init__(self, first: float, *, always: bool = False) -> None:
        self._first, self._always = first, always
        self._ready: deque[Task] = deque()
        self._later: list[tuple[float, int, Task]] = []
        self._since: dict[int, float] = {}  # by number: when it could be started
        self._chance = random.Random()

    def __len__(self) -> int:
        return len(self._ready) + len(self._later)

    def failed(self, task: Task, active: float, now: float) -> None:
        """Its attempt failed after so many seconds, and it is tried again."""
        task.at_once = task.at_once + 1 if active < AT_ONCE else 0
        if self._always:
            self._put(task, self._wait(task.failures), now)
        else:
            self._put(task, self._wait(task.at_once - FROM + 1), now)

    def postponed(self, task: Task, now: float, seconds: float | None = None) -> None:
        """It said that it should be tried later, after so many ``seconds``."""
        self._put(task, self._wait(task.postponed) if seconds is None else seconds, now)

    def _put(self, task: Task, wait: float, now: float) -> None:
        if wait > 0:
            heapq.heappush(self._later, (now + wait, task.number, task))
        else:
            self._add(task, now)

    def _wait(self, times: int) -> float:
        """Before the next try after so many for which one waits."""
        if times < 1:
            return 0.0
        longest = self._first * 2.0 ** min(times - 1, 32)
        return min(MOST, longest) * self._chance.uniform(1 - SPREAD, 1 + SPREAD)

    def given_back(self, task: Task, now: float) -> None:
        self._add(task, now)

    def _add(self, task: Task, now: float) -> None:
        self._ready.append(task)
        self._since[task.number] = now

    def stale(self, before: float) -> list[Task]:
        """Those that could be started since before that moment, and are forgotten here."""
        found = [task for task in self._ready if self._since.get(task.number, before) < before]
        for task in found:
            self._ready.remove(task)
            self._since.pop(task.number, None)
        return found

    def leave(self) -> list[Task]:
        """All of them, forgotten here."""
        found = [*self._ready, *(task for _, _, task in self._later)]
        self._ready.clear()
        self._later.clear()
        self._since.clear()
        return found

    @property
    def startable(self) -> int:
        """Tasks that could be started now."""
        return len(self._ready)

    @property
    def waiting(self) -> int:
        """Tasks that are not to be started yet."""
        return len(self._later)

    def refused(self, task: Task, now: float) -> None:
        """The machine could not start it: it comes first."""
        self._ready.appendleft(task)
        self._since.setdefault(task.number, now)

    def ready(self, now: float) -> bool:
        """Whether `take` would return a task."""
        return bool(self._ready) or (bool(self._later) and self._later[0][0] <= now)

    def take(self, now: float) -> Task | None:
        if not self._ready and self.ready(now):
            return heapq.heappop(self._later)[2]
        if not self._ready:
            return None
        task = self._ready.popleft()
        self._since.pop(task.number, None)
        return task

    def due(self) -> float:
        """When the next one that waits is ready."""
        return self._later[0][0] if self._later else math.inf

    def told(self, now: float) -> str:
        """Who waits, for people."""
        if not self._later:
            return ""
        at, number, task = self._later[0]
        next_try = f"the next try is in {format_duration(max(0.0, at - now))}"
        if len(self._later) == 1 and task.at_once > 1:
            return f"task {number} has failed at once {task.at_once} times in a row; {next_try}"
        if self._always:
            return f"{len(self._later)} task{'' if len(self._later) == 1 else 's'} will be tried again; {next_try}"
        return f"{len(self._later)} tasks have failed at once again and again; {next_try}"
