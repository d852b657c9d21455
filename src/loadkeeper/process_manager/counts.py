"""What has happened to the tasks so far."""

from dataclasses import dataclass

from ..model import Outcome, TaskCounts
from .attempt import Attempt


@dataclass
class Counts:
    """Tasks are counted once each, but for ``given_back``: attempts that we ended."""

    done: int = 0
    failed: int = 0
    given_back: int = 0
    buried: int = 0
    pauses: int = 0
    paused_for: float = 0.0
    kernel_kills: int = 0
    returned_done: int = 0
    before: int = 0  # done by an earlier run

    def note(self, attempt: Attempt, outcome: Outcome, again: bool, by_kernel: bool, now: float) -> None:
        """An attempt is over."""
        task = attempt.task
        self.pauses += attempt.pauses
        self.paused_for += attempt.paused(now)
        self.kernel_kills += by_kernel
        self.given_back += outcome is Outcome.GIVEN_BACK
        if again:
            return
        self.done += outcome is Outcome.DONE
        self.failed += outcome is Outcome.FAILED
        self.buried += outcome is Outcome.BURIED
        self.returned_done += outcome is Outcome.DONE and task.returns > 0

    def failed_of_all(self, left: int) -> tuple[int, int]:
        """Tasks that failed for good, and all there are, ``left`` not done."""
        failed = self.failed + self.buried
        return failed, failed + self.done + left

    def tasks(self, waiting: int | None, live: int) -> TaskCounts:
        return TaskCounts(waiting, live, self.done, self.failed, self.given_back, self.buried)
