"""What a world may not say, though it has the right fields: one error, with the place."""

from collections.abc import Iterator, Mapping
from math import isfinite
from reprlib import repr as brief
from typing import Any

from ..errors import SettingsError, UsageError
from ..units import LARGEST_SIZE, LONGEST_DURATION, MOST_CORES, MOST_NUMBER, SHOWN
from .shapes import shape
from .world import DISTRIBUTIONS, Pool, Sort, World, read_limits, size

MOST_TASKS = 1_000_000
WIDEST = 20.0
"""Of a lognormal: e to the 20th is 500 million times the median."""
GAUGES = ("memory", "cpu", "workers")
PAUSES = ("auto", "never")


def check(world: World) -> None:
    """Raises UsageError for the first contradiction."""
    for place, problem in _problems(world):
        if problem:
            raise UsageError(f"world {world.name!r}, {place}: {problem}; docs/worlds.md describes the fields")


def _problems(world: World) -> Iterator[tuple[str, str]]:
    node = world.node
    for name in ("name", "group", "about"):
        yield name, _text(getattr(world, name))
    yield "node.cpus", _cores(node.cpus)
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
    count = sum(pool.tasks + len(pool.each) for pool in world.pools)
    yield "pools", "" if count <= MOST_TASKS else f"{count} tasks; a world has {MOST_TASKS} at most"
    for index, pool in enumerate(world.pools):
        place = f"pools[{index}]"
        yield f"{place}.name", "" if names.count(pool.name) == 1 else f"{pool.name!r} is another pool's name"
        for name in ("name", "kind", "run"):
            yield f"{place}.{name}", _text(getattr(pool, name) or "")
        yield from _pool(pool, place)


def _acts(world: World) -> Iterator[tuple[str, str]]:
    acts = world.acts
    yield "acts.kill", _range(acts.kill)
    for name in ("stop_late", "late_look"):
        share, seconds = getattr(acts, name)
        yield (
            f"acts.{name}",
            "" if 0 <= share <= 1 and not _seconds(seconds) else "[a share from 0 to 1, seconds] is meant",
        )
    for name in ("stop", "start", "tell"):
        yield f"acts.{name}", _seconds(getattr(acts, name))
    for name in ("free", "touch"):
        problem = _size(getattr(acts, name))
        yield f"acts.{name}", problem or ("" if size(getattr(acts, name)) > 0 else "bytes a second, above zero")


def _surroundings(world: World) -> Iterator[tuple[str, str]]:
    for index, event in enumerate(world.events):
        yield f"events[{index}].at", _seconds(event.at)
        if event.memory is not None:
            yield f"events[{index}].memory", _size(event.memory)
        if event.cpus is not None:
            yield f"events[{index}].cpus", _cores(event.cpus)
    for index, foreign in enumerate(world.foreign):
        place = f"foreign[{index}]"
        yield f"{place}.memory", _size(foreign.memory)
        yield f"{place}.from", _seconds(foreign.since)
        yield f"{place}.until", "" if foreign.until > foreign.since else "it ends before it begins"
        yield f"{place}.ramp", _seconds(foreign.ramp)
        yield f"{place}.threads", "" if 0 <= foreign.threads <= MOST_CORES else f"from 0 to {MOST_CORES:g}"
    for index, broken in enumerate(world.broken):
        known = ", ".join(GAUGES)
        yield f"broken[{index}].gauge", "" if broken.gauge in GAUGES else f"{broken.gauge!r} is none of {known}"
        yield f"broken[{index}].from", _seconds(broken.since)
        yield f"broken[{index}].until", "" if broken.until > broken.since else "it ends before it begins"


def _pool(pool: Pool, place: str) -> Iterator[tuple[str, str]]:
    by_one, mixed = bool(pool.each), bool(pool.tasks or pool.mix)
    yield place, "" if by_one != mixed else "either `tasks` of a `mix`, or `each` task by itself"
    yield f"{place}.tasks", "" if pool.tasks > 0 or by_one else "so many tasks as there are: from 1"
    yield f"{place}.mix", "" if pool.mix or by_one else "a mix has at least one sort"
    for name in ("mix", "each"):
        for index, sort in enumerate(getattr(pool, name)):
            yield from _sort(sort, f"{place}.{name}[{index}]")
    yield f"{place}.priority", "" if abs(pool.priority) <= MOST_NUMBER else f"to {MOST_NUMBER}"
    for name in ("arrive", "grace", "pause_delay", "patience"):
        yield f"{place}.{name}", _seconds(getattr(pool, name))
    most = pool.max_workers
    yield f"{place}.max_workers", "" if most is None or 0 < most <= MOST_NUMBER else f"from 1 to {MOST_NUMBER}"
    yield f"{place}.exit_after", _range(pool.exit_after)
    yield f"{place}.pause", "" if pool.pause in PAUSES else f"{pool.pause!r} is none of {', '.join(PAUSES)}"
    yield f"{place}.limits", _limits(pool)


