"""The space that admission hands out: memory of all domains, and CPU. It shrinks with each slot granted in a look."""

from collections import defaultdict
from collections.abc import Sequence
from math import sqrt

from ..model import PoolSeen, Reason, Why
from .cpu import demand
from .kinds import usual
from .lines import BUDGET, BUDGET_CPU, CPU, NODE, Domain, cpu_lines
from .memory import Charge, Kind, Memory
from .view import View, running
from .workers import Worker


class Next:
    """One more worker of a pool: bytes at a usual time and at its peak, cores."""

    def __init__(self, pool: PoolSeen, view: View, memory: Memory) -> None:
        kind = memory.kinds.get(pool.kind, Kind())
        self.expected = view.claims.next(pool).expected
        self.usual = usual(kind, view.p) * self.expected
        self.cpu = 1.0 if kind.cpu is None else kind.cpu


class Space:
    """Mutable, for one look only: slots granted or given up change what is left for the next."""

    def __init__(self, view: View, memory: Memory, unused: dict[str, int]) -> None:
        """``unused``: slots granted and not taken this instant; when a worker has just ended, the next takes its."""
        self._view, self._memory = view, memory
        self.next = {pool.id: Next(pool, view, memory) for pool in view.pools}
        self._growth: dict[str, float] = defaultdict(
            float
        )  # by run, '' for the node: still expected of those that live
        self._spread: dict[str, float] = {}
        self._charges: dict[str, float] = defaultdict(float)
        self._demand: dict[str, float] = {}
        self._busy: dict[str, float] = {}
        self._grants: list[Charge] = []
        self._weigh_workers()
        for pool in view.pools:
            self._take(pool, unused[pool.id])

    def _weigh_workers(self) -> None:
        view = self._view
        run = running(view, self._memory)
        by_run: dict[str, Sequence[Worker]] = {"": view.workers, **view.by_run}
        alone = len(view.by_run) == 1  # the only run is the whole node
        for name, workers in by_run.items():
            if alone and name:
                for figures in (self._growth, self._spread, self._demand):
                    figures[name] = figures[""]
                continue
            staying = [worker for worker in workers if not worker.leaving]
            self._growth[name] = sum([worker.usual - worker.held for worker in staying])
            self._spread[name] = view.p.spread * sqrt(sum([worker.variance for worker in staying]))
            self._demand[name] = demand([worker for worker in run if worker.pool.run == name] if name else run)
        for name, limits in view.limits.items():
            if limits.workers_cpu is not None:
                self._busy[name] = sum(worker.seen.cpu or 0.0 for worker in run if worker.pool.run == name)
        self._busy[""] = self._memory.load.busy
        for charge in self._memory.charges:
            left = charge.cpu * max(0.0, 1 - (view.now - charge.at) / view.p.charge)
            self._charges[""] += left
            self._charges[charge.run] += left

    def _take(self, pool: PoolSeen, count: int) -> None:
        one = self.next[pool.id]
        for name in ("", pool.run):
            self._growth[name] += count * one.usual
            self._demand[name] += count * one.cpu

    # ------------------------------------------------------------------------------------------------------- changes

    def grant(self, pool: PoolSeen) -> None:
        cpu = self.next[pool.id].cpu
        self._take(pool, 1)
        self._charges[""] += cpu
        self._charges[pool.run] += cpu
        self._grants.append(Charge(self._view.now, cpu, pool.run))

    @property
    def charges(self) -> tuple[Charge, ...]:
        """Those that still count at the next look."""
        old = (c for c in self._memory.charges if self._view.now - c.at < self._view.p.charge)
        return (*old, *self._grants)

    # ------------------------------------------------------------------------------------------------------ questions

    def free(self, domain: Domain) -> float:
        """Bytes for one more: what is available, less what those that live will take at a usual time, less the hold
        line, or one deviation of their sum above the pause line. Without a hold line there is no end of it."""
        if domain.lines.hold is None:
            return float("inf")
        if domain.available is None:
            return float("-inf")
        return domain.available - self._kept(domain) - domain.hold

    def _kept(self, domain: Domain) -> float:
        """Bytes beyond the hold line that those who live may still take."""
        name = "" if domain.gauge == NODE else domain.run
        return self._growth[name] + max(0.0, domain.pause + self._spread[name] - domain.hold)

    def memory_refuses(self, domain: Domain, need: float, alone: bool) -> Why | None:
        """The very first worker needs no forecast: nothing may be known of it. It needs the hold line open."""
        if domain.lines.hold is None:
            return None
        if domain.available is None:
            return Why(Reason.UNKNOWN, domain.gauge, None, domain.hold)
        if (alone and domain.available > domain.hold) or need <= self.free(domain):
            return None
        reason = Reason.BUDGET if domain.gauge == BUDGET else Reason.MEMORY
        kept = 0.0 if alone else max(0.0, self._kept(domain))
        return Why(reason, domain.gauge, domain.available, domain.hold, need=need, expected=kept)

    def cpu_refuses(self, pool: PoolSeen, alone: bool) -> Why | None:
        """While busy, or what those that run want, is below the line, one more is let in: the last may cross it. Of a
        line that the user set only to the nearest whole worker."""
        limits, cpus = self._view.limits[pool.run], self._view.seen.cpus
        line = cpu_lines(limits, cpus).hold
        if line is None or (alone and not (limits.cpu_promised and self._busy[""] >= line)):
            return None
        if self._view.seen.busy is None:
            return Why(Reason.UNKNOWN, CPU, None, line)
        half = self.next[pool.id].cpu / 2 if limits.cpu_promised else 0.0
        return self._over(CPU, "", line, half, pool)

    def cpu_budget_refuses(self, pool: PoolSeen, alone: bool) -> Why | None:
        amount = self._view.limits[pool.run].workers_cpu
        if amount is None or alone:
            return None
        return self._over(BUDGET_CPU, pool.run, amount.of(self._view.seen.cpus), self.next[pool.id].cpu / 2, pool)

    def _over(self, gauge: str, name: str, line: float, margin: float, pool: PoolSeen) -> Why | None:
        busy, wanted = self._busy[name], self._demand[name]
        soon = max(busy + self._charges[name], wanted)
        if soon + margin < line:
            return None
        reason = Reason.CPU if gauge == CPU else Reason.BUDGET_CPU
        if max(busy, wanted) + margin < line:
            reason = Reason.RAMP  # what was let in a moment ago has yet to show
        kept = max(0.0, soon - busy)
        return Why(reason, gauge, busy, line, need=self.next[pool.id].cpu, expected=kept)

    def overdrawn(self, domain: Domain) -> bool:
        return domain.available is not None and self.free(domain) < -self._view.p.overdrawn * domain.total

    def overdraft(self, domain: Domain) -> Why:
        return Why(Reason.OVERDRAWN, domain.gauge, domain.available, domain.hold, expected=self._kept(domain))

    def dominant_share(self, pool: PoolSeen, slots: int) -> float:
        """The greater of its part of the CPUs and of the memory (Ghodsi et al., Dominant Resource Fairness, 2011)."""
        one = self.next[pool.id]
        return slots * max(one.cpu / self._view.seen.cpus, one.usual / max(self._view.seen.total, 1))
