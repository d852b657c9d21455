"""Whose turn it is, and how slots move from those that have more than their part to those that wait."""

from collections.abc import Mapping

from ..model import PoolSeen, Reason, Why
from .space import Space
from .view import View

_NO_ROOM = frozenset({Reason.MEMORY, Reason.CPU})
"""Refused for what all runs share, so that somebody else's slot would help."""


def in_turn(pools: list[PoolSeen], space: Space, slots: Mapping[str, int]) -> PoolSeen:
    """The highest priority, then the least dominant share."""
    return min(pools, key=lambda pool: (-pool.priority, space.dominant_share(pool, slots[pool.id]), pool.id))


def hand_over(view: View, space: Space, slots: dict[str, int], live: Mapping[str, int], whys: dict[str, Why]) -> None:
    """While a pool waits that is more important, or has less than its part, others do not replace what ends, no
    faster than the waiting one may grow."""
    waiting = [pool for pool in view.pools if _has_no_room(whys.get(pool.id))]
    if len(view.pools) < 2 or not waiting:
        return
    first = in_turn(waiting, space, slots)
    owed = sum(max(0, live[id] - count) for id, count in slots.items())
    for _ in range(max(1, slots[first.id]) - owed):
        donor = _donor(first, view, space, slots)
        if donor is None:
            return
        slots[donor.id] -= 1
        whys[donor.id] = Why(Reason.TURN)


def _has_no_room(why: Why | None) -> bool:
    return why is not None and why.reason in _NO_ROOM


def _donor(first: PoolSeen, view: View, space: Space, slots: Mapping[str, int]) -> PoolSeen | None:
    """Of the least important, who has most. Nobody gives way to a pool that its own stricter line keeps out."""
    able = [pool for pool in view.pools if slots[pool.id] > 0 and _gives(pool, first, view, space, slots)]
    if not able:
        return None
    return min(able, key=lambda pool: (pool.priority, -space.dominant_share(pool, slots[pool.id]), pool.id))


def _gives(pool: PoolSeen, first: PoolSeen, view: View, space: Space, slots: Mapping[str, int]) -> bool:
    if pool.id == first.id or pool.priority > first.priority:
        return False
    if pool.priority == first.priority:
        after = space.dominant_share(pool, slots[pool.id] - 1)
        if after < space.dominant_share(first, slots[first.id] + 1):
            return False
    full = space.next[first.id].usual > space.free(view.domains[pool.run][0])
    return full or space.cpu_refuses(pool, False) is not None
