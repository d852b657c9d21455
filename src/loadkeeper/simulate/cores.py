"""How threads share the cores: fairly; one that waits part of its time is slowed only in the part that wants CPU."""

from collections.abc import Iterable

OVERHEAD = 0.02
"""Of speed, for each thread too many per core."""


def thread_speed(wants: Iterable[tuple[float, float]], foreign: float, cores: float) -> float:
    """How fast a thread runs while it wants to (1: a core of its own).

    ``wants``: (share of the time in which a thread wants a core, threads); ``foreign`` threads always want one. The
    speed at which all together use just the cores there are.
    """
    groups: dict[float, float] = {}
    for share, threads in wants:
        if share > 0:
            groups[share] = groups.get(share, 0.0) + threads
    wanted = sum(share * threads for share, threads in groups.items()) + foreign
    if wanted <= cores:
        return 1.0
    steady = groups.pop(1.0, 0.0) + foreign
    if not groups:
        return cores / steady
    low, high = 0.0, 1.0
    for _ in range(24):
        middle = (low + high) / 2
        used = steady * middle + sum(threads * use(share, middle) for share, threads in groups.items())
        low, high = (middle, high) if used < cores else (low, middle)
    return high


def use(share: float, speed: float) -> float:
    """Cores that a thread takes which wants one for a share of the time, when it runs at this speed."""
    return share / (share / speed + 1 - share) if share > 0 else 0.0


def progress(share: float, speed: float) -> float:
    """How fast such a thread's work goes, 1: as on an idle node."""
    return 1 / (share / speed + 1 - share)


def overhead(runnable: float, cores: float) -> float:
    """What is left of speed beside threads that wait for a core."""
    return max(0.5, 1 - OVERHEAD * max(0.0, runnable - cores) / cores)
