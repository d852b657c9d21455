"""The contract that every broker keeps, whatever it speaks: deliveries in, answers out.

A broker belongs to one thread. Nothing in it waits for tasks: who uses it waits on `descriptors` until `due`, and calls
`receive` and `tend`. A delivery leaves its queue for good only by an answer; what is not answered comes again, to us or
to another node, when we are gone.
"""

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from msgspec import Struct, field

from ..errors import LoadkeeperError

BURIED = "buried"
"""What is appended to a queue's name for the place of what was put aside."""
LARGEST = 64 << 20
"""Bytes of a payload or a result: RabbitMQ takes 128 MiB, Redis 512, gearmand what its memory holds."""


class QueueError(LoadkeeperError):
    """A broker said no, and would again: wrong credentials, a version that is too old, no right to do it."""

    exit_code = 2


class Unreachable(QueueError):
    """It cannot be reached, or the connection is lost: worth another try."""


class Past(Struct):
    """What is known of earlier attempts at a task."""

    attempts: int = 0  # that were started
    failures: int = 0  # ... of these failed by the task's own fault
    returns: int = 0  # ... were ended by us: never counted as its failure
    kernel_kills: int = 0
    need: int = 0  # bytes that it is expected to need


class Message(Struct, frozen=True):
    """A task to be put. ``key``: two of one key are one task, where the broker can tell; else it is made up."""

    payload: bytes
    key: str = ""
    result: bool = False  # somebody will ask for its result (`spool`)


class Delivery(Struct, eq=False):
    """A task that we hold. ``token`` and ``server`` are the broker's own."""

    payload: bytes
    key: str  # the same each time that it is delivered; empty where its queue has none
    token: Any
    again: bool = False  # it was given out before
    result: bool = False  # somebody waits for its result
    past: Past = field(default_factory=Past)
    lost: bool = False  # the broker gives it out again, for the connection that held it is gone
    server: Any = None
    at: float = 0.0  # when it came, seconds of CLOCK_MONOTONIC
    fields: Any = None  # of the message as it came, for a copy of it


class Burial(Struct, frozen=True):
    """Why a task was put aside. ``need``: bytes; it can never fit where it was tried, and may on a bigger node."""

    why: str
    said: bytes = b""  # the end of what it wrote
    attempts: int = 0
    need: int | None = None
    node: str = ""
    at: float = 0.0  # seconds since the epoch


class Fate(StrEnum):
    DONE = "done"
    BACK = "back"
    BURIED = "buried"


class Answer(NamedTuple):
    """What became of a delivery."""

    delivery: Delivery
    fate: Fate
    result: bytes = b""
    burial: Burial | None = None


class Found(Struct, frozen=True):
    """A task that lies in a queue, as `peek` shows it."""

    key: str
    payload: bytes
    put: float | None = None  # seconds since the epoch
    burial: Burial | None = None


class Backlog(NamedTuple):
    """Tasks in a queue; None: the broker does not say."""

    waiting: int | None
    taken: int | None = None  # that somebody holds
    buried: int | None = None


class Broker(ABC):
    """A queue at a broker. All but `close` may raise `Unreachable` (connect anew) and `QueueError`."""

    shown: str
    """Its address for people, without the password."""
    keep_every: float | None = None
    """Seconds between two calls of `keep`; None: it needs none."""
    claims_end_with_connection = False
    """What we hold is given out again as soon as the connection is lost."""
    patience = 5.0
    """Seconds that a task may be held which cannot be started; then others should have it."""
    rescues = True
    """Buried tasks can be looked through without harm to those that stay."""
    late = 0
    """Answers that came too late: somebody else had been given the task meanwhile."""
    trouble = ""
    """What does not work though we are connected, for people: one of several servers is down."""
    answer_within: float | None = None
    """Seconds from delivery within which the broker wants an answer, else it gives the task out again."""

    # ------------------------------------------------------------------------------------------------- who takes tasks

    @abstractmethod
    def connect(self) -> None:
        """Connect, anew too."""

    @abstractmethod
    def descriptors(self) -> Collection[int]:
        """Readable when there is something to `receive`."""

    @abstractmethod
    def want(self, count: int) -> None:
        """So many tasks more may come; 0: none, and those that are on their way are given back when they come."""

    @abstractmethod
    def receive(self) -> list[Delivery]:
        """What has come; does not wait for it."""

    @abstractmethod
    def settle(self, answers: deque[Answer]) -> None:
        """Tell the broker; each answer is taken out of ``answers`` once it is told, so that the others can be told on
        another connection."""

    def keep(self, held: Sequence[Delivery]) -> None:  # noqa: B027 - most need not
        """We still have these, paused ones too."""

    def say(self, delivery: Delivery, fraction: float | None, text: str) -> None:  # noqa: B027
        """How far it is, to whoever waits for it."""

    def due(self, now: float) -> float:
        """When `tend` must be called though nothing has come."""
        return math.inf

    def tend(self, now: float) -> None:  # noqa: B027
        """Do what is due by time alone."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the connection. Raises nothing."""

    # ----------------------------------------------------------------------------------------------- who looks after it

    @abstractmethod
    def count(self) -> Backlog:
        """How many tasks there are."""

    @abstractmethod
    def put(self, messages: Sequence[Message]) -> list[str]:
        """Put tasks at the end; their keys come back once the broker has them for certain."""

    @abstractmethod
    def peek(self, count: int, *, buried: bool = False) -> list[Found]:
        """The first so many, which stay where they are."""

    @abstractmethod
    def requeue(self, keys: Collection[str] | None = None, fits: int | None = None) -> int:
        """Put buried tasks back at the end, all of them or those of these ``keys``, with no attempt counted; how many
        it were. ``fits``: only those that were too big for another node and need at most so many bytes."""


def chosen(found: Found, keys: Collection[str] | None, fits: int | None) -> bool:
    """Whether `Broker.requeue` means this one."""
    if keys is not None and found.key not in keys:
        return False
    if fits is None:
        return True
    return found.burial is not None and found.burial.need is not None and found.burial.need <= fits
