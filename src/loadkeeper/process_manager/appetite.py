"""How much of a queue a run should have: tasks that are asked for, and workers that would have something to do."""

from ..obey.demand import Demand
from ..sources.base import Source
from .again import Again
from .brake import Brake
from .kept import Kept

AHEAD = 0.1
"""Seconds of work that are taken from a queue ahead of those who do it, ..."""
MOST_AHEAD = 64
"""... but no more tasks than this."""
POSTPONED = 256
"""Tasks that wait for their next try, from which on no new ones are taken: we would hoard them."""
WEIGHT = 0.1
"""Of the newest attempt in what is usual."""


class Appetite:
    """``now``: seconds of CLOCK_MONOTONIC; ``live``: workers."""

    def __init__(self, source: Source, again: Again, brake: Brake, kept: Kept | None) -> None:
        self._source, self._again, self._brake, self._kept = source, again, brake, kept
        self._demand = Demand()
        self._given_at = 0.0
        self._usual: float | None = None  # seconds of an attempt

    def given(self, now: float) -> None:
        """A kept worker has a task."""
        self._given_at = now

    def finished(self, active: float, *, answered: bool) -> None:
        """An attempt took so long; ``answered``: by a kept worker."""
        self._usual = active if self._usual is None else self._usual + WEIGHT * (active - self._usual)
        if answered:
            self._demand.answered(active)

    def want(self, room: int, live: int, now: float) -> None:
        """Tell the source how many tasks could be started now, and in a moment. ``room``: for workers; below 0 there
        are too many."""
        if self._again.waiting >= POSTPONED or self._brake.holds(now) or room < 0:
            self._source.want(0)
            return
        idle = self._kept.idle() if self._kept is not None else 0
        ahead = live * AHEAD / self._usual if self._usual else 0.0
        self._source.want(max(0, room + idle - self._again.startable) + min(MOST_AHEAD, int(ahead)))

    def workers(self, live: int, now: float) -> int:
        """So many more would have something to do. One slot at least stands ready: what comes next need not wait for
        the load manager."""
        if self._kept is None:
            return max(1, self._waiting())
        return max(self.worth(live, now), 0 if self._kept.idle() else 1)

    def worth(self, live: int, now: float) -> int:
        """So many more kept workers are worth their start."""
        idle = self._kept.idle() if self._kept is not None else 0
        return self._demand.more(self._waiting() - idle, live, now - self._given_at)

    def _waiting(self) -> int:
        return (self._source.waiting() or 0) + len(self._again)
