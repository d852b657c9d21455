"""Kept workers: processes that serve many tasks, each over a line of its own."""

import math
import time
from collections.abc import Callable, Iterator

from ..act.worker import Worker
from ..linux.proc import resident
from ..model import Reason, Verdict, Why, WorkerState
from ..obey.acting import Actor
from ..obey.crew import Crew
from ..record.output import Shared
from ..settings import QueueSettings
from .attempt import Attempt
from .line import Line, Said, order, understood

LIVE = (WorkerState.STARTING, WorkerState.RUNNING)
LEAVES = 10.0
"""Seconds in which a worker that was told to leave does so."""
WEIGHED = 1.0
"""Seconds between two looks at how much memory a worker holds, after its task."""


class Hand:
    """One kept worker. ``served``: tasks that it has answered."""

    def __init__(self, worker: Worker, line: Line, output: Shared) -> None:
        self.worker, self.line, self.output = worker, line, output
        self.attempt: Attempt | None = None
        self.served = 0
        self.listening = False
        self.leaving = False
        self.leave_by = math.inf
        self.idle_since = worker.started
        self.weigh_at = 0.0

    @property
    def free(self) -> bool:
        """It may be given a task."""
        return self.attempt is None and not self.leaving and self.worker.state in LIVE


class Kept:
    """Those of a run. ``answered`` is called with what a worker says about the task that it has."""

    def __init__(
        self,
        settings: QueueSettings,
        crew: Crew,
        actor: Actor,
        answered: Callable[[Hand, Said], None],
        say: Callable[[str], None],
    ) -> None:
        self._settings, self._crew, self._actor, self._answered, self._say = settings, crew, actor, answered, say
        self._hands: dict[int, Hand] = {}  # by the worker's n
        self._blamed: set[int] = set()

    def __iter__(self) -> Iterator[Hand]:
        return iter(self._hands.values())

    def of(self, worker: Worker) -> Hand:
        return self._hands[worker.n]

    def add(self, hand: Hand) -> None:
        self._hands[hand.worker.n] = hand
        self._crew.listen(hand.line.fileno(), lambda: self._readable(hand))
        hand.listening = True

    def drop(self, worker: Worker) -> Hand:
        """It is gone; what it said last is heard before."""
        hand = self._hands[worker.n]
        hand.leaving = True
        self._readable(hand)
        del self._hands[worker.n]
        self._blamed.discard(worker.n)
        self._hush(hand)
        return hand

    def free(self) -> Hand | None:
        """The one that was at work last: others may be idle for so long that they leave."""
        return max((hand for hand in self if hand.free), key=lambda hand: hand.idle_since, default=None)

    def idle(self) -> int:
        return sum(hand.free for hand in self)

    def give(self, hand: Hand, attempt: Attempt) -> None:
        hand.attempt = attempt
        if not hand.line.send(order(attempt.task)):
            self._crew.until_writable(hand.line.fileno(), True)

    def over(self, hand: Hand, now: float) -> None:
        """Its attempt is over, and it lives."""
        if hand.attempt is not None:
            hand.attempt.over()
        hand.attempt, hand.idle_since = None, now
        hand.served += 1
        if self._is_worn(hand, now):
            self._leave(hand, now)

    def _is_worn(self, hand: Hand, now: float) -> bool:
        recycle = self._settings.recycle
        if recycle.tasks is not None and hand.served >= recycle.tasks:
            return True
        if recycle.age is not None and now - hand.worker.started >= recycle.age:
            return True
        if recycle.memory is None or now < hand.weigh_at:
            return False
        hand.weigh_at = now + WEIGHED
        return resident(hand.worker.process.pid) > recycle.memory

    # ----------------------------------------------------------------------------------------------- what a worker says

    def _readable(self, hand: Hand) -> None:
        if hand.line.unsent and hand.line.flush() and hand.listening:
            self._crew.until_writable(hand.line.fileno(), False)
        try:
            for line in hand.line.lines():
                self._heard(hand, line)
        except EOFError:
            self._leave(hand, time.monotonic())
        except ValueError as error:
            self._blame(hand, str(error))

    def _heard(self, hand: Hand, line: bytes) -> None:
        try:
            said = understood(line)
            if hand.attempt is None or hand.attempt.task.number != said.number:
                raise ValueError(f"it has no task {said.number}")
            self._answered(hand, said)
        except ValueError as error:
            self._blame(hand, f"{error}; the line was {line[:80]!r}")

    def _blame(self, hand: Hand, why: str) -> None:
        """Once for each worker: it goes on as if it had said nothing."""
        if hand.worker.n not in self._blamed:
            self._blamed.add(hand.worker.n)
            self._say(f"worker {hand.worker.id} does not keep to the protocol: {why}")

    # ------------------------------------------------------------------------------------------------------- they leave

    def _deafen(self, hand: Hand) -> None:
        if hand.listening:
            hand.listening = False
            self._crew.ignore(hand.line.fileno())

    def _hush(self, hand: Hand) -> None:
        """Nothing is said or heard any more."""
        self._deafen(hand)
        hand.line.close()

    def _leave(self, hand: Hand, now: float) -> None:
        """Tell it to leave: the end of its stdin is the word for that."""
        if hand.leaving:
            return
        hand.leaving, hand.leave_by = True, now + LEAVES if hand.attempt is None else math.inf
        self._deafen(hand)
        if hand.attempt is None:
            hand.line.close()
        if hand.worker.state is WorkerState.PAUSED and hand.attempt is None:
            self._actor.end({hand.worker: Why(Reason.HALT)}, now)  # it does not read

    def trim(self, verdict: Verdict | None, slots: int, now: float, *, over: bool = False) -> None:
        """Those that are idle leave when they are too many, or for long; all of them when the run is ``over``."""
        surplus = len(self._crew) - slots if verdict is not None else 0
        for hand in sorted((hand for hand in self if hand.attempt is None), key=lambda hand: hand.idle_since):
            if hand.leaving:
                surplus -= 1
                if now >= hand.leave_by and hand.worker.state is not WorkerState.ENDING:
                    self._actor.end({hand.worker: Why(Reason.HALT)}, now)
            elif over or surplus > 0 or now - hand.idle_since >= self._settings.idle:
                self._leave(hand, now)
                surplus -= 1

    def due(self) -> float:
        """When `trim` must be called though nothing happens."""
        idle = [hand.idle_since + self._settings.idle for hand in self if hand.free]
        return min([*idle, *(hand.leave_by for hand in self if hand.leaving)], default=math.inf)

    def close(self) -> None:
        for hand in self:
            self._hush(hand)
