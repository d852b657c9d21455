"""What the reading verbs are shown: the shape of ``status --json``, on which people and scripts rely. Frozen."""

from msgspec import Struct

from .model import Bytes, Count, Figure, GaugeStatus, Lines, Pid, Rank, RunState, Seconds, TaskCounts, Why

__all__ = [
    "CapacityStatus",
    "GaugeStatus",
    "KindStatus",
    "NodeStatus",
    "PoolStatus",
    "RunStatus",
    "Status",
    "WorkerStatus",
]


class CapacityStatus(Struct, frozen=True):
    cpus: Figure
    memory: Bytes
    bound_by: str  # `machine`, or `cgroup /docker/...`


class NodeStatus(Struct, frozen=True):
    pid: Pid  # the load manager's
    gauges: dict[str, GaugeStatus]
    capacity: CapacityStatus
    began: str = ""  # iso8601


class KindStatus(Struct, frozen=True):
    peak_memory: Bytes | None = None  # bytes: the 0.75 quantile of what was seen
    cpu: Figure | None = None  # cores
    samples: Count = 0
    name: str = ""


class PoolStatus(Struct, frozen=True):
    name: str
    slots: Count
    priority: Rank
    kind: KindStatus
    why: str = ""  # why not more, as a sentence
    reason: Why | None = None  # the same as data


class WorkerStatus(Struct, frozen=True):
    pid: Pid
    pool: str
    task: str
    state: str  # starting | running | paused | ending
    why: str
    memory: Bytes | None
    cpu: Figure | None
    started: str  # iso8601
    paused_for: Seconds
    id: str = ""
    processes: Count = 1
    reason: Why | None = None
    value: str = ""
    trouble: str = ""  # it does not do as it is told
    progress: Figure | None = None  # 0..1, as it says itself
    saying: str = ""  # what it is at, as it says itself


class RunStatus(Struct, frozen=True):
    id: str
    name: str
    pid: Pid  # the process manager's
    node: Count  # index into `nodes`
    lines: dict[str, Lines]
    state: RunState
    tasks: TaskCounts
    pools: list[PoolStatus]
    workers: list[WorkerStatus]
    command: str = ""
    began: str = ""
    state_dir: str = ""


class Status(Struct, frozen=True):
    node: NodeStatus | None = None  # the caller's load manager, else the only one, else none
    nodes: list[NodeStatus] = []
    runs: list[RunStatus] = []  # the living ones, oldest first
