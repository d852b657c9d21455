"""The manager's side of a worker's checkpoint file (docs/checkpoint.md).

It is read and written by `os.pread` and `os.pwrite`, never mapped: a worker that truncates its file harms itself alone.
What it writes there is checked; what is not sound says nothing.

Beside it lies a FIFO on which programs are told of memory pressure that know systemd's protocol for it
(MEMORY_PRESSURE_WATCH): they can let go of caches before they are paused.
"""

import math
import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ..linux import proc
from ..linux.process import ended
from ..model import PAUSES_FOR_MEMORY, PauseMode, Why
from ..worker.layout import (
    ANSWER,
    CRITICAL,
    DEADLINE,
    FIELDS,
    FREE,
    GO_ON,
    IDENTITY,
    MAGIC,
    NEED,
    NUMBER,
    PAUSE,
    PID,
    PROGRESS,
    REASON,
    RUNS,
    SEEN,
    SIZE,
    SLOTS,
    STANDS,
    TERMINATE,
    TEXT,
    VERSION,
    number,
    padded,
    plain,
)
from .asks import Words

LATELY = 10.0
"""Seconds since a worker was seen at a checkpoint within which it is worth asking there."""
PATIENCE = 5.0
"""Seconds in which one that was asked there is to stand ..."""
SHED = 0.25
"""... and which one without checkpoints has for giving back memory before it is stopped."""
PROBE = 5.0
"""Seconds after which one that was not asked anything is asked whether it is still there."""
MOST_NEED = 1 << 50
"""Bytes: a larger need is none."""


def _empty() -> bytes:
    """A file with nothing in it."""
    image = bytearray(SIZE)
    for field in FIELDS:
        image[field] = padded(b"", field)
    image[VERSION] = padded(MAGIC, VERSION)
    for offset in SLOTS:
        image[offset : offset + SLOTS.step] = bytes([FREE]) + padded(b"", PID) + padded(b"", SEEN)
    return bytes(image)


EMPTY = _empty()
WORDS = slice(PROGRESS.start, TEXT.stop)


class _Slot(NamedTuple):
    state: int
    pid: int
    seen: int


