"""A moment of the past in sentences: what was decided, why, and what would have changed it."""

from collections.abc import Callable, Iterator
from datetime import datetime

from ..decide import Memory
from ..decide.counterfactual import Kind, More, least_more
from ..model import Decision, PoolVerdict, Reason, Seen, Why, WorkerSeen, WorkerState
from ..record.sentences import sentence
from ..units import format_cores, format_duration, format_size
from .explain import Explained

_BUDGET = frozenset({Reason.BUDGET, Reason.BUDGET_PAUSE, Reason.BUDGET_END})
_MEMORY = frozenset(
    {Reason.MEMORY, Reason.OVERDRAWN, Reason.MEMORY_PAUSE, Reason.LEAD, Reason.MEMORY_END, Reason.MEMORY_AHEAD}
)
_CORES = frozenset({Reason.CPU, Reason.FOREIGN_CPU, Reason.CPU_PROMISE})


class Past:
    """One look of the past; ``before`` is what was remembered then."""

    def __init__(self, seen: Seen, before: Memory, decision: Decision, at: float) -> None:
        self.seen, self.before, self.decision, self.at = seen, before, decision, at


def explain_moment(past: Past, since: dict[str, Past], run: str, name: str, began: float) -> list[Explained]:
    """``since``: the looks at which workers were paused or ended. ``began``: seconds since the epoch."""
    return list(_told(past, since, run, name, began))


def _told(past: Past, since: dict[str, Past], run: str, name: str, began: float) -> Iterator[Explained]:
    after = format_duration(max(0.0, past.at - began))
    subject = f"run {run} {name}".rstrip()
    yield Explained(subject, f"{_clock(past.at)}, {after} after it began; {_node(past.seen)}")
    for pool in (pool for pool in past.seen.pools if pool.run == run):
        workers = [worker for worker in past.seen.workers if worker.pool == pool.id]
        verdict = past.decision.pools.get(pool.id)
        if verdict is not None:
            told = f"{_workers(workers)}, {verdict.slots} slot{'' if verdict.slots == 1 else 's'}"
            yield Explained(subject, "; ".join([told, *_of_pool(pool.id, pool.kind, verdict, past, run)]))
        for worker in workers:
            yield from _of_worker(worker, past, since.get(worker.id, past), run)


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def _node(seen: Seen) -> str:
    memory = "memory unknown" if seen.available is None else f"{format_size(seen.available)} available"
    busy = "CPU unknown" if seen.busy is None else f"{format_cores(seen.busy)} of {seen.cpus:g} busy"
    return f"{memory}, {busy}"


def _workers(workers: list[WorkerSeen]) -> str:
    ran = sum(worker.state is WorkerState.RUNNING for worker in workers)
    return f"{len(workers)} worker{'' if len(workers) == 1 else 's'} lived, {ran} of them ran"


# ------------------------------------------------------------------------------------------- what would have changed it


def _of_pool(pool: str, kind: str, verdict: PoolVerdict, past: Past, run: str) -> Iterator[str]:
    if verdict.why is None:
        return
    yield sentence(verdict.why, subject=pool.rpartition("/")[2], kind=kind)

    def has_more(decision: Decision) -> bool:
        return decision.pools[pool].slots > verdict.slots

    if more := _more(verdict.why, "it would have had one slot more", past, run, has_more):
        yield more


def _of_worker(worker: WorkerSeen, past: Past, then: Past, run: str) -> Iterator[Explained]:
    """``then``: the look at which it was paused or ended."""
    ending, paused = then.decision.ending.get(worker.id), then.decision.paused.get(worker.id)
    why = ending.why if ending is not None else paused
    if why is None or worker.id not in {*past.decision.ending, *past.decision.paused}:
        return

    def is_spared(decision: Decision) -> bool:
        return worker.id not in decision.paused and worker.id not in decision.ending

    told = [f"since {_clock(then.at)}: {sentence(why)}"]
    if more := _more(why, "then it would have gone on", then, run, is_spared):
        told.append(more)
    yield Explained(f"worker {worker.id}", "; ".join(told))


def _more(why: Why, what: str, past: Past, run: str, is_other: Callable[[Decision], bool]) -> str:
    """``with 300 MiB more available it would have gone on``; empty where it was no matter of more."""
    if (kind := _kind(why)) is None:
        return ""
    found = least_more(past.seen, past.before, kind, run, is_other)
    return "more of that alone would not have helped" if found is None else f"{_with(found)} {what}"


def _kind(why: Why) -> Kind | None:
    if why.reason in _BUDGET:
        return Kind.BUDGET
    if why.reason in _MEMORY:
        return Kind.BUDGET if why.gauge == "workers-memory" else Kind.AVAILABLE
    return Kind.CORES if why.reason in _CORES else None


def _with(more: More) -> str:
    if more.kind is Kind.CORES:
        return f"with {format_cores(more.amount)} more"
    of = "available" if more.kind is Kind.AVAILABLE else "of --workers-memory"
    return f"with {format_size(more.amount)} more {of}"
