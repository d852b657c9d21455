"""The second hand: what a process manager does not do in time the load manager does itself.

The process manager may be stopped, swapped out, or stuck in a start (a spawn holds all of it until the child's exec has
returned: 1.5 s on a FIFO, measured), while its workers take what memory there is. A verdict that wants a pause or an
end and that is not confirmed in time is made true from here. A stop does no harm when the process
manager does the same a moment later. An end is told right after its signal, so that the process manager does not ask
once more and knows the worker's death for ours; what it was told and was not done it could not know of.
"""

import time
from collections.abc import Callable, Iterable
from enum import StrEnum

from msgspec import Struct

from ..act.end import end_all, tick_all
from ..act.pause import assert_all, pause_all, resume_all
from ..act.worker import Worker
from ..linux.cgroup import Leaf
from ..linux.process import Process
from ..model import PAUSES_FOR_MEMORY, Verdict, WorkerReport, WorkerState
from .runs import Run, credible


class Act(StrEnum):
    PAUSE = "pause"
    END = "end"
    KILL = "kill"


PATIENCE = {Act.PAUSE: 0.02, Act.END: 0.1, Act.KILL: 0.02}
"""Seconds in which a process manager confirms what it did. Longer where a second signal would mean `at once`."""
TICK = 0.05
"""Seconds between two looks at whom it has stopped or asked."""
_LIVE = (WorkerState.STARTING, WorkerState.RUNNING)


class _Wanted(Struct):
    """Something that is wanted of a worker, and since when."""

    number: int  # of the verdict that said so first
    at: float
    settled: bool = False  # it was confirmed, or done


_Worker = tuple[str, int]
"""Run and number."""
_Key = tuple[_Worker, Act, bool]
"""True: it is wanted anew, more sternly than before (`_is_anew`)."""


class SecondHand:
    """``send`` sends a run its verdict anew."""

    def __init__(self, send: Callable[[Run], None]) -> None:
        self._send = send
        self._wanted: dict[_Key, _Wanted] = {}
        self._held: dict[_Worker, Worker] = {}  # on whom it has laid its hand
        self._ticked = 0.0

    def due(self, now: float) -> float:
        """When `turn` wants to be called."""
        dues = [wanted.at + PATIENCE[act] for (_, act, _), wanted in self._wanted.items() if not wanted.settled]
        if self._held:
            dues.append(self._ticked + TICK)
        return min(dues, default=now + 3600.0)

    def turn(self, runs: Iterable[Run], now: float) -> None:
        live = {
            (run.id, worker.n): (run, worker) for run in runs if run.verdict is not None for worker in run.workers()
        }
        before, self._wanted = self._wanted, {}
        for worker, (run, report) in live.items():
            assert run.verdict is not None
            act = _act(run.verdict, report)
            if act is None:
                continue
            key = (worker, act, _is_anew(run.verdict, report))
            wanted = self._wanted[key] = before.get(key) or _Wanted(run.verdict.number, now)
            if not wanted.settled:
                self._see_to(act, wanted, run, report, now)
        if now >= self._ticked + TICK:
            self._ticked = now
            self._tick(live, now)

    def forgive(self) -> None:
        """We stood: what was wanted before that has the same time again."""
        self._wanted = {key: wanted for key, wanted in self._wanted.items() if wanted.settled}

    def close(self) -> None:
        """We leave: whoever stands by our hand goes on, for nobody else would continue it."""
        resume_all([worker for worker in self._held.values() if worker.state is WorkerState.PAUSED], time.monotonic())
        self._send = _nobody  # who called us holds us: its descriptors are closed with its last name

    def _see_to(self, act: Act, wanted: _Wanted, run: Run, report: WorkerReport, now: float) -> None:
        """Wait for its process manager; when it does nothing do it, and tell."""
        assert run.verdict is not None
        assert run.report is not None
        wanted.settled = run.report.confirmed >= wanted.number
        if wanted.settled or now < wanted.at + PATIENCE[act]:
            return
        wanted.settled = True
        worker = self._hold(run, report)
        if worker is None:
            return
        if act is Act.PAUSE:
            pause_all({worker: run.verdict.paused[report.n]}, now)
        else:
            end_all({worker: run.verdict.ending[report.n].why}, now, run.hello.grace, kill=act is Act.KILL)
            run.asked.add(report.n)
            self._send(run)

    def _hold(self, run: Run, report: WorkerReport) -> Worker | None:
        key = (run.id, report.n)
        if key not in self._held:
            own = credible(report, run.hello)
            process = Process.open(report.pid, report.start_time) if own is not None else None
            if own is None or process is None:
                return None
            leaf = Leaf(own.leaf) if own.leaf is not None else None
            self._held[key] = Worker(report.n, run.id, report.pool, None, process, started=report.started, leaf=leaf)
        return self._held[key]

    def _tick(self, live: dict[_Worker, tuple[Run, WorkerReport]], now: float) -> None:
        """Go on with what was begun, and take the hand from whom its process manager has taken over."""
        tick_all([worker for worker in self._held.values() if worker.state is WorkerState.ENDING], now)
        assert_all([worker for worker in self._held.values() if worker.state is WorkerState.PAUSED], now)
        for key, worker in list(self._held.items()):
            run, report = live.get(key, (None, None))
            taken_over = run is None or report is None or report.state is worker.state
            if taken_over or _continued(worker, run, now):
                worker.close()
                del self._held[key]


def _act(verdict: Verdict, report: WorkerReport) -> Act | None:
    """What is wanted of the worker that its process manager has not said to be so."""
    ending, why = verdict.ending.get(report.n), verdict.paused.get(report.n)
    if ending is not None:
        if ending.kill:
            return Act.KILL
        return None if report.state is WorkerState.ENDING else Act.END
    runs = report.state in _LIVE or (verdict.urgent and report.asked)
    # pauses that cannot wait: of all others nothing is lost when they come late
    return Act.PAUSE if why is not None and why.reason in PAUSES_FOR_MEMORY and runs else None


def _is_anew(verdict: Verdict, report: WorkerReport) -> bool:
    """An end about which nobody is asked once more, after one that was found needless; a stop of one that was asked at
    its checkpoint, for which there is no time any more."""
    ending = verdict.ending.get(report.n)
    return ending.why.recovered is None if ending is not None else verdict.urgent and report.asked


def _continued(worker: Worker, run: Run | None, now: float) -> bool:
    """It stood by our hand and is to stand no more: nobody else knows of it."""
    if worker.state is not WorkerState.PAUSED or run is None or run.verdict is None:
        return False
    if worker.n in run.verdict.paused or worker.n in run.verdict.ending:
        return False
    resume_all([worker], now)
    return True


def _nobody(_run: Run) -> None:
    """There is nobody left to tell."""
