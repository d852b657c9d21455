"""What a world may not say, though it has the right fields: one error, with the place."""

from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any

from ..errors import SettingsError, UsageError
from .shapes import shape
from .world import DISTRIBUTIONS, Pool, Sort, World, read_limits, size

GAUGES = ("memory", "cpu", "workers")
PAUSES = ("auto", "never")


def check(world: World) -> None:
    """Raises UsageError for the first contradiction."""
    for place, problem in _problems(world):
        if problem:
            raise UsageError(f"world {world.name!r}, {place}: {problem}; docs/worlds.md describes the fields")


def _problems(world: World) -> Iterator[tuple[str, str]]:
    node = world.node
    yield "node.cpus", _above_zero(node.cpus)
    for name in ("memory", "swap", "base"):
        yield f"node.{name}", _size(getattr(node, name))
    yield "node.memory", "" if size(node.memory) > 0 else "a node has memory"
    yield "node.base", "" if size(node.base) < size(node.memory) else "the system itself takes all of the memory"
    yield "disk", _size(world.disk)
    yield "noise", "" if 0 <= world.noise < 1 else "the error of a gauge is a share of the total, from 0 to 1"
    yield from _acts(world)
    yield from _surroundings(world)
    yield "pools", "" if world.pools else "a world has work: at least one pool"
    names = [pool.name for pool in world.pools]
    for index, pool in enumerate(world.pools):
        place = f"pools[{index}]"
        yield f"{place}.name", "" if names.count(pool.name) == 1 else f"{pool.name!r} is another pool's name"
        yield from _pool(pool, place)


def _acts(world: World) -> Iterator[tuple[str, str]]:
    acts = world.acts
    yield "acts.kill", _range(acts.kill)
    for name in ("stop_late", "late_look"):
        share, seconds = getattr(acts, name)
        yield f"acts.{name}", "" if 0 <= share <= 1 and seconds >= 0 else "[a share from 0 to 1, seconds] is meant"
    for name in ("stop", "start", "tell"):
        yield f"acts.{name}", "" if getattr(acts, name) >= 0 else "seconds are not negative"
    for name in ("free", "touch"):
        problem = _size(getattr(acts, name))
        yield f"acts.{name}", problem or ("" if size(getattr(acts, name)) > 0 else "bytes a second, above zero")


def _surroundings(world: World) -> Iterator[tuple[str, str]]:
    for index, event in enumerate(world.events):
        yield f"events[{index}].at", "" if event.at >= 0 else "before the beginning"
        if event.memory is not None:
            yield f"events[{index}].memory", _size(event.memory)
        if event.cpus is not None:
            yield f"events[{index}].cpus", _above_zero(event.cpus)
    for index, foreign in enumerate(world.foreign):
        place = f"foreign[{index}]"
        yield f"{place}.memory", _size(foreign.memory)
        yield f"{place}.until", "" if foreign.until > foreign.since else "it ends before it begins"
        yield f"{place}.ramp", "" if foreign.ramp >= 0 else "seconds are not negative"
        yield f"{place}.threads", "" if foreign.threads >= 0 else "threads are not negative"
    for index, broken in enumerate(world.broken):
        known = ", ".join(GAUGES)
        yield f"broken[{index}].gauge", "" if broken.gauge in GAUGES else f"{broken.gauge!r} is none of {known}"
        yield f"broken[{index}].until", "" if broken.until > broken.since else "it ends before it begins"


