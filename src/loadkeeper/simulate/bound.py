"""The least time that any policy could need: what the node has, against what the work takes.

The greatest of memory area over what is there (total less a tenth, base and foreign), CPU area over the cores that
others leave, the longest task, and max_workers. It is not always reachable: workers are whole, and grow in step.
"""

from collections.abc import Callable, Iterable
from math import inf

from .machine import taken
from .world import Pool, Task, World, size

KEPT = 0.1
STEP = 0.25


def lower_bound(world: World, tasks: dict[str, list[Task]]) -> float:
    """Seconds; infinite where others leave nothing for ever."""
    whole = float(size(world.node.memory)) + size(world.node.swap) - size(world.node.base)
    needs = {pool.name: [_Need(task, whole, world.acts.start) for task in tasks[pool.name]] for pool in world.pools}
    bound = max(_longest(pool, needs[pool.name]) for pool in world.pools)
    for arrive in sorted({pool.arrive for pool in world.pools}):
        late = [need for pool in world.pools if pool.arrive >= arrive for need in needs[pool.name]]
        last = max(arrive, _last_change(world))
        bound = max(bound, _time_for(sum(n.memory for n in late), arrive, last, lambda at: _memory_left(world, at)))
        bound = max(bound, _time_for(sum(n.cpu for n in late), arrive, last, lambda at: _cpu_left(world, at)))
    return bound


def longest(world: World, tasks: dict[str, list[Task]]) -> float:
    """Seconds of the longest task, and until it is there."""
    return max(pool.arrive + max((task.seconds for task in tasks[pool.name]), default=0.0) for pool in world.pools)


class _Need:
    """What one task takes at least; one that can never fit counts until it has filled the node."""

    def __init__(self, task: Task, whole: float, start: float) -> None:
        until = 1.0 if task.memory <= whole else task.shape.reaches(whole / task.memory)
        self.seconds = task.seconds * until
        self.memory = task.memory * task.shape.mean(until) * task.seconds if until > 0 else 0.0
        share = task.cpu
        if task.burst is not None:
            _, duty, low = task.burst
            share = task.cpu * duty + low * (1 - duty)
        self.cpu = share * task.threads * self.seconds + start


def _longest(pool: Pool, needs: Iterable[_Need]) -> float:
    seconds = [need.seconds for need in needs]
    together = sum(seconds) / pool.max_workers if pool.max_workers else 0.0
    return pool.arrive + max(max(seconds, default=0.0), together)


def _last_change(world: World) -> float:
    """From here on what is left stays as it is."""
    edges = [event.at for event in world.events]
    for foreign in world.foreign:
        edges += [edge for edge in (foreign.since + foreign.ramp, foreign.until) if edge < inf]
    return max(edges, default=0.0)


def _time_for(area: float, since: float, last: float, left: Callable[[float], float]) -> float:
    """When so much of what is left at each time has been used up; ``last``: the last time at which that changes."""
    at = since
    while area > 0 and at <= last:
        rate = max(left(at), 0.0)
        if area <= rate * STEP:
            return at + area / rate
        area -= rate * STEP
        at += STEP
    if area <= 0:
        return at
    rate = left(at)
    return at + area / rate if rate > 0 else inf


def _memory_left(world: World, at: float) -> float:
    total = _latest(world, at, "memory", float(size(world.node.memory)))
    others = sum(taken(foreign, at) for foreign in world.foreign)
    return (1 - KEPT) * total - size(world.node.base) - others


def _cpu_left(world: World, at: float) -> float:
    cores = _latest(world, at, "cpus", world.node.cpus)
    return cores - min(cores, sum(f.threads for f in world.foreign if f.since <= at < f.until))


def _latest(world: World, at: float, what: str, first: float) -> float:
    value = first
    for event in sorted(world.events, key=lambda event: event.at):
        given = getattr(event, what)
        if event.at <= at and given is not None:
            value = float(size(given))
    return value
