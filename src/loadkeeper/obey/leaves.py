"""Where workers get control groups of their own."""

import functools

from ..errors import UsageError
from ..linux.cgroup import delegated_base
from ..model import PauseMode


@functools.cache
def leaves_base(mode: PauseMode) -> str | None:
    """The directory below which control groups for workers can be made, when they are wanted. Raises UsageError where
    they must be and cannot. Tried once, for that takes 18 ms."""
    if mode not in (PauseMode.AUTO, PauseMode.FREEZE):
        return None
    base = delegated_base()
    if base is None and mode is PauseMode.FREEZE:
        raise UsageError(
            "--pause freeze needs a control group (version 2) that this user may make others in; "
            "`loadkeeper doctor` says what was tried; --pause auto does without"
        )
    return base
