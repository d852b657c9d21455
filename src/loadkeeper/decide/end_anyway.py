"""Ends that no gauge is asked for: above a worker's own cap, for a pause that was ignored or lasts too long; and the
kill of those for whom there is no more time to end by themselves."""

from msgspec.structs import replace

from ..model import Reason, WorkerState
from .end import at_end, choose
from .lines import NODE, Domain
from .memory import End, Memory
from .parameters import Parameters
from .pause import awaited
from .view import View
from .workers import Worker


def over_their_cap(view: View, memory: Memory) -> Memory:
    """Above --memory-per-worker. The second time its floor is above the cap as well: it can never fit."""
    if all(pool.limits.memory_per_worker is None for pool in view.pools):
        return memory
    ends = {}
    for worker in view.workers:
        cap = worker.pool.limits.memory_per_worker
        if cap is not None and worker.held > cap and not worker.leaving and worker.id not in memory.ending:
            bury = worker.seen.floor > cap
            ends[worker.id] = End(view.now, Reason.CAP, "cap", bury=bury, pause=memory.paused.get(worker.id))
    paused = {id: pause for id, pause in memory.paused.items() if id not in ends}
    return replace(memory, ending={**memory.ending, **ends}, paused=paused) if ends else memory


def ignored_their_stop(view: View, memory: Memory) -> Memory:
    """A populating mmap runs on for up to 482 ms after its stop, a writer stalled on dirty pages for 646 (measured):
    near the line there is no time for that."""
    ends = {}
    for worker in view.workers if memory.paused else ():
        domain = view.domains[worker.pool.run][0]
        if not (_runs_on(worker, view, memory) and _is_near(domain, view.p)) or len(view.workers) < 2:
            continue
        if awaited(domain, memory) and not at_end(domain, view.p):
            continue
        ends[worker.id] = End(view.now, Reason.STOP_IGNORED, NODE, kill=True)
    return choose(ends, NODE, view, memory)


def _runs_on(worker: Worker, view: View, memory: Memory) -> bool:
    """It had its time to obey, and a sweep that came after that saw it run."""
    pause, swept, obeyed = memory.paused.get(worker.id), view.seen.swept, worker.seen.obeyed
    if pause is None or swept is None or obeyed is None or worker.leaving:
        return False
    late = min(obeyed, swept - pause.since) > view.p.stop_obeyed
    return late and worker.seen.state is not WorkerState.PAUSED


def _is_near(domain: Domain, p: Parameters) -> bool:
    if domain.available is None or domain.lines.pause is None:
        return False
    return domain.available - p.stop_ahead * domain.speed < domain.pause + p.stop_near * domain.total


def waited_too_long(view: View, memory: Memory) -> Memory:
    """A pause beyond its worker's patience becomes an end, one at a time; its task is given back."""
    if memory.ending or not memory.paused:
        return memory
    tired = [w for w in view.workers if w.id in memory.paused and not w.told_to_stand and _is_tired(w, view, memory)]
    if not tired:
        return memory
    longest = min(tired, key=lambda w: (memory.paused[w.id].since, w.id))
    end = End(view.now, Reason.PATIENCE, NODE, pause=memory.paused[longest.id])
    return choose({longest.id: end}, NODE, view, memory)


def _is_tired(worker: Worker, view: View, memory: Memory) -> bool:
    waited = worker.seen.paused_for + view.now - memory.paused[worker.id].since
    return waited >= min(worker.seen.patience, worker.pool.limits.max_pause)


# ------------------------------------------------------------------------------------------------------------ the kill


def grace_is_over(view: View, memory: Memory) -> Memory:
    """Half-way through the end line there is no more time for a graceful end."""
    if not memory.ending:
        return memory
    ending = {
        worker.id: replace(memory.ending[worker.id], kill=True)
        for worker in view.workers
        if worker.id in memory.ending and needs_kill(worker, view)
    }
    return replace(memory, ending={**memory.ending, **ending}) if ending else memory


def needs_kill(worker: Worker, view: View) -> bool:
    return any(_is_half_way(domain, view.p) for domain in view.domains[worker.pool.run])


def _is_half_way(domain: Domain, p: Parameters) -> bool:
    if domain.available is None or domain.lines.end is None:
        return False
    return domain.available - domain.strange * p.react_kill < domain.end / 2
