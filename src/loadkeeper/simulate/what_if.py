"""How long a run that was would have taken on another node, or with other limits: played again, as it was and changed.

The simulator is not the machine. So the answer is the real makespan times the ratio of two plays, and its range says
how far that can be trusted: tasks drawn anew from those there were (the same draws on both sides; Efron's bootstrap),
widened by how far the play of the run as it was is from what it really took.
"""

from collections.abc import Mapping
from random import Random
from statistics import median
from typing import Any

from msgspec import Struct

from ..decide import Memory
from ..errors import SettingsError, UsageError
from ..settings import CHANGEABLE, change
from ..units import format_size, parse_cpus, parse_size
from . import Result, simulate
from .recorded import Recorded, limits_of

DRAWS = 9
"""Lists of tasks that are drawn."""
LIMIT = "limit."
NODE = ("memory", "cpus", "others")
LEAST_MEMORY = 64 << 20


class WhatIf(Struct, frozen=True):
    """Seconds. ``likely``, ``least`` and ``most``: None when the changed run would not come to an end."""

    real: float  # that it took
    played: float  # ... the simulator, for the same
    error: float  # of that, as a share of what was real, with its sign
    likely: float | None
    least: float | None
    most: float | None
    ended: int  # workers that would have been ended, in the play of the very list ...
    ended_as_it_was: int  # ... and in that of the run as it was
    buried: int
    kernel_kills: int


def what_if(recorded: Recorded, changes: Mapping[str, str]) -> WhatIf:
    """``changes``: by `NODE` or ``limit.`` and the name of a limit. Raises UsageError for those that nobody knows."""
    before = recorded.world
    after = changed(recorded, changes)
    was, would = _play(before, recorded), _play(after, recorded)
    error = was.makespan / recorded.makespan - 1
    ratios: list[float] = [would.makespan / was.makespan]
    finished = would.finished
    for draw in range(1, DRAWS if finished else 0):
        one, other = (_play(_drawn(world, draw), recorded) for world in (before, after))
        finished = finished and other.finished
        ratios.append(other.makespan / one.makespan)
    times = [recorded.makespan * ratio for ratio in ratios]
    slack = abs(error)
    return WhatIf(
        real=recorded.makespan,
        played=was.makespan,
        error=error,
        likely=median(times) if finished else None,
        least=min(times) * (1 - min(slack, 0.9)) if finished else None,
        most=max(times) * (1 + slack) if finished else None,
        ended=would.ended,
        ended_as_it_was=was.ended,
        buried=would.buried,
        kernel_kills=would.kernel_kills,
    )


def _play(world: Mapping[str, Any], recorded: Recorded) -> Result:
    return simulate(world, memory=Memory(kinds=recorded.kinds))


def _drawn(world: Mapping[str, Any], draw: int) -> dict[str, Any]:
    """As many tasks of each pool, drawn with replacement; in the same places on every side."""
    pools = []
    for pool in world["pools"]:
        random = Random(f"{draw} {pool['name']}")
        pools.append({**pool, "each": random.choices(pool["each"], k=len(pool["each"]))})
    return {**world, "pools": pools}


# ------------------------------------------------------------------------------------------------------------- changes


def changed(recorded: Recorded, changes: Mapping[str, str]) -> dict[str, Any]:
    """The world with these changes. Raises UsageError."""
    world = dict(recorded.world)
    limits: dict[str, str] = {}
    for name, text in changes.items():
        try:
            if name == "memory":
                world["node"] = {**world["node"], "memory": _memory(text, world["node"]["memory"])}
            elif name == "cpus":
                world["node"] = {**world["node"], "cpus": _cpus(text, world["node"]["cpus"])}
            elif name == "others":
                world = _without_others(world, text)
            elif name == "jobs" or name.startswith(LIMIT):
                limits[name.removeprefix(LIMIT)] = text
            else:
                raise SettingsError(f"there is no such thing to change; {_known()}")
        except SettingsError as error:
            raise UsageError(f"--with {name}={text}: {error}") from None
    return _limited(recorded, world, limits)


def _known() -> str:
    return f"known are memory=+8G, cpus=4, others=none, jobs=8 and limit.NAME ({', '.join(CHANGEABLE)})"


def _memory(text: str, now: int) -> int:
    """``32G``, ``+8G``, ``-8G``."""
    sign = text[:1] if text[:1] in {"+", "-"} else ""
    size = parse_size(text.removeprefix(sign))
    made = {"": size, "+": now + size, "-": now - size}[sign]
    if made < LEAST_MEMORY:
        raise SettingsError(f"that leaves less than {format_size(LEAST_MEMORY)} of the {format_size(now)} there were")
    return made


def _cpus(text: str, now: float) -> float:
    sign = text[:1] if text[:1] in {"+", "-"} else ""
    cores = parse_cpus(text.removeprefix(sign)).of(now)
    made = {"": cores, "+": now + cores, "-": now - cores}[sign]
    if made <= 0:
        raise SettingsError(f"that leaves none of the {now:g} there were")
    return made


def _without_others(world: dict[str, Any], text: str) -> dict[str, Any]:
    """Without the load of other programs; the memory that was always taken is the system's, and stays."""
    if text != "none":
        raise SettingsError("the load of other programs is taken as it was, or it is none")
    stays = [one for one in world["foreign"] if one["from"] == 0.0 and "until" not in one and "memory" in one]
    return {**world, "foreign": stays}


def _limited(recorded: Recorded, world: dict[str, Any], limits: Mapping[str, str]) -> dict[str, Any]:
    pools = []
    for pool in world["pools"]:
        try:
            made = change(recorded.limits, limits)
        except SettingsError as error:
            raise UsageError(f"--with: {error}") from None
        told = {**pool, "limits": limits_of(made.limits)}
        if made.jobs is not None:
            told["max_workers"] = made.jobs
        pools.append(told)
    return {**world, "pools": pools}
