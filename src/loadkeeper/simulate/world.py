"""A world: a node, what surrounds it, and the work, from its JSON. `docs/worlds.md` describes the format."""

from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

import msgspec
from msgspec import Struct

from ..errors import SettingsError, UsageError
from ..model import Amount, Limits
from ..units import SHOWN, parse_cpus, parse_memory, parse_size
from .shapes import Shape, shape

Size = int | float | str


class Node(Struct, frozen=True, forbid_unknown_fields=True):
    cpus: float
    memory: Size
    swap: Size = 0
    base: Size = 0


class Acts(Struct, frozen=True, forbid_unknown_fields=True):
    """How fast the kernel and its processes do what is asked. The defaults are those of the published worlds; measured
    on a real kernel: kill [0.007, 0.14], stop_late [0.05, 0.65], late_look [0.02, 0.28], touch 2.5G to 11G."""

    stop: float = 0.005  # s until a pause takes effect
    stop_late: tuple[float, float] = (0.0, 0.0)  # this share of pauses takes up to so many seconds
    kill: tuple[float, float] = (0.05, 0.5)  # s until a killed worker's memory is back
    free: Size = "15G"  # bytes/s at which the memory of one that exits by itself comes back
    start: float = 0.002  # s of CPU that a start takes
    tell: float = 0.002  # s from a look until what it decided is done
    touch: Size = "2.5G"  # bytes/s that a worker can take
    late_look: tuple[float, float] = (0.0, 0.0)  # this share of looks comes up to so many seconds late


class Event(Struct, frozen=True, forbid_unknown_fields=True):
    at: float
    memory: Size | None = None
    cpus: float | None = None


class Foreign(Struct, frozen=True, forbid_unknown_fields=True, rename={"since": "from"}):
    since: float = 0.0
    until: float = float("inf")
    memory: Size = 0
    ramp: float = 0.0
    threads: float = 0.0


class Broken(Struct, frozen=True, forbid_unknown_fields=True, rename={"since": "from"}):
    gauge: str
    since: float
    until: float


class Sort(Struct, frozen=True, forbid_unknown_fields=True):
    """One sort of tasks in a mix."""

    seconds: Any
    memory: Any
    shape: Any = "flat"
    share: float = 1.0
    cpu: float = 1.0
    threads: float = 1.0
    burst: tuple[float, float, float] | None = None
    hidden: float = 0.0  # of its memory, what no reading of the worker shows (tmpfs, the kernel's own)
    writes: Size = 0  # bytes/s of dirty pages


class Pool(Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    tasks: int = 0
    mix: list[Sort] = []
    each: list[Sort] = []  # the tasks one by one, instead of ``tasks`` of a ``mix``
    kind: str | None = None
    run: str = "run"
    priority: int = 0
    arrive: float = 0.0
    max_workers: int | None = None
    exit_after: tuple[float, float] = (0.05, 0.5)
    grace: float = 10.0
    pause_delay: float = 0.0
    pause: str = "auto"
    patience: float = 300.0
    limits: dict[str, Any] = {}


class World(Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    node: Node
    pools: list[Pool]
    group: str = "ordinary"
    about: str = ""
    noise: float = 0.001
    acts: Acts = Acts()
    events: list[Event] = []
    foreign: list[Foreign] = []
    broken: list[Broken] = []
    disk: Size = "200M"  # bytes/s at which dirty pages are written


class Task(Struct, frozen=True):
    """A unit of work as it was drawn."""

    number: int
    pool: str
    seconds: float  # on an idle node
    memory: int  # bytes at its peak
    shape: Shape
    cpu: float
    threads: float
    burst: tuple[float, float, float] | None
    hidden: float
    writes: float


def read_world(given: Mapping[str, Any]) -> World:
    """Raises UsageError, which names the field."""
    try:
        return msgspec.convert(given, World)
    except (msgspec.ValidationError, RecursionError, UnicodeError) as error:
        name = given.get("name")
        shown = name[:SHOWN] if isinstance(name, str) else "?"
        raise UsageError(f"world {shown!r}: {error}; docs/worlds.md describes the fields") from None


def size(given: Size) -> int:
    return parse_size(given) if isinstance(given, str) else int(given)


# ---------------------------------------------------------------------------------------------------------- the tasks


def draw_tasks(world: World, seed: int) -> dict[str, list[Task]]:
    """By pool. The same seed draws the same tasks, whoever runs them."""
    drawn: dict[str, list[Task]] = {}
    number = 0
    for pool in world.pools:
        random = Random(f"{seed} {world.name} {pool.name}")
        tasks = []
        for sort in pool.each or _mixed(pool, random):
            number += 1
            tasks.append(_draw(number, pool, sort, random))
        drawn[pool.name] = tasks
    return drawn


def _mixed(pool: Pool, random: Random) -> Iterator[Sort]:
    weights = [sort.share for sort in pool.mix]
    return (random.choices(pool.mix, weights=weights)[0] for _ in range(pool.tasks))


def _draw(number: int, pool: Pool, sort: Sort, random: Random) -> Task:
    return Task(
        number=number,
        pool=pool.name,
        seconds=max(1e-4, _number(sort.seconds, random, float)),
        memory=int(_number(sort.memory, random, size)),
        shape=shape(sort.shape),
        cpu=sort.cpu,
        threads=sort.threads,
        burst=sort.burst,
        hidden=sort.hidden,
        writes=float(size(sort.writes)),
    )


DISTRIBUTIONS = {"uniform": 2, "lognormal": 2, "pareto": 3}
"""How many figures each takes."""


def _number(given: Any, random: Random, unit: Any) -> float:
    """A figure, or one drawn from ``uniform``, ``lognormal`` or ``pareto``."""
    if not isinstance(given, Mapping):
        return float(unit(given))
    ((name, figures),) = given.items()
    if name == "uniform":
        return random.uniform(unit(figures[0]), unit(figures[1]))
    if name == "lognormal":
        return float(unit(figures[0])) * random.lognormvariate(0.0, figures[1])
    if name == "pareto":
        return min(float(unit(figures[0])) * random.paretovariate(figures[1]), float(unit(figures[2])))
    raise UsageError(f"{given!r} is no distribution; there are {', '.join(DISTRIBUTIONS)}")


# ----------------------------------------------------------------------------------------------------------- the limits

_MEMORY = frozenset({"memory", "memory_pause", "memory_end", "workers_memory", "swap"})
_SIZES = frozenset({"memory_gap", "memory_per_worker", "memory_need"})
_CPU = frozenset({"cpu", "workers_cpu"})


def read_limits(pool: Pool) -> Limits:
    """The pool's limits; a figure for ``cpu`` is a promise, as it is on the command line."""
    figures: dict[str, Any] = {}
    for name, given in pool.limits.items():
        figures[name] = _limit(name, given)
    if figures.get("cpu") is not None:
        figures["cpu_promised"] = True
    return Limits(**figures)


def _limit(name: str, given: Any) -> Amount | int | float | None:
    if given == "off":
        return None
    if not isinstance(given, str | int | float):
        raise SettingsError(f"{name!r} of a pool is a figure or a text")
    if name in _MEMORY:
        return parse_memory(str(given))
    if name in _CPU:
        return parse_cpus(str(given))
    if name in _SIZES:
        return size(given)
    if name in ("max_pause", "give_up"):
        return float(given)
    raise SettingsError(f"{name!r} is no limit of a pool in a world")
