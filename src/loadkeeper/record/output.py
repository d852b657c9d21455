"""What workers write: kept in files of their own until the task ends, then printed whole, one task after the other.

The files have no name on disk, so nothing is left behind however we end. One that nobody wrote to is used again for
the next task, which keeps a start cheap. Printing happens in a thread of its own: a slow reader of our stdout stops
nobody until `Printer.full`. The same thread follows what living workers write, where lines are wanted as they come.
"""

import contextlib
import errno
import os
import select
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

CHUNK = 1 << 18
PATIENCE = 0.1
"""Seconds between two looks at whether to wait on for a reader that does not read."""
FOLLOW = 0.1
"""Seconds between two looks at what living workers wrote."""
BOUND = 64 << 20
"""Bytes that may wait for a slow reader; beyond, nothing new is started until it has caught up."""
LAST = 1000
"""Bytes of its output that are kept of a task that has failed for good."""
CUT = 1 << 20
"""Bytes from which on the file of a worker that serves many tasks is emptied once all of it is printed."""
KEPT_OPEN = 256
"""Outputs that wait for their turn in files of their own; the others share one, or descriptors run out."""


class Streams(NamedTuple):
    """Where one worker's stdout and stderr go: open for appending, so that a cut file never gets a hole."""

    stdout: int
    stderr: int


class OutputFiles:
    """Makes and keeps unnamed files below ``directory``. Raises OSError when none can be made."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._free: list[int] = []

    def take(self) -> Streams:
        stdout = self._one()
        try:
            return Streams(stdout, self._one())
        except OSError:
            self._free.append(stdout)
            raise

    def give(self, streams: Streams, sizes: Sequence[int]) -> None:
        """Take back what holds so many bytes. A file that nobody wrote to is used again; another is closed, for
        something that its worker left may write on for a moment, into what would be another task's."""
        for descriptor, size in zip(streams, sizes, strict=True):
            if size:
                _close(descriptor)
            else:
                self._free.append(descriptor)

    def drop(self, streams: Streams) -> None:
        """Close a pair that is not ours to use again."""
        for descriptor in streams:
            _close(descriptor)

    def close(self) -> None:
        while self._free:
            _close(self._free.pop())

    def _one(self) -> int:
        return self._free.pop() if self._free else self.unnamed(os.O_APPEND)

    def unnamed(self, append: int = 0) -> int:
        """A new one. Raises OSError."""
        flags = os.O_RDWR | os.O_CLOEXEC | append
        try:
            return self._without_a_name(flags)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
                raise
        descriptor, path = tempfile.mkstemp(dir=self._directory)  # a file system without O_TMPFILE
        os.close(descriptor)
        try:
            return os.open(path, flags)
        finally:
            os.unlink(path)

    def _without_a_name(self, flags: int) -> int:
        try:
            return os.open(self._directory, flags | os.O_TMPFILE, 0o600)
        except FileNotFoundError:  # somebody tidied up under a living run
            os.makedirs(self._directory, 0o700, exist_ok=True)
            return os.open(self._directory, flags | os.O_TMPFILE, 0o600)


class Output:
    """What one attempt wrote, or is writing."""

    __slots__ = ("begins", "home", "number", "places", "receipt", "shown", "sizes", "streams", "tag")

    def __init__(self, number: int, streams: Streams, tag: bytes = b"") -> None:
        self.number = number
        self.streams = streams
        self.begins = (0, 0)  # where each stream begins in its file
        self.home: Home | None = None  # whose the files are, where it has but a part of them
        self.tag = tag  # put before each line
        self.places = [0, 0]  # bytes of each stream that are printed
        self.sizes: tuple[int, int] = (0, 0)  # bytes of each, once it is over
        self.shown = True  # False: its task is done again, and what it wrote is not printed
        self.receipt: Any = None  # of whoever wants to know that it is out


class Home(Protocol):
    """Whose files hold several outputs. Called in the printer's thread, under its lock."""

    def give(self, output: Output) -> None:
        """It was printed."""


