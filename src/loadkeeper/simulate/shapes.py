"""Shapes: memory over a task's own progress, both 0..1, as straight lines between points."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from reprlib import repr as brief

from ..errors import UsageError

Points = tuple[tuple[float, float], ...]


def _saw() -> Points:
    """Five teeth between a fifth and all."""
    teeth: list[tuple[float, float]] = []
    for tooth in range(5):
        teeth += [(tooth / 5, 0.2), ((tooth + 1) / 5 - 1e-6, 1.0)]
    return (*teeth, (1.0, 0.2))


NAMED: dict[str, Points] = {
    "flat": ((0.0, 1.0), (1.0, 1.0)),
    "plateau": ((0.0, 0.0), (0.1, 1.0), (1.0, 1.0)),
    "ramp": ((0.0, 0.0), (1.0, 1.0)),
    "spike": ((0.0, 0.2), (0.85, 0.2), (0.850001, 1.0), (1.0, 1.0)),
    "late": ((0.0, 0.06), (0.4, 0.06), (0.9, 1.0), (1.0, 1.0)),
    "early": ((0.0, 0.0), (0.1, 1.0), (0.25, 1.0), (0.250001, 0.3), (1.0, 0.3)),
    "saw": _saw(),
}


class Shape:
    """Where a task's memory stands at each point of its progress."""

    def __init__(self, points: Points) -> None:
        self._at = [at for at, _ in points]
        self._share = [share for _, share in points]

    @property
    def points(self) -> Sequence[float]:
        """Of progress, where it bends."""
        return self._at

    @property
    def shares(self) -> list[tuple[float, float]]:
        """(Progress, share of its peak) where it bends."""
        return list(zip(self._at, self._share, strict=True))

    def share(self, progress: float) -> float:
        """Of its peak, at this point of its own progress."""
        at, share = self._at, self._share
        right = bisect_right(at, progress)
        if right == 0:
            return share[0]
        if right == len(at):
            return share[-1]
        left = right - 1
        return share[left] + (share[right] - share[left]) * (progress - at[left]) / (at[right] - at[left])

    def mean(self, until: float = 1.0) -> float:
        """The area under it up to a point of progress."""
        inner = [at for at in self._at if 0 < at < until]
        marks = [0.0, *inner, until]
        return sum((self.share(b) + self.share(a)) / 2 * (b - a) for a, b in pairwise(marks))

    def reaches(self, share: float) -> float:
        """The first progress at which it has come so high, 1 when it never does."""
        for left, right in pairwise(range(len(self._at))):
            low, high = self._share[left], self._share[right]
            if low >= share:
                return self._at[left]
            if high >= share:
                return self._at[left] + (self._at[right] - self._at[left]) * (share - low) / (high - low)
        return 1.0


def shape(given: object) -> Shape:
    """By name, or from a list of ``[progress, share]``. Raises UsageError."""
    if isinstance(given, str):
        if given not in NAMED:
            raise UsageError(f"shape {brief(given)} is not known; there are {', '.join(NAMED)}, or a list of points")
        return Shape(NAMED[given])
    points = _points(given)
    if points is None:
        raise UsageError(
            f"shape {brief(given)} is neither a name nor a list of [progress, share], 0 to 1, that rises in progress"
        )
    return Shape(points)


def _points(given: object) -> Points | None:
    if not isinstance(given, Sequence) or not given:
        return None
    points = []
    for point in given:
        if not isinstance(point, Sequence) or len(point) != 2:
            return None
        points.append((float(point[0]), float(point[1])))
        if not all(0 <= part <= 1 for part in points[-1]):
            return None
    ordered = all(a[0] < b[0] for a, b in pairwise(points))
    return tuple(points) if ordered else None
