"""What becomes of a task when its worker is gone."""

from typing import NamedTuple

from ..act.worker import Exit
from ..linux.proc import oom_kills
from ..model import Outcome, Reason
from ..sources.base import Task

OURS = frozenset(Reason) - {Reason.TIMEOUT, Reason.NEVER_FITS}
"""Ends that are never counted as the task's failure."""
REGROWTH = 1.5
"""A task that was ended for memory is expected to need so many times what it held then."""
WITHOUT_ROOM = 3
"""Attempts that may end while a disk is full; the last of them counts as a failure."""
CROWDED = 20
"""Attempts that may fail beside others while the machine makes no processes ..."""
ALONE = 7
"""... of which one that had the machine to itself counts as so many: the third of those is the task's own failure."""
KERNEL_KILLS = 3
"""Kills by the kernel's memory killer after which they count as the task's failures."""


LATER = 75
"""Exit code by which a queue's worker says that its task should be tried again later: EX_TEMPFAIL, sysexits(3)."""


class Judgement(NamedTuple):
    outcome: Outcome
    again: bool  # the task is tried again


class Judge:
    """Judges the attempts of one run, and keeps each task's own counters."""

    def __init__(self, tries: int, later: int | None = None) -> None:
        """``later``: the exit code that says that the task should be tried again later."""
        self._tries, self._later = tries, later
        self._kills = oom_kills()
        self._unclaimed = 0

    def by_kernel(self, left: Exit) -> bool:
        """Whether the kernel's memory killer did it: SIGKILL that none of us sent, and the kernel's own count of such
        kills (the machine's, proc_vmstat ``oom_kill``) has grown by one that nobody has claimed yet."""
        if not left.unasked_kill:
            return False
        before, self._kills = self._kills, oom_kills()
        if self._kills is None or before is None:
            return False
        self._unclaimed += self._kills - before
        if not self._unclaimed:
            return False
        self._unclaimed -= 1
        return True

    def judge(  # noqa: PLR0913 - what was seen of its end
        self,
        task: Task,
        left: Exit,
        *,
        bury: bool,
        by_kernel: bool,
        roomless: bool = False,
        crowded: int = 0,
    ) -> Judgement:
        """``bury``: it can never fit here. ``roomless``: a disk was full while it ran, so that nobody knows what it
        could not write, whatever its exit code. ``crowded``: no process could be made, and so many workers lived."""
        if bury:
            return Judgement(Outcome.BURIED, False)
        ended = left.ended_for
        if ended is not None and ended.reason in OURS:
            if ended.held:
                task.floor = max(task.floor, int(REGROWTH * ended.held))
            return self._given_back(task)
        if by_kernel and task.kernel_kills < KERNEL_KILLS:
            task.kernel_kills += 1
            task.floor = max(task.floor, int(REGROWTH * left.peak))
            return self._given_back(task)
        if ended is None and roomless:
            task.roomless += 1
            if task.roomless < WITHOUT_ROOM:
                return self._given_back(task)
        elif ended is None and left.code == 0 and left.signal == 0:
            return Judgement(Outcome.DONE, False)
        elif ended is None and left.code == self._later:
            task.postponed += 1
            return Judgement(Outcome.GIVEN_BACK, True)
        elif ended is None and crowded:
            task.crowded += 1 if crowded > 1 else ALONE
            if task.crowded < CROWDED:
                return self._given_back(task)
        task.failures += 1
        return Judgement(Outcome.FAILED, task.failures < self._tries)

    def _given_back(self, task: Task) -> Judgement:
        task.returns += 1
        return Judgement(Outcome.GIVEN_BACK, True)
