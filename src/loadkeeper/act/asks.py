"""Asking a worker to stand or to end from inside its own code, where it has a place for that."""

from typing import NamedTuple, Protocol

from ..model import Why


class Words(NamedTuple):
    """What a worker says of itself."""

    progress: float | None = None  # 0..1
    need: int | None = None  # bytes that it will hold at its peak
    text: str = ""


class Ask(Protocol):
    """The way to one worker's code. Every ``now`` and time: seconds of CLOCK_MONOTONIC."""

    deaf: bool
    """It blocks SIGTERM."""
    stays: bool
    """Who stands there is not stopped besides, so that its other threads go on."""
    patience: float
    """Seconds in which it is to stand; then it is stopped."""

    @property
    def words(self) -> Words:
        """The last that it said."""
        ...

    def pause(self, why: Why, now: float) -> bool:
        """Ask it to stand. False: it was not asked, for there is no such place, or it was not there lately."""
        ...

    def go_on(self) -> None:
        """Nothing is wanted any more."""
        ...

    def terminate(self, why: Why, kill_at: float, now: float) -> bool:
        """Ask it to end; it is killed at ``kill_at``. False: it was not at such a place lately, and may not hear."""
        ...

    def flush(self) -> None:
        """What is wanted is on its way to the worker: a signal that lets it look comes after."""
        ...

    def stands(self) -> bool:
        """By its own word."""
        ...

    def busy(self) -> bool:
        """It is in a critical section."""
        ...

    def forgive(self, seconds: float) -> None:
        """It stood for so long: it could not be anywhere."""
        ...
