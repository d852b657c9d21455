"""What the reading verbs are shown: the shape of ``status --json``, on which people and scripts rely. Frozen."""

from msgspec import Struct

from .model import GaugeStatus, Lines, RunState, TaskCounts, Why

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
    cpus: float
    memory: int
    bound_by: str  # `machine`, or `cgroup /docker/...`


class NodeStatus(Struct, frozen=True):
    pid: int  # the load manager's
    gauges: dict[str, GaugeStatus]
    capacity: CapacityStatus
    began: str = ""  # iso8601


class KindStatus(Struct, frozen=True):
    peak_memory: int | None = None  # bytes: the 0.75 quantile of what was seen
    cpu: float | None = None  # cores
    samples: int = 0
    name: str = ""


class PoolStatus(Struct, frozen=True):
    name: str
    slots: int
    priority: int
    kind: KindStatus
    why: str = ""  # why not more, as a sentence
    reason: Why | None = None  # the same as data


class WorkerStatus(Struct, frozen=True):
    pid: int
    pool: str
    task: str
    state: str  # starting | running | paused | ending
    why: str
    memory: int | None
    cpu: float | None
    started: str  # iso8601
    paused_for: float
    id: str = ""
    processes: int = 1
    reason: Why | None = None
    value: str = ""
    trouble: str = ""  # it does not do as it is told


class RunStatus(Struct, frozen=True):
    id: str
    name: str
    pid: int  # the process manager's
    node: int  # index into `nodes`
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
