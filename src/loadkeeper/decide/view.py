"""One look, put together: every worker with its claims, every run with the domains that it must fit into."""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec import Struct

from ..model import Limits, PoolSeen, Seen
from .claims import Claims, limits_of
from .lines import BUDGET, NODE, Domain, budget_lines, budget_total, node_lines
from .memory import Memory
from .parameters import Parameters
from .workers import Worker, made


class View(Struct, frozen=True):
    seen: Seen
    p: Parameters
    claims: Claims
    pools: tuple[PoolSeen, ...]
    workers: tuple[Worker, ...]
    movable: list[Worker]  # those neither on their way out nor standing by the operator's word
    by_run: dict[str, list[Worker]]
    limits: dict[str, Limits]  # by run
    domains: dict[str, tuple[Domain, ...]]  # by run: the node first, then its budget where it has one

    @property
    def now(self) -> float:
        return self.seen.now

    def of_run(self, run: str) -> list[Worker]:
        return self.by_run.get(run, [])

    def members(self, domain: Domain) -> Sequence[Worker]:
        """Who takes part in a domain: on the node everybody, in a budget its run."""
        return self.workers if domain.gauge == NODE else self.of_run(domain.run)

    def all_move(self, memory: Memory) -> bool:
        """Nobody stands, is about to, or is on its way out: most looks are so, and have little to go through."""
        return not memory.paused and not memory.ending and len(self.movable) == len(self.workers)


def look(seen: Seen, memory: Memory, pools: dict[str, PoolSeen], claims: Claims, p: Parameters) -> View:
    limits = limits_of(pools.values())
    workers = made(seen, memory, pools, p)
    by_run: dict[str, list[Worker]] = {run: [] for run in limits}
    for worker in workers:
        by_run[worker.pool.run].append(worker)
    ground = _Ground(seen, memory, by_run, p)
    domains = {run: _domains(run, limits[run], ground) for run in limits}
    movable = [worker for worker in workers if not worker.leaving and not worker.told_to_stand]
    return View(seen, p, claims, tuple(pools.values()), workers, movable, by_run, limits, domains)


# -------------------------------------------------------------------------------------------------------------- domains


class _Ground(NamedTuple):
    """What domains are drawn on."""

    seen: Seen
    memory: Memory
    by_run: dict[str, list[Worker]]
    p: Parameters


def _domains(run: str, limits: Limits, ground: _Ground) -> tuple[Domain, ...]:
    node = _node(run, limits, ground)
    if limits.workers_memory is None:
        return (node,)
    held = sum(worker.held for worker in ground.by_run[run])
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
    growing = (w.slope or 0.0 for w in ground.by_run[run] if w.id not in memory.paused)
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