class Shared:
    """The files of a worker that serves many tasks: what each has written is a part of them."""

    def __init__(self, files: OutputFiles, streams: Streams) -> None:
        self._files = files
        self.streams = streams
        self.begins = (0, 0)  # of the part that is being written
        self._out = 0  # parts that are not printed yet
        self._over = False

    def sizes(self) -> tuple[int, int]:
        """Bytes of the part that is being written."""
        ends = [os.fstat(descriptor).st_size for descriptor in self.streams]
        return max(0, ends[0] - self.begins[0]), max(0, ends[1] - self.begins[1])

    def begin(self, sizes: tuple[int, int]) -> None:
        """Another part, behind the one of these sizes. What is printed is cut off now and then."""
        ends = (self.begins[0] + sizes[0], self.begins[1] + sizes[1])
        if max(ends) > CUT and not self._out:
            for descriptor in self.streams:
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, 0)
            ends = (0, 0)
        self.begins = ends

    def lend(self) -> None:
        """The part will be printed."""
        self._out += 1

    def give(self, output: Output) -> None:
        self._out -= 1
        self._close()

    def over(self) -> None:
        """The worker is gone."""
        self._over = True
        self._close()

    def _close(self) -> None:
        if self._over and not self._out:
            self._files.drop(self.streams)


class Spool:
    """One unnamed file in which many small outputs wait for their turn. It is emptied when the last of them is gone."""

    def __init__(self, files: OutputFiles) -> None:
        self._files = files
        self._file: int | None = None
        self._end = self._inside = 0

    def take(self, output: Output) -> bool:
        """Copy it there and give its own files back. False: it is big, or there is no room: it stays where it is."""
        if max(output.sizes) > CHUNK or any(output.places) or output.home is not None:
            return False
        try:
            if self._file is None:
                self._file = self._files.unnamed()
            begins = (self._end, self._end + output.sizes[0])
            for source, size, begin in zip(output.streams, output.sizes, begins, strict=True):
                if size and os.pwrite(self._file, os.pread(source, size, 0), begin) != size:
                    return False
        except OSError:
            return False
        self._files.give(output.streams, output.sizes)
        output.streams, output.begins, output.home = Streams(self._file, self._file), begins, self
        self._end += sum(output.sizes)
        self._inside += 1
        return True

    def give(self, output: Output) -> None:
        """It was printed."""
        self._inside -= 1
        if not self._inside and self._file is not None:
            self._end = 0
            with contextlib.suppress(OSError):  # it is written over
                os.ftruncate(self._file, 0)


