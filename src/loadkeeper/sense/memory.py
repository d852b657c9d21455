"""The node's memory from its parts: the machine, every control group above us, what a batch system granted. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from .bounds import MACHINE, Bound, least
from .levels import MemoryState
from .readings import Machine


class Memory(NamedTuple):
    """Bytes. ``available`` is the least of all and ``None`` as soon as one of them cannot be read: a guess that is too
    high would admit."""

    total: Bound
    available: int | None
    available_bound_by: str
    dirty: int
    swap_total: int
    swap_free: int

    @property
    def swap_used(self) -> float:
        """Share 0..1; 0 where there is no swap, for then none is in use."""
        return 1 - self.swap_free / self.swap_total if self.swap_total else 0.0


def memory(machine: Machine | None, total: int, levels: Sequence[MemoryState], *, strict: bool) -> Memory:
    """``total``: the machine's, last known. ``levels``: whatever else has a limit, the innermost first. ``strict``: the
    kernel refuses what is beyond its commit limit."""
    outermost = list(reversed(levels))
    places: list[tuple[str, int | None]] = [(MACHINE, machine.available if machine else None)]
    places += [(level.name, level.available) for level in outermost]
    if strict:
        places.append(("commit limit", max(0, machine.commit_limit - machine.committed) if machine else None))
    scarcest = min(places, key=lambda place: -1 if place[1] is None else place[1])
    tightest = least([Bound(MACHINE, total), *(Bound(level.name, level.limit) for level in outermost)])
    binds = next(
        (level for level in outermost if level.limit == tightest.value), None
    )  # lxcfs shows it as the machine's
    dirty = binds.dirty if binds else machine.dirty if machine else 0
    return Memory(tightest, scarcest[1], scarcest[0], dirty, *_swap(machine, levels))


def _swap(machine: Machine | None, levels: Sequence[MemoryState]) -> tuple[int, int]:
    """(total, free) of the swap that can be used from here."""
    if machine is None:
        return 0, 0
    total, free = machine.swap_total, machine.swap_free
    for level in levels:
        if level.swap_limit is not None and level.swap_free is not None:
            total, free = min(total, level.swap_limit), min(free, level.swap_free)
    return total, min(total, free)
