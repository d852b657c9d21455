"""Ending workers: only when pausing cannot help, those that lose the least work per byte, enough of them at once,
never the lead. Then the effect is awaited.
"""

from msgspec.structs import replace

from ..model import Reason, WorkerState
from .lines import BUDGET, Domain
from .memory import BackOff, End, Memory
from .parameters import Parameters
from .pause import awaited, lead, lead_need, within
from .view import View, running
from .workers import Worker


def settle(view: View, memory: Memory) -> Memory:
    """Forget what is over: awaited workers that are gone, and ends not yet begun that nobody needs any more."""
    if not memory.ending and not memory.paused:
        return memory
    live = {worker.id: worker for worker in view.workers}
    ending = {id: end for id, end in memory.ending.items() if id in live}
    if len(ending) < len(memory.ending):
        memory = replace(memory, ending=ending, settled_at=view.now)
    paused = {id: pause for id, pause in memory.paused.items() if id in live}
    memory = replace(memory, paused=paused)
    for id, end in sorted(ending.items()):
        if _begun(live[id]) or end.recovered is None:
            continue
        if _is_back(live[id], end, view):
            memory = _drop(id, end, memory)
        elif _is_refused(live[id], end, view):
            memory = replace(_drop(id, end, memory), refused=memory.refused | {id})
    return replace(memory, refused=memory.refused & live.keys()) if memory.refused else memory


def _begun(worker: Worker) -> bool:
    return worker.seen.state is WorkerState.ENDING or worker.seen.exiting


def _is_back(worker: Worker, end: End, view: View) -> bool:
    """Memory has come back by itself."""
    domain = next((d for d in view.domains[worker.pool.run] if d.key == end.gauge), None)
    if domain is None or domain.available is None or end.recovered is None:
        return False
    return domain.available > end.recovered


def _is_refused(worker: Worker, end: End, view: View) -> bool:
    """Its process manager, which looks once more before the signal, found that memory had come back for a moment, and
    nothing was done: what is awaited would never come. A kill, too, is dropped so."""
    return not worker.pool.silent and view.now - end.since > view.p.begin_most


def _drop(id: str, end: End, memory: Memory) -> Memory:
    """One that stood goes on standing: it is continued only together with its TERM."""
    ending = {other: its for other, its in memory.ending.items() if other != id}
    paused = memory.paused if end.pause is None else {**memory.paused, id: end.pause}
    return replace(memory, ending=ending, paused=paused)


# ---------------------------------------------------------------------------------------------------- at the end line


def end(view: View, memory: Memory) -> Memory:
    for domain in _node_first(view):
        if at_end(domain, view.p) and not awaited(domain, memory):
            memory = _make_room(domain, view, memory)
    return memory


def _node_first(view: View) -> list[Domain]:
    domains = [domain for of_run in view.domains.values() for domain in of_run if domain.lines.end is not None]
    return sorted(domains, key=lambda d: (d.gauge == BUDGET, -d.end, d.run))


def at_end(domain: Domain, p: Parameters) -> bool:
    """Below the end line, or somebody else's growth, which no pause stops, is about to take it there."""
    if domain.available is None or domain.lines.end is None:
        return False
    return domain.available - domain.strange * p.react_end < domain.end


def _make_room(domain: Domain, view: View, memory: Memory) -> Memory:
    staying = [w for w in view.workers if w.id not in memory.ending and not w.leaving]
    able = [worker for worker in staying if worker.pool.run == domain.run]
    first = lead(within(domain, running(view, memory)) or within(domain, staying))
    others = [worker for worker in able if worker is not first]
    free = _free_soon(domain, view, memory)
    if free >= _goal(domain, view, memory):
        return memory
    if others:
        return _end_all(_victims(others, domain, view, memory, free), domain, view, memory)
    if able and domain.available is not None and domain.available < domain.end:
        return _end_all(able, domain, view, memory)  # alone, and at the line itself, not in a forecast
    return memory


def _free_soon(domain: Domain, view: View, memory: Memory) -> float:
    """What is available, and what those on their way out hold."""
    leaving = [worker for worker in view.workers if worker.leaving or worker.id in memory.ending]
    return (domain.available or 0.0) + sum(worker.held for worker in within(domain, leaving))


def _goal(domain: Domain, view: View, memory: Memory) -> float:
    """Enough above the pause line for the lead to finish, within reason."""
    p, total = view.p, domain.total
    need = lead_need(within(domain, running(view, memory)), total, p)
    return domain.pause + min(max(need, p.goal_least * total), p.goal_most * total) + domain.strange * p.react_goal


def _victims(others: list[Worker], domain: Domain, view: View, memory: Memory, free: float) -> list[Worker]:
    goal, chosen = _goal(domain, view, memory), []
    for worker in sorted(others, key=lambda w: (_loss(w, view.p), w.id)):
        if free >= goal:
            break
        chosen.append(worker)
        free += worker.held
    return chosen


def _loss(worker: Worker, p: Parameters) -> float:
    """Seconds of work lost for each byte that comes back."""
    return (worker.seen.active + p.victim_head_start) / max(worker.held, 1)


def _end_all(chosen: list[Worker], domain: Domain, view: View, memory: Memory) -> Memory:
    recovered = max(domain.pause, (domain.available or 0.0) + view.p.drop_rise * domain.total)
    ends = {}
    for worker in chosen:
        bury = never_fits(worker, domain, view)
        reason = Reason.NEVER_FITS if bury else _reason(domain)
        pause = memory.paused.get(worker.id)
        asked = None if worker.id in memory.refused else recovered
        ends[worker.id] = End(view.now, reason, domain.key, asked, bury=bury, pause=pause)
    return choose(ends, domain.key, view, memory)


def choose(ends: dict[str, End], key: str, view: View, memory: Memory) -> Memory:
    """An end holds admission for 1, 2, 4, 8 s: what was just too much will be too much again."""
    if not ends:
        return memory
    p, before = view.p, memory.back_off.get(key)
    seconds = p.back_off
    if before is not None and view.now - before.ended_at < p.back_off_forget:
        seconds = min(2 * before.seconds, p.back_off_most)
    paused = {id: pause for id, pause in memory.paused.items() if id not in ends}
    back_off = {**memory.back_off, key: BackOff(view.now, seconds)}
    return replace(memory, paused=paused, ending={**memory.ending, **ends}, back_off=back_off)


def _reason(domain: Domain) -> Reason:
    if domain.gauge == BUDGET:
        return Reason.BUDGET_END
    return Reason.MEMORY_END if (domain.available or 0.0) < domain.end else Reason.MEMORY_AHEAD


def never_fits(worker: Worker, domain: Domain, view: View) -> bool:
    """Alone, and all there is was not enough: it holds nearly all of it, or it was ended at this size before and
    hardly anybody else holds anything. What others took never buries a task."""
    if any(other.id != worker.id for other in view.members(domain)):
        return False
    p, total = view.p, domain.total
    if worker.held >= domain.most - domain.end - p.never_fits * total:
        return True
    again = worker.seen.floor >= p.again * worker.held > 0
    return again and (domain.available or 0.0) + worker.held >= domain.most - p.stood_alone * total
