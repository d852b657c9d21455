"""The workers of a program with a loop of its own, as the load manager wants them told: from few words to a `Report`,
and from its verdict to who is to do what. docs/library.md has a whole program of forty lines."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from .errors import UsageError
from .linux.members import MARK
from .linux.proc import stat
from .member import Member
from .model import (
    Bytes,
    Outcome,
    PauseMode,
    PoolReport,
    Report,
    RunState,
    Seconds,
    TaskCounts,
    WorkerExit,
    WorkerReport,
    WorkerState,
)

LIVE = (WorkerState.STARTING, WorkerState.RUNNING)


@dataclass
class _Worker:
    pid: int
    start_time: int
    task: str
    started: float
    state: WorkerState = WorkerState.RUNNING
    paused_since: float | None = None
    paused_for: float = 0.0
    killed: bool = False

    def active(self, now: float) -> float:
        standing = now - self.paused_since if self.paused_since is not None else 0.0
        return max(0.0, now - self.started - self.paused_for - standing)


@dataclass
class Roster:
    """Of one pool of a `Member`. ``kind``: what its tasks are learned under; ``jobs``: the most workers at once.
    Workers have numbers, which never come again. Starting, stopping and ending them is the program's own business."""

    member: Member
    kind: str = ""
    pool: str = "main"
    jobs: int | None = None
    priority: int = 0
    pausable: bool = True
    done: int = 0
    failed: int = 0
    given_back: int = 0
    _workers: dict[int, _Worker] = field(default_factory=dict)
    _exits: list[WorkerExit] = field(default_factory=list)
    _reports: int = 0
    _exited: int = 0
    _numbered: int = 0

    # ---------------------------------------------------------------------------------------------- what is so

    def number(self) -> int:
        """Of the next worker."""
        self._numbered += 1
        return self._numbered

    def mark(self, n: int) -> dict[str, str]:
        """What must stand in the worker's environment: by it whatever the worker leaves is found, when the program
        dies, too."""
        return {MARK.decode(): f"{self.member.hello.run}.{n}"}

    def add(self, n: int, pid: int, task: str = "") -> None:
        """A worker was started: it leads a session of its own. ``task`` is for people. One that is gone already is
        reported by `gone` all the same."""
        found = stat(pid)
        start_time = found.start_time if found is not None else 0
        self._workers[n] = _Worker(pid, start_time, task or str(n), time.monotonic())

    def gone(self, n: int, *, good: bool, peak: Bytes = 0, cpu_seconds: Seconds = 0.0) -> bool:
        """It has ended, and was waited for; True when its task must be given back, for the load manager wanted its end.
        ``peak`` (bytes; 0: not known) and ``cpu_seconds`` are what its kind is learned from. Raises UsageError for a
        number that is nobody's."""
        worker = self._workers.pop(n, None)
        if worker is None:
            raise UsageError(f"there is no worker {n} here; each one is added once, and is gone once")
        ended = self.member.ended.pop(n, None) is not None or worker.state is WorkerState.ENDING
        back = ended and not good
        self.done += good
        self.given_back += back
        self.failed += not good and not back
        self._exited += 1
        now = time.monotonic()
        outcome = Outcome.DONE if good else Outcome.GIVEN_BACK if back else Outcome.FAILED
        self._exits.append(
            WorkerExit(self._exited, n, self.pool, self.kind, int(peak), cpu_seconds, worker.active(now), outcome, now)
        )
        return back

    def tell(self, *, waiting: int | None = None, ending: bool = False) -> None:
        """Report all that, after every change and once a second at least: who is silent for 3 s is given nothing.
        ``waiting``: tasks that have no worker; None: nobody knows. ``ending``: nothing more is begun."""
        now, verdict = time.monotonic(), self.member.verdict
        if verdict is not None:
            self._exits = [exit for exit in self._exits if exit.number > verdict.exits_heard]
        self._reports += 1
        pause = PauseMode.AUTO if self.pausable else PauseMode.NEVER
        self.member.report(
            Report(
                run=self.member.hello.run,
                number=self._reports,
                pools=[PoolReport(self.pool, self.kind, waiting, self.priority, self.jobs, pause)],
                workers=[self._told(n, worker, now) for n, worker in self._workers.items()],
                exits=list(self._exits),
                tasks=TaskCounts(waiting, len(self._workers), self.done, self.failed, self.given_back),
                state=RunState.DRAINING if ending else RunState.RUNNING,
                confirmed=verdict.number if verdict is not None else 0,
                wants=verdict.wants if verdict is not None else {},
                changes=verdict.changes if verdict is not None else {},
            )
        )

    def _told(self, n: int, worker: _Worker, now: float) -> WorkerReport:
        return WorkerReport(
            n=n,
            pool=self.pool,
            task=worker.task,
            pid=worker.pid,
            start_time=worker.start_time,
            started=worker.started,
            state=worker.state,
            active=worker.active(now),
            paused_since=worker.paused_since,
            paused_for=worker.paused_for,
            patience=self.member.hello.limits.max_pause,
        )

    # ---------------------------------------------------------------------------------------- what is wanted

    def room(self) -> int:
        """Workers that may be started now."""
        verdict = self.member.verdict
        pool = verdict.pools.get(self.pool) if verdict is not None else None
        return max(0, pool.slots - len(self._workers)) if pool is not None else 0

    def to_end(self) -> Iterator[tuple[int, int, bool]]:
        """(number, pid, whether at once) of workers that must end, each once: ask them, at once with SIGKILL, and
        continue those that stand."""
        verdict = self.member.verdict
        for n, ending in verdict.ending.items() if verdict is not None else ():
            worker = self._workers.get(n)
            if worker is None or worker.killed or (worker.state is WorkerState.ENDING and not ending.kill):
                continue
            self._go_on(worker)
            worker.state, worker.killed = WorkerState.ENDING, ending.kill
            yield n, worker.pid, ending.kill

    def to_pause(self) -> Iterator[tuple[int, int]]:
        """(number, pid) of workers that must stand, each once."""
        verdict = self.member.verdict
        for n in verdict.paused if verdict is not None else ():
            worker = self._workers.get(n)
            if worker is not None and worker.state in LIVE:
                worker.state, worker.paused_since = WorkerState.PAUSED, time.monotonic()
                yield n, worker.pid

    def to_continue(self) -> Iterator[tuple[int, int]]:
        """(number, pid) of workers that stand and may go on, each once."""
        verdict = self.member.verdict
        if verdict is None:
            return  # the load manager is gone: who stands waits for the next one
        for n, worker in self._workers.items():
            if worker.state is WorkerState.PAUSED and n not in verdict.paused and n not in verdict.ending:
                self._go_on(worker)
                worker.state = WorkerState.RUNNING
                yield n, worker.pid

    @staticmethod
    def _go_on(worker: _Worker) -> None:
        if worker.paused_since is not None:
            worker.paused_for += time.monotonic() - worker.paused_since
            worker.paused_since = None
