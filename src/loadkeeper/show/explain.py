"""Why something starts, waits, stands or was given back: sentences with figures, from the status and the journals."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TextIO

from msgspec import Struct

from ..errors import UsageError
from ..model import Outcome, Reason, RunState, WorkerState
from ..record.journal import Event, Fate, Verb
from ..record.sentences import statement
from ..status import PoolStatus, RunStatus, Status, WorkerStatus
from ..units import format_cores, format_duration, format_size
from .history import Files, Journals
from .paper import Paper
from .text import clean, cut, is_number, saying

WORDS = 5
"""Lines of a task's last words."""
VALUE = 40
"""Columns that a task's value may take in a sentence."""

_CRITICAL = "memory is below the end line and there is no worker left to end; the run gives up"
_STATES = {
    RunState.DRAINING: "it starts nothing more and lets what runs finish",
    RunState.PAUSED: "the whole run is paused",
    RunState.CRITICAL: _CRITICAL,
}


class Explained(Struct, frozen=True):
    """One sentence. As text: the sentence behind its subject."""

    subject: str  # a run's, pool's, worker's or task's name
    sentence: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.sentence}"


def explain(
    status: Status, name: str | None = None, journals: Journals | None = None, now: datetime | None = None
) -> list[Explained]:
    """Why things are as they are, for one RUN, POOL, WORKER or TASK, or for all runs.

    A task is ``12``, or ``RUN:12`` where several runs have one. ``journals``: where the past is read, by default the
    runs' own files. Raises UsageError for a name that nobody has."""
    teller = _Teller(Files() if journals is None else journals, (now or datetime.now(UTC)).timestamp())
    if name is None:
        told = [each for run in status.runs for each in teller.run(run)]
        return told or [Explained("loadkeeper", "no run of this user is alive")]
    told = [each for run in status.runs for each in teller.named(run, name)]
    if not told:
        raise UsageError(_unknown(status, name))
    return told


def print_explained(told: Sequence[Explained], stream: TextIO | None = None) -> None:
    """A sentence each, folded on a terminal."""
    paper = Paper(stream)
    for each in told:
        paper.line(str(each))


