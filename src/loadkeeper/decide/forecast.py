"""How memory moves: the course of each worker, the speed at which available falls, and what of it is strange."""

from math import exp

from msgspec.structs import replace

from ..model import Seen, WorkerSeen, WorkerState
from .memory import Course, Memory, Trend
from .parameters import Parameters
from .strange import strange


def forecast(seen: Seen, memory: Memory, p: Parameters) -> Memory:
    """Bring every course and the trend up to this look. Claims are made afterwards."""
    live = {worker.id for worker in seen.workers}
    trend = _note_leaving(seen, memory, live)
    swept = seen.swept is not None and seen.swept != trend.swept
    courses = memory.workers
    if swept:
        trend = strange(seen, memory.workers, trend, p)
        courses = {worker.id: _course(worker, courses.get(worker.id), seen, trend, p) for worker in seen.workers}
    elif courses.keys() != live:
        courses = {worker.id: courses.get(worker.id) or _unswept(seen) for worker in seen.workers}
    held = sum([course.rss or 0 for course in courses.values()])
    trend = _obey(seen, memory, _speed(seen, trend, held, p), p)
    if swept:
        most = _most(seen, trend.most, held)
        swept_now = {"swept": seen.swept, "swept_available": seen.swept_available, "swept_total": seen.total}
        trend = replace(trend, **swept_now, most=most, left=False)
    return replace(memory, workers=courses, trend=trend)


# -------------------------------------------------------------------------------------------------- one worker's course


def _unswept(seen: Seen) -> Course:
    return Course(mark_at=seen.now)


def _course(worker: WorkerSeen, before: Course | None, seen: Seen, trend: Trend, p: Parameters) -> Course:
    """A worker that shows nothing after it held something is exiting: what it held is not back yet, and counts."""
    now = seen.swept if seen.swept is not None else seen.now
    if before is None:
        before = Course(mark_at=now)
    rss = worker.rss
    if rss is None or worker.exiting or (rss == 0 and before.rss):
        return before
    if before.rss is None:
        return Course(rss=rss, top=rss, processes=worker.processes, mark_at=now, mark_rss=rss)
    span = 0.0 if trend.swept is None else max(0.0, now - trend.swept)
    running = worker.state is not WorkerState.PAUSED
    whole = now - before.mark_at >= p.slope_window
    return Course(
        rss=rss,
        top=max(before.top, rss),
        area=before.area + rss * span if running else before.area,
        seconds=before.seconds + span if running else before.seconds,
        processes=worker.processes,
        mark_at=now if whole else before.mark_at,
        mark_rss=rss if whole else before.mark_rss,
        slope=(rss - before.mark_rss) / (now - before.mark_at) if whole else before.slope,
    )


# ---------------------------------------------------------------------------------------------------------------- speed


def _speed(seen: Seen, trend: Trend, held: float, p: Parameters) -> Trend:
    """The fall of available through an exponential filter, with its sign: cutting each reading at zero turns the
    gauge's noise into growth. After a pause it is measured anew, or the filter's tail pauses and ends for nothing."""
    if seen.available is None:
        return _reckon(trend, held)
    last, available = trend.available, float(seen.available)
    if trend.at is None or last is None or seen.total != trend.total:
        return replace(trend, at=seen.now, available=available, held=held, total=seen.total, speed=0.0, fresh_at=None)
    seconds = seen.now - trend.at
    if seconds <= 0:
        return trend
    moved = replace(trend, at=seen.now, available=available, held=held)
    if trend.fresh_at is not None:
        return _measure_anew(moved, seen.now, available, p)
    weight = 1 - exp(-seconds / p.speed_filter)
    return replace(moved, speed=trend.speed + ((last - available) / seconds - trend.speed) * weight)


def _measure_anew(trend: Trend, now: float, available: float, p: Parameters) -> Trend:
    """Wait until the pause has taken hold, then take the slope of a short baseline as the speed."""
    fresh = trend.fresh_at or 0.0
    if now < fresh:
        return trend
    if trend.fresh_available is None:
        return replace(trend, fresh_at=now, fresh_available=available)
    if now - fresh < p.baseline:
        return trend
    return replace(
        trend, speed=(trend.fresh_available - available) / (now - fresh), fresh_at=None, fresh_available=None
    )


def _reckon(trend: Trend, held: float) -> Trend:
    """Dead reckoning: the last reading, less what workers grew since. Good enough to pause by."""
    if trend.available is None:
        return trend
    return replace(trend, available=trend.available - (held - trend.held), held=held)


def measure_anew(memory: Memory, now: float, p: Parameters) -> Memory:
    """To be called when somebody was paused."""
    return replace(memory, trend=replace(memory.trend, fresh_at=now + p.pause_takes, fresh_available=None))


# ---------------------------------------------------------------------------------------------- what was ever there


def _note_leaving(seen: Seen, memory: Memory, live: set[str]) -> Trend:
    gone = bool(seen.exits) or not memory.workers.keys() <= live
    return replace(memory.trend, left=True) if gone and not memory.trend.left else memory.trend


def _most(seen: Seen, most: float, held: float) -> float:
    """The largest available + held: what was ever there for us. A limit that fell bounds it."""
    if seen.swept_available is not None:
        most = max(most, seen.swept_available + held)
    return min(most, float(seen.total))


# ------------------------------------------------------------------------------------------------ how pauses are obeyed


def _obey(seen: Seen, memory: Memory, trend: Trend, p: Parameters) -> Trend:
    """The longest that a worker took to obey a pause here; a slow stop is forgotten with time."""
    seconds = 0.0 if memory.now is None else max(0.0, seen.now - memory.now)
    obey = trend.obey * 0.5 ** (seconds / p.obey_half_life)
    for worker in seen.workers if memory.paused else ():
        pause = memory.paused.get(worker.id)
        if worker.obeyed is not None and pause is not None and seen.now - pause.since <= p.obey_recent:
            obey = max(obey, min(worker.obeyed, p.obey_most))
    return replace(trend, obey=obey)
