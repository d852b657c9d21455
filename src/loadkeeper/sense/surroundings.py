"""Where this process stands: its control groups, its CPUs, how the machine commits memory. Looked at once a second, for
a living process can be moved, pinned and limited by others."""

import os
from collections.abc import Mapping

from ..linux.gauges import Gauge, read_once
from ..linux.hierarchy import Level, parse_membership, parse_mounts, shown_by_lxcfs
from ..linux.proc import PROC
from . import readings
from .bounds import MACHINE, Bound, Grant, affinity_bound, grant, machine_ad_path
from .levels import Ancestry, ancestry
from .readings import CpuTimes

AGAIN = 1.0  # seconds between two looks at what seldom changes
ANEW = 10.0  # seconds until every level is searched anew: a controller can be switched on later
STRICT_COMMIT = 2  # vm.overcommit_memory: an allocation beyond CommitLimit fails


class Surroundings:
    """Holds what was found; ``look`` finds it again where it has changed."""

    def __init__(self, proc_root: str, sys_root: str, environment: Mapping[str, str]) -> None:
        self._proc_root = proc_root
        self._sys_root = sys_root
        self._membership = Gauge(f"{proc_root}/self/cgroup")
        self._status = Gauge(f"{proc_root}/self/status")
        self._commit = Gauge(f"{proc_root}/sys/vm/overcommit_memory")
        self._seen: bytes | None = None
        self._looked = self._searched = float("-inf")
        ad = machine_ad_path(environment)
        self.grant: Grant = grant(environment, read_once(ad) if ad else None)
        self.ancestry = Ancestry((), (), (), ())
        self.affinity: frozenset[int] = frozenset()
        self.strict_commit = False
        self._cpusets: tuple[tuple[Level, Gauge], ...] = ()
        self._on_line = frozenset(range(os.cpu_count() or 1))
        self._numbered_anew = False

    def look(self, now: float) -> None:
        if now - self._looked < AGAIN:
            return
        self._looked = now
        self.affinity = readings.allowed_cpus(self._status.read())
        self.strict_commit = readings.number(self._commit.read()) == STRICT_COMMIT
        membership = self._membership.read()
        if membership != self._seen or now - self._searched >= ANEW:
            self._seen, self._searched = membership, now
            self._search(membership)

    def _search(self, membership: bytes | None) -> None:
        mountinfo = read_once(f"{self._proc_root}/self/mountinfo") or b""
        self._numbered_anew = shown_by_lxcfs(mountinfo, f"{PROC}/stat")
        found = ancestry(parse_mounts(mountinfo), parse_membership(membership or b""), self._sys_root)
        if found.places() == self.ancestry.places():
            return  # the same levels: their files stay open
        self.ancestry = found
        unified = found.cpuset is found.unified
        name = "cpuset.cpus.effective" if unified else "cpuset.effective_cpus"
        self._cpusets = tuple((level, Gauge(f"{level.directory}/{name}")) for level in reversed(found.cpuset))

    def usable(self, times: dict[int, CpuTimes]) -> dict[int, CpuTimes]:
        """The CPUs that we may run on, of all that are on line. lxcfs counts a container's CPUs from 0, and the
        affinity names the machine's: all that it shows are ours, as where the two do not meet."""
        self._on_line = frozenset(times) or self._on_line
        if self._numbered_anew or not self.affinity & self._on_line:
            return times
        return {cpu: time for cpu, time in times.items() if cpu in self.affinity}

    def cpus(self) -> list[Bound]:
        """What limits the CPUs but for quotas and grants: the machine, then the cpuset or affinity."""
        bounds = [Bound(MACHINE, len(self._on_line))]
        usable = self.affinity if self._numbered_anew else self.affinity & self._on_line
        if usable and len(usable) < len(self._on_line):
            bounds.append(affinity_bound(usable, [(level.name, gauge.read()) for level, gauge in self._cpusets]))
        return bounds

    def binding(self) -> str | None:
        """The innermost level that carries a memory limit, a CPU quota or a cpuset narrower than the machine."""
        found = [level.directory for level in self.ancestry.memory if level.carries_limit()]
        found += [level.directory for level in self.ancestry.cpu if level.read() is not None]
        found += [level.directory for level, gauge in self._cpusets if self._narrows(gauge.read())]
        return max(found, key=lambda directory: directory.count("/"), default=None)

    def _narrows(self, cpuset: bytes | None) -> bool:
        cpus = readings.cpu_list((cpuset or b"").decode("ascii", "replace"))
        return bool(cpus) and not cpus >= self._on_line
