"""When to look again, when to sweep, and when a run gives up."""

from msgspec.structs import replace

from ..model import Reason, Why, WorkerState
from .lines import NODE, Domain
from .memory import Memory
from .view import View


def next_look(view: View, memory: Memory) -> float:
    """What a burst could take, not what the present speed takes: a process can begin at any time to take 2.5 GiB/s
    and more, and a look that comes 41 ms late, after a sleep of 96, lost a node of 1 GiB (measured)."""
    p = view.p
    look = min(p.look_calm + p.look_each * len(view.workers), p.look_calmest) if is_calm(view, memory) else p.look_most
    for domain in _node_domains(view):
        if domain.room is not None and view.workers:
            look = min(look, max(p.look_least, p.look_share * domain.room / _burst(view)))
    if view.now - memory.paused_at < p.look_paused_for:
        look = min(look, p.look_paused)
    return look if view.seen.busy is not None else min(look, p.look_blind)


def _burst(view: View) -> float:
    """Bytes a second that all cores together could take."""
    return view.p.burst * max(view.seen.cpus, 1.0)


def is_calm(view: View, memory: Memory) -> bool:
    """Nobody stands or leaves, and even a burst would need some seconds to any line."""
    if memory.paused or memory.ending or memory.load.throttles:
        return False
    rooms = [domain.room for domains in view.domains.values() for domain in domains]
    return all(room is not None and room > view.p.calm * _burst(view) for room in rooms)


def next_sweep(view: View, memory: Memory) -> float:
    """Fast while available falls or is low, but never so often that reading the workers costs more than 2 % of a
    core; seldom while all is calm."""
    p, count = view.p, len(view.workers)
    if is_calm(view, memory):
        return p.sweep_most
    domains = [domain for domains in view.domains.values() for domain in domains]
    fast = any(
        d.speed > p.sweep_falling * d.total or d.reckoned is None or d.reckoned < p.sweep_low * d.total for d in domains
    )
    least = p.sweep_near if fast or _somebody_runs_on(view, memory) else p.sweep_calm
    return min(p.sweep_most, max(least, p.sweep_each * count))


def _somebody_runs_on(view: View, memory: Memory) -> bool:
    """Somebody was told to stand and has not been seen to: only a sweep tells."""
    return bool(memory.paused) and any(
        worker.id in memory.paused and not worker.leaving and worker.seen.state is not WorkerState.PAUSED
        for worker in view.workers
    )


def urgent(view: View) -> tuple[str, ...]:
    """Runs for which room is gone: whoever was asked to stand at a checkpoint is stopped at once."""
    return tuple(
        run for run, domains in view.domains.items() if any(d.room is not None and d.room < 0 for d in domains)
    )


def critical(view: View, memory: Memory) -> tuple[dict[str, Why], Memory]:
    """Runs that have work, nobody left to end, and memory below their end line for `give_up`: they give up."""
    since = {}
    for domain in _node_domains(view):
        if _is_lost(view, domain.run) and domain.available is not None and domain.available < domain.end:
            since[domain.run] = memory.critical.get(domain.run, view.now)
    given_up = {run: _why(run, view) for run, at in since.items() if _is_over(view.limits[run].give_up, view.now - at)}
    return given_up, replace(memory, critical=since)


def _node_domains(view: View) -> list[Domain]:
    return [domain for domains in view.domains.values() for domain in domains if domain.gauge == NODE]


def _is_lost(view: View, run: str) -> bool:
    """Nobody of ours lives whose end would help, and there is work."""
    return not view.workers and any(pool.run == run and pool.waiting != 0 for pool in view.pools)


def _is_over(give_up: float | None, seconds: float) -> bool:
    return give_up is not None and seconds >= give_up


def _why(run: str, view: View) -> Why:
    domain = view.domains[run][0]
    return Why(Reason.MEMORY_END, NODE, domain.available, domain.lines.end)
