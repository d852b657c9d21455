"""What becomes of a task when its worker is gone."""

from ..model import Outcome, Reason, Why
from ..sources.base import Task

OURS = frozenset(Reason) - {Reason.TIMEOUT, Reason.NEVER_FITS}
"""Ends that are never counted as the task's failure."""
REGROWTH = 1.5
"""A task that was ended for memory is expected to need so many times what it held then."""
KERNEL_KILLS = 3
"""Kills by the kernel's own memory killer after which they count as the task's failures."""


def judge(
    task: Task, *, code: int, signal: int, ended: Why | None, bury: bool, by_kernel: bool, tries: int
) -> tuple[Outcome, bool]:
    """(how the attempt ended, whether the task is tried again), with the task's own counters brought up to date.

    ``code`` and ``signal`` are the leader's; ``ended`` is why we ended it, None if we did not."""
    if bury:
        return Outcome.BURIED, False
    if ended is not None and ended.reason in OURS:
        task.returns += 1
        if ended.held:
            task.floor = max(task.floor, int(REGROWTH * ended.held))
        return Outcome.GIVEN_BACK, True
    if by_kernel and task.returns < KERNEL_KILLS:
        task.returns += 1
        return Outcome.GIVEN_BACK, True
    if ended is None and code == 0 and signal == 0:
        return Outcome.DONE, False
    task.failures += 1
    return Outcome.FAILED, task.failures < tries
