"""Growth that no worker explains: somebody else's, which cannot be paused."""

from collections.abc import Mapping
from math import exp, sqrt

from msgspec.structs import replace

from ..model import Seen, WorkerState
from .memory import Course, Trend
from .parameters import Parameters

_PASSED = 0.75
"""Of a window's scatter, times its weight, what an exponential filter passes on. One window's error is the next one's
with the other sign, so less than of independent ones: sqrt((1 + w / (2 - w)) / 2) for small weights."""


def strange(seen: Seen, courses: Mapping[str, Course], trend: Trend, p: Parameters) -> Trend:
    """What available fell by between two sweeps and no worker grew by, filtered. ``courses``: as of the one before.

    A window that says nothing only lets the old value fade: its tail must not end anybody. Gauges and workers' sizes
    are not read at one instant and lag by some pages per core, so single windows scatter, the more the shorter they
    are; what scatter alone could make of the filtered value is its *doubt*.
    """
    if trend.swept is None or seen.swept is None or seen.swept <= trend.swept:
        return trend
    seconds = seen.swept - trend.swept
    weight = 1 - exp(-seconds / p.strange_filter)
    unexplained = None if seconds > p.window_most else _unexplained(seen, courses, trend)
    if unexplained is None:
        return replace(trend, strange=trend.strange * (1 - weight))
    off = unexplained / seconds - trend.strange
    scatter = trend.scatter + (off * off - trend.scatter) * (1 - exp(-seconds / p.scatter_filter))
    doubt = p.doubt * _PASSED * weight * sqrt(scatter)
    return replace(trend, strange=trend.strange + off * weight, scatter=scatter, doubt=doubt)


def _unexplained(seen: Seen, courses: Mapping[str, Course], trend: Trend) -> float | None:
    """Bytes that available fell by beyond what workers grew by; None: the window does not tell.

    A forked child's pages count twice until a sweep has told them apart, and one that no sweep has seen yet grows
    unseen: that would look like somebody else's growth. Where somebody leaves, or left since the last sweep, memory
    comes back 7 to 130 ms after a size shows 0 (measured), which hides growth: what such a window shows is a lower
    bound, of use only where it is growth all the same. The size of who leaves may fall long before its memory is back:
    that fall explains nothing."""
    if seen.swept_available is None or trend.swept_available is None or seen.total != trend.swept_total:
        return None
    ends, grown, somebody_leaves = WorkerState.ENDING, 0, trend.left
    for worker in seen.workers:
        rss, course = worker.rss, courses.get(worker.id)
        before = 0 if course is None else course.rss or 0
        if worker.exiting or worker.state is ends or (rss == 0 and before):
            somebody_leaves = True
            grown += max((rss or 0) - before, 0)
        elif rss is None or (course is not None and course.rss is not None and worker.processes != course.processes):
            return None
        else:
            grown += rss - before
    unexplained = trend.swept_available - seen.swept_available - grown
    return None if unexplained < 0 and somebody_leaves else unexplained
