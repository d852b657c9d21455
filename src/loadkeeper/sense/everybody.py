"""One pass over all processes, cheap enough for twice a second."""

from collections.abc import Collection

from ..linux import proc
from ..linux.gauges import Gauge
from ..linux.proc import Stat

TURNS = 8
"""A stranger is read again in one pass of so many: what it was is remembered in between. Only a pid that went from one
process to another between two passes is seen late by that, by 4 s at most."""


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