class Printer:
    """Copies finished output to our own stdout and stderr from a thread, whole tasks one after the other.

    ``ordered``: in the order of their numbers, which must then all come, by `put` or `skip`. ``live``: complete lines
    as they are written. ``stderr``: a descriptor, or who takes the text and the task's number instead. ``before`` and
    ``after`` are called round each batch (the progress block makes room on a terminal). When the reader of stdout is
    gone, `broken` says why and the rest is dropped."""

    def __init__(  # noqa: PLR0913 - where to, and how
        self,
        files: OutputFiles,
        stdout: int = 1,
        stderr: "int | Callable[[int, bytes], None]" = 2,
        *,
        ordered: bool = False,
        live: bool = False,
        printed: Callable[[], None] | None = None,
        taker: Callable[[Any, bytes, bytes], None] | None = None,
    ) -> None:
        """``printed`` is called in the thread when there are new `receipts`. ``taker`` is called there instead of
        printing: with the receipt, and all of stdout and stderr, of each task; of one that wrote nothing, too."""
        self._files = files
        self._targets = (stdout, stderr)
        self._ordered, self._live = ordered, live
        self._printed = printed or _nothing
        self._taker = taker
        self._receipts: deque[tuple[Any, int]] = deque()
        self._unread: deque[tuple[int, OSError]] = deque()
        self._queue: deque[Output] = deque()
        self._living: dict[int, Output] = {}
        self._held: dict[int, Output | None] = {}  # wait for a lower number; None: nothing to print
        self._next = 1
        self._open = 0  # of the held, those with files of their own
        self._spool = Spool(files)
        self._waiting = 0  # bytes in the queue
        self._wake = threading.Condition()
        self._closing = False
        self.broken: OSError | None = None
        self.before = self.after = _nothing
        self._thread = threading.Thread(target=self._run, name="printer", daemon=True)
        self._thread.start()  # now: later there may be no room for one

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
        return len(self._queue) + self._open

    def follow(self, number: int, streams: Streams, tag: bytes = b"") -> None:
        """A worker begins to write here. No effect but where lines are printed as they come."""
        if self._live:
            with self._wake:
                self._living[number] = Output(number, streams, tag)
                self._wake.notify()

    def put(self, number: int, streams: Streams, tag: bytes = b"", *, shown: bool = True, receipt: Any = None) -> int:
        """An attempt is over: print this pair and give it back to the files. ``shown``: not, for its task is done
        again, and its number comes again. Bytes of its stdout come back. One that is empty costs two calls to fstat."""
        sizes = (os.fstat(streams.stdout).st_size, os.fstat(streams.stderr).st_size)
        if not self._live and ((not any(sizes) and self._taker is None) or not shown):
            self._files.give(streams, sizes)
            if shown:
                self.skip(number)
            if receipt is not None:
                self._receipts.append((receipt, sizes[0]))
            return sizes[0]
        with self._wake:
            output = self._living.pop(number, None) or Output(number, streams, tag)
            output.sizes, output.shown, output.receipt = sizes, shown, receipt
            if self._ordered and shown:
                self._hold(number, output)
                self._release()
            else:
                self._print(output)
            self._wake.notify()
        return sizes[0]

    def put_part(
        self, number: int, shared: Shared, tag: bytes = b"", *, shown: bool = True, receipt: Any = None
    ) -> None:
        """An attempt of a worker that lives on is over: print the part that it has written."""
        sizes = shared.sizes()
        if not shown:
            shared.begin(sizes)
            return
        if not any(sizes) and self._taker is None:
            self.skip(number)
            if receipt is not None:
                self._receipts.append((receipt, 0))
            return
        with self._wake:
            output = Output(number, shared.streams, tag)
            output.begins, output.sizes, output.home, output.receipt = shared.begins, sizes, shared, receipt
            shared.lend()
            shared.begin(sizes)
            if self._ordered:
                self._hold(number, output)
                self._release()
            else:
                self._print(output)
            self._wake.notify()

    def skip(self, number: int) -> None:
        """Nothing is printed under this number."""
        if self._ordered:
            with self._wake:
                self._held[number] = None
                self._release()
                if self._queue:
                    self._wake.notify()

    def receipts(self) -> Iterator[tuple[Any, int]]:
        """Those of outputs that are printed now, each with the bytes of its stdout; every one comes once."""
        while self._receipts:
            yield self._receipts.popleft()

    def unread(self) -> Iterator[tuple[int, OSError]]:
        """Numbers of tasks of whose output the disk did not give back all, and why; they have no receipt."""
        while self._unread:
            yield self._unread.popleft()

    def close(self, seconds: float | None = None, stop: Callable[[], bool] | None = None) -> bool:
        """Print what is left, what still waits for a lower number too; False if it did not all go out within
        ``seconds``, or before ``stop`` said so."""
        with self._wake:
            for number in sorted(self._held):
                if (output := self._held.pop(number)) is not None:
                    self._print(output)
            self._closing = True
            self._wake.notify()
        until = float("inf") if seconds is None else time.monotonic() + seconds
        while self._thread.is_alive() and time.monotonic() < until and not (stop and stop()):
            self._thread.join(min(PATIENCE, max(0.0, until - time.monotonic())))
        return not self._queue and self.broken is None

    def _hold(self, number: int, output: Output) -> None:
        """Until its turn comes."""
        self._held[number] = output
        if number != self._next and self._open >= KEPT_OPEN and self._spool.take(output):
            return
        self._open += 1

    def _release(self) -> None:
        """Whose turn has come."""
        while self._next in self._held:
            output = self._held.pop(self._next)
            self._next += 1
            if output is not None:
                self._open -= output.home is not self._spool
                self._print(output)

    def _print(self, output: Output) -> None:
        self._queue.append(output)
        self._waiting += sum(output.sizes)

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
                    self._print_whole(output)
            for output in living:
                with contextlib.suppress(OSError):  # said once it is over
                    self._copy(output, whole=False)
            self.after()
            self._acknowledge(batch)
            with self._wake:
                for output in batch:
                    if output.home is not None:
                        output.home.give(output)
                    else:
                        self._files.give(output.streams, output.sizes)
                    self._waiting -= sum(output.sizes)
                    self._queue.popleft()

    def _print_whole(self, output: Output) -> None:
        try:
            if self._taker is None:
                self._copy(output, whole=True)
            else:
                self._taker(output.receipt, *_whole(output))
        except OSError as error:
            output.receipt = None
            self._unread.append((output.number, error))
            self._printed()

    def _acknowledge(self, batch: Sequence[Output]) -> None:
        """What could not be printed has no receipt."""
        if self.broken is not None:
            return
        receipts = [(output.receipt, output.sizes[0]) for output in batch if output.receipt is not None]
        if receipts:
            self._receipts.extend(receipts)
            self._printed()

    def _heard(self) -> list[Output]:
        """Whose lines are printed as they come: everybody's, or in order only the one's whose turn it is."""
        if self._ordered:
            return [self._living[self._next]] if self._next in self._living else []
        return list(self._living.values())

    def _copy(self, output: Output, *, whole: bool) -> None:
        """What is new in both streams; of a living one complete lines only."""
        for number, (source, target) in enumerate(zip(output.streams, self._targets, strict=True)):
            begin = output.begins[number]
            size = output.sizes[number] if output.home is not None else os.fstat(source).st_size
            while self.broken is None and (place := output.places[number]) < size:
                chunk = os.pread(source, min(CHUNK, size - place), begin + place)
                if not whole:
                    chunk = chunk[: chunk.rfind(b"\n") + 1]
                if not chunk:
                    break
                text = chunk
                if output.tag:
                    starts = place == 0 or os.pread(source, 1, begin + place - 1) == b"\n"
                    text = tagged(chunk, output.tag, starts)
                self._write(target, text, output.number)
                output.places[number] += len(chunk)

    def _write(self, target: "int | Callable[[int, bytes], None]", text: bytes, number: int) -> None:
        if not isinstance(target, int):
            target(number, text)
            return
        place = 0
        while place < len(text):
            try:
                place += os.write(target, text[place:] if place else text)
            except BlockingIOError:
                _wait_writable(target)
            except OSError as error:
                if target == self._targets[0]:  # a dead terminal's stderr never ends a run
                    self.broken = error
                return