class Checkpoint:
    """Of one worker after the other: `renew` makes it the next one's."""

    def __init__(self, path: str, mode: PauseMode, say: Callable[[Why, bool], str], *, deaf: bool = False) -> None:
        """Makes the file, which must not be there. ``say`` words a reason (True: an end's). Raises OSError."""
        self.path = path
        self.pressure = f"{path}.pressure"
        self.deaf = deaf
        self.stays = mode is PauseMode.ASK
        self.words = Words()
        self.patience = PATIENCE
        self._pauses = mode in (PauseMode.AUTO, PauseMode.ASK)
        self._say = say
        self._me = os.getpid()
        self._wanted = GO_ON
        self._number = self._seen = 0
        self._wished_at = 0.0
        self._reached_at: float | None = None
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.mkfifo(self.pressure, 0o600)
        except OSError:
            self.pressure = ""

    def renew(self, identity: str, now: float) -> bool:
        """A new worker's, nothing in it. False: the last one has used it, its size is wrong, or somebody has removed it
        (`systemd-logind` does when a user logs out); take another. Raises OSError."""
        if os.fstat(self._descriptor).st_nlink == 0:
            return False
        if self._number:
            content = self._read()
            if len(content) != SIZE or content[SLOTS.start :] != EMPTY[SLOTS.start :]:
                return False
        self._wanted, self._number, self._seen, self._wished_at, self._reached_at = GO_ON, 1, 0, now, None
        self.words = Words()
        image = bytearray(EMPTY)
        image[NUMBER] = padded(b"1", NUMBER)
        image[IDENTITY] = padded(identity.encode(), IDENTITY)
        return os.pwrite(self._descriptor, image, 0) == SIZE

    def remove(self) -> None:
        os.close(self._descriptor)
        for path in (self.path, self.pressure):
            try:
                os.unlink(path)
            except OSError:
                pass

    # ---------------------------------------------------------------------------------------------------------- asking

    def reached(self, now: float) -> bool:
        """It has a slot, and has seen a wish lately."""
        self.look(now)
        return self._reached_at is not None and now - self._reached_at <= LATELY

    def pause(self, why: Why, now: float) -> bool:
        """Who has no checkpoint but listens for memory pressure is told of it, and has a moment."""
        if not self._pauses:
            return False
        listens = why.reason in PAUSES_FOR_MEMORY and self.press()
        if not self.reached(now):
            self.patience = SHED
            return listens
        self.patience = PATIENCE
        self._wish(PAUSE, why)
        return True

    def press(self) -> bool:
        """Tell of memory pressure; whether somebody listens."""
        if not self.pressure:
            return False
        try:
            descriptor = os.open(self.pressure, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return False  # nobody reads it
        try:
            os.write(descriptor, b"\0")
        except OSError:
            pass  # it has not read the last ones yet
        finally:
            os.close(descriptor)
        return True

    def terminate(self, why: Why, kill_at: float, now: float) -> bool:
        lately = self.reached(now)
        self._wish(TERMINATE, why, kill_at)
        return lately

    def forgive(self, seconds: float) -> None:
        if self._reached_at is not None:
            self._reached_at += seconds
        self._wished_at += seconds

    def go_on(self) -> None:
        if self._wanted != GO_ON:
            self._wanted = GO_ON
            self._write(0, bytes([GO_ON]))

    def flush(self) -> None:
        """The file says it already."""

    def stands(self) -> bool:
        """Every living process that has a slot stands, and there is one. Who stood for an earlier pause, and has not
        seen this one, is about to go on."""
        states = {RUNS if slot.state == STANDS and slot.seen < self._number else slot.state for slot in self._living()}
        return STANDS in states and RUNS not in states and CRITICAL not in states

    def busy(self) -> bool:
        return any(slot.state == CRITICAL for slot in self._living())

    # --------------------------------------------------------------------------------------------------------- looking

    def look(self, now: float) -> None:
        """Take in what the worker has written."""
        content = self._read()
        slots = list(_slots(content))
        seen = max((slot.seen for slot in slots), default=0)
        if slots and (self._reached_at is None or self._seen < seen <= self._number):
            self._reached_at = now
            self._seen = seen
        if content[WORDS] != EMPTY[WORDS]:
            self.words = _words(content)

    def probe(self, now: float) -> bool:
        """Ask whether it is still there, now and then; True when it was asked just now."""
        if self._wanted == ANSWER and self._seen >= self._number:
            self.go_on()
        elif self._wanted == GO_ON and self._reached_at is not None and now >= self._wished_at + PROBE:
            self._wish(ANSWER)
            self._wished_at = now
            return True
        return False

    def _slots(self) -> Iterator[_Slot]:
        return _slots(self._read())

    def _living(self) -> list[_Slot]:
        """A shell's call takes a slot for who called it, which may be us."""
        others = (slot for slot in self._slots() if slot.pid != self._me)
        return [slot for slot in others if (stat := proc.stat(slot.pid)) is not None and not ended(stat)]

    # ----------------------------------------------------------------------------------------------------- the file

    def _wish(self, wanted: int, why: Why | None = None, kill_at: float | None = None) -> None:
        """Byte 0 comes last: who sees it finds the rest."""
        self._wanted = wanted
        self._number += 1
        deadline = b"" if kill_at is None else b"%d" % int(kill_at * 1e9)
        reason = b"" if why is None else self._say(why, wanted == TERMINATE).encode("utf-8", "replace")
        self._write(NUMBER.start, padded(b"%d" % self._number, NUMBER) + padded(deadline, DEADLINE))
        self._write(REASON.start, padded(reason, REASON))
        self._write(0, bytes([wanted]))

    def _read(self) -> bytes:
        try:
            return os.pread(self._descriptor, SIZE, 0)
        except OSError:
            return b""

    def _write(self, offset: int, content: bytes) -> None:
        """What cannot be written is not heard: then the worker is stopped, or gets a signal, in the end."""
        try:
            os.pwrite(self._descriptor, content, offset)
        except OSError:
            pass


def _slots(content: bytes) -> Iterator[_Slot]:
    if len(content) != SIZE or not any(content[SLOTS.start : SLOTS.stop : SLOTS.step]):
        return
    for offset in SLOTS:
        if content[offset] != FREE:
            slot = content[offset : offset + SLOTS.step]
            yield _Slot(slot[0], number(slot[PID]), number(slot[SEEN]))


def _words(content: bytes) -> Words:
    text = plain(content[TEXT]).decode("utf-8", "ignore")
    return Words(_share(plain(content[PROGRESS])), _need(plain(content[NEED])), text)


def _share(text: bytes) -> float | None:
    try:
        share = float(text)
    except ValueError:
        return None
    return share if math.isfinite(share) and 0 <= share <= 1 else None


def _need(text: bytes) -> int | None:
    return int(text) if text.isdigit() and int(text) <= MOST_NEED else None
