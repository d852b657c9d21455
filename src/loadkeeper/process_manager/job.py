"""What a process manager is given: the work, and how it is to be done."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from ..errors import PlaceError
from ..launcher import Launcher
from ..linux.wake import Wake
from ..record.joblog import Logged
from ..record.journal import Fate
from ..record.places import make_private
from ..record.pruning import hold
from ..settings import RunSettings
from ..show.progress import Progress
from ..sources.base import Source
from ..sources.template import Template
from .wake import Orders
from .wire import Wire

Taker = Callable[[Any, bytes, bytes], None]
"""Takes what a task wrote to stdout and stderr, in the printer's thread; the task's `records.Ended` comes first."""


class Audience(Protocol):
    """A program that the run is a guest in: it is told what people are shown. Called in the loop, must not wait."""

    due: float
    """When it wants progress."""

    def said(self, text: str) -> None:
        """A message that people should see."""

    def progressed(self, progress: Progress, now: float) -> None:
        """How far it is; once `due` has come."""

    def finished(self, fate: Fate) -> None:
        """How an attempt ended."""


@dataclass
class Job:
    """``state_dir`` is the run's own directory; ``wake`` is what the source's thread calls when it has more;
    ``launcher`` brings up the load manager."""

    run: str
    template: Template
    source: Source
    settings: RunSettings
    state_dir: str
    wake: Wake
    launcher: Launcher
    before: Logged | None = None  # what an earlier run of the same tasks has done
    wire: Wire | None = None  # by which workers of process-load-manager are asked; closed with the run
    environment: Mapping[str, str] = field(default_factory=dict)
    standalone: bool = False  # signals, subreaper and terminal are ours
    stdout: int = 1
    stderr: int = 2
    orders: Orders | None = None  # where the run is a guest in a program ...
    audience: Audience | None = None
    taker: Taker | None = None  # ... that takes what tasks write; else it is printed

    @property
    def name(self) -> str:
        return self.settings.name or self.kind

    @cached_property
    def kind(self) -> str:
        return self.settings.kind or self.template.kind

    @property
    def pool(self) -> str:
        """A run of one command has one pool."""
        return "main"

    def make_state_dir(self) -> int:
        """The run's own directory, ours alone; the descriptor that says that the run lives. Raises PlaceError."""
        try:
            make_private(self.state_dir)
            return hold(self.state_dir)
        except OSError as error:
            raise PlaceError(
                f"the state directory {self.state_dir} cannot be made: {error.strerror}; "
                "set XDG_STATE_HOME to a directory that you may write to"
            ) from None
