"""A machine that can make no more processes: a task that failed meanwhile may have failed for that, and fewer workers
are what helps."""

from ..linux.forks import RefusedForks

EVERY = 0.1
"""Seconds between two looks."""
SHARE = 0.75
"""Of the workers that lived when a process was refused, so many may live at once afterwards ..."""
SETTLE = 1.0
"""... and none is started for so many seconds; then, when it was refused again, the same share of those, else a quarter
more each so many seconds."""
FORGET = 60.0
"""Seconds without a refusal after which nothing is held back any more."""


class Crowd:
    """Times are seconds of CLOCK_MONOTONIC, ``live`` are workers."""

    def __init__(self) -> None:
        self._forks = RefusedForks()
        self._count = self._forks.count()
        self._looked = self._refused_at = self._fewer_at = self._more_at = float("-inf")
        self._most: int | None = None

    def look(self, now: float, live: int, *, soon: bool = False) -> None:
        """``soon``: it matters at this moment."""
        if now - self._looked < EVERY and not soon:
            return
        self._looked = now
        before, self._count = self._count, self._forks.count()
        if self._count > before:
            self.refused(now, live)
        elif self._most is not None:
            self._recover(now, self._most)

    def _recover(self, now: float, most: int) -> None:
        if now - max(self._refused_at, self._more_at) > SETTLE:
            self._most, self._more_at = most + max(1, most // 4), now
        if now - self._refused_at > FORGET:
            self._most = None

    def refused(self, now: float, live: int) -> None:
        """The kernel would not make a process, for a worker or for us."""
        self._refused_at = now
        if now - self._fewer_at > SETTLE:
            self._most, self._fewer_at = max(1, int(SHARE * live)), now

    def refused_since(self, moment: float) -> bool:
        return self._refused_at >= moment

    def room(self, now: float, live: int) -> float:
        """Workers that may be started beside those that live; one is always tried again."""
        if self._most is None:
            return float("inf")
        return self._most - live if now - self._refused_at > SETTLE else 0

    @property
    def fault(self) -> str:
        """For people; empty when all is well."""
        if self._most is None:
            return ""
        return (
            "the machine makes no more processes (ulimit -u, or pids.max of a control group): "
            f"{self._most} worker{'' if self._most == 1 else 's'} at once until it does"
        )
