"""Why a run stops before its tasks are done, how hard, and with which exit code."""

import signal

from ..model import Reason, Want, Why

GENTLE = "what runs is asked to end, tasks are given back; once more ends at once"


class Halting:
    """What signals, the operator and the load manager said about stopping."""

    def __init__(self) -> None:
        self.drain = False  # start nothing more
        self.at_once = False
        self.critical = False
        self.exit_code: int | None = None
        self.message = ""
        self._why: Why | None = None  # end everybody
        self._news = False

    @property
    def over(self) -> bool:
        """Nothing more is started."""
        return self._why is not None or self.drain

    @property
    def brief(self) -> str:
        """The message for the last line, where nothing can be done about it any more."""
        return self.message.removesuffix(f": {GENTLE}")

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
            self._stop(f"ended by {number.name}: {GENTLE}", Reason.HALT, 128 + number)

    def wanted(self, want: Want, *, critical: bool) -> None:
        """What the operator wants of the whole run, and whether the load manager gives up."""
        if critical and not self.critical:
            self.critical = True
            self._stop("gave up: memory is below the end line, and nothing of ours is left to end", Reason.HALT, 3)
        elif want is Want.STOP and self._why is None:
            self._stop(f"stopped by the operator: {GENTLE}", Reason.OPERATOR, 128 + signal.SIGTERM)
        elif want is Want.DRAIN and not self.over:
            self.drain = self._news = True
            self.exit_code = 128 + signal.SIGTERM
            self.message = "drained by the operator: nothing more is started"
        elif want is Want.RUN and self.drain and self._why is None:
            self.drain, self.exit_code, self.message = False, None, ""

    def output_lost(self, problem: str) -> None:
        """Nobody reads our stdout any more (`| head`): what is done could not be told."""
        if self._why is None:
            self._stop(f"stdout cannot be written ({problem}), so the run was ended", Reason.HALT, 2)

    def tasks_lost(self, problem: str) -> None:
        """The source broke: what it gave is done, and the end says that there should have been more."""
        if self.exit_code is None:
            self.message, self.exit_code, self._news = problem, 2, True

    def _stop(self, message: str, reason: Reason, exit_code: int) -> None:
        self._why = self._why or Why(reason)
        self.message, self.exit_code, self._news = message, exit_code, True
