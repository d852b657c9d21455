"""What workers write: kept in files of their own until the task ends, then printed whole, one task after the other.

The files have no name on disk, so nothing is left behind however we end. A pair is used again for the next task, which
keeps a start cheap. Printing happens in a thread of its own: a slow reader of our stdout stops nobody until
`Printer.full`. The same thread follows what living workers write, where lines are wanted as they come.
"""

import errno
import os
import select
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

CHUNK = 1 << 18
PATIENCE = 0.1
"""Seconds between two looks at whether to wait on for a reader that does not read."""
FOLLOW = 0.1
"""Seconds between two looks at what living workers wrote."""
BOUND = 64 << 20
"""Bytes that may wait for a slow reader; beyond, nothing new is started until it has caught up."""


class Streams(NamedTuple):
    """Where one worker's stdout and stderr go: open for appending, so that a cut file never gets a hole."""

    stdout: int
    stderr: int


class OutputFiles:
    """Makes and keeps pairs of unnamed files below ``directory``. Raises OSError when none can be made."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._free: list[Streams] = []

    def take(self) -> Streams:
        return self._free.pop() if self._free else Streams(self._unnamed(), self._unnamed())

    def give(self, streams: Streams) -> None:
        """Take a pair back that nobody has written to: it is used again."""
        self._free.append(streams)

    def drop(self, streams: Streams) -> None:
        """Close a pair. One that was written to is never used again: something that its worker left may write on for a
        moment, into what would be another task's."""
        for descriptor in streams:
            os.close(descriptor)

    def close(self) -> None:
        while self._free:
            self.drop(self._free.pop())

    def _unnamed(self) -> int:
        flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
        try:
            return os.open(self._directory, flags | os.O_TMPFILE, 0o600)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
                raise
        descriptor, path = tempfile.mkstemp(dir=self._directory)  # a file system without O_TMPFILE
        os.close(descriptor)
        try:
            return os.open(path, flags)
        finally:
            os.unlink(path)


class Output:
    """What one attempt wrote, or is writing."""

    __slots__ = ("places", "shown", "size", "streams", "tag")

    def __init__(self, streams: Streams, tag: bytes = b"") -> None:
        self.streams = streams
        self.tag = tag  # put before each line
        self.places = [0, 0]  # bytes of each stream that are printed
        self.size = 0  # of both, once it is over
        self.shown = True  # False: its task is done again, and what it wrote is not printed


