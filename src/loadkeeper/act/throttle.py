"""Holding workers to a share of the CPU by letting them run a part of each 200 ms: for the one worker of a run that
takes more cores than it was promised, which no pause of others can help."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..model import WorkerState

if TYPE_CHECKING:
    from .worker import Worker

PERIOD = 0.2
"""Seconds: long against the 0.25 to 4 ms that a stop takes (measured), short for people and time-outs."""


class Throttle:
    """Only the leader's group is stopped and continued: who left it runs on, and is not worth a look at all processes
    ten times a second. A paused or ending worker is left alone."""

    def __init__(self) -> None:
        self._shares: dict[Worker, float] = {}
        self._held: dict[Worker, float] = {}  # since when

    def set(self, shares: Mapping["Worker", float], now: float) -> None:
        """From now on these and no others; share 0..1 of each period."""
        for worker in [worker for worker in self._held if worker not in shares]:
            self._let_go(worker, now)
        self._shares = dict(shares)

    def holds(self, worker: "Worker") -> bool:
        """It is stopped for a part of the time."""
        return worker in self._shares

    def due(self, now: float) -> float:
        """When `turn` wants to be called."""
        if not self._shares:
            return math.inf
        began = now - now % PERIOD
        ends = (began + share * PERIOD for share in self._shares.values())
        return min((end for end in ends if end > now), default=began + PERIOD)

    def turn(self, now: float) -> None:
        """Stop those whose part of the period is over, continue those whose next one has begun."""
        into = now % PERIOD
        for worker, share in self._shares.items():
            if worker.state not in (WorkerState.STARTING, WorkerState.RUNNING):
                self._let_go(worker, worker.paused_since or now)
            elif into >= share * PERIOD and worker not in self._held:
                worker.members.stop_group()
                self._held[worker] = now
            elif into < share * PERIOD and worker in self._held:
                self._let_go(worker, now)

    def forget(self, worker: "Worker") -> None:
        """It is gone."""
        self._shares.pop(worker, None)
        self._held.pop(worker, None)

    def _note(self, worker: "Worker", until: float) -> None:
        """It stood: that time is not its own."""
        since = self._held.pop(worker, None)
        if since is not None:
            worker.stood(max(0.0, until - since))

    def _let_go(self, worker: "Worker", now: float) -> None:
        """One that is asked to stand at its checkpoint must run to get there."""
        held = worker in self._held
        self._note(worker, now)
        if held and (worker.state in (WorkerState.STARTING, WorkerState.RUNNING) or worker.asked_at is not None):
            worker.members.proceed()
