"""Why a run stops before its tasks are done, how hard, and with which exit code."""

import signal

from ..model import Reason, Want, Why

GENTLE = "ending: what runs is asked to end, tasks are given back; once more for at once"


class Halting:
    """What signals, the operator and the load manager said about stopping. ``news`` is set when the loop must act."""

    def __init__(self) -> None:
        self.why: Why | None = None  # end everybody
        self.drain = False  # start nothing more
        self.at_once = False
        self.news = False
        self.critical = False
        self.exit_code: int | None = None
        self.message = ""

    @property
    def over(self) -> bool:
        return self.why is not None or self.drain

    def signalled(self, number: signal.Signals) -> None:
        """INT, TERM, HUP: gentle the first time, at once the second."""
        if self.why is not None:
            self.at_once = True
            self.message = "ending at once"
        else:
            self.message = f"{number.name}: {GENTLE}"
        self._stop(Why(Reason.HALT), 128 + number)

    def wanted(self, want: Want, *, critical: bool) -> None:
        """What the operator wants of the whole run, and whether the load manager gives up."""
        if want is Want.STOP and self.why is None:
            self.message = "stopped by the operator: " + GENTLE
            self._stop(Why(Reason.OPERATOR), 128 + signal.SIGTERM)
        elif want is Want.DRAIN and not self.over:
            self.drain = self.news = True
            self.exit_code = 128 + signal.SIGTERM
            self.message = "draining: nothing more is started"
        elif want is Want.RUN and self.drain and self.why is None:
            self.drain, self.exit_code = False, None
        if critical and not self.critical:
            self.critical = True
            self.message = "the node is critical: memory is below the end line and nothing of ours is left to end"
            self._stop(Why(Reason.HALT), 3)

    def output_lost(self, problem: str) -> None:
        """Nobody reads our stdout any more (`| head`): what is done cannot be told."""
        if self.why is None:
            self.message = f"stdout cannot be written ({problem}): the tasks that are not done were given back"
            self._stop(Why(Reason.HALT), 2)

    def _stop(self, why: Why, exit_code: int) -> None:
        if self.exit_code is None or self.drain:
            self.exit_code = exit_code
        self.why = self.why or why
        self.news = True
