"""Control groups: where this process stands, and a leaf of version 2 for each worker (cgroups(7), cgroup-v2.rst).

Only version 2 is used for workers: a frozen leaf can be killed, while version 1 holds SIGKILL back until the thaw.
"""

import errno
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from itertools import zip_longest

from .gauges import read_once
from .hierarchy import UNIFIED, Level, levels, parse_membership, parse_mounts
from .proc import PROC
from .process import Process

PREFIX = "loadkeeper-"
"""What the names of our leaves begin with."""
_UNLIMITED = 1 << 62  # version 1 says "no limit" by a number near 2**63
_PASSES = 50
_SAFE = re.compile(r"[^A-Za-z0-9_.-]")


# ------------------------------------------------------------------------------------------------------ where we are


def standing_in(controller: str = UNIFIED, proc_root: str = PROC, prefix: str = "") -> list[Level]:
    """The control groups of ``controller`` (``UNIFIED``: version 2) that this process is in, innermost first.

    ``prefix`` stands before every directory, for saved trees."""
    mounts = parse_mounts(read_once(f"{proc_root}/self/mountinfo") or b"")
    membership = parse_membership(read_once(f"{proc_root}/self/cgroup") or b"")
    return [Level(prefix + level.directory, level.name) for level in levels(controller, mounts, membership)]


def binding_path(proc_root: str = PROC, prefix: str = "") -> str:
    """The innermost control group with a limit of memory or CPU, or fewer CPUs than the one above; ``/`` if none is.

    Units and login scopes without a limit do not count, so two terminals of one user have the same. The deepest wins
    where version 1 has several hierarchies."""
    found = ["/"]
    for controller, limited in (
        ("memory", _memory_limited),
        ("cpu", _cpu_limited),
        ("cpuset", _fewer_cpus),
        (UNIFIED, lambda path, above: any(test(path, above) for test in (_memory_limited, _cpu_limited, _fewer_cpus))),
    ):
        chain = standing_in(controller, proc_root, prefix)
        for level, above in zip_longest(chain, chain[1:]):
            if limited(level.directory, above.directory if above else None):
                found.append(level.name)
                break
    return max(found, key=lambda path: len([part for part in path.split("/") if part]))


def _memory_limited(directory: str, _above: str | None) -> bool:
    for name in ("memory.max", "memory.high", "memory.limit_in_bytes"):
        words = (read_once(f"{directory}/{name}") or b"").split()
        if words and words[0].isdigit() and int(words[0]) < _UNLIMITED:
            return True
    return False


def _cpu_limited(directory: str, _above: str | None) -> bool:
    for name in ("cpu.max", "cpu.cfs_quota_us"):
        words = (read_once(f"{directory}/{name}") or b"").split()
        if words and words[0].isdigit():  # not `max`, not `-1`
            return True
    return False


def _fewer_cpus(directory: str, above: str | None) -> bool:
    if above is None:
        return False
    mine, theirs = _cpus(directory), _cpus(above)
    return mine is not None and theirs is not None and mine != theirs


def _cpus(directory: str) -> bytes | None:
    for name in ("cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus"):
        content = (read_once(f"{directory}/{name}") or b"").strip()
        if content:
            return content
    return None


# ------------------------------------------------------------------------------------------------------------ leaves


