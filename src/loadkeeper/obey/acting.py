"""Making a verdict true: who pauses, who goes on, who ends."""

import math
import time
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple, cast

from ..act.end import end_all, tick_all
from ..act.pause import Found, assert_all, pause_all, resume_all
from ..act.throttle import Throttle
from ..act.worker import Worker
from ..model import Ending, Reason, Verdict, Why, WorkerState
from ..record.journal import Verb
from ..sense.node import NodeSensor
from .reports import Work

FOR_MEMORY = frozenset({Reason.MEMORY_END, Reason.MEMORY_AHEAD})
"""Ends that are looked at once more right before the signal."""
TICK = 0.05
"""Seconds between two looks at workers for which something is due: pauses to hold up, steps of an end."""
TOLD = 8
"""Times that a pause was undone which the journal has all of; then the 16th, the 32nd ..."""
LIVE = (WorkerState.STARTING, WorkerState.RUNNING)
STANDING = Why(Reason.SUSPENDED)


class Act(NamedTuple):
    """One thing done to a worker."""

    verb: Verb
    worker: Worker
    why: Why | None


class Actor:
    """Acts on the workers of one run, by ``n``, and remembers what is not settled yet."""

    def __init__(self, workers: Mapping[int, Worker], grace: float) -> None:
        self._workers = workers
        self._grace = grace
        self._node: NodeSensor | None = None
        self._bury: set[int] = set()
        self._unsettled: set[Worker] = set()  # that pause or end
        self._throttle = Throttle()
        self._ticked = 0.0
        self.suspended = False  # by ^Z

    def obey(self, verdict: Verdict, now: float) -> list[Act]:
        """Make the wanted state true; what was done comes back. Ends come first: they are what is urgent."""
        done = self._end_wanted(verdict, now)
        done += self._pause_wanted(verdict, now)
        if not self.suspended:
            done += self._continue_others(verdict, now)
        shares = verdict.throttled.items()
        self._throttle.set({self._workers[n]: share for n, share in shares if n in self._workers}, now)
        return done

    def _end_wanted(self, verdict: Verdict, now: float) -> list[Act]:
        ask: dict[Worker, Why] = {}
        kill: dict[Worker, Why] = {}
        for n, ending in verdict.ending.items():
            worker = self._workers.get(n)
            if worker is None or worker.killed or not self._due(worker, ending):
                continue
            if ending.bury:
                self._bury.add(n)
            if ending.asked and worker.state is not WorkerState.ENDING:
                worker.ended_by_another(now, ending.why, self._grace, kill=ending.kill)
                self._unsettled.add(worker)
                continue
            (kill if ending.kill else ask)[worker] = ending.why
        self.end(kill, now, kill=True)
        self.end(ask, now)
        return [Act(Verb.KILL, *one) for one in kill.items()] + [Act(Verb.END, *one) for one in ask.items()]

    def _due(self, worker: Worker, ending: Ending) -> bool:
        """Whether there is something to do about this end: it is looked at once more before its signal."""
        if worker.state is WorkerState.ENDING:
            return ending.kill
        return ending.asked or ending.why.reason not in FOR_MEMORY or not self._recovered(ending.why)

    def _recovered(self, why: Why) -> bool:
        """What is available now, right before an act that cannot be undone: so much that the end is not wanted?"""
        if why.recovered is None:
            return False
        if self._node is None:
            self._node = NodeSensor()
        available = self._node.read(time.monotonic()).available
        return available is not None and available > why.recovered

    def _pause_wanted(self, verdict: Verdict, now: float) -> list[Act]:
        wanted = {worker: why for n, why in verdict.paused.items() if (worker := self._workers.get(n)) is not None}
        new = {worker: why for worker, why in wanted.items() if worker.state in LIVE}
        pause_all(wanted, now, at_once=verdict.urgent)
        self._unsettled.update(new)
        return [Act(Verb.PAUSE, *one) for one in new.items()]

    def _continue_others(self, verdict: Verdict, now: float) -> list[Act]:
        """Whoever stands and is not to stand goes on, unless it is about to end."""
        others = [
            worker
            for worker in self._unsettled
            if worker.state is WorkerState.PAUSED and worker.n not in verdict.paused and worker.n not in verdict.ending
        ]
        done = [Act(Verb.CONTINUE, worker, worker.paused_why) for worker in others]
        resume_all(others, now)
        self._unsettled.difference_update(others)
        return done

    def end(self, wanted: Mapping[Worker, Why], now: float, *, kill: bool = False) -> None:
        """Ask these to end, or end them at once."""
        if wanted:
            end_all(wanted, now, self._grace, kill=kill)
            self._unsettled.update(wanted)

    def due(self) -> float:
        """When `tick` wants to be called."""
        tick = self._ticked + TICK if self._unsettled else math.inf
        return min(tick, self._throttle.due(time.monotonic()))

    def tick(self, now: float) -> list[Act]:
        """Hold up pauses that somebody undid, take the next steps of ends; whom that concerned comes back."""
        self._throttle.turn(now)
        if not self._unsettled or now < self._ticked + TICK:
            return []
        self._ticked = now
        tick_all([worker for worker in self._unsettled if worker.state is WorkerState.ENDING], now)
        found = assert_all([worker for worker in self._unsettled if worker.state is WorkerState.PAUSED], now)
        undone = [worker for worker, what in found.items() if what is Found.CONTINUED and _is_told(worker.undone)]
        return [Act(Verb.PAUSE, worker, worker.paused_why) for worker in undone]

    def throttles(self, worker: Worker) -> bool:
        """It is stopped for a part of the time."""
        return self._throttle.holds(worker)

    def finished(self, worker: Worker) -> bool:
        """Forget a worker that is gone; True when its task must be buried."""
        self._unsettled.discard(worker)
        self._throttle.forget(worker)
        bury = worker.n in self._bury
        self._bury.discard(worker.n)
        return bury

    def take_over(self, now: float) -> None:
        """Whoever stands by the hand of a load manager that is gone stands by ours from now on, or nobody would ever
        continue it."""
        for worker in self._workers.values():
            held = worker.state in LIVE and not self.throttles(worker)
            if not (held and worker.stopped_by_another()):
                continue
            if worker.enter_pause(now, Why(Reason.MEMORY_PAUSE), at_once=True):
                self._unsettled.add(worker)

    def go_on_alone(self, now: float, idle: Collection[Worker] = ()) -> list[Act]:
        """Nobody decides: when nobody runs, but those that have nothing to do, the one that has stood for longest goes
        on."""
        if self.suspended or any(w.state in LIVE for w in self._workers.values() if w not in idle):
            return []
        paused = [worker for worker in self._unsettled if worker.state is WorkerState.PAUSED]
        if not paused:
            return []
        first = min(paused, key=lambda worker: (worker.paused_since or 0.0, worker.n))
        resume_all([first], now)
        self._unsettled.discard(first)
        return [Act(Verb.CONTINUE, first, None)]

    # ------------------------------------------------------------------------------------------------------ suspend

    def suspend(self, now: float) -> None:
        """Everybody stands, whatever the verdict says."""
        self.suspended = True
        live = {worker: STANDING for worker in self._workers.values() if worker.state in LIVE}
        asked = {worker: worker.paused_why or STANDING for worker in self._unsettled if worker.asked_at is not None}
        pause_all(
            live | asked, now, at_once=True
        )  # nobody stops those who do not come to their checkpoint while we stand
        self._unsettled.update(live)

    def resume(self, verdict: Verdict | None, now: float) -> None:
        """Whoever stood for `suspend` alone goes on; without a verdict (no load manager) nobody knows better."""
        self.suspended = False
        wanted = verdict.paused if verdict is not None else {}
        paused = [worker for worker in self._unsettled if worker.state is WorkerState.PAUSED]
        on = [worker for worker in paused if worker.paused_why == STANDING and worker.n not in wanted]
        resume_all(on, now)
        self._unsettled.difference_update(on)


def _is_told(times: int) -> bool:
    """Of a pause that somebody undoes again and again: the first times, then ever fewer."""
    return times <= TOLD or times & (times - 1) == 0


def over_time(workers: Iterable[Worker], timeout: float | None, now: float) -> dict[Worker, Why]:
    """Who has been at its task for longer than it may."""
    if timeout is None:
        return {}
    return {
        worker: Why(Reason.TIMEOUT, reading=worker.working(now), line=timeout)
        for worker in workers
        if worker.state is not WorkerState.ENDING and is_busy(worker) and worker.working(now) > timeout
    }


def is_busy(worker: Worker) -> bool:
    """It has a task."""
    return bool(cast(Work, worker.task).number)
