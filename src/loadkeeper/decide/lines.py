"""Where the lines of a run lie, and the domains that they are drawn in.

A *domain* is a place that a run's workers must fit into: the node (memory that everybody shares, with the run's own
lines), and, where the run has a budget, that budget as a node inside the node. Every rule obeys the tightest.
"""

from msgspec import Struct

from ..model import Amount, Limits, Lines, Seen
from .parameters import Parameters

NODE, BUDGET = "memory", "workers-memory"
CPU, BUDGET_CPU = "cpu", "workers-cpu"


class Domain(Struct, frozen=True):
    """One run's view of a memory that it must fit into. Bytes, and bytes a second."""

    run: str
    gauge: str  # NODE or BUDGET
    total: float
    available: float | None  # the reading; None: unknown
    reckoned: float | None  # the reading, or dead reckoning where it is unknown
    lines: Lines
    speed: float = 0.0  # that available falls
    strange: float = 0.0  # of it, what no worker explains
    most: float = 0.0  # the largest available + held ever seen
    ahead: float | None = None  # available when what is decided now takes effect

    @property
    def key(self) -> str:
        """What ends and back-offs for it are filed under: the node's are common to all runs."""
        return self.gauge if self.gauge == NODE else f"{self.gauge} {self.run}"

    @property
    def hold(self) -> float:
        return self.lines.hold or 0.0

    @property
    def pause(self) -> float:
        return self.lines.pause or 0.0

    @property
    def end(self) -> float:
        return self.lines.end or 0.0

    @property
    def room(self) -> float | None:
        """What may still grow before the pause line; None: unknown, or this domain has no lines."""
        return None if self.ahead is None or self.lines.pause is None else self.ahead - self.pause


def node_lines(limits: Limits, total: float, p: Parameters) -> Lines:
    """Bytes available. Derived lines have a floor that gives time to act; what the user set himself stands as it is."""
    hold = pause = end = None
    if limits.memory is not None:
        knob = limits.memory.of(total)
        hold = max(knob, p.least_hold)
        pause = max(p.pause_of_knob * knob, p.least_pause)
        end = max(p.end_of_knob * knob, p.least_end)
    return _in_order(limits, total, hold, pause, end)


def budget_lines(limits: Limits, total: float, p: Parameters) -> Lines:
    """The same shares inside a budget, without the floors: crossing a budget kills nobody, and 160 MiB of a budget of
    1 GiB would be lost to it. A figure, meant for the node, is replaced by the default share."""
    knob = _share(limits.memory) or 0.1
    pause = _share(limits.memory_pause) or p.pause_of_knob * knob
    end = min(_share(limits.memory_end) or p.end_of_knob * knob, pause)
    return Lines(hold=max(knob, pause) * total, pause=pause * total, end=end * total)


def _share(amount: Amount | None) -> float | None:
    return None if amount is None else amount.share


def _in_order(limits: Limits, total: float, hold: float | None, pause: float | None, end: float | None) -> Lines:
    """The user's own lines over the derived ones; hold never below pause, end never above it."""
    if limits.memory_pause is not None:
        pause = limits.memory_pause.of(total)
        end = None if end is None else min(end, pause)
    if limits.memory_end is not None:
        end = limits.memory_end.of(total)
        pause = None if pause is None else max(end, pause)
    if hold is not None or pause is not None:
        hold = max(hold or 0.0, pause or 0.0) + limits.memory_gap
    return Lines(hold=hold, pause=pause, end=end)


def cpu_lines(limits: Limits, cpus: float) -> Lines:
    """Cores busy. Only a line that the user set is a promise, so only then own excess is paused."""
    if limits.cpu is None:
        return Lines()
    line = limits.cpu.of(cpus)
    return Lines(hold=line, pause=line if limits.cpu_promised else None)


def gauge_lines(limits: Limits, seen: Seen, p: Parameters) -> dict[str, Lines]:
    """Every other gauge that has lines. Higher is worse; `swap` is the share in use, a limit on it what is free."""
    lines = dict(limits.gauges)
    if limits.swap is not None and seen.swap_total > 0 and "swap" not in lines:
        lines["swap"] = Lines(hold=max(0.0, 1 - limits.swap.of(seen.swap_total) / seen.swap_total))
    if seen.swap_total > 0 and seen.gauges.get("pressure.memory") is not None:
        lines.setdefault("pressure.memory", Lines(hold=p.pressure_memory_hold))
    return lines


def budget_total(limits: Limits, available: float | None, held: float) -> float | None:
    """Bytes that all workers of the run together may hold. A share is of what would be available without them, anew
    at each look. None: no budget, or one that cannot be known now."""
    amount: Amount | None = limits.workers_memory
    if amount is None:
        return None
    if amount.share is None:
        return amount.of(0)
    return None if available is None else amount.of(available + held)
