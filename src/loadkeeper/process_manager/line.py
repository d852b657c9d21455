"""The line protocol of kept workers, version 1: docs/kept-workers.md. Words between blanks, a line each, on a socket
that is the worker's stdin; what may hold anything is base64."""

import base64
import binascii
import socket
from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from ..sources.base import Task

VERSION = b"1"
LONGEST = 96 << 20
"""Bytes of a line: a result of 64 MiB in base64, and some."""
CHUNK = 1 << 18
WORD = b"loadkeeper"


class Verb(StrEnum):
    """What a worker says."""

    DONE = "done"
    FAILED = "failed"
    LATER = "later"
    PROGRESS = "progress"


class Said(NamedTuple):
    """``rest``: the words after the task's number."""

    verb: Verb
    number: int
    rest: list[bytes]

    @property
    def content(self) -> bytes:
        """Of a result, or a reason. Raises ValueError."""
        if not self.rest:
            return b""
        try:
            return base64.b64decode(self.rest[0], validate=True)
        except binascii.Error as error:
            raise ValueError(f"what follows {self.verb} is no base64: {error}") from None

    @property
    def seconds(self) -> float | None:
        """After which it should be tried again. Raises ValueError."""
        if not self.rest:
            return None
        value = float(self.rest[0])
        if not 0 <= value < 1e9:
            raise ValueError("later is followed by a number of seconds")
        return value

    @property
    def share(self) -> float:
        """Raises ValueError."""
        value = float(self.rest[0]) if self.rest else -1.0
        if not 0 <= value <= 1:
            raise ValueError("progress is followed by a share from 0 to 1")
        return value

    @property
    def text(self) -> str:
        return b" ".join(self.rest[1:]).decode("utf-8", "replace")


def order(task: Task) -> bytes:
    """The line that gives a task: its number, which attempt, its key and its payload; ``-`` for what is empty."""
    payload = base64.b64encode(task.payload) or b"-"
    key = task.key.encode("utf-8", "backslashreplace").replace(b" ", b"+").replace(b"\n", b"+") or b"-"
    return b"%s task %d %d %s %s\n" % (WORD, task.number, task.attempts, key, payload)


def understood(line: bytes) -> Said:
    """Raises ValueError, with what is wrong."""
    words = line.split(b" ")
    if words[0] != WORD or len(words) < 3:
        raise ValueError("a line begins with loadkeeper, a verb, and the task's number")
    try:
        verb = Verb(words[1].decode())
        number = int(words[2])
    except ValueError:
        raise ValueError("a line begins with loadkeeper, a verb, and the task's number") from None
    return Said(verb, number, [word for word in words[3:] if word])


class Line:
    """Our end of a worker's socket; never waits."""

    def __init__(self) -> None:
        self._ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._ours.setblocking(False)
        self._in = bytearray()
        self._out = bytearray()

    def fileno(self) -> int:
        return self._ours.fileno()

    def started(self) -> None:
        """The worker has its end."""
        self.theirs.close()

    @property
    def unsent(self) -> bool:
        return bool(self._out)

    def send(self, line: bytes) -> bool:
        """False: not all of it is sent yet."""
        self._out += line
        return self.flush()

    def flush(self) -> bool:
        while self._out:
            try:
                sent = self._ours.send(memoryview(self._out)[:CHUNK], socket.MSG_NOSIGNAL)
            except BlockingIOError:
                return False
            except OSError:
                self._out.clear()  # nobody reads it any more: its end says the rest
                return True
            del self._out[:sent]
        return True

    def lines(self) -> Iterator[bytes]:
        """Those that have come whole. Raises EOFError at the end, ValueError for one that is too long."""
        ended = self._read()
        while (end := self._in.find(b"\n")) >= 0:
            line = bytes(self._in[:end]).rstrip(b"\r")
            del self._in[: end + 1]
            yield line
        if len(self._in) > LONGEST:
            self._in.clear()
            raise ValueError(f"it has sent a line of more than {LONGEST >> 20} MiB")
        if ended:
            raise EOFError

    def _read(self) -> bool:
        while len(self._in) <= LONGEST:
            try:
                chunk = self._ours.recv(CHUNK)
            except BlockingIOError:
                return False
            except OSError:
                return True
            if not chunk:
                return True
            self._in += chunk
            if len(chunk) < CHUNK:
                return False
        return False

    def close(self) -> None:
        self._ours.close()
        self.theirs.close()
