"""A worker's side of its checkpoint file: what is wanted, its own slot, and what it says of itself."""

import os
import sys
import time

from .layout import (
    DEADLINE,
    ENDING,
    FREE,
    IDENTITY,
    MAGIC,
    NEED,
    NUMBER,
    PID,
    PROGRESS,
    REASON,
    RUNS,
    SEEN,
    SIZE,
    SLOTS,
    TEXT,
    VERSION,
    number,
    padded,
    plain,
)

TYPE_CHECKING = False  # `typing` alone takes as long to import as all of this
if TYPE_CHECKING:
    from collections.abc import Mapping

WORKER = "LOADKEEPER_WORKER"
CHECKPOINT = "LOADKEEPER_WORKER_CHECKPOINT"


class File:
    """Mapped, so that a look at what is wanted takes no call to the kernel."""

    def __init__(self, descriptor: int, path: str) -> None:
        """Maps it. Raises OSError and ValueError; Useless when it is not a worker's of this version."""
        from mmap import mmap

        self.path = path
        size = os.fstat(descriptor).st_size
        if size != SIZE:
            raise Useless(f"{path} has {size} bytes instead of {SIZE}")
        self.map = mmap(descriptor, SIZE)
        self._slot: int | None = None
        version, identity = plain(self.map[VERSION]), plain(self.map[IDENTITY])
        if version != MAGIC:
            raise Useless(f"{path} is of the version {version!r}, and this client knows {MAGIC.decode()!r} only")
        if identity != os.environb.get(WORKER.encode(), b""):
            raise Useless(f"{path} is another worker's: {os.fsdecode(identity)}")

    def take_slot(self) -> None:
        """Our own from before, a free one, or that of a process that is gone; where all are taken we go without."""
        from fcntl import LOCK_EX, flock

        own = b"%d" % os.getpid()
        descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            flock(descriptor, LOCK_EX)
            for offset in SLOTS:
                pid = self._pid(offset)
                if self.map[offset] == FREE or pid == own or not _lives(number(pid)):
                    self._write(offset, bytes([RUNS]) + padded(own, PID) + padded(b"", SEEN))
                    self._slot = offset
                    return
        finally:
            os.close(descriptor)

    def _pid(self, offset: int) -> bytes:
        return plain(self.map[offset + PID.start : offset + PID.stop])

    def _write(self, offset: int, content: bytes) -> None:
        self.map[offset : offset + len(content)] = content

    def number(self) -> bytes:
        """Of the present wish."""
        return self.map[NUMBER]

    def seen(self, number: bytes) -> None:
        """The wish of this number has been seen."""
        if self._slot is not None:
            self._write(self._slot + SEEN.start, number)

    def tell(self, state: int) -> None:
        """One byte of `layout`."""
        if self._slot is not None:
            self.map[self._slot] = state

    def leave(self) -> None:
        """Free the slot; a process that ends because it was told to leaves it as it is."""
        if self._slot is not None and self.map[self._slot] != ENDING and self._pid(self._slot) == b"%d" % os.getpid():
            self.map[self._slot] = FREE

    def reason(self) -> str:
        return plain(self.map[REASON]).decode("utf-8", "ignore") or "the load manager ends it"

    def grace(self) -> float:
        """Seconds until the worker is killed."""
        return max(0.0, number(self.map[DEADLINE]) / 1e9 - time.monotonic())

    def progress(self, fraction: float | None, text: str | None) -> None:
        if fraction is not None:
            self.map[PROGRESS] = padded(b"%.6g" % fraction, PROGRESS)
        if text is not None:
            self.map[TEXT] = padded(text.encode("utf-8", "replace"), TEXT)

    def need(self, size: int) -> None:
        self.map[NEED] = padded(b"%d" % size, NEED)


class Useless(Exception):
    """The file cannot be used; the text says why."""


def attach(environment: "Mapping[str, str]") -> File | None:
    """The file that the environment names; ``None``: none, or none that can be used, which is said on stderr."""
    path = environment.get(CHECKPOINT)
    if not path:
        return None
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            return File(descriptor, path)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        warn(f"{path} is not there: the worker that this environment was made for is gone")
    except (OSError, ValueError) as error:
        warn(f"{path} cannot be used: {error}")
    except Useless as error:
        warn(str(error))
    return None


def warn(text: str) -> None:
    """Once: nobody is attached afterwards. Where there is no stderr, or nobody reads it, the program works on."""
    if sys.stderr is None:
        return
    try:
        print(f"loadkeeper: checkpoints do nothing here: {text}", file=sys.stderr, flush=True)
    except (OSError, ValueError):
        pass


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return pid > 0
