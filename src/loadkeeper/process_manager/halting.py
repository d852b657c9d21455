"""Why a run stops before its tasks are done, how hard, and with which exit code."""

import errno
import signal
from math import ceil
from typing import NamedTuple

from ..masking import masked
from ..model import Reason, Want, Why
from ..record.report import MOST_FAILED
from ..settings import Halt, When

LOST = 2
"""Exit code when what was done could not be told: stdout, the job log, or the input, broke."""
GENTLE = "what runs is asked to end, tasks are given back; once more ends at once"


class Settled(NamedTuple):
    """A task that has met its fate, and how the run stands with it."""

    command: bytes
    good: bool
    code: int  # of its last attempt, 128 + N for signal N
    done: int
    failed: int
    total: int | None  # tasks in all; None: nobody knows yet

    def counted(self, what: str) -> int:
        """As many tasks as `--halt` asks for, 0 when this one is none of them."""
        if what == "done":
            return self.done + self.failed
        return (self.done if self.good else 0) if what == "success" else (0 if self.good else self.failed)


class Halting:
    """What signals, the operator and the load manager said about stopping."""

    def __init__(self) -> None:
        self.drain = False  # start nothing more
        self.at_once = False
        self.critical = False
        self.exit_code: int | None = None
        self.message = ""
        self.brief = ""  # the same for the last line, when it has been said
        self.parallel_code: int | None = None  # what `--halt` makes GNU parallel exit with
        self._halted = False  # by `--halt`
        self._why: Why | None = None  # end everybody
        self._news = False
        self._lost = False  # stdout

    @property
    def over(self) -> bool:
        """Nothing more is started."""
        return self._why is not None or self.drain or self._halted

    def take(self) -> tuple[bool, Why | None]:
        """(whether something was said since this was last asked, why everybody ends: None, they do not)."""
        news, self._news = self._news, False
        return news, self._why

    def signalled(self, number: signal.Signals) -> None:
        """INT, TERM, HUP: gentle the first time, at once the second."""
        if self._why is not None:
            self.at_once = True
            self.message = f"{number.name} again: ended at once"
            self._news = True
        else:
            self._stop(f"ended by {number.name}: {GENTLE}", f"ended by {number.name}", Reason.HALT, 128 + number)

    def asked(self, *, now: bool) -> None:
        """The program that the run is a guest in stops it: gently, or at once."""
        if now:
            self.at_once = self._news = True
        if self._why is None:
            said = "stopped by the program: what runs is asked to end, tasks are given back"
            self._stop(said, "stopped by the program", Reason.HALT, 128 + signal.SIGTERM)

    def wanted(self, want: Want, *, critical: bool) -> None:
        """What the operator wants of the whole run, and whether the load manager gives up."""
        if critical and not self.critical:
            self.critical = True
            said = "gave up: memory is below the end line, and nothing of ours is left to end"
            self._stop(said, "gave up", Reason.HALT, 3)
        elif want is Want.STOP and self._why is None:
            said = f"stopped by the operator: {GENTLE}"
            self._stop(said, "stopped by the operator", Reason.OPERATOR, 128 + signal.SIGTERM)
        elif want is Want.DRAIN and not self.over:
            self.drain = self._news = True
            self.exit_code = 128 + signal.SIGTERM
            self.message, self.brief = "drained by the operator: nothing more is started", "drained by the operator"
        elif want is Want.RUN and self.drain and self._why is None:
            self.drain, self.exit_code, self.message, self.brief = False, None, "", ""

    def settled(self, rule: Halt, task: Settled) -> None:
        """A task has met its fate: whether `--halt` stops the run by it."""
        if self.over or not (counted := task.counted(rule.what)):
            return
        enough = rule.count if rule.count is not None else _share(rule, task.total)
        if enough is None or counted < enough:
            return
        self._halted = True
        self.parallel_code = _parallel_code(rule, task)
        what = {"fail": "failed", "success": "succeeded", "done": "finished"}[rule.what]
        command = masked(task.command.decode("utf-8", "backslashreplace"))
        rest = "what runs may finish" if rule.when is When.SOON else "what runs is ended"
        if rule.when is When.NOW:
            self._why = Why(Reason.HALT)
        self.message, self._news = f"--halt {rule.text}: {command} {what}; nothing more is started, {rest}", True
        self.brief = f"halted by --halt {rule.text}"
        if rule.what == "success":
            self.exit_code = 0

    def closed(self, rule: Halt | None, failed: int, total: int) -> None:
        """The run is over: with a share of tasks GNU parallel exits with the per cent that failed, reached or not."""
        if rule is not None and rule.share is not None and self.parallel_code is None and total:
            self.parallel_code = ceil(100 * failed / total)

    def output_lost(self, error: OSError) -> None:
        """Stdout cannot be written any more: what is done could not be told. A reader that has seen enough (`| head`)
        is no fault: we end as other filters do by SIGPIPE, without a word."""
        if self._lost:
            return
        self._lost = True
        if error.errno == errno.EPIPE:
            self._stop("", "", Reason.HALT, 128 + signal.SIGPIPE)
        else:
            problem = f"stdout cannot be written: {error.strerror}"
            self._stop(f"{problem}; the run is ended", problem, Reason.HALT, LOST)

    def unprinted(self, number: signal.Signals) -> None:
        """The tasks are done, and a signal came before the reader of stdout had taken all that they wrote."""
        said = f"{number.name}: what tasks wrote is not all printed, for nobody reads our stdout"
        self._stop(said, "not all output was printed", Reason.HALT, 128 + number)

    def unrecorded(self) -> None:
        """What is done could not be written down."""
        self.exit_code = self.exit_code or LOST

    def tasks_lost(self, problem: str) -> None:
        """The source broke: what it gave is done, and the end says that there should have been more."""
        if self.exit_code is None:
            self.message, self.brief, self.exit_code, self._news = problem, "not all tasks could be read", LOST, True

    def _stop(self, message: str, brief: str, reason: Reason, exit_code: int) -> None:
        self._why = self._why or Why(reason)
        self.message, self.brief, self.exit_code, self._news = message, brief, exit_code, True


def _share(rule: Halt, total: int | None) -> float | None:
    return None if rule.share is None or total is None else rule.share * total


def _parallel_code(rule: Halt, task: Settled) -> int:
    """GNU parallel's: the task's own code when one is enough, per cent of those that failed, or how many failed."""
    if rule.what == "success":
        return 0
    if rule.count == 1:
        return task.code
    if rule.share is not None and task.total:
        return ceil(100 * task.failed / task.total)
    return min(task.failed, MOST_FAILED)
