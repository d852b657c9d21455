"""One look, put together: every worker with its claims, every run with the domains that it must fit into."""

from typing import NamedTuple

from msgspec import Struct

from ..model import Limits, PoolSeen, Seen, Want, WorkerSeen, WorkerState
from .claims import Claims, limits_of
from .forecast import is_exiting
from .kinds import usual
from .lines import BUDGET, NODE, Domain, budget_lines, budget_total, node_lines
from .memory import Kind, Memory
from .parameters import Parameters


class Worker(Struct, frozen=True, gc=False):
    """A live worker. Bytes and cores."""

    id: str
    seen: WorkerSeen
    pool: PoolSeen
    held: int  # 0 until swept
    need: float  # what it likely has still to grow
    expected: float
    usual: float  # what of that it holds at a usual time
    variance: float  # of what it holds, bytes squared
    slope: float | None  # bytes/s, None until two sweeps saw it
    cpu: float  # that its kind wants
    leaving: bool  # it is ending or exiting: what it holds comes back
    told_to_stand: bool  # by the operator, or with its whole run
    want: Want  # the operator's


class View(Struct, frozen=True):
    seen: Seen
    p: Parameters
    claims: Claims
    pools: tuple[PoolSeen, ...]
    workers: tuple[Worker, ...]
    movable: list[Worker]  # those neither on their way out nor standing by the operator's word
    limits: dict[str, Limits]  # by run
    domains: dict[str, tuple[Domain, ...]]  # by run: the node first, then its budget where it has one

    @property
    def now(self) -> float:
        return self.seen.now

    def of_run(self, run: str) -> list[Worker]:
        return [worker for worker in self.workers if worker.pool.run == run]

    def members(self, domain: Domain) -> list[Worker]:
        """Who takes part in a domain: on the node everybody, in a budget its run."""
        return list(self.workers) if domain.gauge == NODE else self.of_run(domain.run)


def look(seen: Seen, memory: Memory, pools: dict[str, PoolSeen], claims: Claims, p: Parameters) -> View:
    limits = limits_of(pools.values())
    workers = _workers(seen, memory, pools, p)
    ground = _Ground(seen, memory, workers, p)
    domains = {run: _domains(run, limits[run], ground) for run in limits}
    movable = [worker for worker in workers if not worker.leaving and not worker.told_to_stand]
    return View(seen, p, claims, tuple(pools.values()), workers, movable, limits, domains)


def known_pools(seen: Seen) -> dict[str, PoolSeen]:
    """By id, in order. A worker whose pool nobody reports keeps its place, but nothing starts there."""
    pools = {pool.id: pool for pool in sorted(seen.pools, key=lambda p: p.id)}
    for worker in sorted(seen.workers, key=lambda w: w.id):
        if worker.pool not in pools:
            run = worker.id.rpartition(".")[0]
            pools[worker.pool] = PoolSeen(id=worker.pool, run=run, kind=worker.kind, waiting=0, silent=True)
    return pools


def _workers(seen: Seen, memory: Memory, pools: dict[str, PoolSeen], p: Parameters) -> tuple[Worker, ...]:
    figures: dict[str, tuple[float, float, float]] = {}
    workers = []
    for worker in sorted(seen.workers, key=lambda w: w.id):
        pool, course = pools[worker.pool], memory.workers[worker.id]
        if worker.kind not in figures:
            kind = memory.kinds.get(worker.kind, Kind())
            figures[worker.kind] = (usual(kind, p), kind.fill * (1 - kind.fill), 1.0 if kind.cpu is None else kind.cpu)
        fill, variance, cpu = figures[worker.kind]
        held = course.rss or 0
        want = wanted(worker, pool, seen)
        leaving = (
            worker.state is WorkerState.ENDING
            or worker.id in memory.ending
            or want is Want.STOP
            or is_exiting(worker, course)
        )
        workers.append(
            Worker(
                worker.id,
                worker,
                pool,
                held,
                max(0.0, course.likely - held),
                course.expected,
                fill * course.expected,
                variance * course.expected * course.expected,
                course.slope,
                cpu,
                leaving,
                want is Want.PAUSE or _stands_with_its_run(worker, pool, memory),
                want,
            )
        )
    return tuple(workers)


def wanted(worker: WorkerSeen, pool: PoolSeen, seen: Seen) -> Want:
    """What the operator wants of it: said of the worker, else of its pool. A pool that drains lets it run."""
    want = seen.wants.get(worker.id)
    if want is None:
        want = pool.want
    return Want.RUN if want is Want.DRAIN else want


def _stands_with_its_run(worker: WorkerSeen, pool: PoolSeen, memory: Memory) -> bool:
    """Stopped together with a process manager that does not answer (^Z): nobody would continue it."""
    return pool.silent and worker.state is WorkerState.PAUSED and worker.id not in memory.paused


# -------------------------------------------------------------------------------------------------------------- domains


class _Ground(NamedTuple):
    """What domains are drawn on."""

    seen: Seen
    memory: Memory
    workers: tuple[Worker, ...]
    p: Parameters


def _domains(run: str, limits: Limits, ground: _Ground) -> tuple[Domain, ...]:
    node = _node(run, limits, ground)
    held = sum(worker.held for worker in ground.workers if worker.pool.run == run)
    total = budget_total(limits, ground.seen.available, held)
    return (node,) if total is None else (node, _budget(run, limits, total, total - held, ground))


def _node(run: str, limits: Limits, ground: _Ground) -> Domain:
    seen, trend, p = ground.seen, ground.memory.trend, ground.p
    speed, strange = max(0.0, trend.speed), max(0.0, trend.strange - trend.doubt)
    ahead = None
    if trend.available is not None:
        ahead = trend.available - speed * (p.react + trend.obey) - strange * p.react_strange
    return Domain(
        run=run,
        gauge=NODE,
        total=float(seen.total),
        available=seen.available,
        reckoned=trend.available,
        lines=node_lines(limits, seen.total, p),
        speed=speed,
        strange=strange,
        most=trend.most,
        ahead=ahead,
    )


def _budget(run: str, limits: Limits, total: float, available: float, ground: _Ground) -> Domain:
    """The budget as a node of its own. All growth in it is of workers, so none is strange."""
    memory, p = ground.memory, ground.p
    growing = (w.slope or 0.0 for w in ground.workers if w.pool.run == run and w.id not in memory.paused)
    speed = sum(max(0.0, slope) for slope in growing)
    return Domain(
        run=run,
        gauge=BUDGET,
        total=total,
        available=available,
        reckoned=available,
        lines=budget_lines(limits, total, p),
        speed=speed,
        most=max(memory.most.get(run, 0.0), total),
        ahead=available - speed * (p.react + memory.trend.obey),
    )


def most_of_budgets(view: View) -> dict[str, float]:
    """A budget that is a share shrinks with what others take; what never fits is judged by the largest."""
    return {run: domain.most for run, domains in view.domains.items() for domain in domains if domain.gauge == BUDGET}


def running(view: View, memory: Memory) -> list[Worker]:
    """Those that may grow: neither standing, by our word or the operator's, nor on their way out."""
    paused, ending = memory.paused, memory.ending
    if not paused and not ending:
        return view.movable
    return [worker for worker in view.movable if worker.id not in paused and worker.id not in ending]
