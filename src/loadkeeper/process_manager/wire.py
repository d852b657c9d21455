"""The wire of process-load-manager: workers written for it are paused and ended unchanged (docs/reference-wire.md).

Frames of JSON, published, name by process id whom to end, pause and continue. A worker connects at its first check,
reads one frame at each check and one each 5 s while it is paused, and never answers. So each frame too many would keep
a paused worker for 5 s: nothing is published twice for good measure, and what a late one missed it gets when it
subscribes, which an XPUB socket, unlike a PUB socket, tells us.

Nor does a worker get what concerns others, though all subscribe to everything: what a connection is subscribed to is
ours to say (XPUB_MANUAL), and each worker's are subscribed to a text of blanks of its own, with which its frames begin;
JSON may begin with blanks. Without that a worker that was paused for 8 s beside short tasks stood for 34 looks more
(170 s; measured), one for each that had come late meanwhile. Connections of which nobody knows whose they are get all.
"""

import errno
import os
import time
from collections.abc import Callable, Iterable

import msgspec
import zmq

from ..act.asks import Words
from ..act.checkpoint import Checkpoint
from ..act.look import look
from ..act.worker import Worker
from ..errors import UsageError
from ..linux.members import Table
from ..linux.peers import has_socket, other_end
from ..model import PauseMode, Why

PATIENCE = 5.0
"""Seconds between two looks of a client that is paused: one that was to stand and is not known to is stopped then."""
KEYS = ("Pids_for_terminate", "Pids_for_pause", "Pids_for_continue")
TERMINATE, PAUSE, CONTINUE = range(3)
SUBSCRIBED, LEFT = b"\x01", b"\0"
"""First bytes of what the socket tells of subscribers; what begins otherwise they have sent themselves."""
ALL = b"{"
"""What every frame without blanks begins with: of those whose worker is not known."""
NEWCOMER = b"\n"
"""Before a frame that goes to the connection alone that has just subscribed."""
AT_ONCE = 0.02
"""Seconds in which subscribers are heard before the loop goes on: to find out whose one is takes some milliseconds."""


class Voice:
    """What is wanted of one worker; an `act.asks.Ask`. It is told by its checkpoint file, too, where there is one: a
    worker in Python or PHP of ours beside those of the reference hears of it there, and answers."""

    def __init__(self, wire: "Wire", stdin: int, topic: bytes, file: Checkpoint | None) -> None:
        self.deaf = wire.deaf
        self.stays = file is not None and file.stays
        self.patience = PATIENCE
        self.file = file
        self.wanted: int | None = None  # of `KEYS`
        self.topic = topic
        self._wire = wire
        self._stdin = stdin

    def begin(self, worker: Worker) -> None:
        """It runs."""
        self._wire.voices[self] = worker

    @property
    def words(self) -> Words:
        return self.file.words if self.file is not None else Words()

    def pause(self, why: Why, now: float) -> bool:
        if self.file is not None:
            self.file.pause(why, now)
        if self._wire.pauses:
            self._want(PAUSE)
        return self._wire.pauses

    def go_on(self) -> None:
        if self.file is not None:
            self.file.go_on()
        if self.wanted == PAUSE:
            self._want(CONTINUE)

    def terminate(self, why: Why, kill_at: float, now: float) -> bool:
        heard = self.file is not None and self.file.terminate(why, kill_at, now)
        self._want(TERMINATE)
        return heard or self.deaf  # to one that does not block SIGTERM that is sent, too, as the reference sent it

    def flush(self) -> None:
        """A client that was stopped looks as soon as it goes on, when its sleep is over: what is there by then it may
        obey at once (30 of 30 on a quiet machine, 53 of 120 on a busy one; measured: its own thread that receives runs
        beside the one that looks), and what comes 2 ms later after 5 s (30 of 30)."""
        self._wire.publish()

    def stands(self) -> bool:
        """Over the wire it never says so."""
        return self.file is not None and self.file.stands()

    def busy(self) -> bool:
        return self.file is not None and self.file.busy()

    def forgive(self, seconds: float) -> None:
        if self.file is not None:
            self.file.forgive(seconds)

    def close(self) -> None:
        """The worker is gone, or was never there."""
        self._wire.forget(self)
        os.close(self._stdin)

    def _want(self, what: int) -> None:
        if self.wanted != what:
            self.wanted = what
            self._wire.changed[self] = None


