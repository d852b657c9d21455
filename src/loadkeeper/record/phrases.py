"""What sentences are made of: figures with their units, and the parts in which a reading, a line and a need are said.

A figure that is not known is left out.
"""

from typing import NamedTuple

from ..model import Why
from ..units import format_cores, format_share, format_size

CONTINUE_LEAD = 1.5
"""What a worker still needs must be there so many times before it goes on (the decision core's rule)."""
LONGEST_KIND = 24
"""Characters; a longer kind (a shell line) is called "one more"."""

_SIZES = frozenset({"memory", "workers-memory", "memory-per-worker"})
_CORES = frozenset({"cpu", "workers-cpu"})
_NAMES = {"memory": "memory", "cpu": "CPU", "workers-memory": "--workers-memory", "workers-cpu": "--workers-cpu"}


class Said(NamedTuple):
    """What is so, and what follows from it."""

    so: str
    follows: str = ""


def gauge_name(gauge: str) -> str:
    """``memory``, ``CPU``, ``--workers-memory``, ``pressure.io``: as people are told of it."""
    return _NAMES.get(gauge, gauge) or "a gauge"


def figure(gauge: str, value: float) -> str:
    """A reading or line of a gauge with its unit: bytes, cores, a share, or the sensor's own number. CPU in cores."""
    if gauge in _SIZES:
        return format_size(value)
    if gauge in _CORES:
        return format_cores(value)
    if gauge == "swap" or gauge.startswith("pressure."):
        return format_share(value)
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def one_more(subject: str, kind: str) -> str:
    if len(kind) <= LONGEST_KIND and kind.split() == [kind] and kind.isprintable():
        return f"{'an' if kind[0].lower() in 'aeioux' else 'a'} {kind}"
    return f"one more of {subject}" if subject else "one more"


def reading(why: Why) -> str:
    """The reading as a clause."""
    if why.reading is None:
        return f"{gauge_name(why.gauge)} cannot be read" if why.gauge else ""
    said = figure(why.gauge, why.reading)
    words = {"memory": "available", "cpu": "busy", "workers-memory": "of it free", "workers-cpu": "of it in use"}
    return f"{said} {words[why.gauge]}" if why.gauge in words else said


def line_of(why: Why, name: str = "") -> str:
    if why.line is None:
        return ""
    said = figure(why.gauge, why.line)
    return f"the {name} line is {said}" if name else f"line {said}"


def need_of(why: Why, who: str) -> str:
    return f"{who} needs about {figure(why.gauge, why.need)}" if why.need else ""


def kept(why: Why) -> str:
    """What those that run will take; below 1 MiB or a twentieth of a core nobody wants to know."""
    least = 1 << 20 if why.gauge in _SIZES else 0.05
    if why.expected is None or why.expected < least:
        return ""
    return f"those that run may take {figure(why.gauge, why.expected)} more"


def joined(head: str, *clauses: str) -> str:
    body = ", ".join(clause for clause in clauses if clause)
    return f"{head}: {body}" if body else head


def holding(why: Why) -> str:
    return f"it held {format_size(why.held)}" if why.held else ""


def goes_on(why: Why) -> str:
    """Bytes from which it goes on: as decided, or what it needs, 1.5 times, above the pause line."""
    enough = why.recovered
    if enough is None and why.line is not None and why.need is not None:
        enough = why.line + CONTINUE_LEAD * why.need
    if enough is None:
        return "it goes on when there is room for it"
    if why.reading is not None and why.reading >= enough:
        return "it goes on in its turn, one worker at a time"
    free = "of it are free" if why.gauge == "workers-memory" else "are available"
    return f"it goes on when about {figure(why.gauge, enough)} {free}"


def goes_on_below(why: Why) -> str:
    need = f"the {figure(why.gauge, why.need)} it needs" if why.need else "it"
    return f"it goes on when {need} {'fit' if need.endswith('cores it needs') else 'fits'} below the line"
