"""A status as reading verbs get it, with one of everything."""

from datetime import UTC, datetime, timedelta

from loadkeeper.model import Reason, RunState, TaskCounts, Why
from loadkeeper.record.sentences import sentence
from loadkeeper.status import (
    CapacityStatus,
    GaugeStatus,
    KindStatus,
    NodeStatus,
    PoolStatus,
    RunStatus,
    Status,
    WorkerStatus,
)

MIB, GIB = 1 << 20, 1 << 30
RUN = "3f9a12c4"
WAITS = Why(Reason.MEMORY, "memory", 1.8 * GIB, 2.0 * GIB, need=400 * MIB)
PAUSED = Why(Reason.MEMORY_PAUSE, "memory", 118 * MIB, 112 * MIB, need=160 * MIB, held=300 * MIB)
ENDED = Why(Reason.MEMORY_END, "memory", 40 * MIB, 56 * MIB, held=300 * MIB)


NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def ago(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).isoformat(timespec="milliseconds")


def a_node(pid: int = 4711) -> NodeStatus:
    gauges = {
        "memory": GaugeStatus(1.8 * GIB, 2.0 * GIB, 1.2 * GIB, 614 * MIB, "hold"),
        "cpu": GaugeStatus(0.87, 0.9, None, None, "open"),
        "pressure.io": GaugeStatus(0.03),
    }
    return NodeStatus(pid, gauges, CapacityStatus(2.0, 8 * GIB, "cgroup /docker/4f1c"), ago(100))


def a_worker(n: int, state: str = "running", why: Why | None = None, **given) -> WorkerStatus:
    told = {
        "pid": 1000 + n,
        "pool": "main",
        "task": str(n),
        "state": state,
        "why": sentence(why) if why else "",
        "memory": 300 * MIB,
        "cpu": 0.98,
        "started": ago(60 - n),
        "paused_for": 0.0,
        "id": f"{RUN}.{n}",
        "reason": why,
        "value": f"file-{n}.wav",
    }
    return WorkerStatus(**{**told, **given})


def a_run(workers: list[WorkerStatus], why: Why | None = WAITS, **given) -> RunStatus:
    kind = KindStatus(400 * MIB, 1.0, 12, "xz")
    pool = PoolStatus("main", 4, 0, kind, sentence(why, kind="xz") if why else "", why)
    told = {
        "id": RUN,
        "name": "demo",
        "pid": 4000,
        "node": 0,
        "lines": {},
        "state": RunState.RUNNING,
        "tasks": TaskCounts(waiting=8, running=len(workers), done=12, failed=1),
        "pools": [pool],
        "workers": workers,
        "command": "xz -9 -k {}",
        "began": ago(65),
    }
    return RunStatus(**{**told, **given})


def a_status(*runs: RunStatus) -> Status:
    node = a_node()
    return Status(node, [node], list(runs))
