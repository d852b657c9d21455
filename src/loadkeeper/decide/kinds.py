"""Claims: what a worker has still to grow, from how big those of its kind became that were as big as it is.

Conditioning on size does the work for kinds with two humps or a heavy tail: small workers are not charged for the
giants, and a giant is recognised as it grows.
"""

from bisect import bisect_left
from itertools import accumulate
from math import ceil
from typing import NamedTuple

from .memory import Claim, Kind
from .parameters import DEFAULT, Parameters


class Likeness:
    """The peaks of one kind, in order, ready to be asked about any size in logarithmic time."""

    def __init__(self, kind: Kind, p: Parameters) -> None:
        self._p = p
        self._peaks = peaks = sorted(kind.peaks)
        count = len(peaks)
        sums = [0, *accumulate(peaks)]
        self._rest = [sums[count] - at for at in sums]  # _rest[i]: of all but the i smallest
        self._likely = [
            peaks[i + ceil(p.quantile * (count - i)) - 1] for i in range(count)
        ]  # of all but the i smallest

    def claim(self, held: float) -> Claim | None:
        """Of a worker that holds so much, 0: not yet started. None: nothing was learned of the kind."""
        p, peaks = self._p, self._peaks
        count = len(peaks)
        if not count:
            return None
        like = bisect_left(peaks, p.alike * held)
        if like == count:
            return Claim(p.bigger * held, p.bigger_expected * held)
        above = bisect_left(peaks, held, like)
        likely = self._likely[like]
        mean = (held * (above - like) + self._rest[above]) / (count - like)
        return Claim(likely if likely > held else held, mean)


class Guess(NamedTuple):
    """What is known of a kind of which nothing was learned: its living workers, and the room there is."""

    biggest: float = 0.0  # bytes, of its live workers
    oldest: float = 0.0  # s, the longest that one of them has run
    total: float = 0.0  # bytes of the domain
    cpus: float = 1.0

    def claim(self, held: float, slope: float, p: Parameters) -> Claim:
        """The share of a core at first; it fades while workers live on without growing into it."""
        share = self.total / max(self.cpus, 1.0) * p.guess * 0.5 ** (self.oldest / p.guess_half_life)
        size = max(p.guess_growth * self.biggest, held + max(slope, 0.0) * p.horizon, share)
        return Claim(size, size)


def bounded(claim: Claim, least: float, most: float | None) -> Claim:
    """At least what it holds or held when it was last ended; at most its cap, for it is ended there."""
    if most is not None:
        claim = Claim(min(claim.likely, most), min(claim.expected, most))
    return Claim(max(claim.likely, least), max(claim.expected, least))


def likely_peak(kind: Kind, p: Parameters = DEFAULT) -> int | None:
    """Bytes that one more is likely to reach, for people: the quantile that claims rest on."""
    peaks = sorted(kind.peaks)
    return peaks[min(len(peaks) - 1, int(p.quantile * len(peaks)))] if peaks else None


def usual(kind: Kind, p: Parameters) -> float:
    """The part of its claim that a worker holds at a usual time, and a quarter of the way from there to all of it."""
    return kind.fill + p.lift * (1 - kind.fill)
