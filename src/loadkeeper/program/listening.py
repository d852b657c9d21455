"""What a run tells: kept for the outcome, and handed to the program's callbacks or its logger."""

import logging
import math
from collections.abc import Callable, Mapping

from ..model import GaugeStatus
from ..model import Outcome as Attempt
from ..record.journal import Fate
from ..record.sentences import statement
from ..saying import LOGGER
from ..show import progress as show
from .callbacks import Callbacks, safely
from .outcome import MOST, Failure
from .progress import progress_of

OnMessage = Callable[[str], object]
EVERY = 0.5
"""Seconds between two tellings of progress."""
SILENT = 10.0
"""Seconds without a first worker after which a program is told why: nobody sees progress there."""
FAILED = frozenset({Attempt.FAILED, Attempt.BURIED})


class Listener:
    """The audience of one run (`process_manager.job.Audience`). Called in its loop; nothing in it waits."""

    def __init__(self, callbacks: Callbacks, on_message: OnMessage | None) -> None:
        self._callbacks = callbacks
        self._on_message = on_message
        self.due = -math.inf
        self._said_idle = False
        self.failures: list[Failure] = []
        self.gauges: Mapping[str, GaugeStatus] = {}  # as they were shown last

    def said(self, text: str) -> None:
        told = self._on_message
        if told is None:
            logging.getLogger(LOGGER).warning("loadkeeper: %s", text)
        else:
            self._callbacks.post(lambda: safely(lambda: told(text), "on_message"))

    def progressed(self, progress: show.Progress, now: float) -> None:
        self.due = now + EVERY
        self.gauges = progress.gauges
        idle = not (progress.tasks.running or progress.finished)
        if idle and progress.elapsed >= SILENT and not self._said_idle:
            self._said_idle = True
            self.said(
                f"nothing has started for {SILENT:.0f} s: {progress.reason or progress.fault or 'no reason is known'}"
            )
        self._callbacks.show(progress_of(progress))

    def finished(self, fate: Fate) -> None:
        if fate.again or fate.outcome not in FAILED or len(self.failures) >= MOST:
            return
        self.failures.append(
            Failure(
                number=fate.task,
                value=_readable(fate.value),
                exit_code=fate.code or 0,
                signal=fate.signal or 0,
                last_words=_readable(fate.said),
                why=_why(fate),
                buried=fate.outcome is Attempt.BURIED,
                attempts=fate.attempt,
            )
        )


def _why(fate: Fate) -> str:
    if fate.why is not None:
        return statement(fate.why)
    if (fate.code or 0) < 0:
        return "something in this program has waited for the worker in our place (os.wait, waitpid(-1))"
    return ""


def _readable(text: bytes) -> str:
    return text.decode("utf-8", "backslashreplace")