class _Teller:
    """Looks a name up in one run, and says what is known of it."""

    def __init__(self, journals: Journals, now: float) -> None:
        self._journals = journals
        self._now = now

    def named(self, run: RunStatus, name: str) -> Iterator[Explained]:
        if name in (run.id, run.name):
            yield from self.run(run)
            return
        for pool in run.pools:
            if name in (pool.name, f"{run.id}/{pool.name}", f"{run.name}/{pool.name}"):
                yield from self.pool(run, pool)
                return
        tasks = {worker.task for worker in run.workers}  # a number that `list` shows is a task's before it is a pid
        for worker in run.workers:
            if name == worker.id or (name == str(worker.pid) and name not in tasks):
                yield from self.worker(run, worker)
                return
        yield from self._former_worker(run, name)
        of, _, number = name.rpartition(":")
        if is_number(number) and of in ("", run.id, run.name):
            yield from self.task(run, int(number))

    # ---------------------------------------------------------------------------------------------- runs and pools

    def run(self, run: RunStatus) -> Iterator[Explained]:
        if run.state in _STATES:
            yield Explained(_run_name(run), _STATES[run.state])
        for pool in run.pools:
            yield from self.pool(run, pool)

    def pool(self, run: RunStatus, pool: PoolStatus) -> Iterator[Explained]:
        """What keeps new workers out, then every worker that does not simply run."""
        name = _run_name(run) if len(run.pools) == 1 else f"pool {run.id}/{clean(pool.name)}"
        workers = [worker for worker in run.workers if worker.pool == pool.name]
        yield Explained(name, f"{_workers(workers)}; {_admission(run, pool)}")
        for worker in workers:
            if worker.state in (WorkerState.PAUSED, WorkerState.ENDING) or worker.trouble:
                yield self._worker_now(run, worker)

    # ------------------------------------------------------------------------------------------- workers and tasks

    def worker(self, run: RunStatus, worker: WorkerStatus) -> Iterator[Explained]:
        yield self._worker_now(run, worker)
        if is_number(worker.task):
            yield from self._past(run, int(worker.task))

    def task(self, run: RunStatus, number: int) -> Iterator[Explained]:
        workers = [worker for worker in run.workers if worker.task == str(number)]
        past = list(self._past(run, number))
        yield from past
        for worker in workers:
            yield self._worker_now(run, worker)
        if not workers and (told := self._not_running(run, number, bool(past))):
            yield told

    def _not_running(self, run: RunStatus, number: int, tried: bool) -> Explained | None:
        """A task without a worker: it waits for one, unless its last attempt was the end of it."""
        fates = self._journals.fates(run, number) if tried else []
        if (fates and not fates[-1].again) or not _possible(run, number):
            return None
        begun = "it waits to be started again" if tried else "it has not been started"
        reasons = [pool.why for pool in run.pools if pool.reason is not None]
        return Explained(_task_name(run, number), "; ".join([begun, *reasons[:1]]))

    def _worker_now(self, run: RunStatus, worker: WorkerStatus) -> Explained:
        value = f", {cut(clean(worker.value), VALUE)}" if worker.value else ""
        name = f"worker {worker.id or worker.pid} (task {clean(worker.task)}{value})"
        trouble = f"; {clean(worker.trouble)}" if worker.trouble else ""
        if worker.state == WorkerState.PAUSED:
            return Explained(name, (clean(worker.why) + trouble) if trouble else self._paused(run, worker))
        if worker.state == WorkerState.ENDING:
            return Explained(name, _ending(worker) + trouble)
        if trouble:
            return Explained(name, f"is alive{trouble}{_holds(worker)}")
        return Explained(name, f"runs, and nothing holds it back{_holds(worker)}")

    def _paused(self, run: RunStatus, worker: WorkerStatus) -> str:
        if worker.reason is not None and worker.reason.reason is Reason.OPERATOR:
            why = f"paused because the operator asked for it; `loadkeeper resume {worker.id}` continues it"
        else:
            why = clean(worker.why) or "paused, and nobody says why"
        stood = _since(self._journals.events(run, worker.id), self._now)
        return (f"{why}; it has stood for {format_duration(stood)}" if stood is not None else why) + _says(worker)

    # --------------------------------------------------------------------------------------------------- the past

    def _past(self, run: RunStatus, number: int) -> Iterator[Explained]:
        for fate in self._journals.fates(run, number):
            yield Explained(f"{_task_name(run, number)}, attempt {fate.attempt}", past(fate))

    def _former_worker(self, run: RunStatus, name: str) -> Iterator[Explained]:
        """A worker that is gone: ``<run>.<n>``."""
        of, _, number = name.rpartition(".")
        if of != run.id or not is_number(number):
            return
        for fate in self._journals.fates(run):
            if fate.worker == int(number):
                yield Explained(f"worker {name} ({_task_name(run, fate.task)}, attempt {fate.attempt})", past(fate))


# -------------------------------------------------------------------------------------------------------------- parts


def past(fate: Fate, *, over: bool = False) -> str:
    """How an attempt ended: ``given back after 12 s: ended for memory, 40 MiB available, ...``."""
    how = _exit(fate) if fate.outcome is Outcome.FAILED and fate.why is None else ""
    after = "" if fate.seconds is None else f"after {format_duration(fate.seconds)}"
    told = [" ".join(part for part in (_OUTCOMES[fate.outcome], how, after) if part)]
    if fate.paused:
        told.append(f"{format_duration(fate.paused)} of it paused")
    if fate.peak:
        told.append(f"at most {format_size(fate.peak)}")
    text = ", ".join(told)
    if fate.why is not None:
        text += f"; {statement(fate.why)}"
    if fate.said:
        text += f"; it said last: {_last_lines(fate.said)}"
    again = "it was to be tried again" if over else "it is tried again"
    return f"{text}; {again}" if fate.again else text


