"""What the processes of one worker hold together: memory that they share counts once."""

from ..linux.gauges import Gauge, read_once
from ..linux.proc import stat
from .shares import Process, Shares

MEASURE_SEVERAL = 8 << 20  # bytes resident from which a worker of several processes is measured
MEASURE_LONE = 64 << 20  # ... a worker of one: it may share with its siblings, or with who forked it
AGAIN = 2.0  # seconds until those that share are measured again, doubled each time that it told nothing new, ...
SELDOM = 16.0  # ... up to this: a write to a shared page shows in no other figure
MOVED = 0.05  # of what was resident at the last measurement: from there on it is made anew at the next full sweep
NEWS = 0.01  # of the size: less is nothing new
SHARES = 0.1  # of what is resident: from there on a lone worker is taken to share
GONE = frozenset("ZXx")
"""States of a process that has given back its memory."""


def parse_resident(content: bytes | None) -> int | None:
    """Pages resident, from /proc/PID/statm; ``None`` where it cannot be read."""
    fields = content.split(b" ", 2) if content else []
    return int(fields[1]) if len(fields) > 1 and fields[1].isdigit() else None


class Held:
    """One process: resident memory from statm at each sweep, less what is ``lent`` to it by another."""

    __slots__ = ("_file", "_last", "_path", "_proc_root", "kept_open", "lent", "parent", "process", "resident")

    def __init__(self, process: Process, parent: int, proc_root: str, *, keep_open: bool) -> None:
        self.process = process
        self.parent = parent
        self.kept_open = keep_open
        self._proc_root = proc_root
        self._path = f"{proc_root}/{process[0]}/statm"
        self._file = Gauge(self._path, lasting=False) if keep_open else None
        self.lent = 0
        self.resident = 0
        self._last = 0  # the last size above 0

    def read(self, page: int) -> int | None:
        """Bytes resident now: 0 for one that exits (its memory comes back 7 to 130 ms later), ``None``: gone."""
        resident = parse_resident(self._file.read() if self._file else read_once(self._path))
        self.resident = (resident or 0) * page
        if self.resident:
            self._last = self.resident
            self.lent = min(self.lent, self.resident)  # what it gave back is not lent any more
        elif resident is None or (self._last and self._is_gone()):
            self._last = 0
            return None
        return self.resident

    @property
    def own(self) -> int:
        """Bytes that count as its own, as of the last time it showed any."""
        return max(0, self._last - self.lent)

    def _is_gone(self) -> bool:
        """A zombie shows no memory either, but has given it back."""
        now = stat(self.process[0], self._proc_root)
        return now is None or now.start_time != self.process[1] or now.state in GONE

    def close(self) -> None:
        if self._file:
            self._file.close()


class Family:
    """The processes of one worker.

    Each holds what is resident less what is lent to it: a forked child is lent what it has at first sight, up to its
    parent's size. Measurements set that right: what a child shares is lent, and the one that shares most is lent only
    what the rest of the machine shares with it, so that the sum is the sum of proportional sizes. In between growth
    counts in full (what a process takes is its own), a child that exits takes only its own with it, and when the owner
    exits the memory stays with the next. By RSS alone five forks that share 200 MiB hold 1 GiB; a factor of
    proportional by resident is 27 % off (the median beside workers that fork all the time), for it is wrong as soon as
    one of them exits.
    """

    def __init__(self) -> None:
        self.members: dict[Process, Held] = {}
        self.size = 0  # bytes held at the last reading; who shows nothing and still is there holds what it held last
        self.resident = 0
        self.exiting = False  # nobody shows any memory, and it is not back yet
        self._measured = float("-inf")
        self._measured_size = 0
        self._again = AGAIN

    def read(self, page: int) -> None:
        for member in self.members.values():
            member.read(page)
        self._add_up()

    def _add_up(self) -> None:
        self.size = self.resident = 0
        for member in self.members.values():
            self.size += member.own
            self.resident += member.resident
        self.exiting = self.size > 0 and not self.resident

    def add(self, new: list[Held], page: int) -> None:
        by_pid = {member.process[0]: member for member in (*self.members.values(), *new)}
        for member in new:
            self.members[member.process] = member
            member.read(page)
        for member in new:
            parent = by_pid.get(member.parent)
            if parent is not None and parent is not member:
                member.lent = min(member.resident, parent.resident)
        self._measured = float("-inf")

    def remove(self, process: Process) -> Held:
        """It is gone. If it was the one that lends, the one that was lent most inherits."""
        gone = self.members.pop(process)
        heir = max(self.members.values(), key=lambda member: member.lent, default=None)
        if heir is not None and all(gone.lent < member.lent for member in self.members.values()):
            heir.lent = gone.lent
        self._measured = float("-inf")
        return gone

    def wants_measuring(self, now: float) -> bool:
        """Several processes, or one that shares: when one came or went, when they grew or shrank, then after 2 s, and
        less and less often while nothing changes. One: when it is big, and when it has doubled."""
        if self.resident < MEASURE_SEVERAL:
            return False
        if len(self.members) > 1 or self.resident - self.size >= SHARES * self.resident:
            moved = abs(self.resident - self._measured_size) >= MOVED * self._measured_size
            return moved or now - self._measured >= self._again
        big = self.resident >= max(MEASURE_LONE, 2 * self._measured_size)
        return big and now - self._measured >= AGAIN

    def asked(self, now: float) -> None:
        """Do not ask again before the answer has had time."""
        self._measured = now
        self._measured_size = self.resident

    def measured(self, shares: Shares) -> None:
        """Nothing is learned from the shares of others than those who are there: the sum would be wrong."""
        known = {process: share for process, share in shares.items() if share.resident}
        if not known or known.keys() != self.members.keys():
            return
        before = self.size
        owner = max(known, key=lambda process: known[process].resident - known[process].private)
        others = sum(share.private for process, share in known.items() if process != owner)
        left = sum(share.proportional for share in known.values()) - others  # for the owner, ...
        among = max(0, left - known[owner].resident)  # ... or shared by the others without it
        lent = sum(share.resident - share.private for process, share in known.items() if process != owner)
        for process, share in known.items():
            shared = share.resident - share.private
            if process == owner:
                self.members[process].lent = max(0, share.resident - left)
            else:
                self.members[process].lent = shared - (among * shared // lent if lent else 0)
        self._add_up()
        old = abs(self.size - before) < NEWS * before
        self._again = min(SELDOM, 2 * self._again) if old else AGAIN

    def close(self) -> None:
        for member in self.members.values():
            member.close()
