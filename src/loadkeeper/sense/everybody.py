"""One pass over all processes, cheap enough for twice a second, and who of them belongs to which worker."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from ..linux import proc
from ..linux.gauges import Gauge, read_once
from ..linux.members import Table, mark
from ..linux.proc import Stat
from .shares import Process

TURNS = 8
"""A stranger is read again in one pass of so many: what it was is remembered in between. Only a pid that went from one
process to another between two passes is seen late by that, by 4 s at most."""

ASKED = 3
"""Passes in which the environment of an adopted process is read: at first it may still be that of its parent."""


class Sought(NamedTuple):
    """A worker, and what is known of it."""

    leader: Process
    known: Collection[Process]
    leaf: str | None


class Everybody:
    """Reads members (``close``) at each pass from files kept open, up to ``most_open``; strangers when they are new,
    and in turns."""

    def __init__(self, root: str, most_open: int) -> None:
        self._root = root
        self._most_open = most_open
        self._open: dict[int, Gauge] = {}
        self._strangers: dict[int, Stat] = {}
        self._turn = 0

    def read(self, close: Collection[int]) -> list[Stat]:
        """``close``: pids of leaders and known members."""
        self._turn += 1
        for pid in [pid for pid in self._open if pid not in close]:
            self._open.pop(pid).close()
        stats, strangers = [], {}
        for pid in proc.pids(self._root):
            if pid in close:
                stat = self._read_close(pid)
            else:
                stat = self._strangers.get(pid)
                if stat is None or (pid + self._turn) % TURNS == 0:
                    stat = proc.stat(pid, self._root)
                if stat is not None:
                    strangers[pid] = stat
            if stat is not None:
                stats.append(stat)
        self._strangers = strangers
        return stats

    def _read_close(self, pid: int) -> Stat | None:
        """A file of a process that is gone stays silent: whoever has its pid now is read by name."""
        gauge = self._open.get(pid)
        content = gauge.read() if gauge else None
        if content is not None:
            return proc.parse_stat(content)
        if gauge:
            gauge.close()
            del self._open[pid]
        if len(self._open) >= self._most_open:
            return proc.stat(pid, self._root)
        gauge = Gauge(f"{self._root}/{pid}/stat", lasting=False)
        content = gauge.read()
        if content is None:
            return None
        self._open[pid] = gauge
        return proc.parse_stat(content)

    def forget(self) -> None:
        """Close every file."""
        for gauge in self._open.values():
            gauge.close()
        self._open.clear()


class Kin:
    """Finds the processes of every worker: by session, ancestry, control group, and the environment of those that a
    process manager adopted, for they left both their session and their parent."""

    def __init__(self, root: str, most_open: int) -> None:
        self._root = root
        self._everybody = Everybody(root, most_open)
        self._asked: dict[Process, int] = {}
        self._marked: dict[Process, str] = {}

    def find(self, workers: Mapping[str, Sought]) -> dict[str, list[Stat]]:
        close = {pid for sought in workers.values() for pid, _ in (sought.leader, *sought.known)}
        table = Table(self._everybody.read(close))
        self._ask_adopted(table, workers)
        named: dict[str, set[Process]] = {}
        for process, worker in self._marked.items():
            named.setdefault(worker, set()).add(process)
        found = {}
        for worker, sought in workers.items():
            known = {*sought.known, *named.get(worker, ()), *self._in_leaf(table, sought.leaf)}
            found[worker] = table.members(*sought.leader, known)
        return _counted_once(found, workers)

    def _ask_adopted(self, table: Table, workers: Mapping[str, Sought]) -> None:
        leaders = {sought.leader[0] for sought in workers.values()}
        managers = {table.stats[pid].ppid for pid in leaders if pid in table.stats}
        children = [stat for manager in managers for stat in table.children(manager) if stat.pid not in leaders]
        adopted = {(stat.pid, stat.start_time) for stat in children}
        self._asked = {process: times for process, times in self._asked.items() if process in adopted}
        self._marked = {process: worker for process, worker in self._marked.items() if table.get(process)}
        for process in adopted:
            times = self._asked.get(process, 0)
            if times < ASKED and process not in self._marked:
                self._asked[process] = times + 1
                worker = (mark(process[0], self._root) or b"").decode("utf-8", "replace")
                if worker in workers:
                    self._marked[process] = worker

    def _in_leaf(self, table: Table, leaf: str | None) -> list[Process]:
        if leaf is None:
            return []
        pids = [int(pid) for pid in (read_once(f"{leaf}/cgroup.procs") or b"").split()]
        return [(stat.pid, stat.start_time) for pid in pids if (stat := table.stats.get(pid)) is not None]

    def close(self) -> None:
        self._everybody.forget()


def _counted_once(found: dict[str, list[Stat]], workers: Mapping[str, Sought]) -> dict[str, list[Stat]]:
    """A worker that runs workers of its own (a nested run) is not charged with what they hold."""
    leads = {sought.leader: worker for worker, sought in workers.items()}
    told = {}
    for worker, stats in found.items():
        inner = {leads.get((stat.pid, stat.start_time), worker) for stat in stats} - {worker}
        theirs = {(stat.pid, stat.start_time) for other in inner for stat in found[other]}
        told[worker] = [stat for stat in stats if (stat.pid, stat.start_time) not in theirs] if inner else stats
    return told
