"""What one process of a worker holds, between two measurements of its share."""

from ..linux.gauges import Gauge, read_once
from ..linux.proc import stat
from .shares import Process, Share

MEASURE_SHARED = 8 << 20  # bytes resident from which a process of a worker with several is measured
MEASURE_LONE = 64 << 20  # ... of a worker with one: it may share with its siblings, or with who forked it
AGAIN = 2.0  # seconds until a process that shares is measured again
SHARES = 0.9  # proportional by resident: below it a process shares
GONE = frozenset("ZXx")
"""States of a process that has given back its memory."""


def parse_resident(content: bytes | None) -> int | None:
    """Pages resident, from /proc/PID/statm; ``None`` where it cannot be read."""
    fields = content.split(b" ", 2) if content else []
    return int(fields[1]) if len(fields) > 1 and fields[1].isdigit() else None


class Held:
    """Resident memory comes from statm at each sweep, kept open; the share now and then from smaps_rollup.

    Growth since the last measurement counts in full, for what a process takes is its own; what it gives back counts by
    its share. Before the first measurement what a child held when it was first seen, up to its parent's size, is taken
    as its parent's: RSS of five forks that share 200 MiB says 1 GiB, and a worker must not be ended for that.
    """

    __slots__ = (
        "_base",
        "_file",
        "_lent",
        "_measured",
        "_path",
        "_proc_root",
        "kept_open",
        "last",
        "parent",
        "process",
        "resident",
    )

    def __init__(self, process: Process, parent: int, proc_root: str, *, keep_open: bool) -> None:
        self.process = process
        self.parent = parent
        self._proc_root = proc_root
        self._path = f"{proc_root}/{process[0]}/statm"
        self._file = Gauge(self._path, lasting=False) if keep_open else None
        self.kept_open = keep_open
        self._lent = 0  # bytes taken as the parent's until measured
        self._base: Share | None = None
        self._measured = float("-inf")
        self.resident = 0
        self.last = 0  # the last size above 0

    def read(self, page: int) -> int | None:
        """Bytes resident now: 0 for one that exits (its memory comes back 7 to 130 ms later), ``None``: gone."""
        content = self._file.read() if self._file else read_once(self._path)
        resident = parse_resident(content)
        self.resident = (resident or 0) * page
        if self.resident:
            self.last = self._own()
        elif resident is None or (self.last and self._is_gone()):
            return None
        return self.resident

    def _is_gone(self) -> bool:
        """A zombie shows no memory either, but has given it back."""
        now = stat(self.process[0], self._proc_root)
        return now is None or now.start_time != self.process[1] or now.state in GONE

    def lend(self, parent_resident: int) -> None:
        """At first sight of a child in a worker of several."""
        if self._base is None:
            self._lent = min(self.resident, parent_resident)
            self.last = self._own() if self.resident else self.last

    def _own(self) -> int:
        base = self._base
        if base is None:
            return max(0, self.resident - self._lent)
        if self.resident >= base.resident:
            return base.proportional + self.resident - base.resident
        return base.proportional * self.resident // base.resident

    def measured(self, share: Share | None, now: float) -> None:
        self._measured = now
        if share is not None and share.resident > 0:
            self._base = share
            self.last = self._own() if self.resident else self.last

    def wants_measuring(self, now: float, *, alone: bool) -> bool:
        """First when it is big enough, then again while it shares or has doubled."""
        if self.resident < (MEASURE_LONE if alone else MEASURE_SHARED):
            return False
        base = self._base
        if base is None:
            return now - self._measured >= AGAIN
        shares = base.proportional < SHARES * base.resident
        return now - self._measured >= AGAIN and (shares or not alone or self.resident >= 2 * base.resident)

    def moved(self) -> None:
        """The worker gained or lost a process: what is shared is divided anew."""
        self._measured = float("-inf")

    def close(self) -> None:
        if self._file:
            self._file.close()
