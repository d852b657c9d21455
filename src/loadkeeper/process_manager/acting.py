"""Making a verdict true: who pauses, who goes on, who ends."""

import time
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ..act.worker import Worker
from ..model import Ending, Reason, Verdict, Why, WorkerState
from ..sense.node import NodeSensor
from .job import Job

FOR_MEMORY = frozenset({Reason.MEMORY_END, Reason.MEMORY_AHEAD})
"""Ends that are looked at once more right before the signal."""


class Act(NamedTuple):
    """One thing done to a worker, for the journal."""

    worker: Worker
    verb: str  # pause, continue, end, kill
    why: Why | None


class Actor:
    """Acts on workers for one process manager, and remembers what is not settled yet."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._node: NodeSensor | None = None
        self._bury: set[int] = set()
        self._unsettled: set[int] = set()  # workers that pause or end
        self.suspended = False
        self.last: dict[int, Why] = {}  # why each paused worker stands, as last heard

    @property
    def unsettled(self) -> bool:
        """Somebody is paused or ending, so somebody must be looked after."""
        return bool(self._unsettled)

    def obey(self, verdict: Verdict, workers: Mapping[int, Worker], now: float) -> list[Act]:
        """Make the wanted state true; what was done comes back. Ends come first: they are what is urgent."""
        done: list[Act] = []
        for n, ending in verdict.ending.items():
            worker = workers.get(n)
            if worker is not None and (act := self._end(worker, ending, verdict, now)) is not None:
                done.append(act)
        for n, why in verdict.paused.items():
            worker = workers.get(n)
            if worker is None:
                continue
            self.last[n] = why
            if worker.state in (WorkerState.RUNNING, WorkerState.STARTING):
                worker.pause(now, why)
                self._unsettled.add(n)
                done.append(Act(worker, "pause", why))
        done += self._continue(verdict, workers, now)
        return done

    def _continue(self, verdict: Verdict, workers: Mapping[int, Worker], now: float) -> list[Act]:
        """Whoever stands and is not in the paused set goes on, unless its end was dropped."""
        done: list[Act] = []
        for n in list(self.last):
            if n in verdict.paused or n in verdict.ending or self.suspended:
                continue
            why = self.last.pop(n)
            worker = workers.get(n)
            if worker is not None and worker.state is WorkerState.PAUSED:
                worker.resume(now)
                self._unsettled.discard(n)
                done.append(Act(worker, "continue", why))
        return done

    def _end(self, worker: Worker, ending: Ending, verdict: Verdict, now: float) -> Act | None:
        if ending.bury:
            self._bury.add(worker.n)
        if worker.state is WorkerState.ENDING:
            if ending.kill and not worker.killed:
                self.end(worker, now, ending.why, kill=True)
                return Act(worker, "kill", ending.why)
            return None
        if ending.why.reason in FOR_MEMORY and self._recovered(ending.why):
            return None
        self.end(worker, now, ending.why, kill=ending.kill)
        return Act(worker, "end", ending.why)

    def _recovered(self, why: Why) -> bool:
        """What is available now, right before an act that cannot be undone: is it more than the decision saw, and
        enough?"""
        if why.recovered is None:
            return False
        if self._node is None:
            self._node = NodeSensor()
        available = self._node.read(time.monotonic()).available
        return available is not None and available > why.recovered

    def end(self, worker: Worker, now: float, why: Why, *, kill: bool = False) -> None:
        """Ask it to end, or end it at once."""
        worker.end(now, why, self._job.settings.grace, kill=kill)
        self.last.pop(worker.n, None)
        self._unsettled.add(worker.n)

    def look_after(self, worker: Worker, now: float) -> None:
        """Hold up a pause that somebody undid; take the next step of an end."""
        if worker.state is WorkerState.PAUSED:
            worker.assert_wanted(now)
        else:
            worker.tick(now)

    def finished(self, worker: Worker) -> bool:
        """Forget a worker that is gone; True when its task must be buried."""
        self._unsettled.discard(worker.n)
        self.last.pop(worker.n, None)
        bury = worker.n in self._bury
        self._bury.discard(worker.n)
        return bury

    # ------------------------------------------------------------------------------------------------------ suspend

    def suspend(self, workers: Iterable[Worker], now: float) -> None:
        """Everybody stands, whatever the verdict says."""
        self.suspended = True
        why = Why(Reason.SUSPENDED)
        for worker in workers:
            if worker.state in (WorkerState.RUNNING, WorkerState.STARTING):
                worker.pause(now, why)
                self.last[worker.n] = why
                self._unsettled.add(worker.n)

    def resume_all(self, workers: Iterable[Worker], now: float, verdict: Verdict | None) -> None:
        """Whoever was stopped by `suspend` alone goes on."""
        self.suspended = False
        for worker in workers:
            if worker.state is not WorkerState.PAUSED or self.last.get(worker.n) != Why(Reason.SUSPENDED):
                continue
            if verdict is not None and worker.n in verdict.paused:
                self.last[worker.n] = verdict.paused[worker.n]
                continue
            worker.resume(now)
            self.last.pop(worker.n, None)
            self._unsettled.discard(worker.n)
