"""A worker that is alone under a promised line and wider than it runs for a share of the time."""

from msgspec.structs import replace

from .cpu import Claimant, claimants
from .memory import Memory
from .view import View, running
from .workers import Worker


def throttle(view: View, memory: Memory) -> Memory:
    """A lone worker wider than a promised line cannot be paused for it: it runs for a share of the time (measured:
    without, `--cpu 50%` with 4-threaded workers on 2 cores ran at 93 %). The share follows what it is seen to take."""
    load, p = memory.load, view.p
    if view.seen.busy is None:
        return memory
    if not load.throttles and not any(limits.cpu_promised or limits.workers_cpu for limits in view.limits.values()):
        return memory
    throttles = dict(load.throttles)
    wide = {worker.id: (worker, claimant) for worker, claimant in _lone(view, memory)}
    throttles = {id: share for id, share in throttles.items() if id in wide}
    if view.now - load.throttled_at < p.throttle_gap and throttles == load.throttles:
        return memory
    for id, (worker, claimant) in wide.items():
        share = throttles.get(id, 1.0) * _correction(worker, claimant)
        if share < 1 / 1.05 or (id in throttles and share < 1):
            throttles[id] = max(p.throttle_least, share)
        else:
            throttles.pop(id, None)
    return replace(memory, load=replace(load, throttles=throttles, throttled_at=view.now))


def _lone(view: View, memory: Memory) -> list[tuple[Worker, Claimant]]:
    """Running workers that are alone under a promised line, each with the tightest such line."""
    alone: dict[str, tuple[Worker, Claimant]] = {}
    run = running(view, memory)
    for claimant in claimants(view, memory):
        members = [worker for worker in run if worker.pool.run in claimant.runs]
        if not claimant.own_too or len(members) != 1:
            continue
        worker = members[0]
        if worker.seen.cpu is None or not worker.pool.pausable:
            continue
        if worker.id not in alone or claimant.line < alone[worker.id][1].line:
            alone[worker.id] = (worker, claimant)
    return list(alone.values())


def _correction(worker: Worker, claimant: Claimant) -> float:
    """Toward the line, by at most half or double at a time: the gauge follows with some delay."""
    takes = max(worker.seen.cpu or 0.0, 0.01)
    left = max(claimant.line - claimant.foreign, 0.0)
    return min(2.0, max(0.5, left / takes))
