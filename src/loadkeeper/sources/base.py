"""The seam to where tasks come from. One contract for a count, a list of commands and, later, queues."""

from abc import ABC, abstractmethod

from msgspec import Struct


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
    floor: int = 0  # bytes: 1.5 x what it held when it was last ended

    @property
    def value(self) -> bytes:
        """All of them, for people, job log and journal."""
        return self.values[0] if len(self.values) == 1 else b" ".join(self.values)


class Source(ABC):
    """Where tasks come from and go back to. A task leaves it for good only by `done` or `bury`.

    All methods are called from the process manager's loop and return at once; a source that waits for something
    (a stream, a broker) does so in a thread of its own and calls ``wake`` when there is more.
    """

    fault: str | None = None
    """Why tasks are missing though there should be more, for people."""

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

    def keep(self, task: Task) -> None:  # noqa: B027 - most sources need not
        """Called now and then while a task is held, paused too: a broker's claim is kept fresh."""

    @abstractmethod
    def done(self, task: Task) -> None:
        """The task is done; it leaves the source."""

    @abstractmethod
    def give_back(self, task: Task) -> None:
        """The task is returned unharmed: it comes again, before what has not been taken yet."""

    @abstractmethod
    def bury(self, task: Task) -> None:
        """The task is put aside for a person to look at; it leaves the source."""

    def deadline(self, task: Task) -> float | None:
        """Seconds a task may stay unanswered, counted from its delivery; ``None``: as long as it takes."""
        return None

    def close(self) -> None:  # noqa: B027
        """Let go of everything; what is held goes back where a queue can take it back."""
