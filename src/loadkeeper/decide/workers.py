"""Live workers as the rules see them, and the pools that they are of."""

from operator import attrgetter

from msgspec import Struct
from msgspec.structs import replace

from ..model import PoolSeen, Seen, Want, WorkerSeen, WorkerState
from .kinds import usual
from .memory import Kind, Memory
from .parameters import Parameters


class Worker(Struct, frozen=True, gc=False):
    """A live worker. Bytes and cores."""

    id: str
    seen: WorkerSeen
    pool: PoolSeen
    held: int  # 0 until swept
    need: float  # what it likely has still to grow
    expected: float
    usual: float  # what of that it holds at a usual time
    variance: float  # of what it holds, bytes squared
    slope: float | None  # bytes/s, None until two sweeps saw it
    cpu: float  # that its kind wants
    leaving: bool  # it is ending or exiting: what it holds comes back
    told_to_stand: bool  # by the operator, or with its whole run
    want: Want  # the operator's


_ID, _POOL = attrgetter("id"), attrgetter("pool")


def in_order(seen: Seen) -> Seen:
    """Workers by id: no verdict may depend on the order in which they are told."""
    return replace(seen, workers=tuple(sorted(seen.workers, key=_ID)))


def known_pools(seen: Seen) -> dict[str, PoolSeen]:
    """By id, in order. A worker whose pool nobody reports keeps its place, but nothing starts there."""
    pools = {pool.id: pool for pool in sorted(seen.pools, key=_ID)}
    if pools.keys() >= set(map(_POOL, seen.workers)):
        return pools
    for worker in seen.workers:
        if worker.pool not in pools:
            run = worker.id.rpartition(".")[0]
            pools[worker.pool] = PoolSeen(id=worker.pool, run=run, kind=worker.kind, waiting=0, silent=True)
    return pools


def made(seen: Seen, memory: Memory, pools: dict[str, PoolSeen], p: Parameters) -> tuple[Worker, ...]:
    """Once for each worker and look, so it counts what each step costs."""
    courses, claims, ending, wants, now_ending = (
        memory.workers,
        memory.claims,
        memory.ending,
        seen.wants,
        WorkerState.ENDING,
    )
    figures = {kind: _figures(memory.kinds.get(kind, Kind()), p) for kind in {worker.kind for worker in seen.workers}}
    wanted = {id: _of_workers(pool.want) for id, pool in pools.items()}
    workers = []
    for worker in seen.workers:
        id, pool = worker.id, pools[worker.pool]
        course, claim = courses[id], claims[id]
        fill, variance, cpu = figures[worker.kind]
        held, expected = course.rss or 0, claim.expected
        want = wanted[worker.pool]
        if wants and id in wants:  # said of the worker itself
            want = _of_workers(wants[id])
        exiting = worker.exiting or (worker.rss == 0 and held > 0)
        leaving = exiting or worker.state is now_ending or id in ending or want is Want.STOP
        stands = want is Want.PAUSE or (pool.silent and _stands_with_its_run(worker, memory))
        need = claim.likely - held
        workers.append(
            Worker(
                id,
                worker,
                pool,
                held,
                need if need > 0.0 else 0.0,
                expected,
                fill * expected,
                variance * expected * expected,
                course.slope,
                cpu,
                leaving,
                stands,
                want,
            )
        )
    return tuple(workers)


def _of_workers(want: Want) -> Want:
    """What the operator wants of a pool, for those that live there: one that drains lets them run."""
    return Want.RUN if want is Want.DRAIN else want


def _figures(kind: Kind, p: Parameters) -> tuple[float, float, float]:
    """(Usual part of a claim, variance of that part, cores)."""
    return usual(kind, p), kind.fill * (1 - kind.fill), 1.0 if kind.cpu is None else kind.cpu


def _stands_with_its_run(worker: WorkerSeen, memory: Memory) -> bool:
    """Stopped together with a process manager that does not answer (^Z): nobody would continue it."""
    return worker.state is WorkerState.PAUSED and worker.id not in memory.paused
