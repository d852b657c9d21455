"""Files of records that are many, alike and small: compressed in batches, rotated, bounded in all.

A box is a directory of files; each begins with `MAGIC`, then frames: four bytes of length, and so many of zlib. What
was cut off at the end of a file (a kill, a full disk) is passed over.
"""

import contextlib
import errno
import os
import time
import zlib
from collections.abc import Iterator, Sequence

from ..errors import LoadkeeperError, PlaceError
from .places import make_private
from .writer import Refused, Writer

MAGIC = b"loadkeeper box 1\n"
FILE_BYTES = 8 << 20
"""A file that has so many is closed, and another begun."""
MOST_BYTES = 64 << 20
"""Of all files together, the oldest go first."""
MOST_FILES = 200
WAITING = 4 << 20
"""Bytes that may wait for the disk; what comes then is dropped, and counted."""
LARGEST = 256 << 20
"""Bytes of a batch, packed or not: what waits is one, and its last record may be a message's size. More is no batch."""
PACE = 0.5
"""Seconds between two batches: what is alike is compressed together."""
LENGTH = 4


class Box:
    """Takes records without waiting. A disk that hangs or refuses loses records, and nothing else."""

    def __init__(self, directory: str) -> None:
        self._writer: Writer[bytes] = Writer("box", _Sink(directory), len, PACE)
        self.dropped = 0

    def put(self, record: bytes) -> bool:
        """False: too much waits, and it was dropped."""
        if self._writer.waiting > WAITING:
            self.dropped += 1
            return False
        self._writer.put(record)
        return True

    def close(self, seconds: float = 0.5) -> None:
        self._writer.close(seconds)


def read(directory: str) -> Iterator[bytes]:
    """Batches of records one behind the other, from the oldest file to the newest. Raises LoadkeeperError."""
    for name in _files(directory):
        yield from _read_file(f"{directory}/{name}")


def _read_file(path: str) -> Iterator[bytes]:
    try:
        with open(path, "rb") as file:
            if (begins := file.read(len(MAGIC))) != MAGIC:
                if MAGIC.startswith(begins):
                    return  # cut off as it was made
                raise LoadkeeperError(f"{path} is no box of this version")
            while len(head := file.read(LENGTH)) == LENGTH:
                body = file.read(min(int.from_bytes(head, "big"), LARGEST))
                try:
                    yield _unpacked(body)
                except zlib.error:
                    return  # cut off as it was written
    except FileNotFoundError:
        return  # it was rotated away a moment ago
    except OSError as error:
        raise LoadkeeperError(f"{path}: {error.strerror}") from None


def _unpacked(body: bytes) -> bytes:
    """Raises zlib.error for what is none, is not whole, or would be more than any batch is."""
    unpack = zlib.decompressobj()
    batch = unpack.decompress(body, LARGEST)
    if not unpack.eof:
        raise zlib.error("not a whole batch")
    return batch


def _files(directory: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(directory) if name.endswith(".box"))
    except OSError:
        return []


class _Sink:
    """Used by the writer's thread alone."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._file: int | None = None
        self._size = 0

    def write(self, batch: Sequence[bytes]) -> None:
        if not batch:
            return
        body = zlib.compress(b"".join(batch), 1)
        frame = len(body).to_bytes(LENGTH, "big") + body
        try:
            if self._file is None or self._size > FILE_BYTES:
                self._next()
            assert self._file is not None
            begin = self._size
            self._size += os.write(self._file, frame)
            if self._size - begin < len(frame):  # a full disk took half of it
                os.ftruncate(self._file, begin)
                self._size = begin
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise Refused(f"{self._directory}: {error.strerror}") from error
        except PlaceError as error:
            raise Refused(str(error)) from error

    def _next(self) -> None:
        self.close()
        make_private(self._directory)
        self._make_room()
        path = f"{self._directory}/{time.time_ns() // 1000:020d}.box"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = os.write(self._file, MAGIC)

    def _make_room(self) -> None:
        names = _files(self._directory)
        sizes = []
        for name in names:
            try:
                sizes.append(os.stat(f"{self._directory}/{name}").st_size)
            except OSError:
                sizes.append(0)
        kept, count = 0, 0
        for name, size in zip(reversed(names), reversed(sizes), strict=True):
            kept, count = kept + size, count + 1
            if kept > MOST_BYTES - FILE_BYTES or count >= MOST_FILES:
                with contextlib.suppress(OSError):
                    os.unlink(f"{self._directory}/{name}")

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
