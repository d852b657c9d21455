"""The yardstick: a fixed number of workers, whatever the load. Nobody is paused or ended."""

from .work import Work

LOOK = 0.1


class Fixed:
    def __init__(self, work: Work, most: int) -> None:
        self._work, self._most = work, most

    def look(self) -> float:
        """Fill up to the number, higher priorities first."""
        work, now = self._work, self._work.machine.now
        work.forget_exits()
        left = self._most
        for pool in sorted(work.pools.values(), key=lambda pool: (-pool.priority, pool.name)):
            if pool.arrive > now:
                continue
            wants = min(left, work.live[pool.name] + len(work.waiting[pool.name]))
            work.slots[pool.name] = wants
            left -= wants
        work.refill()
        return LOOK
