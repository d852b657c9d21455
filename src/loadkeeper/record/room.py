"""Room on the file systems that a run writes to. Where there is little, nothing new is started; what ended while there
was none cannot be trusted to have written all that it had to say.

What a file system says is free is not all ours where there is a quota: there it is tried whether something can be
written, too.
"""

import errno
import os
from collections.abc import Iterable

from msgspec import Struct

from ..linux.quotas import may_have_a_quota

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
TRY = 4096
"""Bytes that are tried to be written, when an attempt is over and where there may be a quota: more would be slowed down
by the kernel where much waits for the disk."""
GROWN = 256
"""Tries after which they are taken back: an overwritten block says nothing of a new one."""
USED_UP = frozenset({errno.ENOSPC, errno.EDQUOT})


class Place(Struct):
    """A directory that is written to."""

    path: str
    free: int = 0  # bytes, at the last look
    reserve: int = 0
    owed: int = 0  # what attempts had written when it was full, and will write again
    full_at: float = float("-inf")
    quota: bool = False  # there may be one
    refused: bool = False  # the last try
    file: int | None = None  # without a name, for tries

    @property
    def missing(self) -> int:
        """Bytes until something new may start."""
        return max(0, self.reserve + self.owed - self.free)


class Room:
    """Looks at the file systems of some directories, each once; of one that is not made yet at where it will be."""

    def __init__(self, paths: Iterable[str]) -> None:
        places = {_device(path): path for path in map(_existing, paths)}
        self._places = [Place(path, quota=may_have_a_quota(path)) for path in places.values()]
        self._tried = float("-inf")
        self._looked = float("-inf")

    def look(self, now: float, *, soon: bool = False) -> None:
        """``now``: seconds of CLOCK_MONOTONIC. ``soon``: it matters at this moment."""
        if now - self._tried >= EVERY and (soon or any(place.refused for place in self._places)):
            self._try_all(now)
        if now - self._looked < EVERY and (not soon or all(place.free > PLENTY for place in self._places)):
            return
        self._looked = now
        self._look_at_all(now)

    def _look_at_all(self, now: float) -> None:
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

    def _try_all(self, now: float) -> None:
        self._tried = now
        for place in self._places:
            place.refused = place.quota and _is_refused(place)
            if place.refused:
                place.full_at = now

    @property
    def short(self) -> bool:
        """Nothing new should be started."""
        return any(place.missing or place.refused for place in self._places)

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
            used_up = next((place for place in self._places if place.refused), None)
            what = "is used up: nothing new starts until there is room again"
            return "" if used_up is None else f"the quota under {used_up.path} {what}"
        return (
            f"the disk under {place.path} is full, {place.free >> 10} KiB are left: nothing new starts until "
            f"{(place.missing >> 10) + 1} KiB more are free"
        )

    def close(self) -> None:
        for place in self._places:
            if place.file is not None:
                os.close(place.file)
                place.file, place.quota = None, False


def _is_refused(place: Place) -> bool:
    """Nothing new can be written here."""
    try:
        if place.file is None:
            place.file = os.open(place.path, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
        size = os.fstat(place.file).st_size
        if size >= GROWN * TRY and not place.refused:  # else the room that it makes is what is found
            os.ftruncate(place.file, size := 0)
        return os.pwrite(place.file, bytes(TRY), size) < TRY
    except OSError as error:
        return error.errno in USED_UP


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