class Leaf:
    """A control group of version 2 that holds one worker with all its members, whatever they do."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        """One that is there already; `create` makes one."""
        self.path = path

    @classmethod
    def create(cls, base: str, name: str) -> "Leaf | None":
        """A new empty leaf below ``base``, or ``None`` where it cannot be made. An empty one of this name is used."""
        leaf = cls(f"{base}/{PREFIX}{_SAFE.sub('-', name)}")
        try:
            os.mkdir(leaf.path)
        except FileExistsError:
            return None if leaf.populated() else leaf
        except OSError:
            return None
        return leaf

    @property
    def procs(self) -> str:
        """The file that a process enters by, writing ``0``."""
        return f"{self.path}/cgroup.procs"

    def exists(self) -> bool:
        return os.path.isdir(self.path)

    def freeze(self) -> bool:
        """Stop everybody in it; `frozen` tells when it holds. False: it cannot be."""
        return self._write("cgroup.freeze", b"1")

    def thaw(self) -> bool:
        return self._write("cgroup.freeze", b"0")

    def frozen(self) -> bool:
        """Everybody in it stands. An empty leaf that is to be frozen counts as frozen."""
        return self._event(b"frozen")

    def wait_frozen(self, timeout: float) -> bool:
        """Wait at most so many seconds for `frozen`; the kernel says when cgroup.events changes."""
        try:
            descriptor = os.open(f"{self.path}/cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        deadline = time.monotonic() + timeout
        poll = select.poll()
        poll.register(descriptor, select.POLLPRI)
        try:
            while b"frozen 1" not in os.pread(descriptor, 4096, 0):
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                poll.poll(left * 1000)
        except OSError:
            return False
        finally:
            os.close(descriptor)
        return True

    def populated(self) -> bool:
        """A living process is in it or below it; zombies are not counted by the kernel."""
        return self._event(b"populated")

    def members(self) -> list[int]:
        """The pids in it and in what its members made below it."""
        return [int(word) for path in self._tree() for word in (read_once(f"{path}/cgroup.procs") or b"").split()]

    def kill(self) -> bool:
        """SIGKILL for everybody in it, frozen or not, at once; before Linux 5.14 one after the other, until a pass
        finds nobody whom no signal has reached (who was killed makes no children, and takes its time to go). False:
        somebody is left."""
        if self._write("cgroup.kill", b"1"):
            return True
        killed: set[tuple[int, int]] = set()
        for _ in range(_PASSES):
            found = [process for pid in self.members() if (process := Process.open(pid)) is not None]
            inside = set(self.members())  # again: a pid may have become a stranger's before it was opened
            fresh = [
                process
                for process in found
                if process.pid in inside and (process.pid, process.start_time) not in killed
            ]
            for process in fresh:
                if process.send(signal.SIGKILL):
                    killed.add((process.pid, process.start_time))
            for process in found:
                process.close()
            if not fresh:
                return True
        return not self.populated()

    def remove(self) -> bool:
        """Take the leaf and all below it away. Who is left in it is killed first. False: they are not dead yet
        (``EBUSY``), try again."""
        for path in reversed(list(self._tree())):
            try:
                os.rmdir(path)
            except FileNotFoundError:
                continue
            except OSError as error:
                if error.errno == errno.EBUSY and self.populated():
                    self.kill()
                return False
        return not self.exists()

    def peak(self) -> int | None:
        """Bytes: the most that all its members held together; ``None`` without a memory controller (before 5.19)."""
        content = read_once(f"{self.path}/memory.peak")
        return int(content) if content else None

    def _tree(self) -> Iterator[str]:
        """The leaf, then all below it, parents first."""
        for path, _, _ in os.walk(self.path):
            yield path

    def _event(self, name: bytes) -> bool:
        return name + b" 1" in (read_once(f"{self.path}/cgroup.events") or b"")

    def _write(self, name: str, content: bytes) -> bool:
        try:
            descriptor = os.open(f"{self.path}/{name}", os.O_WRONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            os.write(descriptor, content)
        except OSError:
            return False
        finally:
            os.close(descriptor)
        return True

    def __repr__(self) -> str:
        return f"Leaf({self.path!r})"


def is_leaf(path: str, name: str, proc_root: str = PROC) -> bool:
    """The path is that of the leaf `Leaf.create` makes for this name, in a hierarchy of the kernel's own: a directory
    elsewhere could name anybody as its member."""
    base, last = os.path.split(path)
    mounts = parse_mounts(read_once(f"{proc_root}/self/mountinfo") or b"")
    points = [f"{mount.point.rstrip('/')}/" for mount in mounts if UNIFIED in mount.controllers]
    return last == PREFIX + _SAFE.sub("-", name) and f"{os.path.realpath(base)}/".startswith(tuple(points))


def leaves(base: str, run: str) -> list[Leaf]:
    """The leaves that a run has below ``base``."""
    prefix = f"{PREFIX}{_SAFE.sub('-', run)}."
    try:
        return [Leaf(entry.path) for entry in os.scandir(base) if entry.name.startswith(prefix)]
    except OSError:
        return []


def leave_leaf() -> bool:
    """Move this process, which has no other members, out of a worker's leaf to where that leaf was made. True: it is in
    none (any more)."""
    for level in standing_in(UNIFIED)[:1]:
        above, mark, _ = level.directory.partition(f"/{PREFIX}")
        if mark:
            try:
                with open(f"{above}/cgroup.procs", "wb", buffering=0) as file:
                    file.write(b"0")
            except OSError:
                return False
    return True


def delegated_base(proc_root: str = PROC, prefix: str = "") -> str | None:
    """The directory below which this process may make leaves, put its children into them and freeze them, or ``None``.

    Found by doing it with a short-lived child: rights, mount options and delegation decide together, and no file says
    what comes of them."""
    for level in standing_in(UNIFIED, proc_root, prefix)[:1]:
        leaf = Leaf.create(level.directory, f"try-{os.getpid()}")
        if leaf is None:
            return None
        try:
            return level.directory if _works(leaf) else None
        finally:
            leaf.thaw()
            leaf.remove()
    return None


def _works(leaf: Leaf) -> bool:
    """A child can enter, and the freezer takes orders."""
    entered = subprocess.run(
        ["/bin/sh", "-c", 'echo 0 > "$0"', leaf.procs], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
    )
    return entered.returncode == 0 and leaf.freeze() and leaf.wait_frozen(0.5)
