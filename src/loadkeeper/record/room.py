"""Room on the file systems that a run writes to. Where there is little, nothing new is started; what ended while there
was none cannot be trusted to have written all that it had to say.
"""

import os
from collections.abc import Iterable

from msgspec import Struct

RESERVE = 16 << 20
"""Bytes that must be free for another start ..."""
SHARE = 0.02
"""... or this share of a small file system."""
NOTHING = 64 << 10
"""Bytes free that count as none: a file system refuses before it is at zero."""
EVERY = 0.1
"""Seconds between two looks ..."""
PLENTY = 4 << 30
"""... and bytes free at the last one that cannot have been written since, however fast the disk."""


class Place(Struct):
    """A directory that is written to."""

    path: str
    free: int = 0  # bytes, at the last look
    reserve: int = 0
    owed: int = 0  # what attempts had written when it was full, and will write again
    full_at: float = float("-inf")

    @property
    def missing(self) -> int:
        """Bytes until something new may start."""
        return max(0, self.reserve + self.owed - self.free)


class Room:
    """Looks at the file systems of some directories, each once; of one that is not made yet at where it will be."""

    def __init__(self, paths: Iterable[str]) -> None:
        places = {_device(path): path for path in map(_existing, paths)}
        self._places = [Place(path) for path in places.values()]
        self._looked = float("-inf")

    def look(self, now: float, *, soon: bool = False) -> None:
        """``now``: seconds of CLOCK_MONOTONIC. ``soon``: it matters at this moment."""
        if now - self._looked < EVERY and (not soon or all(place.free > PLENTY for place in self._places)):
            return
        self._looked = now
        for place in self._places:
            try:
                found = os.statvfs(place.path)
            except OSError:
                place.free = place.reserve = place.owed = 0  # whoever writes to it will say what is wrong
                continue
            blocks = found.f_bfree if os.geteuid() == 0 else found.f_bavail
            place.free = blocks * found.f_frsize
            place.reserve = min(RESERVE, int(SHARE * found.f_blocks * found.f_frsize))
            if place.free < min(NOTHING, place.reserve):
                place.full_at = now
            elif not place.missing:
                place.owed = 0

    @property
    def short(self) -> bool:
        """Nothing new should be started."""
        return any(place.missing for place in self._places)

    def was_full_since(self, moment: float) -> bool:
        """At some look since then there was nothing left, so that what was written may be lost."""
        return any(place.full_at >= moment for place in self._places)

    def again(self, moment: float, written: int) -> None:
        """What was begun at that moment and wrote so much is done again, and needs more than there was for it."""
        for place in self._places:
            if place.full_at >= moment:
                place.owed += written

    @property
    def fault(self) -> str:
        """Why nothing new is started, for people; empty when all is well."""
        place = next((place for place in self._places if place.missing), None)
        if place is None:
            return ""
        return (
            f"the disk under {place.path} is full, {place.free >> 10} KiB are left: nothing new starts until "
            f"{(place.missing >> 10) + 1} KiB more are free"
        )


def _existing(path: str) -> str:
    """The directory itself, or the nearest above it that is there."""
    path = os.path.abspath(path)
    while not os.path.isdir(path) and path != "/":
        path = os.path.dirname(path)
    return path


def _device(path: str) -> int:
    try:
        return os.stat(path).st_dev
    except OSError:
        return -1
