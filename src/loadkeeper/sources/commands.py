"""A list of values, one for each task: from the command line, or streamed from a file or stdin.

A stream is read by a thread of its own into a short queue, so a million lines or an endless producer cost no memory,
and the first task starts at the first line.
"""

import os
import re
import select
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import cycle, islice
from math import prod

from .base import Burial, Source, Task

Row = tuple[bytes, ...]
"""The values of one task."""
Rows = Callable[[Iterable[bytes]], Iterator[Row]]
"""What makes rows of the values of an input, as they come."""

AHEAD = 1024
"""Values read ahead of the workers: enough for a tenth of a second at 10,000 tasks a second."""
AHEAD_BYTES = 4 << 20
"""... but no more bytes than this, for a value may be long."""
CHUNK = 1 << 16
LONGEST = 8 << 20
"""Bytes of a value that are kept: the kernel takes 6 MiB of arguments at most (three quarters of _STK_LIM)."""


def one_each(values: Iterable[bytes]) -> Iterator[Row]:
    """A row of each value."""
    return ((value,) for value in values)


def columns_by(separator: bytes) -> Rows:
    """``--colsep``: what a regular expression separates, without blanks round it. Raises re.error."""
    between = re.compile(separator)

    def row(value: bytes) -> Row:
        parts = between.split(value)
        if (found := between.match(value)) is not None and not found[0]:
            del parts[: 1 + between.groups]  # as Perl has it, nothing stands before a separator of no length
        return tuple((part or b"").strip() for part in parts)

    return lambda values: map(row, values)


def at_most(count: int) -> Rows:
    """``--max-args``: so many values in a row; the last row has what is left."""

    def grouped(values: Iterable[bytes]) -> Iterator[Row]:
        remaining = iter(values)
        while row := tuple(islice(remaining, count)):
            yield row

    return grouped


def linked(groups: Sequence[Sequence[Row]]) -> list[Row]:
    """``:::+``: the first row with the first, the second with the second; the shortest says how many."""
    return [tuple(value for row in rows for value in row) for rows in zip(*groups, strict=False)]


def repeated(group: Sequence[Row], count: int) -> Sequence[Row]:
    """``--link``: a group that is shorter than the longest begins again."""
    return list(islice(cycle(group), count))


class Values(Source):
    """Values that are all known at the start: every row of the first group with every row of the next, and so on, the
    last changing fastest. Nothing of the product is kept, so it may have more tasks than memory has room for."""

    def __init__(self, *groups: Sequence[Row]) -> None:
        self._groups = groups
        self._total = prod(len(group) for group in groups)
        self._taken = 0
        self._returned: deque[Task] = deque()

    def waiting(self) -> int:
        return self._total - self._taken + len(self._returned)

    def take(self) -> Task | None:
        if self._returned:
            return self._returned.popleft()
        if self._taken == self._total:
            return None
        self._taken += 1
        return Task(self._taken, self._row(self._taken - 1))

    def _row(self, place: int) -> Row:
        row: Row = ()
        for group in reversed(self._groups):
            place, here = divmod(place, len(group))
            row = group[here] + row
        return row

    def ready(self) -> bool:
        return self.waiting() > 0

    def exhausted(self) -> bool:
        return self.waiting() == 0

    def done(self, task: Task, result: bytes = b"") -> None:
        pass

    def give_back(self, task: Task) -> None:
        self._returned.append(task)

    def bury(self, task: Task, burial: Burial) -> None:
        pass


