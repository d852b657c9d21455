"""The claims of every live worker, made anew at sweeps and exits, and of one that has not started yet."""

from collections.abc import Iterable

from msgspec.structs import replace

from ..model import Limits, PoolSeen, Seen, WorkerSeen
from .kinds import Guess, Likeness, bounded
from .lines import budget_total
from .memory import Claim, Course, Kind, Memory
from .parameters import Parameters


class Claims:
    """Asked for one look; what it works out per kind it works out once."""

    def __init__(self, seen: Seen, memory: Memory, limits: dict[str, Limits], p: Parameters) -> None:
        self._seen, self._memory, self._limits, self._p = seen, memory, limits, p
        self._likeness: dict[str, Likeness] = {}
        self._biggest: dict[str, Guess] | None = None
        self._guess: dict[tuple[str, str], Guess] = {}
        self._totals: dict[str, float] = {}

    def live(self, worker: WorkerSeen, course: Course, pool: PoolSeen) -> Claim:
        """Once for each worker and sweep, so it counts what each step costs."""
        held, limits = course.rss or 0, pool.limits
        if worker.need is not None:  # who knows best
            return bounded(Claim(worker.need, worker.need), max(held, worker.floor), limits.memory_per_worker)
        likeness = self._likeness.get(worker.kind)
        learned = likeness.claim(held) if likeness is not None and limits.memory_need is None else None
        claim = self._of(worker.kind, held, course.slope or 0.0, pool) if learned is None else learned
        least, most = worker.floor, limits.memory_per_worker
        if most is None and claim.likely >= held <= claim.expected and least <= held:
            return claim
        return bounded(claim, max(held, least), most)

    def next(self, pool: PoolSeen) -> Claim:
        """Of one more worker of the pool."""
        return bounded(self._of(pool.kind, 0, 0.0, pool), 0, pool.limits.memory_per_worker)

    def _of(self, kind: str, held: int, slope: float, pool: PoolSeen) -> Claim:
        need = pool.limits.memory_need
        if need is not None:
            return Claim(need, need)
        likeness = self._likeness.get(kind)
        if likeness is None:
            likeness = self._likeness[kind] = Likeness(self._memory.kinds.get(kind, Kind()), self._p)
        learned = likeness.claim(held)
        return self._guessed(kind, pool).claim(held, slope, self._p) if learned is None else learned

    def _guessed(self, kind: str, pool: PoolSeen) -> Guess:
        known = self._guess.get((kind, pool.run))
        if known is None:
            if self._biggest is None:
                self._biggest = _guesses(self._seen, self._memory)
            known = self._biggest.get(kind, Guess())._replace(total=self._total(pool), cpus=self._seen.cpus)
            self._guess[(kind, pool.run)] = known
        return known

    def _total(self, pool: PoolSeen) -> float:
        """The tightest place that a worker of the run must fit into."""
        if pool.run not in self._totals:
            limits = self._limits[pool.run]
            budget = budget_total(limits, self._seen.available, held_by(self._seen, self._memory, pool.run))
            total = float(self._seen.total)
            self._totals[pool.run] = total if budget is None else min(total, budget)
        return self._totals[pool.run]


def claim(seen: Seen, memory: Memory, pools: dict[str, PoolSeen], claims: Claims) -> Memory:
    """Give every worker its claims; between sweeps and exits only those that have none yet."""
    courses, known = memory.workers, memory.claims
    if not seen.exits and seen.swept == (memory.claimed or 0.0):
        new = [worker for worker in seen.workers if worker.id not in known]
        if not new:
            return memory
        made = {worker.id: claims.live(worker, courses[worker.id], pools[worker.pool]) for worker in new}
        return replace(memory, claims={**known, **made}, claimed=seen.swept)
    made = {worker.id: claims.live(worker, courses[worker.id], pools[worker.pool]) for worker in seen.workers}
    return replace(memory, claims=made, claimed=seen.swept)


def held_by(seen: Seen, memory: Memory, run: str) -> float:
    """Bytes that all workers of the run hold, as last swept."""
    pools = {pool.id for pool in seen.pools if pool.run == run}
    return sum(memory.workers[worker.id].rss or 0 for worker in seen.workers if worker.pool in pools)


def _guesses(seen: Seen, memory: Memory) -> dict[str, Guess]:
    """By kind, the biggest and the oldest of its live workers."""
    biggest: dict[str, int] = {}
    oldest: dict[str, float] = {}
    for worker in seen.workers:
        biggest[worker.kind] = max(biggest.get(worker.kind, 0), memory.workers[worker.id].rss or 0)
        oldest[worker.kind] = max(oldest.get(worker.kind, 0.0), worker.active)
    return {kind: Guess(biggest[kind], oldest[kind]) for kind in biggest}


def limits_of(pools: Iterable[PoolSeen]) -> dict[str, Limits]:
    """By run: the lines belong to the run, so those of its first pool."""
    limits: dict[str, Limits] = {}
    for pool in pools:
        limits.setdefault(pool.run, pool.limits)
    return limits
