"""What is raised at a checkpoint when the worker must end."""

TRY_LATER = 75
"""EX_TEMPFAIL of sysexits.h: the task was not at fault."""


class Terminated(SystemExit):
    """The worker must end; its task is given back and done again later.

    ``reason``: why, in words. ``grace``: seconds that were left, when this was raised, until the worker is killed.
    No `Exception`, so that a broad ``except Exception`` does not swallow it. Whoever does not catch it ends with exit
    code 75 and without a traceback, ``finally`` blocks run."""

    def __init__(self, reason: str, grace: float) -> None:
        super().__init__(TRY_LATER)
        self.reason = reason
        self.grace = grace

    def __str__(self) -> str:
        return f"{self.reason}; {self.grace:.1f} s are left"

    def __reduce__(self) -> "tuple[type[Terminated], tuple[str, float]]":
        return type(self), (self.reason, self.grace)
