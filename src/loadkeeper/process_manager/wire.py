"""The wire of process-load-manager: workers written for it are paused and ended unchanged (docs/coming-over.md).

One frame of JSON, published to all workers at each change, names by process id whom to end, pause and continue. A
worker connects at its first check, reads one frame at each check and one each 5 s while it is paused, and never
answers. So nothing is published twice for good measure: each frame too many would keep a paused worker for 5 s. What a
late one missed it gets when it subscribes, which an XPUB socket, unlike a PUB socket, tells us.
"""

import errno
import os
from collections.abc import Callable, Iterable, Iterator

import msgspec
import zmq

from ..act.asks import Words
from ..act.look import look
from ..act.worker import Worker
from ..errors import UsageError
from ..model import Why

PATIENCE = 5.0
"""Seconds between two looks of a client that is paused: one that was to stand and is not known to is stopped then."""
KEYS = ("Pids_for_terminate", "Pids_for_pause", "Pids_for_continue")
TERMINATE, PAUSE, CONTINUE = range(3)


class Voice:
    """What is wanted of one worker; an `act.asks.Ask`."""

    def __init__(self, wire: "Wire", *, deaf: bool, stdin: int) -> None:
        self.deaf = deaf
        self.stays = False
        self.words = Words()
        self.patience = PATIENCE
        self.wanted: int | None = None  # of `KEYS`
        self.worker: Worker | None = None  # as soon as it runs
        self._wire = wire
        self._stdin = stdin

    def pause(self, why: Why, now: float) -> bool:
        self._want(PAUSE)
        return True

    def go_on(self) -> None:
        if self.wanted is not None:
            self._want(CONTINUE)

    def terminate(self, why: Why, kill_at: float, now: float) -> bool:
        self._want(TERMINATE)
        return self.deaf  # to one that does not block SIGTERM that is sent as well, as the reference sent it

    def stands(self) -> bool:
        """It never says so."""
        return False

    def busy(self) -> bool:
        return False

    def forgive(self, seconds: float) -> None:
        pass

    def close(self) -> None:
        """The worker is gone."""
        self._wire.forget(self)
        os.close(self._stdin)

    def _want(self, what: int) -> None:
        self.wanted = what
        self._wire.changed = True


class Wire:
    """Of one run. ``say`` is told once of messages that are none."""

    def __init__(self, address: str, say: Callable[[str], None], *, deaf: bool) -> None:
        """Binds it. Raises UsageError."""
        self.changed = False
        self._say = say
        self._deaf = deaf
        self._strange = False
        self._voices: dict[Voice, None] = {}
        self._context = zmq.Context(1)
        self._socket = self._context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.XPUB_VERBOSE, 1)  # each subscriber is told of, not the first of its kind alone
        try:
            self._socket.bind(address)
        except zmq.ZMQError as error:
            self.close()
            raise UsageError(f"--checkpoint {address}: {_why_not(error)}") from None
        address = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self._hello = msgspec.json.encode(
            {"request_pulsar_rs": None, "publisher_pulsar": None, "push_pulsar": None, "publisher_pm": address}
        ).replace(b"/", b"\\/")  # as PHP writes it

    def fileno(self) -> int:
        """Readable when a worker may have subscribed."""
        return int(self._socket.getsockopt(zmq.FD))

    def open(self) -> tuple[Voice, int]:
        """For a worker that is about to start: its voice, and its stdin, which the caller closes once it runs.

        Raises OSError."""
        read, write = os.pipe2(os.O_CLOEXEC)
        os.write(write, self._hello)
        voice = Voice(self, deaf=self._deaf, stdin=write)
        self._voices[voice] = None
        return voice, read

    def forget(self, voice: Voice) -> None:
        self._voices.pop(voice, None)

    def turn(self) -> None:
        """Publish what has changed, and everything to those that came late."""
        subscribed = any(frame[:1] == b"\x01" for frame in self._heard())
        wanted = [voice for voice in self._voices if voice.wanted is not None and voice.worker is not None]
        if self.changed or (subscribed and wanted):
            self.changed = False
            self._publish(wanted)

    def close(self) -> None:
        self._socket.close()
        self._context.term()

    def _heard(self) -> Iterator[bytes]:
        while True:
            try:
                frame = self._socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            if frame[:1] in (b"\0", b"\x01"):
                yield frame
            elif not self._strange:
                self._strange = True
                self._say(f"somebody sends messages to the workers' publisher that are none: {frame[:40]!r}")

    def _publish(self, wanted: Iterable[Voice]) -> None:
        """Every process of a worker is named, for its shell's is not the one that listens."""
        workers = [voice.worker for voice in wanted if voice.worker is not None]
        table = look(workers) if workers else None
        frame: dict[str, list[int]] = {key: [] for key in KEYS}
        for voice in wanted:
            if voice.worker is not None and voice.wanted is not None and table is not None:
                others = [stat.pid for stat in voice.worker.members.find(table)]
                frame[KEYS[voice.wanted]] += [voice.worker.process.pid, *others]
        self._socket.send(msgspec.json.encode(frame), zmq.NOBLOCK)


def _why_not(error: zmq.ZMQError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            "somebody listens there already, perhaps another run; each needs a port of its own "
            "(zmq://127.0.0.1:0 takes a free one)"
        )
    return str(error)
