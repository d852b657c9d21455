"""What workers write: kept in files of their own until the task ends, then printed whole, one task after the other.

The files have no name on disk, so nothing is left behind however we end. A pair is used again for the next task, which
keeps a start cheap. Printing happens in a thread of its own: a slow reader of our stdout stops nobody until
`Printer.full`.
"""

import errno
import os
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

CHUNK = 1 << 18
PATIENCE = 0.1
"""Seconds between two looks at whether to wait on for a reader that does not read."""
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
        """Take a pair back. One that was written to is closed: something that its worker left may write on for a
        moment, into what would be another task's."""
        if any(os.fstat(descriptor).st_size for descriptor in streams):
            self.drop(streams)
        else:
            self._free.append(streams)

    def drop(self, streams: Streams) -> None:
        """Close a pair that somebody may still write to."""
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


class Printer:
    """Copies finished output to our own stdout and stderr, in order, from a thread.

    ``before`` and ``after`` are called round each batch (the progress block makes room on a terminal).
    When the reader of stdout is gone, `broken` says why and the rest is dropped."""

    def __init__(self, files: OutputFiles, stdout: int = 1, stderr: int = 2) -> None:
        self._files = files
        self._targets = (stdout, stderr)
        self._queue: deque[tuple[Streams, int]] = deque()  # with their bytes
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

    def put(self, streams: Streams) -> None:
        """Print this pair and give it back to the files; one that is empty costs two calls to fstat."""
        size = os.fstat(streams.stdout).st_size + os.fstat(streams.stderr).st_size
        if not size:
            self._files.give(streams)
            return
        with self._wake:
            self._queue.append((streams, size))
            self._waiting += size
            if not self._started:
                self._started = True
                self._thread.start()
            self._wake.notify()

    def close(self, seconds: float | None = None, stop: Callable[[], bool] | None = None) -> bool:
        """Print what is left; False if it did not all go out within ``seconds``, or before ``stop`` said so."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        until = float("inf") if seconds is None else time.monotonic() + seconds
        while self._started and self._thread.is_alive() and time.monotonic() < until and not (stop and stop()):
            self._thread.join(min(PATIENCE, max(0.0, until - time.monotonic())))
        return not self._queue

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._queue and not self._closing:
                    self._wake.wait()
                if not self._queue:
                    return
                batch = list(self._queue)
            self.before()
            for streams, _ in batch:
                for source, target in zip(streams, self._targets, strict=True):
                    self._copy(source, target, os.fstat(source).st_size)
            self.after()
            with self._wake:
                for streams, size in batch:
                    self._waiting -= size
                    self._queue.popleft()
                    self._files.give(streams)

    def _copy(self, source: int, target: int, size: int) -> None:
        place = 0
        while self.broken is None and (chunk := os.pread(source, min(CHUNK, size - place), place)):
            try:
                place += os.write(target, chunk)
            except BlockingIOError:
                _wait_writable(target)
            except OSError as error:
                if target == self._targets[0]:  # a dead terminal's stderr never ends a run
                    self.broken = error.strerror or str(error)
                return


def _wait_writable(descriptor: int) -> None:
    import select

    select.select([], [descriptor], [], 1.0)


def _nothing() -> None:
    pass
