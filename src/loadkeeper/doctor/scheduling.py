"""Tries of what the load manager asks of the scheduler."""

from collections.abc import Iterator

from ..linux.scheduling import (
    lock_memory,
    priority_possible,
    realtime_possible,
    session_weight,
    session_weight_possible,
    unlock_memory,
)
from .finding import OK, REDUCED, Finding


def scheduling() -> Iterator[Finding]:
    yield _granted(
        "raise the load manager's priority",
        priority_possible(),
        "it wakes up in time on a busy node",
        "beside 40 busy workers on two cores it may wake up 14 ms late (measured)",
    )
    if realtime_possible():
        yield Finding("run in real time (SCHED_FIFO)", OK, "granted", "not used unless asked for")
    locked = lock_memory()
    unlock_memory()
    yield _granted(
        "lock the load manager's memory",
        locked,
        "it is never swapped out",
        "it may be swapped out where there is swap",
    )
    if session_weight() is not None:
        yield _granted(
            "weigh sessions against each other",
            session_weight_possible(),
            "the load manager's priority counts against workers, which have sessions of their own",
            "priorities count within a session only",
        )


def _granted(tried: str, granted: bool, follows: str, otherwise: str) -> Finding:
    return Finding(tried, OK, "granted", follows) if granted else Finding(tried, REDUCED, "refused", otherwise)
