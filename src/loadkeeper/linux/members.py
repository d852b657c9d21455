"""Which processes belong to a worker.

A process belongs if any holds: it is in the worker's control group; its session is the worker's; an ancestor belongs;
its environment names the worker. Once seen to belong it stays a member, wherever it goes. After `killpg` alone five
descendants of six lived on (setsid, double fork, `set -m`, `timeout`; measured).
"""

import errno
import functools
import os
import time
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from . import proc
from .proc import PROC, Stat
from .process import is_own_child, is_subreaper

Key = tuple[int, int]
"""(pid, start time): one process, for as long as the machine is up."""
MARK = b"LOADKEEPER_WORKER"
_SETTLED = 1.0
"""Seconds of age from which a process is taken to have done its first exec: before it, its environment is still that of
the process that started it."""
_KERNEL = 2  # kthreadd: its children have no environment
NO_DESCRIPTOR = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_TICKS = os.sysconf("SC_CLK_TCK")


class Marked(NamedTuple):
    """A process whose environment names a worker."""

    pid: int
    start_time: int
    worker: str  # <run>.<n>


class Table:
    """Every process there was when it was taken; one serves all workers."""

    def __init__(self, stats: Iterable[Stat]) -> None:
        self.stats: dict[int, Stat] = {}
        self._children: dict[int, list[int]] = {}
        self._sessions: dict[int, list[int]] = {}
        for stat in stats:
            self.stats[stat.pid] = stat
            self._children.setdefault(stat.ppid, []).append(stat.pid)
            self._sessions.setdefault(stat.session, []).append(stat.pid)

    @classmethod
    def take(cls, root: str = PROC) -> "Table":
        """One pass over all processes: about 9 µs for each. Without a descriptor to look with, nobody is seen."""
        try:
            return cls(found for pid in proc.pids(root) if (found := proc.stat(pid, root)) is not None)
        except OSError as error:
            if error.errno not in NO_DESCRIPTOR:
                raise
            return cls(())

    def get(self, key: Key) -> Stat | None:
        """The process itself, or ``None``: gone, its pid perhaps somebody else's."""
        found = self.stats.get(key[0])
        return found if found is not None and found.start_time == key[1] else None

    def children(self, pid: int) -> list[Stat]:
        return [self.stats[child] for child in self._children.get(pid, ())]

    def members(self, leader_pid: int, leader_start: int, known: Collection[Key] = frozenset()) -> list[Stat]:
        """Who belongs to the worker of this leader, parents before their children; the leader first where it lives.

        ``known``: who was seen to belong before (or is named by its environment, or in the worker's control group)."""
        found: dict[int, Stat] = {}
        for start in self._roots(leader_pid, leader_start, known):
            if start.pid not in found:
                found[start.pid] = start
                self._add_descendants(start.pid, found)
        return self._parents_first(found)

    def _roots(self, leader_pid: int, leader_start: int, known: Collection[Key]) -> Iterator[Stat]:
        leader = self.get((leader_pid, leader_start))
        if leader is not None:
            yield leader
        if leader is not None or leader_pid not in self.stats:  # else the number is another session's by now
            for pid in self._sessions.get(leader_pid, ()):
                if self.stats[pid].start_time >= leader_start:
                    yield self.stats[pid]
        for key in known:
            if (stat := self.get(key)) is not None:
                yield stat

    def _add_descendants(self, pid: int, found: dict[int, Stat]) -> None:
        pending = [pid]
        while pending:
            for child in self._children.get(pending.pop(), ()):
                if child not in found:
                    found[child] = self.stats[child]
                    pending.append(child)

    def _parents_first(self, found: dict[int, Stat]) -> list[Stat]:
        ordered: list[Stat] = []
        level = [stat for stat in found.values() if stat.ppid not in found]
        while level:
            ordered += level
            level = [found[pid] for stat in level for pid in self._children.get(stat.pid, ()) if pid in found]
        return ordered


class Membership:
    """Finds the members of a run's workers for the process that started them; one object for all of them.

    Sessions and ancestry come from the table. Environments, which are dear to read (29 µs each), are read once for each
    process, and only of those that may have left both: our own adopted children where we are the subreaper, else
    everybody new."""

    def __init__(self, run: str, root: str = PROC) -> None:
        self.run = run
        self._root = root
        self._read: dict[Key, bytes] = {}  # what each environment said; b"" for nothing of this run

    def take(self) -> Table:
        """All processes, with the environments of those read that may be somebody's of this run."""
        table = Table.take(self._root)
        self.read_marks(table)
        return table

    def read_marks(self, table: Table) -> None:
        """Read the environments of a table that was taken for somebody else."""
        self._read = {key: worker for key, worker in self._read.items() if table.get(key) is not None}
        for stat in self._doubtful(table):
            key = (stat.pid, stat.start_time)
            if key not in self._read:
                worker = mark(stat.pid, self._root) or b""
                if worker or _age(stat) > _SETTLED:
                    self._read[key] = worker

    def of(self, table: Table, worker: str, leader: Key, known: Collection[Key] = frozenset()) -> list[Stat]:
        """`Table.members`, with those that the environment names."""
        name = worker.encode()
        named = {key for key, found in self._read.items() if found == name}
        return table.members(*leader, named.union(known))

    def _doubtful(self, table: Table) -> Iterable[Stat]:
        if is_subreaper():
            return [stat for stat in table.children(os.getpid()) if not is_own_child(stat.pid)]
        return [stat for stat in table.stats.values() if stat.ppid != _KERNEL]


@functools.lru_cache(maxsize=256)
def membership(run: str) -> Membership:
    """The one of this process for the run. A program may have many in its life, but never so many at once."""
    return Membership(run)


def mark(pid: int, root: str = PROC) -> bytes | None:
    """The worker that the process's environment names, or ``None``: none, gone, or not ours to read."""
    content = proc.read(f"{root}/{pid}/environ")
    if not content:
        return None
    entry = MARK + b"="
    if content.startswith(entry):
        start = len(entry)
    else:
        found = content.find(b"\0" + entry)
        if found < 0:
            return None
        start = found + 1 + len(entry)
    end = content.find(b"\0", start)
    return content[start : end if end >= 0 else len(content)]


def marked(run: str, root: str = PROC) -> list[Marked]:
    """Every living process of a whole run, by its environment: session, parent and our memory may all be lost.

    Start time and environment are of the same process: the start time is read before and after."""
    prefix = run.encode() + b"."
    found = []
    for pid in proc.pids(root):
        worker = mark(pid, root)
        if worker is None or not worker.startswith(prefix):
            continue
        before = proc.stat(pid, root)
        if before is None or mark(pid, root) != worker:
            continue
        after = proc.stat(pid, root)
        if after is not None and after.start_time == before.start_time:
            found.append(Marked(pid, before.start_time, worker.decode("utf-8", "replace")))
    return found


def _age(stat: Stat) -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME) - stat.start_time / _TICKS
