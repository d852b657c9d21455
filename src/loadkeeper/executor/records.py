"""What an executor writes down: what was done to its processes, and calls that were lost. What went well is not: there
may be ten thousand calls a second, and nobody asks about them."""

import contextlib
import os
import time

from ..act.worker import Exit
from ..errors import LoadkeeperError
from ..model import Outcome
from ..obey.acting import Act
from ..record.journal import NAME, Event, Fate, Header, Journal
from ..record.places import make_private, state_dir
from ..record.pruning import hold, prune_now_and_then
from .hand import Hand
from .plan import Plan


class Records:
    """A journal that is opened when there is something to write. Where there is no place for it nothing is written, and
    nothing else is lost."""

    def __init__(self, plan: Plan, command: str) -> None:
        self._header = Header(plan.run, plan.name, command, os.getpid(), time.time())
        self._journal: Journal | None = None
        self._held: int | None = None
        self._tried = False
        self.directory = ""
        with contextlib.suppress(LoadkeeperError):
            self._runs = f"{state_dir(os.environ)}/runs"
            self.directory = f"{self._runs}/{plan.run}"

    def acted(self, act: Act) -> None:
        """Something was done to a process."""
        hand = act.worker.task
        assert isinstance(hand, Hand)
        if (journal := self._open()) is not None:
            journal.event(Event(time.time(), act.verb, act.worker.id, hand.number or None, act.why))

    def lost(self, hand: Hand, outcome: Outcome, again: bool, left: Exit, now: float) -> None:
        """A call lost its process."""
        call, worker = hand.call, hand.worker
        journal = self._open()
        if journal is None or call is None:
            return
        fate = Fate(
            task=call.number,
            value=hand.value,
            attempt=call.past.attempts,
            worker=worker.n,
            outcome=outcome,
            again=again,
            code=left.code,
            signal=left.signal,
            paused=worker.paused_in_all(now),
            why=left.ended_for,
        )
        journal.outcome(fate)

    def _open(self) -> Journal | None:
        if self._tried or not self.directory:
            return self._journal
        self._tried = True
        with contextlib.suppress(OSError, LoadkeeperError):
            prune_now_and_then(self._runs)
            make_private(self.directory)
            self._held = hold(self.directory)
            self._journal = Journal.open(f"{self.directory}/{NAME}", self._header)
        return self._journal

    def close(self) -> None:
        if self._journal is not None:
            self._journal.close()
        if self._held is not None:
            os.close(self._held)
            self._held = None
