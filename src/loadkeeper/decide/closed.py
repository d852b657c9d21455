"""What closes admission to a pool altogether, whatever space there is."""

from ..model import PAUSES_FOR_MEMORY, PoolSeen, Reason, Want, Why, WorkerState
from .cpu import FOR_CPU
from .gauges import gauges_of, reading
from .lines import BUDGET_CPU, CPU, NODE, Domain
from .memory import BackOff, Memory, Pause
from .view import View
from .workers import Worker


def closed(pool: PoolSeen, view: View, memory: Memory) -> Why | None:
    """The first that holds. None: the pool may have what there is space for."""
    return (
        _told(pool)
        or _nothing_to_do(pool)
        or _blind(pool, view)
        or _paused_first(pool, view, memory)
        or _end_awaited(pool, view, memory)
        or _backing_off(pool, view, memory)
        or _gauge_at_hold(pool, view)
    )


def is_frozen(why: Why) -> bool:
    """Nothing is added, but a worker that ends may be replaced by one of like need."""
    return why.reason is Reason.GAUGE or (why.reason is Reason.UNKNOWN and why.gauge != NODE)


def _told(pool: PoolSeen) -> Why | None:
    if pool.want is not Want.RUN:
        return Why(Reason.OPERATOR)
    return Why(Reason.SILENT) if pool.silent else None


def _nothing_to_do(pool: PoolSeen) -> Why | None:
    return Why(Reason.WORK_DONE) if pool.waiting == 0 else None


def _blind(pool: PoolSeen, view: View) -> Why | None:
    domain = view.domains[pool.run][0]
    if domain.available is None and domain.lines.hold is not None:
        return Why(Reason.UNKNOWN, NODE, None, domain.hold)
    return None


# ------------------------------------------------------------------------------------------------- paused workers first


def _paused_first(pool: PoolSeen, view: View, memory: Memory) -> Why | None:
    """Paused workers go on before new ones start, so nobody starves: the others drain, and then it is their turn."""
    if not memory.paused:
        return None
    standing = [w for w in view.workers if w.id in memory.paused and not w.told_to_stand and not _ends(w)]
    mine = [worker for worker in standing if _concerns(memory.paused[worker.id], worker, pool)]
    if not mine:
        return None
    first = min(mine, key=lambda w: (memory.paused[w.id].since, w.id))
    return _waits_for(first, memory.paused[first.id], pool, view, memory)


def _ends(worker: Worker) -> bool:
    return worker.seen.state is WorkerState.ENDING


def _concerns(pause: Pause, worker: Worker, pool: PoolSeen) -> bool:
    """A pause for what everybody shares holds everybody; one for the run's own line only the run."""
    common = pause.reason is Reason.FOREIGN_CPU or (pause.reason in PAUSES_FOR_MEMORY and pause.gauge == NODE)
    return common or worker.pool.run == pool.run


def _waits_for(worker: Worker, pause: Pause, pool: PoolSeen, view: View, memory: Memory) -> Why:
    if pause.reason in FOR_CPU:
        return Why(Reason.PAUSED_FIRST, pause.gauge, _busy(pause.gauge, pool, view, memory), need=worker.cpu)
    if pause.reason in PAUSES_FOR_MEMORY:
        domain = domain_of(pause.gauge, worker.pool.run, view)
        return Why(Reason.PAUSED_FIRST, domain.gauge, domain.available, domain.lines.pause, need=worker.need)
    return Why(Reason.PAUSED_FIRST, pause.gauge, reading(worker.pool.run, pause.gauge, view.seen))


def _busy(gauge: str, pool: PoolSeen, view: View, memory: Memory) -> float | None:
    if gauge == BUDGET_CPU:
        return sum(worker.seen.cpu or 0.0 for worker in view.of_run(pool.run))
    return memory.load.busy if gauge == CPU and view.seen.busy is not None else None


def domain_of(gauge: str, run: str, view: View) -> Domain:
    """The run's domain of that gauge; a budget that was taken away meanwhile leaves the node."""
    domains = view.domains[run]
    return next((domain for domain in domains if domain.gauge == gauge), domains[0])


# ----------------------------------------------------------------------------------------------------------- after ends


def _end_awaited(pool: PoolSeen, view: View, memory: Memory) -> Why | None:
    of_run = {worker.id for worker in view.of_run(pool.run)}
    awaits = any(end.gauge == NODE or id in of_run for id, end in memory.ending.items())
    if not awaits and view.now - memory.settled_at >= view.p.settle:
        return None
    domain = view.domains[pool.run][0]
    return Why(Reason.END_AWAITED, NODE, domain.available, domain.lines.hold)


def _backing_off(pool: PoolSeen, view: View, memory: Memory) -> Why | None:
    for domain in view.domains[pool.run]:
        back_off = memory.back_off.get(domain.key)
        if back_off is not None and _lasts(back_off, view.now) and not _fits_alone(pool, domain, view):
            return Why(Reason.BACK_OFF, domain.gauge, domain.available, domain.lines.hold)
    return None


def _fits_alone(pool: PoolSeen, domain: Domain, view: View) -> bool:
    """Where nobody is left there is nobody to be in the way of: one that likely fits may start at once. (measured: half
    of the time that a round in 1 GiB was slower than it had to be was back-off in front of an empty node)"""
    if domain.available is None or view.members(domain):
        return False
    return view.claims.next(pool).likely <= domain.available - domain.hold


def _lasts(back_off: BackOff, now: float) -> bool:
    return now - back_off.ended_at < back_off.seconds


# --------------------------------------------------------------------------------------------------------- other gauges


def _gauge_at_hold(pool: PoolSeen, view: View) -> Why | None:
    for gauge in gauges_of(pool.run, view):
        hold = gauge.lines.hold if gauge.lines.hold is not None else gauge.lines.pause
        if gauge.reading is None:
            return Why(Reason.UNKNOWN, gauge.name, None, hold)
        if gauge.is_at(hold):
            return Why(Reason.GAUGE, gauge.name, gauge.reading, hold)
    return None