class Wire:
    """Of one run. ``say`` is told once of messages that are none."""

    def __init__(self, address: str, mode: PauseMode, *, deaf: bool) -> None:
        """Binds it. ``address``: ZeroMQ's, as `settings.parse_wire` gives it. Raises UsageError."""
        self.deaf = deaf
        self.pauses = mode in (PauseMode.AUTO, PauseMode.ASK)
        self.say: Callable[[str], None] = lambda text: None
        self.voices: dict[Voice, Worker] = {}  # of workers that run
        self.changed: dict[Voice, None] = {}  # since something was published
        self.pending = False  # there is more to take in
        self._topics = 0
        self._unknown = False  # somebody has subscribed of whom nobody knows whose it is
        self._strange = False
        self._context = zmq.Context(1)
        self._socket = self._context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.XPUB_MANUAL, 1)
        try:
            self._socket.bind(address)
        except zmq.ZMQError as error:
            self.close()
            raise UsageError(f"--checkpoint {address.replace('tcp', 'zmq', 1)}: {_why_not(error)}") from None
        bound = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self._hello = msgspec.json.encode(
            {"request_pulsar_rs": None, "publisher_pulsar": None, "push_pulsar": None, "publisher_pm": bound}
        ).replace(b"/", b"\\/")  # as PHP writes it

    def fileno(self) -> int:
        """Readable when a worker may have subscribed, until `turn` is called."""
        return int(self._socket.getsockopt(zmq.FD))

    def open(self, file: Checkpoint | None = None) -> tuple[Voice, int]:
        """For a worker that is about to start: its voice, and its stdin, which the caller closes once it runs.

        Raises OSError."""
        read, write = os.pipe2(os.O_CLOEXEC)
        os.write(write, self._hello)
        self._topics += 1
        return Voice(self, write, _blanks(self._topics), file), read

    def forget(self, voice: Voice) -> None:
        self.voices.pop(voice, None)
        self.changed.pop(voice, None)

    def turn(self) -> None:
        """Publish what has changed, and to those that came late what they missed.

        To send may take in what has arrived, and then the descriptor tells of it no more: so it is heard last."""
        self.publish()
        until = time.monotonic() + AT_ONCE
        while heard := self._hear():
            if time.monotonic() > until:
                break
        self.pending = heard

    def close(self) -> None:
        self._socket.close()
        self._context.term()

    # --------------------------------------------------------------------------------------------------- subscribers

    def _hear(self) -> bool:
        """Take in one message; False: there is none."""
        try:
            frame = self._socket.recv(zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return False
        first = frame.bytes[:1]
        if first == SUBSCRIBED:
            self._welcome(frame)
        elif first != LEFT and not self._strange:
            self._strange = True
            self.say(
                f"somebody sends messages to the workers' publisher, where nobody is to speak: {frame.bytes[:40]!r}; "
                "they are ignored, and more of them are not told of"
            )
        return True

    def _welcome(self, frame: zmq.Frame) -> None:
        """A connection has subscribed: say to what, and tell it what it has missed."""
        voice = self._whose(frame)
        self._unknown |= voice is None
        self._socket.setsockopt(zmq.SUBSCRIBE, ALL if voice is None else voice.topic)
        missed = [one for one in self.voices if one.wanted is not None and voice in (None, one)]
        if missed:
            self._socket.setsockopt(zmq.SUBSCRIBE, NEWCOMER)
            self._send(NEWCOMER, missed, self._look())
            self._socket.setsockopt(zmq.UNSUBSCRIBE, NEWCOMER)

    def _whose(self, frame: zmq.Frame) -> Voice | None:
        """The worker that has this connection; None: nobody knows."""
        try:
            number = other_end(int(frame.get(zmq.SRCFD)))
        except zmq.ZMQError:
            return None
        if number is None or not self.voices:
            return None
        latest = list(reversed(self.voices.items()))
        leaders = (voice for voice, worker in latest if has_socket(worker.process.pid, number))
        if (voice := next(leaders, None)) is not None:
            return voice
        table = self._look()
        return next(
            (voice for voice, _ in latest if any(has_socket(pid, number) for pid in self._pids(voice, table))), None
        )

    # ------------------------------------------------------------------------------------------------------- publish

    def publish(self) -> None:
        """What has changed."""
        changed, self.changed = self.changed, {}
        if not changed:
            return
        table = self._look()
        for voice in changed:
            self._send(voice.topic, [voice], table)
        if self._unknown:
            self._send(b"", [voice for voice in self.voices if voice.wanted is not None], table)

    def _send(self, topic: bytes, voices: Iterable[Voice], table: Table) -> None:
        frame: dict[str, list[int]] = {key: [] for key in KEYS}
        for voice in voices:
            assert voice.wanted is not None
            frame[KEYS[voice.wanted]] += self._pids(voice, table)
        self._socket.send(topic + msgspec.json.encode(frame), zmq.NOBLOCK)

    def _look(self) -> Table:
        """There are workers."""
        return look(self.voices.values())

    def _pids(self, voice: Voice, table: Table) -> list[int]:
        """Every process of its worker, for it is not the shell before it that listens."""
        worker = self.voices[voice]
        return [worker.process.pid, *(stat.pid for stat in worker.members.find(table))]


def _blanks(number: int) -> bytes:
    """None of them begins with another, nor with `ALL` or `NEWCOMER`."""
    return f"{number:b}".translate({ord("0"): " ", ord("1"): "\t"}).encode() + b"\n"


def _why_not(error: zmq.ZMQError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            "somebody listens there already, perhaps another run; each needs a port of its own "
            "(zmq://127.0.0.1:0 takes a free one)"
        )
    return str(error)
