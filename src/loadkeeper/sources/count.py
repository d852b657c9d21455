"""``--tasks N``: so many workers in all, each of which finds its own work."""

from collections import deque

from .base import Burial, Source, Task


class Count(Source):
    """``total`` tasks without a value."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._taken = 0
        self._returned: deque[Task] = deque()

    def waiting(self) -> int:
        return self._total - self._taken + len(self._returned)

    def take(self) -> Task | None:
        if self._returned:
            return self._returned.popleft()
        if self._taken == self._total:
            return None
        self._taken += 1
        return Task(self._taken)

    def ready(self) -> bool:
        return self.waiting() > 0

    def exhausted(self) -> bool:
        return self.waiting() == 0

    def done(self, task: Task, result: bytes = b"") -> None:
        pass

    def give_back(self, task: Task) -> None:
        self._returned.append(task)

    def bury(self, task: Task, burial: Burial) -> None:
        pass