class Printer:
    """Copies finished output to our own stdout and stderr from a thread, whole tasks one after the other.

    ``ordered``: in the order of their numbers, which must then all come, by `put` or `skip`. ``live``: complete lines
    as they are written. ``before`` and ``after`` are called round each batch (the progress block makes room on a
    terminal). When the reader of stdout is gone, `broken` says why and the rest is dropped."""

    def __init__(
        self, files: OutputFiles, stdout: int = 1, stderr: int = 2, *, ordered: bool = False, live: bool = False
    ) -> None:
        self._files = files
        self._targets = (stdout, stderr)
        self._ordered, self._live = ordered, live
        self._queue: deque[Output] = deque()
        self._living: dict[int, Output] = {}
        self._held: dict[int, Output | None] = {}  # wait for a lower number; None: nothing to print
        self._next = 1
        self._waiting = 0
        self._wake = threading.Condition()
        self._closing = False
        self.broken: str | None = None
        self.before = self.after = _nothing
        self._thread = threading.Thread(target=self._run, name="printer", daemon=True)
        self._started = False

    @property
    def full(self) -> bool:
        """More waits for the reader than we keep: nothing new should be started."""
        return self._waiting > BOUND

    @property
    def fault(self) -> str:
        """Why nothing new is started, for people; empty when all is well."""
        if not self.full:
            return ""
        return (
            f"stdout is read slowly: {self._waiting >> 20} MiB wait for it, so nothing new starts until it catches up"
        )

    @property
    def held(self) -> int:
        """Pairs of files that are kept open until they are printed."""
        return len(self._queue) + len(self._held)

    def follow(self, number: int, streams: Streams, tag: bytes = b"") -> None:
        """A worker begins to write here. No effect but where lines are printed as they come."""
        if self._live:
            with self._wake:
                self._living[number] = Output(streams, tag)
                self._start()

    def put(self, number: int, streams: Streams, tag: bytes = b"", *, shown: bool = True) -> int:
        """An attempt is over: print this pair and give it back to the files. ``shown``: not, for its task is done
        again, and its number comes again. Bytes of its stdout come back. One that is empty costs two calls to fstat."""
        written = os.fstat(streams.stdout).st_size
        size = written + os.fstat(streams.stderr).st_size
        if not self._live and (not size or not shown):
            (self._files.drop if size else self._files.give)(streams)
            if shown:
                self.skip(number)
            return written
        with self._wake:
            output = self._living.pop(number, None) or Output(streams, tag)
            output.size, output.shown = size, shown
            self._waiting += size
            if self._ordered and shown:
                self._held[number] = output
                self._release()
            else:
                self._queue.append(output)
            self._start()
        return written

    def skip(self, number: int) -> None:
        """Nothing is printed under this number."""
        if self._ordered:
            with self._wake:
                self._held[number] = None
                self._release()
                if self._queue:
                    self._start()

    def close(self, seconds: float | None = None, stop: Callable[[], bool] | None = None) -> bool:
        """Print what is left, what still waits for a lower number too; False if it did not all go out within
        ``seconds``, or before ``stop`` said so."""
        with self._wake:
            for number in sorted(self._held):
                if (output := self._held.pop(number)) is not None:
                    self._queue.append(output)
            if self._queue:
                self._start()
            self._closing = True
            self._wake.notify()
        until = float("inf") if seconds is None else time.monotonic() + seconds
        while self._started and self._thread.is_alive() and time.monotonic() < until and not (stop and stop()):
            self._thread.join(min(PATIENCE, max(0.0, until - time.monotonic())))
        return not self._queue

    def _start(self) -> None:
        if not self._started:
            self._started = True
            self._thread.start()
        self._wake.notify()

    def _release(self) -> None:
        """Whose turn has come."""
        while self._next in self._held:
            output = self._held.pop(self._next)
            self._next += 1
            if output is not None:
                self._queue.append(output)

    # ---------------------------------------------------------------------------------------------- in the thread

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._queue and not self._closing:
                    if not self._wake.wait(FOLLOW if self._living else None):
                        break
                if not self._queue and self._closing:
                    return
                batch, living = list(self._queue), [output for output in self._heard() if _has_news(output)]
            if not batch and not living:
                continue
            self.before()
            for output in batch:
                if output.shown:
                    self._copy(output, whole=True)
            for output in living:
                self._copy(output, whole=False)
            self.after()
            with self._wake:
                for output in batch:
                    self._waiting -= output.size
                    self._queue.popleft()
                    (self._files.drop if output.size else self._files.give)(output.streams)

    def _heard(self) -> list[Output]:
        """Whose lines are printed as they come: everybody's, or in order only the one's whose turn it is."""
        if self._ordered:
            return [self._living[self._next]] if self._next in self._living else []
        return list(self._living.values())

    def _copy(self, output: Output, *, whole: bool) -> None:
        """What is new in both streams; of a living one complete lines only."""
        for number, (source, target) in enumerate(zip(output.streams, self._targets, strict=True)):
            end = os.fstat(source).st_size
            while self.broken is None and (
                chunk := os.pread(source, min(CHUNK, end - output.places[number]), output.places[number])
            ):
                if not whole and not (chunk := chunk[: chunk.rfind(b"\n") + 1]):
                    break
                begins = output.places[number] == 0 or os.pread(source, 1, output.places[number] - 1) == b"\n"
                output.places[number] += len(chunk)
                if not self._write(target, tagged(chunk, output.tag, begins) if output.tag else chunk):
                    break

    def _write(self, target: int, text: bytes) -> bool:
        place = 0
        while place < len(text):
            try:
                place += os.write(target, text[place:] if place else text)
            except BlockingIOError:
                _wait_writable(target)
            except OSError as error:
                if target == self._targets[0]:  # a dead terminal's stderr never ends a run
                    self.broken = error.strerror or str(error)
                return False
        return True


def _has_news(output: Output) -> bool:
    return any(
        os.fstat(descriptor).st_size > place for descriptor, place in zip(output.streams, output.places, strict=True)
    )


def tagged(text: bytes, tag: bytes, begins: bool) -> bytes:
    """``tag`` before each line of ``text``; before the first only when it ``begins`` one."""
    lines = text[:-1].replace(b"\n", b"\n" + tag) + text[-1:]
    return tag + lines if begins else lines


def _wait_writable(descriptor: int) -> None:
    select.select([], [descriptor], [], 1.0)


def _nothing() -> None:
    pass
