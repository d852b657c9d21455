"""The settings of a run: one typed tree with its defaults."""

from msgspec import Struct

from .model import Limits, PauseMode


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
