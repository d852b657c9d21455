"""What would have changed a decision: the least more that, had it been there, gives another answer.

`decide` is pure, so it is asked again with more: bytes available, bytes of a budget, or cores.
"""

from collections.abc import Callable
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from ..model import Amount, Decision, PoolSeen, Seen
from .memory import Memory
from .policy import decide

FINE = 0.02
"""Of the answer, to which it is found."""
MIB = 1 << 20


class Kind(StrEnum):
    """Of what there is more."""

    AVAILABLE = "available"  # bytes, somebody else's
    BUDGET = "budget"  # bytes of --workers-memory
    CORES = "cores"


class More(Struct, frozen=True):
    kind: Kind
    amount: float


def least_more(seen: Seen, memory: Memory, kind: Kind, run: str, is_other: Callable[[Decision], bool]) -> More | None:
    """The least more with which ``is_other`` holds for the decision; None: however much there were, it would not.

    ``memory``: before that look. ``run``: whose budget."""
    first, most = (0.05, 16 * seen.cpus) if kind is Kind.CORES else (MIB, 4.0 * seen.total)

    def holds(amount: float) -> bool:
        more, known = _with(seen, memory, kind, amount, run)
        return is_other(decide(more, known)[0])

    high = float(first)
    while not holds(high):
        if high >= most:
            return None
        high = min(2 * high, most)
    low = high / 2 if high > first else 0.0
    while high - low > max(FINE * high, first / 2):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return More(kind, high)


def _with(seen: Seen, memory: Memory, kind: Kind, amount: float, run: str) -> tuple[Seen, Memory]:
    if kind is Kind.CORES:
        return replace(seen, cpus=seen.cpus + amount), memory
    if kind is Kind.BUDGET:
        return replace(seen, pools=tuple(_with_budget(pool, amount, run, seen) for pool in seen.pools)), memory
    more, trend = int(amount), memory.trend
    trend = replace(
        trend,
        available=None if trend.available is None else trend.available + more,
        fresh_available=None if trend.fresh_available is None else trend.fresh_available + more,
        swept_available=None if trend.swept_available is None else trend.swept_available + more,
    )
    there = replace(
        seen,
        available=None if seen.available is None else seen.available + more,
        swept_available=None if seen.swept_available is None else seen.swept_available + more,
    )
    return there, replace(memory, trend=trend)


def _with_budget(pool: PoolSeen, amount: float, run: str, seen: Seen) -> PoolSeen:
    budget = pool.limits.workers_memory
    if pool.run != run or budget is None:
        return pool
    if budget.share is not None:
        return replace(
            pool, limits=replace(pool.limits, workers_memory=Amount(share=budget.share + amount / seen.total))
        )
    return replace(pool, limits=replace(pool.limits, workers_memory=Amount(absolute=budget.of(0) + amount)))
