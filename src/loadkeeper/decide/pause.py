"""Pausing and continuing for memory.

Pausing frees nothing: it only stops growth. So what the *lead*, the worker with the least left to grow, still needs is
kept free beforehand. When that is in danger whoever grows is paused but the lead; it finishes, gives back all that it
holds, and the others go on, longest wait first.
"""

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from ..model import PAUSES_FOR_MEMORY, Reason, Seen, WorkerSeen, WorkerState
from .forecast import measure_anew
from .lines import BUDGET, NODE, Domain
from .memory import End, Memory, Pause
from .parameters import Parameters
from .view import View, running
from .workers import Worker


def adopt(seen: Seen, memory: Memory) -> Memory:
    """Workers that stand and that we know nothing of: an earlier load manager paused them, so they wait for memory."""
    courses = memory.workers
    unknown = [w for w in seen.workers if w.state is WorkerState.PAUSED and w.id not in courses]
    if not unknown:
        return memory
    return replace(memory, paused={**memory.paused, **{worker.id: _adopted(worker, seen.now) for worker in unknown}})


def _adopted(worker: WorkerSeen, now: float) -> Pause:
    since = now if worker.paused_since is None else min(worker.paused_since, now)
    return Pause(since=since, reason=Reason.MEMORY_PAUSE)


def relieve(view: View, memory: Memory) -> Memory:
    """Pause whoever endangers a domain's lead; where nobody had to be, continue one; see that one always runs."""
    before = memory.paused
    for domain in tightest_first(view):
        memory = _pause_for(domain, view, memory)
    if memory.paused.keys() != before.keys():
        return measure_anew(replace(memory, paused_at=view.now), view.now, view.p)
    return _continue_one(view, memory)


def tightest_first(view: View) -> list[Domain]:
    """Budgets before the node, so that the node's lead is one that its own budget lets run; then by room."""
    domains = [domain for of_run in view.domains.values() for domain in of_run if domain.room is not None]
    return sorted(domains, key=lambda d: (d.gauge != BUDGET, d.room, d.run))


# --------------------------------------------------------------------------------------------------------------- lead


def lead(workers: Iterable[Worker]) -> Worker | None:
    """The one with the least left to grow; of equals the one that began first. (simulated: passing over those whose
    need is too small to be waited for, as `lead_need` does, gives a seventh more ends)"""
    return min(workers, key=lambda w: (w.need, w.seen.started, w.id), default=None)


def lead_need(workers: Iterable[Worker], total: float, p: Parameters) -> float:
    """What must be kept free so that somebody can finish. Needs below 1 % of total come out of the pause line."""
    least = p.still * total
    return min([worker.need for worker in workers if worker.need > least], default=0.0)


def within(domain: Domain, workers: Sequence[Worker]) -> Sequence[Worker]:
    """Of some workers those that the domain is about: on the node all, in a budget its run's."""
    return workers if domain.gauge == NODE else [worker for worker in workers if worker.pool.run == domain.run]


# -------------------------------------------------------------------------------------------------------------- pausing


def endangered(domain: Domain, view: View, memory: Memory) -> bool:
    """What the lead still needs is no longer there above the pause line."""
    room = domain.room
    if room is None:
        return False
    return room < 0 or room < lead_need(within(domain, running(view, memory)), domain.total, view.p)


def _pause_for(domain: Domain, view: View, memory: Memory) -> Memory:
    if not endangered(domain, view, memory):
        return memory
    run = running(view, memory)
    first = lead(within(domain, run))
    grows = view.p.grows * domain.total / max(len(within(domain, run)), 1)
    chosen = [
        worker
        for worker in run
        if worker.pool.run == domain.run
        and worker.pool.pausable
        and not (worker is first and not _lead_too(domain, view, memory))
        and not _may_stay(worker, domain, grows)
    ]
    pause = Pause(since=view.now, reason=_reason(domain), gauge=domain.gauge)
    return replace(memory, paused={**memory.paused, **{worker.id: pause for worker in chosen}})


def _lead_too(domain: Domain, view: View, memory: Memory) -> bool:
    """While memory comes back from those who leave, ended by us or by themselves, even the lead waits for it below the
    end line."""
    if domain.ahead is None or domain.ahead >= domain.end:
        return False
    return bool(awaited(domain, memory)) or any(worker.leaving and worker.held for worker in view.members(domain))


def awaited(domain: Domain, memory: Memory) -> dict[str, End]:
    """The ends whose effect a domain waits for: on the node all for its memory, in a budget those for that budget."""
    return {id: end for id, end in memory.ending.items() if end.gauge == domain.key}


def _may_stay(worker: Worker, domain: Domain, grows: float) -> bool:
    """One that does not grow gains nobody anything by standing, as long as the end is not near. ``grows``: bytes a
    second; so little that it is little for all who run together, for many that each take a trickle take a stream."""
    if domain.ahead is None or domain.ahead <= (domain.pause + domain.end) / 2:
        return False
    return worker.slope is not None and worker.slope < grows


def _reason(domain: Domain) -> Reason:
    if (domain.room or 0.0) >= 0:
        return Reason.LEAD
    return Reason.BUDGET_PAUSE if domain.gauge == BUDGET else Reason.MEMORY_PAUSE


# ----------------------------------------------------------------------------------------------------------- continuing


def _continue_one(view: View, memory: Memory) -> Memory:
    """The longest wait first. One at a time, for what it takes shows only after a while."""
    p, now = view.p, view.now
    if not memory.paused or view.seen.available is None:
        return memory
    if now - memory.paused_at < p.dwell or now - memory.continued_at < p.gap:
        return memory
    run = running(view, memory)
    for worker in waiting(view, memory):
        if now - memory.paused[worker.id].since >= p.dwell and _may_go_on(worker, run, view):
            return go_on(worker, memory, now)
    return memory


def waiting(view: View, memory: Memory) -> list[Worker]:
    """Those paused for memory, longest wait first; the operator's are not ours to continue."""
    paused = [w for w in view.workers if w.id in memory.paused and not w.leaving and not w.told_to_stand]
    ours = [worker for worker in paused if memory.paused[worker.id].reason in PAUSES_FOR_MEMORY]
    return sorted(ours, key=lambda w: (memory.paused[w.id].since, w.id))


def _may_go_on(worker: Worker, run: Sequence[Worker], view: View) -> bool:
    """Nobody has to be paused, and with it running what the lead needs fits 1.5 times into the room, in every domain
    that it is in."""
    for domain in view.domains[worker.pool.run]:
        if domain.room is None:
            continue
        before = lead_need(within(domain, run), domain.total, view.p)
        after = min(before or worker.need, worker.need) if worker.need > view.p.still * domain.total else before
        if domain.room < before or domain.room < view.p.continue_lead * after:
            return False
    return True


def go_on(worker: Worker, memory: Memory, now: float) -> Memory:
    paused = {id: pause for id, pause in memory.paused.items() if id != worker.id}
    return replace(memory, paused=paused, continued_at=now)


def one_always_runs(view: View, memory: Memory) -> Memory:
    """When nobody runs and nobody is about to leave, the one with the least left to grow goes on, whatever the lines
    say: it finishes, or shows that it cannot."""
    if not memory.paused or running(view, memory) or memory.ending or any(worker.leaving for worker in view.workers):
        return memory
    able = [w for w in view.workers if w.id in memory.paused and not w.told_to_stand]
    if not able:
        return memory
    return go_on(min(able, key=lambda w: (w.pool.silent, w.need, w.seen.started, w.id)), memory, view.now)