def _last_lines(said: bytes) -> str:
    lines = [clean(line.strip()) for line in said.decode("utf-8", "backslashreplace").splitlines() if line.strip()]
    return " / ".join(lines[-WORDS:])


_OUTCOMES = {
    Outcome.DONE: "done",
    Outcome.FAILED: "failed",
    Outcome.GIVEN_BACK: "given back",
    Outcome.BURIED: "buried",
}


def _exit(fate: Fate) -> str:
    if fate.signal:
        return f"by signal {fate.signal}"
    return "" if fate.code is None else f"with exit code {fate.code}"


def _run_name(run: RunStatus) -> str:
    return f"run {run.id} {clean(run.name)}".rstrip()


def _task_name(run: RunStatus, number: int) -> str:
    return f"task {run.id}:{number}"


def _workers(workers: Sequence[WorkerStatus]) -> str:
    """``3 workers run, 1 is paused``."""
    states = [worker.state for worker in workers]
    paused, ending = states.count(WorkerState.PAUSED), states.count(WorkerState.ENDING)
    runs = len(states) - paused - ending
    told = [f"{runs} worker{'' if runs == 1 else 's'} run{'s' if runs == 1 else ''}" if runs else "no worker runs"]
    for count, word in ((paused, "paused"), (ending, "ending")):
        if count:
            told.append(f"{count} {'is' if count == 1 else 'are'} {word}")
    return ", ".join(told)


def _admission(run: RunStatus, pool: PoolStatus) -> str:
    waiting = run.tasks.waiting
    if pool.reason is not None and pool.reason.reason is Reason.OPERATOR:
        return f"nothing more starts because the operator asked for it; `loadkeeper resume {run.id}` lets it go on"
    if pool.why:
        return clean(pool.why)
    return "nothing holds it back" if waiting is None else f"nothing holds back the {waiting} that wait"


def _ending(worker: WorkerStatus) -> str:
    if worker.reason is not None and worker.reason.reason is Reason.OPERATOR:
        return "ending because the operator asked for it; its task is given back"
    return clean(worker.why) or "ending"


def _holds(worker: WorkerStatus) -> str:
    told = [] if worker.memory is None else [f"holds {format_size(worker.memory)}"]
    told += [] if worker.cpu is None else [f"uses {format_cores(worker.cpu)}"]
    return (f"; it {' and '.join(told)}" if told else "") + _says(worker)


def _says(worker: WorkerStatus) -> str:
    said = saying(worker.progress, clean(worker.saying))
    return f"; it says: {said}" if said else ""


def _since(events: Sequence[Event], now: float) -> float | None:
    """Seconds since the last pause, unless it was continued."""
    for event in reversed(events):
        if event.verb in (Verb.PAUSE, Verb.CONTINUE):
            return max(0.0, now - event.at) if event.verb is Verb.PAUSE else None
    return None


def _possible(run: RunStatus, number: int) -> bool:
    """Can there be a task of this number? Where nobody knows how many wait, there may be."""
    tasks = run.tasks
    if tasks.waiting is None:
        return number > 0
    return 0 < number <= tasks.waiting + tasks.running + tasks.done + tasks.failed + tasks.buried


def _unknown(status: Status, name: str) -> str:
    """What was asked for, and the nearest name that somebody has."""
    from difflib import get_close_matches

    names = [each for run in status.runs for each in _names(run)]
    if not names:
        return f"nobody is called {name!r}: no run of this user is alive"
    near = get_close_matches(name, names, 1, 0.5)
    hint = f"the nearest is {near[0]!r}" if near else "name a run, pool, worker or task"
    return f"nobody is called {name!r}; {hint}; `loadkeeper list` shows all names"


def _names(run: RunStatus) -> Iterator[str]:
    yield from (run.id, run.name)
    for pool in run.pools:
        yield from (pool.name, f"{run.id}/{pool.name}")
    for worker in run.workers:
        yield from (worker.id, worker.task)