def whole(descriptor: int, most: int) -> bytes | None:
    """All that a file holds; None: that is more than ``most`` bytes. Raises OSError."""
    size = os.fstat(descriptor).st_size
    if size > most:
        return None
    return b"".join(os.pread(descriptor, min(CHUNK, size - place), place) for place in range(0, size, CHUNK))


def _whole(output: Output) -> tuple[bytes, bytes]:
    """Of both streams. Raises OSError."""
    stdout, stderr = (
        b"".join(os.pread(source, min(CHUNK, size - place), begin + place) for place in range(0, size, CHUNK))
        for source, size, begin in zip(output.streams, output.sizes, output.begins, strict=True)
    )
    return stdout, stderr


def last_words(streams: Streams, begins: tuple[int, int] = (0, 0)) -> bytes:
    """The end of what was written to stderr, or to stdout where nothing was, from the beginning of a line."""
    for descriptor, begin in ((streams.stderr, begins[1]), (streams.stdout, begins[0])):
        size = os.fstat(descriptor).st_size - begin
        end = os.pread(descriptor, min(size, LAST), begin + max(0, size - LAST)).rstrip() if size > 0 else b""
        if end:
            return end if size <= LAST else end[end.find(b"\n") + 1 :]
    return b""


def _close(descriptor: int) -> None:
    """A disk that fails may say so here once more."""
    with contextlib.suppress(OSError):
        os.close(descriptor)


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
