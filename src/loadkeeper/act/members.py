"""One worker's processes, and the signals that reach all of them.

Stops go from parents to children and continues from children to parents: a shell with job control that runs while its
child is stopped takes the child for done and goes on to its next line (8 rounds of 8; in this order 0 of 8, measured).
A signal that was sent has not taken hold yet: on a busy machine a shell that waits for its child is told of the child's
stop before it stops itself, and goes on when it is continued (16 rounds of 30). So a child is stopped only when its
parent stands (0 of 120).
"""

import signal
import time

from ..linux import proc
from ..linux.cgroup import Leaf
from ..linux.members import Key, Membership, Table
from ..linux.process import Process, ended

STAND = 0.02
"""Seconds that one pass of stops waits in all for parents to stand; who takes longer is held inside the kernel."""
_AGAIN = 0.0002


class Members:
    """The leader, its group, and whoever else belongs. Who was ever seen to belong is known for good."""

    def __init__(self, worker: str, leader: Process, membership: Membership, leaf: Leaf | None = None) -> None:
        self.leader = leader
        self.leaf = leaf
        self.known: list[Key] = []  # but the leader; parents first
        self._worker = worker
        self._membership = membership
        self._reached: set[Key] = set()  # by the signal that goes round now
        self._frozen = False  # it is the freezer that holds it

    # --------------------------------------------------------------------------------------------------------- look

    def find(self, table: Table) -> list[proc.Stat]:
        """Who belongs and lives, but the leader; parents first."""
        leader = (self.leader.pid, self.leader.start_time)
        found = self._membership.of(table, self._worker, leader, self._all_known(table))
        others = [stat for stat in found if stat.pid != self.leader.pid and not ended(stat)]
        self.known = [(stat.pid, stat.start_time) for stat in others]
        return others

    def _all_known(self, table: Table) -> list[Key]:
        if self.leaf is None:
            return self.known
        inside = (table.stats.get(pid) for pid in self.leaf.members())
        return self.known + [(stat.pid, stat.start_time) for stat in inside if stat is not None]

    def stand(self) -> bool:
        """Nobody of it runs any code."""
        if self._frozen and self.leaf is not None:
            return self.leaf.frozen()
        return self.leader.stands() and all(proc.stands(pid) for pid, start in self.known if _is(pid, start))

    def held(self) -> bool:
        """Somebody holds the leader: it cannot hear what it is asked."""
        return (self.leaf is not None and self.leaf.frozen()) or self.leader.stands()

    # --------------------------------------------------------------------------------------------------------- stop

    def stop_group(self) -> bool:
        """Freeze the leaf: True, that reaches all. Else stop the leader, then its group in one step that no fork slips
        through, and leave the rest to `stop_rest`."""
        self._reached = set()
        self._frozen = self.leaf is not None and self.leaf.freeze()
        if not self._frozen:
            self.leader.send(signal.SIGSTOP)
            self.leader.send_group(signal.SIGSTOP)
        return self._frozen

    def stop_rest(self, table: Table) -> bool:
        """Stop whoever belongs and does not stand yet. True: somebody new was found, so another pass is due."""
        new = self._new(self.find(table))
        ours = {self.leader.pid, *(pid for pid, _ in self.known)}
        until = time.monotonic() + STAND
        for stat in new:
            if stat.ppid in ours:
                _wait_until_it_stands(stat.ppid, until)
            _send((stat.pid, stat.start_time), signal.SIGSTOP)
        return bool(new)

    def proceed(self) -> None:
        """Continue everybody, children before their parents, the leader last."""
        if self.leaf is not None:
            self.leaf.thaw()
        self._frozen = False
        for key in reversed(self.known):
            _send(key, signal.SIGCONT)
        self.leader.send_group(signal.SIGCONT)
        self.leader.send(signal.SIGCONT)

    # ---------------------------------------------------------------------------------------------------------- end

    def ask(self, table: Table, signum: int, *, leader_only: bool) -> None:
        """Ask to end: the signal first, which waits in who is stopped, then the continue that lets it be heard.

        Nobody gets the signal twice, for a second one means "at once" to many programs."""
        others = self.find(table)
        if leader_only:
            self.leader.send(signum)
        else:
            self.leader.send_group(signum)
            for stat in others:
                if stat.group != self.leader.pid:
                    _send((stat.pid, stat.start_time), signum)
        self.proceed()

    def kill_group(self) -> None:
        """KILL for those that take one step to reach. The rest is `kill_rest`."""
        self._reached = set()
        if self.leaf is not None:
            self.leaf.kill()
        self.leader.send_group(signal.SIGKILL)
        self.leader.send(signal.SIGKILL)

    def kill_rest(self, table: Table) -> bool:
        """KILL for everybody else; True as `stop_rest`."""
        new = self._new(self.find(table))
        for stat in new:
            _send((stat.pid, stat.start_time), signal.SIGKILL)
        return bool(new)

    def _new(self, others: list[proc.Stat]) -> list[proc.Stat]:
        """Those that the signal which goes round now has not reached; from now on it has."""
        new = [stat for stat in others if (stat.pid, stat.start_time) not in self._reached]
        self._reached.update((stat.pid, stat.start_time) for stat in new)
        return new


def _wait_until_it_stands(pid: int, until: float) -> None:
    while not proc.stands(pid) and time.monotonic() < until:
        time.sleep(_AGAIN)


def _send(key: Key, signum: int) -> None:
    process = Process.open(*key)
    if process is not None:
        process.send(signum)
        process.close()


def _is(pid: int, start_time: int) -> bool:
    found = proc.stat(pid)
    return found is not None and found.start_time == start_time