def _pool(pool: Pool, place: str) -> Iterator[tuple[str, str]]:
    by_one, mixed = bool(pool.each), bool(pool.tasks or pool.mix)
    yield place, "" if by_one != mixed else "either `tasks` of a `mix`, or `each` task by itself"
    yield f"{place}.tasks", "" if pool.tasks > 0 or by_one else "so many tasks as there are: from 1"
    yield f"{place}.mix", "" if pool.mix or by_one else "a mix has at least one sort"
    for name in ("mix", "each"):
        for index, sort in enumerate(getattr(pool, name)):
            yield from _sort(sort, f"{place}.{name}[{index}]")
    yield f"{place}.arrive", "" if pool.arrive >= 0 else "before the beginning"
    yield f"{place}.max_workers", "" if pool.max_workers is None or pool.max_workers > 0 else "from 1"
    yield f"{place}.exit_after", _range(pool.exit_after)
    yield f"{place}.grace", "" if pool.grace >= 0 else "seconds are not negative"
    yield f"{place}.pause", "" if pool.pause in PAUSES else f"{pool.pause!r} is none of {', '.join(PAUSES)}"
    yield f"{place}.limits", _limits(pool)


def _sort(sort: Sort, place: str) -> Iterator[tuple[str, str]]:
    yield f"{place}.seconds", _drawn(sort.seconds, of_sizes=False)
    yield f"{place}.memory", _drawn(sort.memory, of_sizes=True)
    yield f"{place}.share", "" if sort.share > 0 else "of all tasks, above 0"
    yield f"{place}.cpu", "" if 0 <= sort.cpu <= 1 else "the share of the time in which a thread wants a core: 0 to 1"
    yield f"{place}.threads", _above_zero(sort.threads)
    yield f"{place}.hidden", "" if 0 <= sort.hidden <= 1 else "a share of its memory: 0 to 1"
    yield f"{place}.writes", _size(sort.writes)
    if sort.burst is not None:
        period, duty, low = sort.burst
        right = period > 0 and 0 <= duty <= 1 and 0 <= low <= 1
        yield f"{place}.burst", "" if right else "[seconds, share of them, share of a core] is meant"
    try:
        shape(sort.shape)
    except (UsageError, ValueError, TypeError) as error:
        yield f"{place}.shape", str(error)


# --------------------------------------------------------------------------------------------------------------- parts


def _drawn(given: Any, *, of_sizes: bool) -> str:
    """What is wrong with a figure or distribution."""
    if not isinstance(given, Mapping):
        return _size(given) if of_sizes else _seconds(given)
    if len(given) != 1 or next(iter(given)) not in DISTRIBUTIONS:
        return f"{given!r} is no distribution; there are {', '.join(DISTRIBUTIONS)}"
    ((name, figures),) = given.items()
    count = DISTRIBUTIONS[name]
    if not isinstance(figures, list | tuple) or len(figures) != count:
        return f"{name} takes {count} figures"
    places = {"uniform": (0, 1), "lognormal": (0,), "pareto": (0, 2)}[name]
    for index, figure in enumerate(figures):
        problem = (_size(figure) if of_sizes else _seconds(figure)) if index in places else _number(figure)
        if problem:
            return problem
    first, last = figures[0], figures[places[-1]]
    ordered = size(first) <= size(last) if of_sizes else first <= last
    return "" if ordered else f"{name} goes from the least to the most"


def _size(given: Any) -> str:
    if isinstance(given, bool) or not isinstance(given, int | float | str):
        return f"{given!r} is no size"
    try:
        return "" if size(given) >= 0 else "a size is not negative"
    except (SettingsError, ValueError, OverflowError) as error:
        return str(error)


def _seconds(given: Any) -> str:
    return _number(given) or ("" if given >= 0 else "seconds are not negative")


def _number(given: Any) -> str:
    right = isinstance(given, int | float) and not isinstance(given, bool) and isfinite(given)
    return "" if right else f"{given!r} is no number"


def _above_zero(given: float) -> str:
    return "" if isfinite(given) and given > 0 else f"{given!r} is not above zero"


def _range(given: tuple[float, float]) -> str:
    return "" if 0 <= given[0] <= given[1] else f"{list(given)} does not go from the least to the most"


def _limits(pool: Pool) -> str:
    try:
        read_limits(pool)
    except (SettingsError, ValueError, TypeError) as error:
        return str(error)
    return ""
