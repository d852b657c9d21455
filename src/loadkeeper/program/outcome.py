"""What came of a run, for the program that began it: figures, flags and who failed; as JSON for whoever waits for it.

(`model.Outcome` is how one attempt ended; this is the end of a whole run.)"""

import msgspec
from msgspec import Struct

from ..errors import LoadkeeperError, SettingsError
from ..record.report import Summary, last_line

MOST = 100
"""Failures that are told; the others are only counted."""


class Failure(Struct, frozen=True, kw_only=True):
    """A task that failed for good, by its last attempt."""

    number: int  # of the task, from 1
    value: str = ""
    exit_code: int = 0  # -1: unknown, for something in the program has waited for the worker in our place
    signal: int = 0  # that killed it
    last_words: str = ""  # the end of what it wrote, stderr before stdout
    why: str = ""  # why we ended it: its timeout, memory that it can never have
    buried: bool = False  # put aside: it can never fit here, or cannot be started
    attempts: int = 1


class Outcome(Struct, frozen=True, kw_only=True):
    """A run that is over. Tasks are counted once each, but for ``given_back``: attempts that were ended and done again.

    ``error``: not all is done, so whoever gave the work must look or give it again. ``critical``: the run gave up,
    because memory stayed below the end line with nothing of it left to end; then ``error`` is set, too."""

    message: str  # one line, for people
    task_id: str = ""  # the caller's own
    error: bool = False
    critical: bool = False
    done: int = 0
    failed: int = 0
    buried: int = 0
    given_back: int = 0
    before: int = 0  # done by an earlier run (`resume`)
    left: int | None = 0  # not done, given back for good or never started; None: nobody knows how many
    exit_code: int = 0  # as `loadkeeper run` has it
    seconds: float = 0.0
    peak_memory: int | None = None  # bytes, of the workers where they have a budget, else of the node
    pauses: int = 0
    paused_for: float = 0.0  # seconds, all workers together
    kernel_kills: int = 0  # workers that the kernel killed for memory
    failures: tuple[Failure, ...] = ()  # the first `MOST`

    def to_json(self) -> str:
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> "Outcome":
        """What `to_json` gave, of a later version, too. Raises UsageError."""
        try:
            return msgspec.json.decode(text, type=cls)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise SettingsError(f"this is no outcome of a run as JSON: {error}") from None

    def raise_for_failures(self) -> "Outcome":
        """The outcome itself when all is done. Raises RunFailed."""
        if self.error:
            raise RunFailed(self)
        return self


class RunFailed(LoadkeeperError):
    """Not everything is done; ``outcome`` says what."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.message)
        self.outcome = outcome
        self.exit_code = outcome.exit_code


def outcome_of(summary: Summary, failures: tuple[Failure, ...], task_id: str) -> Outcome:
    ours = msgspec.structs.replace(summary, parallel=False)  # what a caller chose as exit code says nothing of errors
    return Outcome(
        message=last_line(summary),
        task_id=task_id,
        error=ours.exit_code != 0,
        critical=summary.critical,
        done=summary.done,
        failed=summary.failed,
        buried=summary.buried,
        given_back=summary.given_back,
        before=summary.before,
        left=summary.left,
        exit_code=summary.exit_code,
        seconds=summary.seconds or 0.0,
        peak_memory=summary.peak_memory,
        pauses=summary.pauses,
        paused_for=summary.paused_for,
        kernel_kills=summary.kernel_kills,
        failures=failures,
    )
