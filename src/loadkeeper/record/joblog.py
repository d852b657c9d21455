"""The job log: GNU parallel's ``--joblog``, byte for byte in its columns, so that what reads theirs reads ours.

Tried against GNU parallel 20221122: a task has one line, when its last attempt is over; Starttime has milliseconds,
JobRuntime is ten wide; Send is 0 without ``--pipe``; Receive counts the bytes of stdout; an attempt that timed out has
Exitval -1 and Signal 15; a newline inside a command becomes a NUL, other bytes stay as they are.

A line is in the file within 10 ms, where a kill does not reach it, and on the disk within `SYNC` more, where a power
loss does not; what a power loss leaves behind that is read as far as it goes.
"""

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Sequence

from msgspec import Struct

from ..errors import UsageError
from .places import sync_directory
from .writer import Refused, Writer

HEADER = b"Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n"
COMPARED = 1000
"""Tasks of a log whose commands are held against those of the run that resumes it."""
MOST_TASKS = 1 << 32
TAIL = 1 << 16
SYNC = 0.1
"""Seconds between two syncs: each takes up to 21 ms beside two ``dd`` (measured of the journal's)."""
_NO_SYNC = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EROFS})
"""What a file says that lies on no disk."""
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
        sink = _Sink(descriptor, path, header)
        self._writer: Writer[Line] = Writer("joblog", sink, _weigh, pace=0.01, settle=SYNC)

    @classmethod
    def open(cls, path: str, *, append: bool = False) -> "Joblog":
        """A log in the file ``path``, emptied; with ``append`` or as ``+path`` carried on; ``-`` is stdout.

        Raises UsageError when it cannot be written."""
        if path == "-":
            return cls(os.dup(1), "stdout", HEADER)
        append = append or path.startswith("+")
        path = path.removeprefix("+")
        descriptor = _open(path)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            _cut(descriptor, _whole(descriptor) if append else 0)
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
        os.close(_open(path.removeprefix("+")))


class Logged:
    """The tasks that a log names, of ours or of GNU parallel; with ``successful`` only those with Exitval and Signal 0.
    Nothing when there is no such file. An eighth of a byte each, and the commands of the first.

    Raises UsageError for what is no job log."""

    def __init__(self, path: str, *, successful: bool = False) -> None:
        self.path = path.removeprefix("+")
        self._bits = bytearray()
        self._commands: dict[int, bytes] = {}
        try:
            with open(self.path, "rb") as lines:
                for place, line in enumerate(lines, 1):
                    if place > 1:
                        self._note(line, f"{self.path}:{place}", successful)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise UsageError(f"--joblog {self.path}: {error.strerror}; name a file that can be read") from None

    def __contains__(self, seq: int) -> bool:
        byte, bit = divmod(seq, 8)
        return byte < len(self._bits) and bool(self._bits[byte] >> bit & 1)

    def check(self, seq: int, commands: Sequence[bytes]) -> None:
        """Raises UsageError when the task of this number was none of these then; no effect without any."""
        then, now = self._commands.get(seq), [command.replace(b"\n", b"\0") for command in commands]
        if now and then is not None and then not in now:
            raise UsageError(
                f"--joblog {self.path} is the log of another run: its task {seq} was {_readable(then)}, and is "
                f"{_readable(now[0])} now; give the command and the values of that run, or another log"
            )

    def _note(self, line: bytes, place: str, successful: bool) -> None:
        if not line.endswith(b"\n"):
            return  # cut off as it was written: its task is done again
        columns = line.rstrip(b"\n").split(b"\t", 8)
        if any(b"\0" in column for column in columns[:8]):
            return  # a block that a power loss kept from the disk: its tasks are done again
        if len(columns) < 9 or not columns[0].isdigit() or not 0 < (seq := int(columns[0])) < MOST_TASKS:
            raise UsageError(
                f"--joblog {place}: is not a line of a job log; name the log of an earlier run, or a new file"
            )
        if successful and columns[6:8] != [b"0", b"0"]:
            return
        byte, bit = divmod(seq, 8)
        if byte >= len(self._bits):
            self._bits.extend(bytes(byte + 1 - len(self._bits)))
        self._bits[byte] |= 1 << bit
        if len(self._commands) < COMPARED:
            self._commands[seq] = columns[8]


def _readable(command: bytes) -> str:
    return repr(command[:80].decode("utf-8", "backslashreplace"))


def _open(path: str) -> int:
    """Open for appending, by this run alone. Raises UsageError."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise UsageError(f"--joblog {path}: {error.strerror}; name a file in a directory you may write to") from None
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        problem = "another run is writing it; name another file, or wait for that run"
        raise UsageError(f"--joblog {path}: {problem}") from None
    except OSError:
        pass  # a file system without locks
    return descriptor


def _whole(descriptor: int) -> int:
    """Bytes of a log up to the end of its last whole line: a run that was killed may have left half of one."""
    end = os.fstat(descriptor).st_size
    while end:
        begin = max(0, end - TAIL)
        if (newline := os.pread(descriptor, end - begin, begin).rfind(b"\n")) >= 0:
            return begin + newline + 1
        end = begin
    return 0


def _cut(descriptor: int, size: int) -> None:
    """Nothing is started before it is on disk that what stood here counts no more."""
    if os.fstat(descriptor).st_size > size:
        os.ftruncate(descriptor, size)
        with contextlib.suppress(OSError):  # a disk that fails says so at the first line
            os.fsync(descriptor)


def _weigh(line: Line) -> int:
    return 200 + len(line.command)


class _Sink:
    """A descriptor. What a write left over is written first the next time, so no line is ever cut or doubled."""

    def __init__(self, descriptor: int, path: str, header: bytes) -> None:
        self._descriptor = descriptor
        self._path = path
        self._left = header
        self._begun = False  # the batch that comes again is in `_left` already
        self._unsynced = b""
        self._synced_at: float | None = None
        self._on_disk = stat.S_ISREG(os.fstat(descriptor).st_mode)

    def write(self, batch: Sequence[Line]) -> None:
        if not self._begun:
            self._left += b"".join(line.text() for line in batch)
            self._begun = True
        try:
            self._write()
            if self._on_disk and (not batch or time.monotonic() >= (self._synced_at or 0.0) + SYNC):
                self._sync()
        except OSError as error:
            raise Refused(f"the job log {self._path} cannot be written: {error.strerror}") from error
        self._begun = False

    def _write(self) -> None:
        while self._left:
            written = os.write(self._descriptor, self._left)
            if self._on_disk:
                self._unsynced += self._left[:written]
            self._left = self._left[written:]

    def _sync(self) -> None:
        """What the kernel could not bring to the disk it does not try again by itself: it is written once more."""
        if self._synced_at is None:
            sync_directory(os.path.dirname(os.path.abspath(self._path)))
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            if error.errno not in _NO_SYNC:
                os.ftruncate(self._descriptor, os.fstat(self._descriptor).st_size - len(self._unsynced))
                self._left, self._unsynced = self._unsynced, b""
                raise
            self._on_disk = False
        self._unsynced = b""
        self._synced_at = time.monotonic()

    def close(self) -> None:
        os.close(self._descriptor)
