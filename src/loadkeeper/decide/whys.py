"""The paused set and the ending list as they are told: each with the reading of this very look."""

from ..model import PAUSES_FOR_MEMORY, Ending, Reason, Want, Why, WorkerState
from .closed import domain_of
from .cpu import FOR_CPU, claimants
from .end_anyway import needs_kill
from .gauges import gauges_of, reading
from .lines import NODE, Domain
from .memory import End, Memory, Pause
from .view import View
from .workers import Worker


def pauses(view: View, memory: Memory) -> dict[str, Why]:
    """Everybody who must stand: by the operator's word or by ours. One that ends must run, to end."""
    told: dict[str, Why] = {}
    if view.all_move(memory):
        return told
    for worker in view.workers:
        ends = worker.id in memory.ending or worker.seen.state is WorkerState.ENDING
        if ends or worker.want is Want.STOP:
            continue
        pause = memory.paused.get(worker.id)
        if worker.want is Want.PAUSE:
            told[worker.id] = Why(Reason.OPERATOR, held=worker.held)
        elif pause is not None:
            told[worker.id] = _why_paused(worker, pause, view, memory)
    return told


def _why_paused(worker: Worker, pause: Pause, view: View, memory: Memory) -> Why:
    if pause.reason in PAUSES_FOR_MEMORY:
        domain = domain_of(pause.gauge, worker.pool.run, view)
        line = domain.lines.pause
        return Why(pause.reason, domain.gauge, domain.reckoned, line, need=worker.need, held=worker.held)
    if pause.reason in FOR_CPU:
        return _why_paused_for_cpu(worker, pause, view, memory)
    gauge = next((g for g in gauges_of(worker.pool.run, view) if g.name == pause.gauge), None)
    line = None if gauge is None else gauge.lines.pause
    return Why(pause.reason, pause.gauge, reading(worker.pool.run, pause.gauge, view.seen), line, held=worker.held)


def _why_paused_for_cpu(worker: Worker, pause: Pause, view: View, memory: Memory) -> Why:
    mine = [c for c in claimants(view, memory) if worker.pool.run in c.runs and c.gauge == pause.gauge]
    busy = None if view.seen.busy is None or not mine else mine[0].busy
    line = mine[0].line if mine else None
    return Why(pause.reason, pause.gauge, busy, line, need=worker.cpu, held=worker.held)


# ------------------------------------------------------------------------------------------------------------- endings


def endings(view: View, memory: Memory) -> dict[str, Ending]:
    """Those that we end, that the operator ends, and, when the grace is over for everybody, all that are ending."""
    told: dict[str, Ending] = {}
    if view.all_move(memory):
        return told
    for worker in view.workers:
        end = memory.ending.get(worker.id)
        if end is not None:
            told[worker.id] = Ending(_why_ended(worker, end, view), kill=end.kill, bury=end.bury)
        elif worker.want is Want.STOP:
            told[worker.id] = Ending(Why(Reason.OPERATOR, held=worker.held), kill=needs_kill(worker, view))
        elif worker.seen.state is WorkerState.ENDING and needs_kill(worker, view):
            domain = view.domains[worker.pool.run][0]
            told[worker.id] = Ending(
                Why(Reason.MEMORY_END, NODE, domain.available, domain.lines.end, held=worker.held), kill=True
            )
    return told


def _why_ended(worker: Worker, end: End, view: View) -> Why:
    if end.reason is Reason.CAP:
        cap = worker.pool.limits.memory_per_worker
        return Why(end.reason, "memory-per-worker", worker.held, cap, held=worker.held)
    if end.reason is Reason.PATIENCE:
        patience = min(worker.seen.patience, worker.pool.limits.max_pause)
        return Why(end.reason, "", None, patience, held=worker.held)
    if end.reason is Reason.GAUGE_END:
        return _why_ended_by_gauge(worker, end, view)
    domain = _domain_by_key(end.gauge, worker, view)
    return Why(end.reason, domain.gauge, domain.available, domain.lines.end, held=worker.held, recovered=end.recovered)


def _why_ended_by_gauge(worker: Worker, end: End, view: View) -> Why:
    gauge = next((g for g in gauges_of(worker.pool.run, view) if g.key == end.gauge), None)
    if gauge is None:
        return Why(end.reason, end.gauge.partition(" ")[0], held=worker.held)
    return Why(end.reason, gauge.name, gauge.reading, gauge.lines.end, held=worker.held)


def _domain_by_key(key: str, worker: Worker, view: View) -> Domain:
    domains = view.domains[worker.pool.run]
    return next((domain for domain in domains if domain.key == key), domains[0])
