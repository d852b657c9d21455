"""The job log: GNU parallel's ``--joblog``, byte for byte in its columns, so that what reads theirs reads ours.

Tried against GNU parallel 20221122: a task has one line, when its last attempt is over; Starttime has milliseconds,
JobRuntime is ten wide; Send is 0 without ``--pipe``; Receive counts the bytes of stdout; an attempt that timed out has
Exitval -1 and Signal 15; a newline inside a command becomes a NUL, other bytes stay as they are.
"""

import os
from collections.abc import Iterator, Sequence

from msgspec import Struct

from ..errors import UsageError
from .writer import Refused, Writer

HEADER = b"Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n"
TIMED_OUT = (-1, 15)
"""Exitval and Signal of an attempt that ``--timeout`` ended."""


class Line(Struct, frozen=True):
    """One task's line. ``began``: seconds since the epoch; ``seconds``: its last attempt from start to exit."""

    seq: int
    began: float
    seconds: float
    received: int  # bytes it wrote to stdout
    code: int
    signal: int
    command: bytes  # as a shell would take it

    def text(self) -> bytes:
        figures = b"%d\t:\t%.3f\t%10.3f\t0\t%d\t%d\t%d\t"
        head = figures % (self.seq, self.began, self.seconds, self.received, self.code, self.signal)
        return head + self.command.replace(b"\n", b"\0") + b"\n"


class Joblog:
    """Appends lines in the order of completion, from a thread of its own: a full or slow disk holds up nobody."""

    def __init__(self, descriptor: int, path: str, header: bytes) -> None:
        self._writer: Writer[Line] = Writer("joblog", _Sink(descriptor, path, header), _weigh, pace=0.01)

    @classmethod
    def open(cls, path: str, *, append: bool = False) -> "Joblog":
        """A log in the file ``path``, emptied; with ``append`` or as ``+path`` carried on; ``-`` is stdout.

        Raises UsageError when it cannot be written."""
        if path == "-":
            return cls(os.dup(1), "stdout", HEADER)
        append = append or path.startswith("+")
        path = path.removeprefix("+")
        descriptor = _open(path, append)
        return cls(descriptor, path, b"" if append and os.fstat(descriptor).st_size else HEADER)

    @property
    def fault(self) -> str | None:
        """Why it cannot be written at the moment; lines are kept and tried again."""
        return self._writer.fault

    @property
    def full(self) -> bool:
        """More waits for the disk than should: start nothing new."""
        return self._writer.full

    def add(self, line: Line) -> None:
        self._writer.put(line)

    def flush(self, seconds: float = 10.0) -> bool:
        """Wait until all is written; False when that took longer than ``seconds``."""
        return self._writer.flush(seconds)

    def close(self, seconds: float = 10.0) -> bool:
        """Write what is left; False when the disk did not take it within ``seconds``."""
        return self._writer.close(seconds)


def check(path: str) -> None:
    """Raises UsageError when no log can be written to ``path``; what is in it stays."""
    if path != "-":
        os.close(_open(path.removeprefix("+"), append=True))


def logged(path: str, *, successful: bool = False) -> Iterator[int]:
    """Numbers of the tasks that a log names, of ours or of GNU parallel; with ``successful`` only those with Exitval
    and Signal 0. Nothing when there is no such file. Raises UsageError for a line of another format."""
    try:
        with open(path, "rb") as lines:
            for place, line in enumerate(lines, 1):
                if place > 1:
                    yield from _seq(line, f"{path}:{place}", successful)
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"--joblog {path}: {error.strerror}; name a file that can be read") from None


def _seq(line: bytes, place: str, successful: bool) -> Iterator[int]:
    columns = line.split(b"\t", 8)
    if len(columns) < 9 or not columns[0].isdigit():
        raise UsageError(f"--joblog {place}: is not a line of a job log; name the log of an earlier run, or a new file")
    if not successful or columns[6:8] == [b"0", b"0"]:
        yield int(columns[0])


def _open(path: str, append: bool) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | (0 if append else os.O_TRUNC)
    try:
        return os.open(path, flags, 0o666)
    except OSError as error:
        raise UsageError(f"--joblog {path}: {error.strerror}; name a file in a directory you may write to") from None


def _weigh(line: Line) -> int:
    return 200 + len(line.command)


class _Sink:
    """A descriptor. What a write left over is written first the next time, so no line is ever cut or doubled."""

    def __init__(self, descriptor: int, path: str, header: bytes) -> None:
        self._descriptor = descriptor
        self._path = path
        self._left = header
        self._begun = False  # the batch that comes again is in `_left` already

    def write(self, batch: Sequence[Line]) -> None:
        if not self._begun:
            self._left += b"".join(line.text() for line in batch)
            self._begun = True
        try:
            while self._left:
                self._left = self._left[os.write(self._descriptor, self._left) :]
        except OSError as error:
            raise Refused(f"the job log {self._path} cannot be written: {error.strerror}") from error
        self._begun = False

    def close(self) -> None:
        os.close(self._descriptor)
