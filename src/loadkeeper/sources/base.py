"""The seam to where tasks come from. One contract for a count, a list of commands, and queues."""

from abc import ABC, abstractmethod
from typing import Any

from msgspec import Struct

SHOWN = 4096
"""Bytes of a queue's payload that people, job log and journal get; a payload may have megabytes."""


class Task(Struct):
    """A unit of work that must be done once. ``values`` are bytes as they came: no encoding is assumed."""

    number: int  # from 1, in the order in which the source handed them out: `{#}`
    values: tuple[bytes, ...] = ()  # `{1}`, `{2}` ...: of each input, or of each column
    slot: int = 0  # of the attempt, from 1, among those that live: `{%}`
    attempts: int = 0  # that were started
    failures: int = 0  # ... of these failed by the task's own fault
    returns: int = 0  # ... were ended by us or by the kernel for memory: never counted as its failure
    at_once: int = 0  # ... in a row within a second of their start
    kernel_kills: int = 0  # ... by the kernel
    roomless: int = 0  # ... ended while a disk was full
    crowded: int = 0  # ... failed while no process could be made
    postponed: int = 0  # ... said that they should be tried later
    floor: int = 0  # bytes: 1.5 x what it held when it was last ended
    key: str = ""  # the same each time that a queue delivers it, to whatever node
    delivery: Any = None  # the queue's own

    @property
    def value(self) -> bytes:
        """All of them, for people, job log and journal."""
        whole = self.values[0] if len(self.values) == 1 else b" ".join(self.values)
        return whole if self.delivery is None or len(whole) <= SHOWN else whole[:SHOWN]

    @property
    def payload(self) -> bytes:
        """Of a queue's task."""
        return self.values[0] if self.values else b""


class Burial(Struct, frozen=True):
    """Why a task is put aside. ``need``: bytes; it can never fit on this node, and may on a bigger one."""

    why: str
    said: bytes = b""  # the end of what it wrote
    need: int | None = None


class Source(ABC):
    """Where tasks come from and go back to. A task leaves it for good only by `done` or `bury`.

    All methods are called from the process manager's loop and return at once; a source that waits for something
    (a stream, a broker) does so in a thread of its own and calls ``wake`` when there is more.
    """

    fault: str | None = None
    """Why tasks are missing though there should be more, for people: the run ends by it."""
    trouble: str = ""
    """Why no tasks come at the moment, for people; it is tried again."""
    patience: float | None = None
    """Seconds that a task may be held which cannot be started here: then it goes back, for others may start it. None:
    nobody else would."""

    @abstractmethod
    def waiting(self) -> int | None:
        """Tasks that wait, or ``None`` when nobody knows: treated as many."""

    @abstractmethod
    def take(self) -> Task | None:
        """The next task, or ``None`` when there is none at the moment."""

    @abstractmethod
    def ready(self) -> bool:
        """Whether `take` would return a task now."""

    @abstractmethod
    def exhausted(self) -> bool:
        """True once nothing waits and nothing can come any more, except what is given back."""

    def want(self, count: int) -> None:  # noqa: B027 - a list need not be told
        """So many tasks could be started now or in a moment: a queue is asked for no more than that. Called in every
        turn of the loop, after what became of tasks was said."""

    @abstractmethod
    def done(self, task: Task, result: bytes = b"") -> None:
        """The task is done; it leaves the source. ``result``: where `wants_result`."""

    @abstractmethod
    def give_back(self, task: Task) -> None:
        """The task is returned unharmed: it comes again, before what has not been taken yet."""

    @abstractmethod
    def bury(self, task: Task, burial: Burial) -> None:
        """The task is put aside for a person to look at; it leaves the source."""

    def wants_result(self, task: Task) -> bool:
        """Somebody waits for what it writes to stdout."""
        return False

    def progress(self, task: Task, fraction: float | None, text: str) -> None:  # noqa: B027
        """How far it is, for whoever waits for it."""

    def deadline(self, task: Task) -> float | None:
        """Seconds of CLOCK_MONOTONIC until which it must be answered, or others are given it too; ``None``: it may take
        as long as it takes."""
        return None

    def told(self) -> str:
        """What should be known at the end, for people; empty: nothing."""
        return ""

    def close(self) -> None:  # noqa: B027
        """Let go of everything; what is held goes back where a queue can take it back."""
