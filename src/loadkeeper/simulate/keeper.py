"""The load manager's part of a simulation: show `decide` what there is, and do what it says."""

from collections.abc import Callable

from ..decide import DEFAULT, Memory, Parameters, decide
from ..model import (
    Decision,
    Ending,
    ExitSeen,
    Outcome,
    PoolSeen,
    PoolVerdict,
    Reason,
    Seen,
    WorkerSeen,
    WorkerState,
)
from .counts import Counts
from .machine import Machine, Process
from .work import Work

LOOKED_AT = frozenset({Reason.MEMORY_END, Reason.MEMORY_AHEAD})
"""Ends that a process manager looks at once more."""
CPU_WINDOW = 0.5  # s over which a worker's cores are measured


Watch = Callable[[Seen, Memory, Decision, Memory], None]
"""Called after each look with what was seen, what was remembered before, the decision, and what is remembered now."""


class Keeper:
    """One load manager over one machine. Mutable."""

    def __init__(
        self,
        machine: Machine,
        work: Work,
        parameters: Parameters = DEFAULT,
        watch: Watch | None = None,
        memory: Memory | None = None,
    ) -> None:
        self.machine, self.work, self.parameters, self._watch = machine, work, parameters, watch
        self.memory = memory or Memory()
        self.counts = Counts()
        self.seen: Seen | None = None
        self.decision: Decision | None = None
        self._swept: float | None = None
        self._swept_available: int | None = None
        self._rss: dict[int, int] = {}
        self._means: dict[int, tuple[float, float]] = {}  # byte seconds, seconds
        self._cpu: dict[int, tuple[float, float, float | None]] = {}  # at, cpu seconds then, cores
        self._looked = (0.0, 0.0, 0.0)  # at, busy seconds, own seconds
        self._next_sweep = 0.0
        self._paused: set[str] = set()

    def look(self) -> float:
        """One look. Returns the seconds until the next."""
        machine = self.machine
        self._sweep_when_due()
        self.seen = seen = self._see()
        self.work.forget_exits()
        before = self.decision
        remembered = self.memory
        decision, self.memory = decide(seen, remembered, self.parameters)
        self.decision = decision
        if self._watch is not None:
            self._watch(seen, remembered, decision, self.memory)
        self._count(before, decision)
        machine.at(machine.now + machine.world.acts.tell, lambda: self._act(decision))
        self._next_sweep = (self._swept or 0.0) + decision.next_sweep
        return decision.next_look + self._late() if machine.workers or decision.pools else decision.next_look

    def _late(self) -> float:
        share, seconds = self.machine.world.acts.late_look
        random = self.machine.random
        return random.uniform(0.0, seconds) if share and random.random() < share else 0.0

    # ---------------------------------------------------------------------------------------------------------- see

    def _is_broken(self, gauge: str) -> bool:
        now = self.machine.now
        return any(b.gauge == gauge and b.since <= now < b.until for b in self.machine.world.broken)

    def _available(self) -> int | None:
        if self._is_broken("memory"):
            return None
        machine = self.machine
        noise = machine.random.gauss(0.0, machine.world.noise) * machine.memory if machine.world.noise else 0.0
        return max(0, int(machine.available() + noise))

    def _sweep_when_due(self) -> None:
        machine = self.machine
        if machine.now < self._next_sweep or self._is_broken("workers"):
            return
        self._swept, self._swept_available = machine.now, self._available()
        self._rss = {n: worker.shown for n, worker in machine.workers.items()}
        for n, worker in machine.workers.items():
            self._measure(n, worker)

    def _measure(self, n: int, worker: Process) -> None:
        at, seconds, cores = self._cpu.get(n, (worker.started, 0.0, None))
        span = self.machine.now - at
        if span >= CPU_WINDOW:
            cores = (worker.cpu_seconds - seconds) / span
            self._cpu[n] = (self.machine.now, worker.cpu_seconds, cores)
        elif n not in self._cpu:
            self._cpu[n] = (at, seconds, cores)

    def _see(self) -> Seen:
        machine, now = self.machine, self.machine.now
        at, busy, own = self._looked
        span = now - at
        known = span > 0 and not self._is_broken("cpu")
        seen = Seen(
            now=now,
            total=int(machine.memory),
            cpus=machine.cpus,
            available=self._available(),
            busy=(machine.busy_seconds - busy) / span if known else (None if span > 0 else 0.0),
            own=(machine.own_seconds - own) / span if known else 0.0,
            gauges={"swap": machine.swapped() / machine.swap if machine.swap else 0.0},
            dirty=int(machine.dirty),
            swap_total=int(machine.swap),
            swept=self._swept,
            swept_available=self._swept_available,
            workers=tuple(self._worker(n, worker) for n, worker in machine.workers.items()),
            pools=tuple(self._pools()),
            exits=tuple(self._exit(worker) for worker in machine.exited),
        )
        self._looked = (now, machine.busy_seconds, machine.own_seconds)
        return seen

    def _worker(self, n: int, worker: Process) -> WorkerSeen:
        state = worker.state if worker.outcome is None else WorkerState.ENDING
        if worker.outcome is Outcome.DONE:
            state = WorkerState.RUNNING
        return WorkerSeen(
            id=_id(worker),
            pool=_pool_id(worker),
            kind=worker.pool.kind or worker.pool.name,
            state=state,
            started=worker.started,
            active=worker.active,
            paused_since=worker.paused_since,
            paused_for=worker.paused_for,
            patience=worker.pool.patience,
            floor=worker.floor,
            rss=self._rss.get(n),
            cpu=self._cpu[n][2] if n in self._cpu else None,
            cpu_seconds=worker.cpu_seconds,
            obeyed=worker.obeyed,
        )

    def _pools(self) -> list[PoolSeen]:
        pools = []
        for name, pool in self.work.pools.items():
            if pool.arrive <= self.machine.now:
                pools.append(
                    PoolSeen(
                        id=f"{pool.run}/{name}",
                        run=pool.run,
                        kind=pool.kind or name,
                        waiting=len(self.work.waiting[name]),
                        priority=pool.priority,
                        max_workers=pool.max_workers,
                        pausable=pool.pause != "never",
                        limits=self.work.limits[name],
                    )
                )
        return pools

    def _exit(self, worker: Process) -> ExitSeen:
        self._cpu.pop(worker.n, None)
        return ExitSeen(
            id=_id(worker),
            pool=_pool_id(worker),
            kind=worker.pool.kind or worker.pool.name,
            peak=int(worker.top * (1 - worker.task.hidden)),
            cpu_seconds=worker.cpu_seconds,
            active=worker.active,
            outcome=worker.outcome or Outcome.FAILED,
            killed_by_kernel=worker.n in self.machine.killed,
        )

    # ---------------------------------------------------------------------------------------------------------- act

    def _act(self, decision: Decision) -> None:
        for n, worker in list(self.machine.workers.items()):
            self._make_true(n, worker, decision)
        for name, pool in self.work.pools.items():
            verdict = decision.pools.get(f"{pool.run}/{name}", PoolVerdict(slots=0))
            self.work.slots[name] = verdict.slots
        self.work.refill()

    def _make_true(self, n: int, worker: Process, decision: Decision) -> None:
        id = _id(worker)
        ending = decision.ending.get(id)
        if ending is not None:
            if self._is_needless(worker, ending):
                return
            outcome = Outcome.BURIED if ending.bury else Outcome.GIVEN_BACK
            if ending.kill:
                self.machine.kill(worker, outcome)
            else:
                self.machine.end(worker, outcome)
        elif id in decision.paused:
            self.machine.pause(worker)
        else:
            self.machine.go_on(worker)

    def _is_needless(self, worker: Process, ending: Ending) -> bool:
        """The process manager looks once more right before the signal: memory may be back."""
        recovered = ending.why.recovered
        begun = worker.state is WorkerState.ENDING or worker.outcome is not None
        if recovered is None or begun or ending.why.reason not in LOOKED_AT or self._is_broken("memory"):
            return False
        return self.machine.available() > recovered

    def _count(self, before: Decision | None, decision: Decision) -> None:
        counts = self.counts
        counts.looks += 1
        counts.pauses += len(decision.paused.keys() - self._paused)
        self._paused = set(decision.paused)
        new = decision.ending.keys() - (before.ending.keys() if before is not None else set())
        counts.ends += len(new)
        for id in new:
            reason: Reason = decision.ending[id].why.reason
            counts.reasons[reason.value] = counts.reasons.get(reason.value, 0) + 1
        counts.note_pauses(self.machine)


def _id(worker: Process) -> str:
    return f"{worker.pool.run}.{worker.n}"


def _pool_id(worker: Process) -> str:
    return f"{worker.pool.run}/{worker.pool.name}"
