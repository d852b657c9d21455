"""What this node may use at most, for those who ask once; the load manager reads it at each look."""

from collections.abc import Mapping

from ..linux.gauges import SYS
from ..linux.proc import PROC
from .bounds import Capacity
from .node import NodeSensor

__all__ = ["Capacity", "binding_cgroup", "capacity"]


def capacity(proc_root: str = PROC, sys_root: str = SYS, environment: Mapping[str, str] | None = None) -> Capacity:
    """The least of machine, control groups, affinity and a batch system's grant, now. Never remember it: Kubernetes
    changes the limits of a living container."""
    return NodeSensor(proc_root, sys_root, environment).read(0.0).capacity


def binding_cgroup(proc_root: str = PROC, sys_root: str = SYS, environment: Mapping[str, str] | None = None) -> str:
    """The directory of the innermost control group that limits this process, or ``""``: what tells one container or
    batch job from another. Units and login scopes without a limit do not count."""
    sensor = NodeSensor(proc_root, sys_root, environment)
    sensor.read(0.0)
    return sensor.binding_cgroup() or ""
