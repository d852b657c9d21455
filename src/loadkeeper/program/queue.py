"""`Queue`: a queue at a broker, for programs: put tasks, take them, look after those that were buried."""

import time
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from types import TracebackType

from ..errors import LoadkeeperError
from ..linux.ready import wait_readable
from ..queues.broker import Answer, Backlog, Broker, Burial, Delivery, Fate, Found, Message
from ..queues.registry import broker_of
from ..queues.spool import Spool

BATCH = 500
"""Tasks that are put at once."""
LOOK = 1.0
"""Seconds between two looks at a broker that has said nothing."""


class Taken:
    """A task that is ours until it is answered; in a ``with``, it is done at its end, and given back when an exception
    leaves it."""

    def __init__(self, queue: "Queue", delivery: Delivery) -> None:
        self._queue, self._delivery = queue, delivery
        self._answered = False

    @property
    def payload(self) -> bytes:
        return self._delivery.payload

    @property
    def key(self) -> str:
        """The same each time that the task is given to somebody."""
        return self._delivery.key

    @property
    def again(self) -> bool:
        """Somebody was given it before."""
        return self._delivery.again

    def progress(self, fraction: float) -> None:
        """How far it is, from 0 to 1, for whoever waits for it, where the broker tells."""
        self._queue.broker.say(self._delivery, fraction, "")

    def done(self, result: bytes = b"") -> None:
        self._answer(Answer(self._delivery, Fate.DONE, result))

    def give_back(self) -> None:
        self._answer(Answer(self._delivery, Fate.BACK))

    def bury(self, why: str) -> None:
        """Put it aside for a person to look at."""
        self._answer(Answer(self._delivery, Fate.BURIED, b"", Burial(why, at=time.time())))

    def _answer(self, answer: Answer) -> None:
        if self._answered:
            raise LoadkeeperError(f"task {self.key} has been answered already")
        self._queue.broker.settle(deque([answer]))
        self._answered = True

    def __enter__(self) -> "Taken":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._answered:
            self.done() if kind is None else self.give_back()


class Queue:
    """Connected from the first call on, until `close`, or the end of a ``with``. For one thread.

    Raises SettingsError for a URL that is none; every method Unreachable and QueueError of `loadkeeper.queues.broker`
    when the broker is not there or says no."""

    def __init__(self, url: str) -> None:
        self.broker: Broker = broker_of(url)
        self._connected = False

    def put(self, *payloads: bytes | str, keys: Iterable[str] = (), result: bool = False) -> list[str]:
        """Put tasks at the end; their keys come back once the broker has them for certain. Two of one key are one task,
        but in RabbitMQ. ``result``: of a spool, it can be asked for by `result`."""
        given = iter(keys)
        messages = [
            Message(one.encode() if isinstance(one, str) else bytes(one), next(given, ""), result) for one in payloads
        ]
        made: list[str] = []
        for place in range(0, len(messages), BATCH):
            made += self._opened().put(messages[place : place + BATCH])
        return made

    def take(self, timeout: float | None = None) -> Taken | None:
        """The next task; None: none came within so many seconds. ``timeout`` None: as long as it takes."""
        until = float("inf") if timeout is None else time.monotonic() + timeout
        broker = self._opened()
        try:
            while True:
                broker.want(1)
                if found := broker.receive():
                    return Taken(self, found[0])
                now = time.monotonic()
                broker.tend(now)
                if now >= until:
                    return None
                wait_readable(broker.descriptors(), min(LOOK, until - now, max(0.0, broker.due(now) - now)))
        finally:
            broker.want(0)
            for late in broker.receive():  # it was on its way
                broker.settle(deque([Answer(late, Fate.BACK)]))

    def __iter__(self) -> Iterator[Taken]:
        """Tasks, as long as it takes."""
        while (task := self.take()) is not None:
            yield task

    def peek(self, count: int = 10, *, buried: bool = False) -> list[Found]:
        """The first so many tasks, which stay where they are."""
        return self._opened().peek(count, buried=buried)

    def requeue(self, keys: Collection[str] | None = None) -> int:
        """Put buried tasks back, all of them or those of these keys; how many it were."""
        return self._opened().requeue(keys)

    def backlog(self) -> Backlog:
        """Tasks that wait, that are taken, that are buried; None: the broker does not say."""
        return self._opened().count()

    def result(self, key: str, timeout: float | None = None) -> bytes | None:
        """What became of a task that was put with ``result`` into a spool; None: it was not done within so many
        seconds. Raises LoadkeeperError: it has failed for good, or this queue keeps no results."""
        broker = self._opened()
        if not isinstance(broker, Spool):
            raise LoadkeeperError(f"{broker.shown} sends results where its client wants them; only a spool keeps them")
        until = float("inf") if timeout is None else time.monotonic() + timeout
        while (found := broker.result(key)) is None:
            if time.monotonic() >= until:
                return None
            time.sleep(0.05)
        fate, result = found
        if fate is not Fate.DONE:
            raise LoadkeeperError(f"task {key} has failed; `loadkeeper peek --buried` has the reason")
        return result

    def _opened(self) -> Broker:
        if not self._connected:
            self.broker.connect()
            self._connected = True
        return self.broker

    def close(self) -> None:
        """What is taken and not answered goes to others."""
        self._connected = False
        self.broker.close()

    def __enter__(self) -> "Queue":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
