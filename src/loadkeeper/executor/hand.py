"""One process of an executor, with the socket between it and us."""

import socket
import sys
from collections import deque
from collections.abc import Sequence

from ..act.worker import Worker
from ..executor_process import CALL, HEAD, TRACKER
from ..model import WorkerState
from .calls import Buffer, Call

SMALL = 1 << 16
"""Bytes up to which a message is copied behind its head, so that one call sends both, and is received in one."""
_Parts = deque[tuple[memoryview, Sequence[int]]]
"""Of messages, with the descriptors that go with each."""
LIVE = (WorkerState.STARTING, WorkerState.RUNNING)


class Hand:
    """Does one call at a time. While it has one, or is being started, it belongs to the executor's thread; while it is
    ``reserved``, to the thread that submits; while it is idle to whoever holds the executor's lock.

    It is its worker's ``task``: what the load manager hears of."""

    def __init__(self, worker: Worker, channel: socket.socket) -> None:
        self.worker = worker
        self.channel = channel
        self.call: Call | None = None
        self.ready = False
        self.reserved = False
        self.gone = False  # it is dead or about to be, and gets no call any more
        self.leaving = False  # ... for it was told to leave
        self.leave_by: float | None = None  # ... and should have by then: seconds of CLOCK_MONOTONIC
        self.taken = 0  # calls
        self.tracked = False  # it knows the program's tracker of shared memory
        self.unfit: BaseException | None = None  # why it could not be prepared
        self.unsent: _Parts = deque()
        self.spent = 0.0  # seconds that its last call took
        self._body: bytearray | None = None  # of a message that has not come whole yet
        self._kind = self._got = 0

    @property
    def number(self) -> int:
        call = self.call
        return call.number if call is not None else 0

    @property
    def value(self) -> bytes:
        call = self.call
        return call.name.encode("utf-8", "backslashreplace") if call is not None else b""

    @property
    def floor(self) -> int:
        call = self.call
        return call.task.floor if call is not None and call.task is not None else 0

    @property
    def live(self) -> bool:
        """It runs, and may be given a call."""
        return self.worker.state in LIVE

    # --------------------------------------------------------------------------------------------------------- send

    def give(self, call: Call) -> bool:
        """Hand over a call that is packed; False: some of it waits until the process reads."""
        assert call.payload is not None
        self.call = call
        self.taken += 1
        if self.worker.paused_for:
            self.worker.paused_for = 0.0  # patience is a call's, not the process'
        if not self.tracked and (descriptor := tracker()) is not None:
            self.tracked = True
            self.send(TRACKER, b"", (descriptor,))
        return self.send(CALL, call.payload)

    def send(self, kind: int, content: bytes, descriptors: Sequence[int] = ()) -> bool:
        """``descriptors`` follow with a byte of their own. One that is dead takes everything: its end is noticed
        elsewhere. What is kept as unsent is complete before anybody else may look: an answer comes only to all of a
        message, but then it may come before this returns."""
        start = HEAD.pack(kind, len(content), 0)
        if len(content) <= SMALL and not descriptors and not self.unsent:  # as nearly always
            message = start + content
            sent = self._send(message, ())
            if sent == len(message):
                return True
            self.unsent = deque([(memoryview(message)[sent:], ())])
            return False
        parts: _Parts = deque([(memoryview(start), ()), (memoryview(content), ())])
        if descriptors:
            parts.append((memoryview(b"\0"), descriptors))
        if self.unsent:
            self.unsent += parts
        elif not self._flush(parts):
            self.unsent = parts
        return not self.unsent

    def flush(self) -> bool:
        """Send what waits; True when nothing does any more."""
        return self._flush(self.unsent)

    def _flush(self, parts: _Parts) -> bool:
        while parts:
            view, descriptors = parts[0]
            sent = self._send(view, descriptors)
            if sent < len(view):
                parts[0] = (view[sent:], descriptors if sent == 0 else ())
                return False
            parts.popleft()
        return True

    def _send(self, view: bytes | memoryview, descriptors: Sequence[int]) -> int:
        """How many bytes were taken."""
        try:
            if descriptors:
                return socket.send_fds(self.channel, [view], list(descriptors))
            return self.channel.send(view)
        except BlockingIOError:
            return 0
        except OSError:
            return len(view)

    # ------------------------------------------------------------------------------------------------------ receive

    def receive(self, buffer: memoryview) -> tuple[int, Buffer] | None:
        """A message that is there whole, with its kind; a small one lies in ``buffer``, of at least `SMALL` bytes.
        Raises EOFError when nothing will come any more, ValueError when it is none of ours."""
        if self._body is not None:
            return self._more()
        count = self._read(buffer)
        if count == 0:
            return None
        if count < HEAD.size:
            raise ValueError(f"{count} bytes, which are no message")
        kind, size, took = HEAD.unpack_from(buffer)
        self.spent = took / 1e6
        if count == HEAD.size + size:
            return kind, buffer[HEAD.size : count]
        if count > HEAD.size + size:
            raise ValueError(f"{count} bytes instead of {HEAD.size + size}")
        self._kind, self._got, self._body = kind, count - HEAD.size, bytearray(size)
        self._body[: self._got] = buffer[HEAD.size : count]
        return self._more()

    def _more(self) -> tuple[int, bytearray] | None:
        body = self._body
        assert body is not None
        with memoryview(body) as view:
            while self._got < len(body):
                count = self._read(view[self._got :])
                if count == 0:
                    return None
                self._got += count
        self._body = None
        return self._kind, body

    def _read(self, into: memoryview) -> int:
        """0: nothing more is there yet. Raises EOFError."""
        try:
            count = self.channel.recv_into(into)
        except BlockingIOError:
            return 0
        except OSError:
            raise EOFError from None
        if count == 0:
            raise EOFError
        return count

    def close(self) -> None:
        self.channel.close()


def tracker() -> int | None:
    """The program's tracker of shared memory, where one runs."""
    module = sys.modules.get("multiprocessing.resource_tracker")
    found = module._resource_tracker._fd if module is not None else None
    return found if isinstance(found, int) else None
