"""Samples of a measure, by who was measured, and what is said of them.

Sides are measured in turn, each round in another order, so that a machine that gets slower meanwhile is slower for
all; a ratio is the median of the rounds' own ratios.
"""

import statistics
import subprocess
from collections.abc import Callable, Mapping

from msgspec import Struct

OURS = "loadkeeper"


class Measure(Struct):
    """``samples``: by side, one of each round. ``notes``: what else is to be said, by side."""

    name: str
    what: str
    unit: str
    more_is_better: bool
    samples: dict[str, list[float]] = {}
    notes: dict[str, str] = {}

    def median(self, side: str) -> float:
        return statistics.median(self.samples[side])

    def spread(self, side: str) -> tuple[float, float]:
        """The least and the most."""
        return min(self.samples[side]), max(self.samples[side])

    def times_better(self, side: str) -> float | None:
        """How many times as good as this peer we are; None: one of the two is missing, or nothing to divide by."""
        if side.startswith(OURS):
            return None
        ours, theirs = self.samples.get(OURS, []), self.samples.get(side, [])
        pairs = [(a, b) if self.more_is_better else (b, a) for a, b in zip(ours, theirs, strict=False)]
        ratios = [better / worse for better, worse in pairs if worse > 0]
        return statistics.median(ratios) if ratios else None


def alternate(
    rounds: int, sides: Mapping[str, Callable[[], float | None]], tell: Callable[[str], None]
) -> dict[str, list[float]]:
    """A sample of each side in each round, another one first each time. A side that gives None has no sample."""
    samples: dict[str, list[float]] = {side: [] for side in sides}
    names = list(sides)
    for place in range(rounds):
        first = place % len(names)
        for name in names[first:] + names[:first]:
            tell(f"round {place + 1} of {rounds}: {name}")
            try:
                found = sides[name]()
            except subprocess.SubprocessError as error:
                if name.startswith(OURS):
                    raise  # a peer that fails has no sample; that we fail must be seen
                tell(f"{name} has no sample: {error}")
                continue
            if found is not None:
                samples[name].append(found)
    return {side: found for side, found in samples.items() if found}
