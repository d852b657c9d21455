"""One try at a task."""

import time

from ..act.worker import Worker
from ..sources.base import Task

IDLE = Task(0)
"""What a kept worker is at that has no task."""


class Attempt:
    """``started``: seconds of CLOCK_MONOTONIC. A worker's clocks go on over its tasks; these are of the one alone."""

    __slots__ = ("_paused", "_pauses", "began", "started", "task", "worker")

    def __init__(self, task: Task, worker: Worker, started: float) -> None:
        self.task, self.worker, self.started = task, worker, started
        self.began = time.time()
        worker.task = task
        worker.begin(started)
        self._paused, self._pauses = worker.paused_in_all(started), worker.pauses

    def active(self, now: float) -> float:
        """Seconds that it has run, pauses not counted."""
        return self.worker.working(now)

    def paused(self, now: float) -> float:
        """Seconds of pauses."""
        return self.worker.paused_in_all(now) - self._paused

    @property
    def pauses(self) -> int:
        return self.worker.pauses - self._pauses

    def over(self) -> None:
        """Its worker has no task now."""
        self.worker.task, self.worker.mark = IDLE, 0.0
