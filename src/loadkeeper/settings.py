"""The settings of a run: one typed tree with its defaults."""

from enum import StrEnum

from msgspec import Struct

from .model import Limits, PauseMode


class When(StrEnum):
    """How a run halts before its tasks are done."""

    SOON = "soon"  # what runs may finish
    NOW = "now"  # what runs is ended


class Halt(Struct, frozen=True):
    """``--halt``: when so many tasks have failed, succeeded, or either. One of ``count`` and ``share`` is given."""

    when: When
    what: str  # `fail`, `success`, `done`
    count: int | None = None
    share: float | None = None  # of all tasks
    text: str = ""  # as the user wrote it


class RunSettings(Struct, frozen=True, kw_only=True):
    """How a run treats its tasks, and what it may do to the node."""

    limits: Limits = Limits()
    jobs: int | None = None  # the most workers alive at once; None: load decides
    tries: int = 1  # attempts before a task has failed for good; what we ended is not counted
    timeout: float | None = None  # seconds an attempt may run, pauses not counted
    joblog: str | None = None
    pause: PauseMode = PauseMode.AUTO
    grace: float = 10.0  # seconds from TERM to KILL
    priority: int = 0
    name: str = ""
    kind: str = ""
    lm_command: str | None = None  # started instead of our own load manager
    quiet: bool = False
    keep_order: bool = False  # output in the order of the tasks
    line_buffer: bool = False  # complete lines as they are written
    tag: str | None = None  # template of what stands before each line of output
    delay: float = 0.0  # seconds between two starts, at least
    halt: Halt | None = None
    exit_parallel: bool = False  # GNU parallel's exit codes
