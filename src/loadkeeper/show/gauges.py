"""Gauges and their lines as people read them. CPU gauges are shares of all CPUs here, as in ``status``."""

from collections.abc import Mapping

from ..status import GaugeStatus
from ..units import format_share, format_size

ALWAYS = ("memory", "cpu")
"""Shown though they have no line."""


def reading(name: str, value: float | None) -> str:
    """``1.8 GiB available``, ``87 % busy``, ``45 %``, ``81.5``, ``unknown``."""
    if value is None:
        return "unknown"
    if name == "memory":
        return f"{format_size(value)} available"
    if name == "workers-memory":
        return f"{format_size(value)} left"
    return f"{format_share(value)} busy" if name == "cpu" else amount(name, value)


def amount(name: str, value: float) -> str:
    """A reading or line with its unit."""
    if name in ("memory", "workers-memory"):
        return format_size(value)
    if name in ("cpu", "workers-cpu", "swap") or name.startswith("pressure."):
        return format_share(value)
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def lines(name: str, gauge: GaugeStatus, *, loud: bool = False) -> str:
    """``hold 2.0 GiB, pause 1.2 GiB, end 614 MiB``; empty when it has none. ``loud``: the one that it has reached in
    capitals."""
    named = (("hold", gauge.hold), ("pause", gauge.pause), ("end", gauge.end))
    told = [(word.upper() if loud and word == gauge.state else word, at) for word, at in named if at is not None]
    return ", ".join(f"{word} {amount(name, at)}" for word, at in told)


def state(gauge: GaugeStatus) -> str:
    """Which line it has reached: ``at hold``; empty while none."""
    return f"at {gauge.state}" if gauge.state in ("hold", "pause", "end") else ""


def shown(gauges: Mapping[str, GaugeStatus]) -> list[tuple[str, GaugeStatus]]:
    """Memory and CPU, then every gauge that has a line."""
    first = [(name, gauges[name]) for name in ALWAYS if name in gauges]
    return first + [(name, g) for name, g in sorted(gauges.items()) if name not in ALWAYS and lines(name, g)]
