"""Short ways to write down what a look saw, and to replay a history into `decide`."""

from collections.abc import Iterable
from typing import Any

from loadkeeper.decide import DEFAULT, Kind, Memory, decide
from loadkeeper.model import Decision, ExitSeen, Limits, PoolSeen, Seen, WorkerSeen, WorkerState

MIB = 1 << 20
GIB = 1 << 30
RUNNING, PAUSED, ENDING = WorkerState.RUNNING, WorkerState.PAUSED, WorkerState.ENDING


def worker(n: int, rss: float | None = 0.0, state: WorkerState = RUNNING, **more: Any) -> WorkerSeen:
    """Worker `run.<n>` that holds so many MiB and wants a core."""
    known: dict[str, Any] = {"pool": "run/a", "kind": "a", "started": float(n), "active": 10.0, "cpu": 1.0}
    known |= more
    size = None if rss is None else int(rss * MIB)
    run = known["pool"].partition("/")[0]
    return WorkerSeen(id=f"{run}.{n}", state=state, rss=size, **known)


def pool(waiting: int | None = 100, limits: Limits | None = None, **more: Any) -> PoolSeen:
    known: dict[str, Any] = {"id": "run/a", "kind": "a"} | more
    run = known.pop("run", known["id"].partition("/")[0])
    return PoolSeen(run=run, waiting=waiting, limits=limits or Limits(), **known)


def gone(n: int, peak: float, **more: Any) -> ExitSeen:
    known: dict[str, Any] = {"pool": "run/a", "kind": "a", "cpu_seconds": 10.0, "active": 10.0} | more
    return ExitSeen(id=f"run.{n}", peak=int(peak * MIB), **known)


def seen(
    now: float, available: float | None, workers: Iterable[WorkerSeen] = (), *, swept: bool = True, **more: Any
) -> Seen:
    """A node of 16 GiB and 8 cores with so many MiB available; swept at this very look unless said otherwise."""
    free = None if available is None else int(available * MIB)
    workers = tuple(workers)
    known: dict[str, Any] = {"total": 16 * GIB, "cpus": 8.0, "busy": 1.0, "own": 1.0, "pools": (pool(),)}
    if swept:
        known |= {"swept": now, "swept_available": free}
    return Seen(now=now, available=free, workers=workers, **(known | more))


class History:
    """Looks one after the other, with what is remembered between them."""

    def __init__(self, memory: Memory | None = None) -> None:
        self.memory = Memory() if memory is None else memory
        self.decisions: list[Decision] = []

    def look(self, seen: Seen) -> Decision:
        decision, self.memory = decide(seen, self.memory, DEFAULT)
        self.decisions.append(decision)
        return decision

    def looks(self, history: Iterable[Seen]) -> Decision:
        """The decision of the last."""
        decision = None
        for each in history:
            decision = self.look(each)
        assert decision is not None
        return decision

    @property
    def ends(self) -> set[str]:
        return {id for decision in self.decisions for id in decision.ending}


def knowing(*peaks: float, fill: float = 1.0, cpu: float | None = 1.0, kind: str = "a") -> Memory:
    """A memory in which the kind has lives of these peaks, in MiB."""
    sizes = tuple(int(peak * MIB) for peak in peaks)
    return Memory(kinds={kind: Kind(peaks=sizes, fill=fill, fills=len(sizes), cpu=cpu, count=len(sizes))})
