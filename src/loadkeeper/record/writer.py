"""A queue to something slow that may refuse: a disk. Who puts never waits; a thread of its own writes in batches."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

Record = TypeVar("Record")
Put_contra = TypeVar("Put_contra", contravariant=True)

BOUND = 64 << 20
"""Bytes that may wait for a disk that does not take them; beyond, nothing new should be started."""
BATCH = 2000
"""Records in one batch: 2,000 hold the interpreter for about 5 ms."""
RETRY = 1.0
"""Seconds until a disk that refused is tried again."""
LAST_RETRY = 0.1
"""The same while somebody waits for it."""


class Refused(Exception):
    """A sink could not take a batch; its text says what happened where. The same batch comes again."""


class Sink(Protocol[Put_contra]):
    """Where batches go. Used by the writer's thread alone, and made ready by its first batch, which may be empty."""

    def write(self, batch: Sequence[Put_contra]) -> None:
        """Take the whole batch, or raise Refused; then the same one is brought again. An empty one: nothing more comes
        for a while."""

    def close(self) -> None:
        """Let go of everything. Raises nothing."""


class Writer(Generic[Record]):
    """Hands what is put to ``sink``, in order, at most once each ``pace`` seconds; with ``settle`` an empty batch when
    nothing has come for so many seconds, and at the end.

    `put` is for any thread, `full` and `fault` for one; ``weigh`` says how many bytes a record holds while it waits.
    """

    def __init__(
        self,
        name: str,
        sink: Sink[Record],
        weigh: Callable[[Record], int],
        pace: float,
        settle: float | None = None,
    ) -> None:
        self._sink = sink
        self._weigh = weigh
        self._pace = pace
        self._settle = settle
        self._unsettled = False  # the last batch was not empty
        self._queue: deque[Record] = deque()
        self._batch: list[Record] = []
        self._refused = False  # the same batch is to be brought again
        self._putting = threading.Lock()
        self._put = self._written = 0  # records
        self._put_bytes = self._written_bytes = 0
        self._fault: str | None = None
        self._wake, self._hurry = threading.Event(), threading.Event()
        self._awake = True
        self._progress = threading.Condition()
        self._deadline: float | None = None  # once closing: when to give up
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def full(self) -> bool:
        """More waits for the disk than should: start nothing new until it has caught up."""
        return self.waiting >= BOUND

    @property
    def waiting(self) -> int:
        """Bytes that are not written yet."""
        return self._put_bytes - self._written_bytes

    @property
    def fault(self) -> str | None:
        """Why nothing can be written at the moment, for people; None while all is well."""
        if self._fault is None:
            return "the disk is slower than the run: what is to be recorded waits for it" if self.full else None
        held = "; too much waits for it, so nothing new starts" if self.full else "; it is tried again"
        return self._fault + held

    def put(self, record: Record) -> None:
        """Queue a record; under a microsecond, and never waits."""
        with self._putting:
            self._queue.append(record)
            self._put += 1
            self._put_bytes += self._weigh(record)
        if not self._awake:
            self._awake = True
            self._wake.set()

    def flush(self, seconds: float) -> bool:
        """Wait until all that was put is written; False when that took longer than ``seconds``."""
        target, deadline = self._put, time.monotonic() + seconds
        self._hurry.set()
        self._wake.set()
        with self._progress:
            while self._written < target and (left := deadline - time.monotonic()) > 0:
                self._progress.wait(left)
        self._hurry.clear()
        return self._written >= target

    def close(self, seconds: float) -> bool:
        """Write what is left and end the thread; False when the disk did not take it within ``seconds``."""
        self._deadline = time.monotonic() + seconds
        self._hurry.set()
        self._wake.set()
        self._thread.join(seconds + 1.0)  # a disk that hangs never comes back; the thread ends with the process
        return self._written == self._put and not self._unsettled and not self._thread.is_alive()

    # ------------------------------------------------------------------------------------------------- in the thread

    def _run(self) -> None:
        self._write()  # opens the sink while the run has better things to do
        while not self._over():
            self._sleep()
            self._write()
        self._sink.close()

    def _over(self) -> bool:
        deadline = self._deadline
        if deadline is None:
            return False
        return not (self._queue or self._batch or self._unsettled) or time.monotonic() >= deadline

    def _sleep(self) -> None:
        if self._fault is not None:
            if self._hurry.wait(RETRY):
                time.sleep(LAST_RETRY)
            return
        self._hurry.wait(self._pace)
        if not self._queue:
            self._awake = False
            if not self._queue and self._deadline is None:  # put may have come in between
                self._wake.wait(self._settle if self._unsettled else None)
            self._awake = True
            self._wake.clear()

    def _write(self) -> None:
        while not self._refused and len(self._batch) < BATCH and self._queue:
            self._batch.append(self._queue.popleft())
        self._refused = True
        self._unsettled = self._settle is not None and (bool(self._batch) or self._unsettled)
        try:
            self._sink.write(self._batch)
        except Refused as refused:
            self._fault = str(refused)
            return
        except Exception as error:  # a fault of ours must not lose records in silence
            self._fault = f"{self._thread.name}: {error!r}"
            return
        self._fault = None
        self._refused = False
        self._unsettled = self._settle is not None and bool(self._batch)
        with self._progress:
            self._written += len(self._batch)
            self._written_bytes += sum(map(self._weigh, self._batch))
            self._batch = []
            self._progress.notify_all()