class Fed(Source):
    """Rows as they come, read by a thread of its own, so many ahead of the workers. ``wake`` is called from that thread
    when `take` has something again after it had nothing, and at the end of the rows."""

    def __init__(
        self, rows: Callable[[], Iterable[Row]], wake: Callable[[], None], name: str, ahead: int = AHEAD
    ) -> None:
        """``rows`` is called, and what comes of it read, in that thread; ``name`` is for people."""
        self._rows = rows
        self._name = name
        self._ahead = ahead
        self._wake = wake
        self._ready: deque[Row] = deque()
        self._ready_bytes = 0
        self._returned: deque[Task] = deque()
        self._taken = 0
        self._ended = False
        self._hungry = True
        self._closed = False
        self._room = threading.Condition()
        self._thread = threading.Thread(target=self._read, name="source", daemon=True)
        self._thread.start()

    def waiting(self) -> int | None:
        return len(self._ready) + len(self._returned) if self._ended else None

    def take(self) -> Task | None:
        if self._returned:
            return self._returned.popleft()
        with self._room:
            if not self._ready:
                self._hungry = True
                return None
            row = self._ready.popleft()
            self._ready_bytes -= sum(map(len, row))
            if len(self._ready) <= self._ahead // 2 and self._ready_bytes < AHEAD_BYTES // 2:
                self._room.notify()
        self._taken += 1
        return Task(self._taken, row)

    def ready(self) -> bool:
        return bool(self._ready or self._returned)

    def exhausted(self) -> bool:
        return self._ended and not self._ready and not self._returned

    def done(self, task: Task, result: bytes = b"") -> None:
        pass

    def give_back(self, task: Task) -> None:
        self._returned.append(task)

    def bury(self, task: Task, burial: Burial) -> None:
        pass

    def close(self) -> None:
        with self._room:
            self._closed = True
            self._room.notify()

    def _read(self) -> None:
        try:
            for row in self._rows():
                if not self._offer(row):
                    return
        except OSError as error:
            self.fault = f"{self._name} cannot be read to its end: {error.strerror}"
        except Exception as error:  # a fault of ours, or no memory, must not let the run wait for ever
            self.fault = f"{self._name} cannot be read to its end: {error!r}"
        finally:
            with self._room:
                self._ended = True
            self._wake()

    def _offer(self, row: Row) -> bool:
        """Queue a row, waiting for room; False when nobody wants it any more."""
        with self._room:
            while (len(self._ready) >= self._ahead or self._ready_bytes >= AHEAD_BYTES) and not self._closed:
                self._room.wait()
            if self._closed:
                return False
            self._ready.append(row)
            self._ready_bytes += sum(map(len, row))
            hungry, self._hungry = self._hungry, False
        if hungry:
            self._wake()
        return True


class Stream(Fed):
    """Lines of an open descriptor, as they come."""

    def __init__(
        self,
        descriptor: int,
        wake: Callable[[], None],
        name: str = "stdin",
        separator: bytes = b"\n",
        rows: Rows = one_each,
    ) -> None:
        super().__init__(lambda: rows(split(descriptor, separator)), wake, name)


def _read(descriptor: int, most: int = CHUNK) -> bytes:
    """Some bytes, none at the end. Whoever made the pipe may have set it not to block."""
    while True:
        try:
            return os.read(descriptor, most)
        except BlockingIOError:
            select.select([descriptor], [], [])


def split(descriptor: int, separator: bytes) -> Iterator[bytes]:
    """Values between separators, as soon as each is complete; the last one may lack its separator. Of a value that is
    longer than any command can be, the beginning."""
    head: list[bytes] = []  # a value that is not complete yet, in pieces: no copy of a long one at each chunk
    length, held = 0, b""  # bytes in the pieces; and the last of it, in which a separator may have begun
    while chunk := _read(descriptor):
        *values, rest = (held + chunk).split(separator)
        if values:
            values[0] = b"".join((*head, values[0]))
            head.clear()
            length = 0
            yield from values
        begins = max(0, len(rest) - len(separator) + 1)
        held = rest[begins:]
        if length <= LONGEST:
            head.append(rest[:begins])
            length += begins
    if last := b"".join(head) + held:
        yield last


def first(descriptor: int, separator: bytes) -> bytes:
    """The first value, and nothing of what follows it is read: a byte at a time, as shells read their lines."""
    value = b""
    while byte := _read(descriptor, 1):
        value += byte
        if value.endswith(separator):
            return value.removesuffix(separator)
    return value