def _sort(sort: Sort, place: str) -> Iterator[tuple[str, str]]:
    yield f"{place}.seconds", _drawn(sort.seconds, of_sizes=False)
    yield f"{place}.memory", _drawn(sort.memory, of_sizes=True)
    yield f"{place}.share", "" if 0 < sort.share <= MOST_TASKS else "of all tasks, above 0"
    yield f"{place}.cpu", "" if 0 <= sort.cpu <= 1 else "the share of the time in which a thread wants a core: 0 to 1"
    yield f"{place}.threads", _cores(sort.threads)
    yield f"{place}.hidden", "" if 0 <= sort.hidden <= 1 else "a share of its memory: 0 to 1"
    yield f"{place}.writes", _size(sort.writes)
    if sort.burst is not None:
        period, duty, low = sort.burst
        right = 0 < period <= LONGEST_DURATION and 0 <= duty <= 1 and 0 <= low <= 1
        yield f"{place}.burst", "" if right else "[seconds, share of them, share of a core] is meant"
    try:
        shape(sort.shape)
    except (UsageError, ValueError, TypeError, OverflowError) as error:
        yield f"{place}.shape", str(error)


# --------------------------------------------------------------------------------------------------------------- parts


def _drawn(given: Any, *, of_sizes: bool) -> str:
    """What is wrong with a figure or distribution."""
    if not isinstance(given, Mapping):
        return _size(given) if of_sizes else _seconds(given)
    if len(given) != 1 or next(iter(given)) not in DISTRIBUTIONS:
        return f"{brief(given)} is no distribution; there are {', '.join(DISTRIBUTIONS)}"
    ((name, figures),) = given.items()
    count = DISTRIBUTIONS[name]
    if not isinstance(figures, list | tuple) or len(figures) != count:
        return f"{name} takes {count} figures"
    places = {"uniform": (0, 1), "lognormal": (0,), "pareto": (0, 2)}[name]
    for index, figure in enumerate(figures):
        problem = (_size(figure) if of_sizes else _seconds(figure)) if index in places else _width(figure)
        if problem:
            return problem
    first, last = figures[0], figures[places[-1]]
    ordered = size(first) <= size(last) if of_sizes else first <= last
    return "" if ordered else f"{name} goes from the least to the most"


def _size(given: Any) -> str:
    if isinstance(given, bool) or not isinstance(given, int | float | str):
        return f"{brief(given)} is no size"
    try:
        return "" if 0 <= size(given) <= LARGEST_SIZE else f"a size goes from 0 to {LARGEST_SIZE >> 50} PiB"
    except (SettingsError, ValueError, OverflowError) as error:
        return str(error)


def _seconds(given: Any) -> str:
    return _number(given) or ("" if 0 <= given <= LONGEST_DURATION else "seconds go from 0 to a century")


def _width(given: Any) -> str:
    """The second figure of a lognormal or Pareto distribution."""
    return _number(given) or ("" if 0 < given <= WIDEST else f"from above 0 to {WIDEST}")


def _number(given: Any) -> str:
    right = isinstance(given, float) and isfinite(given)
    right = right or (isinstance(given, int) and not isinstance(given, bool) and abs(given) <= LARGEST_SIZE)
    return "" if right else f"{brief(given)} is no number"


def _cores(given: float) -> str:
    return "" if 0 < given <= MOST_CORES else f"{brief(given)} is not above zero, or above {MOST_CORES:g}"


def _text(given: str) -> str:
    """JSON can write half of a character, which nobody can print."""
    try:
        given.encode()
    except UnicodeEncodeError:
        return f"{given[:SHOWN]!r} is no text"
    return ""


def _range(given: tuple[float, float]) -> str:
    return (
        "" if 0 <= given[0] <= given[1] <= LONGEST_DURATION else f"{list(given)} does not go from the least to the most"
    )


def _limits(pool: Pool) -> str:
    try:
        limits = read_limits(pool)
    except (SettingsError, ValueError, TypeError, OverflowError) as error:
        return str(error)
    sizes = (limits.memory_gap, limits.memory_per_worker or 0, limits.memory_need or 0)
    if not all(0 <= size <= LARGEST_SIZE for size in sizes):
        return f"a size goes from 0 to {LARGEST_SIZE >> 50} PiB"
    return _seconds(limits.max_pause) or ("" if limits.give_up is None else _seconds(limits.give_up))
