"""CPU: what the running workers want of it, and pauses for it. CPU is never a reason to end.

A *claimant* is a set of runs that share a line: all runs with the default line, which somebody else's load is held
against; each run with a line that its user set, for that is a promise; and each run with a CPU budget of its own.
"""

from math import exp

from msgspec import Struct
from msgspec.structs import replace

from ..model import Reason, Seen
from .lines import BUDGET_CPU, CPU
from .memory import Load, Memory, Pause
from .parameters import Parameters
from .pause import go_on
from .view import View, running
from .workers import Worker

FOR_CPU = frozenset({Reason.FOREIGN_CPU, Reason.CPU_PROMISE, Reason.BUDGET_CPU_PAUSE})


class Claimant(Struct, frozen=True):
    """Cores. ``busy`` is what the gauge of this line shows, ``demand`` what those that run want."""

    key: str
    gauge: str
    runs: frozenset[str]
    line: float
    busy: float
    demand: float
    foreign: float
    own_too: bool = False  # own excess is paused as well, not only what foreign load takes away

    def is_over(self, one: float, p: Parameters) -> bool:
        """By more than one worker, so that it does not flap."""
        if not self.own_too and self.foreign == 0:
            return False
        return self.demand + self.foreign > self.line + one and self.busy > p.full * self.line

    def has_place(self, one: float, p: Parameters) -> bool:
        return self.demand + self.foreign + (1 - p.cpu_slack) * one <= self.line


def measure(seen: Seen, memory: Memory, p: Parameters) -> Memory:
    """Smooth what the gauge says; unknown changes nothing."""
    load = memory.load
    if seen.busy is None or (load.at is not None and seen.now <= load.at):
        return memory
    foreign = max(0.0, seen.busy - seen.own)
    if load.at is None:
        return replace(memory, load=replace(load, at=seen.now, busy=seen.busy, foreign=foreign))
    weight = 1 - exp(-(seen.now - load.at) / p.busy_filter)
    smooth = replace(
        load,
        at=seen.now,
        busy=load.busy + (seen.busy - load.busy) * weight,
        foreign=load.foreign + (foreign - load.foreign) * weight,
    )
    return replace(memory, load=smooth)


def demand(workers: list[Worker]) -> float:
    return sum([worker.cpu for worker in workers])


# ------------------------------------------------------------------------------------------------------------ claimants


def claimants(view: View, memory: Memory) -> list[Claimant]:
    found, cpus, run, load = [], view.seen.cpus, running(view, memory), memory.load
    if load.foreign < view.p.foreign_least * cpus:
        load = replace(load, foreign=0.0)
    ordinary = frozenset(r for r, limits in view.limits.items() if limits.cpu is not None and not limits.cpu_promised)
    if ordinary:
        found.append(_on_node(CPU, ordinary, cpus, run, load))
    for name, limits in view.limits.items():
        if limits.cpu is not None and limits.cpu_promised:
            promised = _on_node(f"{CPU} {name}", frozenset({name}), limits.cpu.of(cpus), run, load)
            found.append(replace(promised, own_too=True))
        if limits.workers_cpu is not None:
            found.append(_in_budget(name, limits.workers_cpu.of(cpus), run))
    return found


def _on_node(key: str, runs: frozenset[str], line: float, run: list[Worker], load: Load) -> Claimant:
    return Claimant(key, CPU, runs, line, load.busy, demand(run), load.foreign)


def _in_budget(name: str, line: float, run: list[Worker]) -> Claimant:
    members = [worker for worker in run if worker.pool.run == name]
    busy = sum(worker.seen.cpu or 0.0 for worker in members)
    return Claimant(f"{BUDGET_CPU} {name}", BUDGET_CPU, frozenset({name}), line, busy, demand(members), 0.0, True)


# -------------------------------------------------------------------------------------------------- pausing, continuing


def relieve_cpu(view: View, memory: Memory) -> Memory:
    if view.seen.busy is None:
        return memory
    for claimant in claimants(view, memory):
        memory = _pause_for(claimant, view, memory)
    return _continue_one(view, memory)


def youngest_of_lowest(workers: list[Worker]) -> Worker | None:
    """Whoever loses least by standing. Never the last one: each run goes on with one at least."""
    able = [worker for worker in workers if worker.pool.pausable]
    if len(workers) < 2 or not able:
        return None
    return min(able, key=lambda w: (w.pool.priority, -w.seen.started, w.id))


def _pause_for(claimant: Claimant, view: View, memory: Memory) -> Memory:
    p, load, key = view.p, memory.load, claimant.key
    if not claimant.is_over(0.0, p):  # not even by a worker that wants nothing
        return _not_over(key, memory)
    members = [worker for worker in running(view, memory) if worker.pool.run in claimant.runs]
    worker = youngest_of_lowest(members)
    if worker is None or not claimant.is_over(worker.cpu, p):
        return _not_over(key, memory)
    since = load.over_since.get(key, view.now)
    load = replace(load, over_since={**load.over_since, key: since})
    if view.now - since < p.cpu_dwell or view.now - load.paused_at.get(key, since) < p.cpu_gap:
        # the first pause comes when the dwell is over, and since is at least as long ago as the gap
        return replace(memory, load=load)
    load = replace(load, paused_at={**load.paused_at, key: view.now})
    pause = Pause(view.now, _reason(claimant), claimant.gauge)
    return replace(memory, paused={**memory.paused, worker.id: pause}, load=load)


def _not_over(key: str, memory: Memory) -> Memory:
    load = memory.load
    if key not in load.over_since:
        return memory
    return replace(memory, load=replace(load, over_since={k: t for k, t in load.over_since.items() if k != key}))


def _reason(claimant: Claimant) -> Reason:
    if claimant.gauge == BUDGET_CPU:
        return Reason.BUDGET_CPU_PAUSE
    return Reason.CPU_PROMISE if claimant.demand > claimant.line else Reason.FOREIGN_CPU


def _continue_one(view: View, memory: Memory) -> Memory:
    if not memory.paused or view.now - memory.load.continued_at < view.p.cpu_continue_gap:
        return memory
    standing = [w for w in view.workers if w.id in memory.paused and not w.leaving and not w.told_to_stand]
    ours = [worker for worker in standing if memory.paused[worker.id].reason in FOR_CPU]
    for worker in sorted(ours, key=lambda w: (memory.paused[w.id].since, w.id)):
        mine = [claimant for claimant in claimants(view, memory) if worker.pool.run in claimant.runs]
        if all(claimant.has_place(worker.cpu, view.p) for claimant in mine):
            memory = replace(memory, load=replace(memory.load, continued_at=view.now))
            return go_on(worker, memory, view.now)
    return memory
