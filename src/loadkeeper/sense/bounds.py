"""What there is to share out: the least of machine, control groups, affinity and what a batch system granted, and which
of them binds. Pure: candidates come in, a capacity goes out."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from msgspec import Struct

from . import readings

MIB = 1 << 20
MACHINE = "machine"


class Bound(NamedTuple):
    """One thing that limits: cores or bytes, and its name for people."""

    name: str
    value: float


class Capacity(Struct, frozen=True):
    """What may be used at most, in cores and bytes, and what says so: ``machine``, ``cgroup /docker/...``,
    ``affinity``, or the batch system's variable."""

    cpus: float
    memory: int
    cpus_bound_by: str = MACHINE
    memory_bound_by: str = MACHINE

    @property
    def bound_by(self) -> str:
        """Both in one: what binds memory, then what binds the CPUs where that is something else than the machine."""
        names = [name for name in dict.fromkeys((self.memory_bound_by, self.cpus_bound_by)) if name != MACHINE]
        return ", ".join(names) or MACHINE


def least(bounds: Iterable[Bound]) -> Bound:
    """Of equals the first, so name the outermost first."""
    return min(bounds, key=lambda bound: bound.value)


class Grant(Struct, frozen=True):
    """What a batch system granted by word alone: without its cgroup plug-in nothing enforces it (Slurm 22.05:
    ``-c 1 --mem=300`` leaves two CPUs and the machine's memory in reach)."""

    memory: Bound | None = None
    cpus: Bound | None = None


def grant(environment: Mapping[str, str], machine_ad: bytes | None = None) -> Grant:
    """From the variables of Slurm (sbatch(1), MiB; 0 is "all") or HTCondor's machine ad, the file that
    ``_CONDOR_MACHINE_AD`` names (lines ``Cpus = 1`` and ``Memory = 128``, MiB). What makes no sense is left out."""
    if machine_ad is not None:
        ad = _machine_ad(machine_ad)
        return Grant(_bound("HTCondor Memory", ad.get("memory"), MIB), _bound("HTCondor Cpus", ad.get("cpus")))
    cpus = _whole(environment.get("SLURM_CPUS_ON_NODE"))
    memory = _bound("SLURM_MEM_PER_NODE", _whole(environment.get("SLURM_MEM_PER_NODE")), MIB)
    per_cpu = _whole(environment.get("SLURM_MEM_PER_CPU"))
    if memory is None and per_cpu and cpus:
        memory = Bound("SLURM_MEM_PER_CPU", per_cpu * cpus * MIB)
    return Grant(memory, _bound("SLURM_CPUS_ON_NODE", cpus))


def machine_ad_path(environment: Mapping[str, str]) -> str | None:
    return environment.get("_CONDOR_MACHINE_AD") or None


def _machine_ad(content: bytes) -> dict[str, int | None]:
    pairs = (line.partition("=") for line in content.decode("utf-8", "replace").splitlines())
    return {name.strip().lower(): _whole(value) for name, found, value in pairs if found}


def _whole(text: str | None) -> int | None:
    text = (text or "").strip()
    return int(text) if text.isascii() and text.isdigit() else None


def _bound(name: str, value: int | None, unit: int = 1) -> Bound | None:
    return Bound(name, value * unit) if value else None


def affinity_bound(affinity: frozenset[int], cpusets: Iterable[tuple[str, bytes | None]]) -> Bound:
    """How many CPUs the affinity leaves, named after the outermost control group whose cpuset says the same.
    ``cpusets`` are (name, content of the list file), outermost first."""
    for name, content in cpusets:
        if content is not None and readings.cpu_list(content.decode("ascii", "replace")) == affinity:
            return Bound(f"cgroup {name}", len(affinity))
    return Bound("affinity", len(affinity))
