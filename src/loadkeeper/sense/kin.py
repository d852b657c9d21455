"""Which processes belong to which worker, from one pass over all of them. Pure."""

from collections.abc import Iterable, Mapping

from ..linux.proc import Stat
from .shares import Process


def kin(
    everybody: Iterable[Stat], leaders: Mapping[str, Process], known: Mapping[Process, str]
) -> dict[str, list[Stat]]:
    """By worker: the leader, all of its session, all whose ancestor belongs, and who was ever seen to belong
    (``known``), wherever it went since."""
    by_pid = {stat.pid: stat for stat in everybody}
    owner: dict[int, str] = {}
    for worker, (pid, start_time) in leaders.items():
        if (stat := by_pid.get(pid)) is not None and stat.start_time == start_time:
            owner[pid] = worker
    sessions = {pid: worker for pid, worker in owner.items() if by_pid[pid].session == pid}
    for (pid, start_time), worker in known.items():
        if (stat := by_pid.get(pid)) is not None and stat.start_time == start_time:
            owner.setdefault(pid, worker)
    for pid, stat in by_pid.items():
        if stat.session in sessions:
            owner.setdefault(pid, sessions[stat.session])
    for pid in by_pid:
        _descend(pid, by_pid, owner)
    found: dict[str, list[Stat]] = {worker: [] for worker in leaders}
    for pid, worker in owner.items():
        if worker in found:
            found[worker].append(by_pid[pid])
    return found


def _descend(pid: int, by_pid: Mapping[int, Stat], owner: dict[int, str]) -> None:
    """Give ``pid`` and its ancestors up to the first that belongs to a worker to that worker."""
    path = []
    while pid not in owner:
        stat = by_pid.get(pid)
        if stat is None or pid in path:
            return
        path.append(pid)
        pid = stat.ppid
    for below in path:
        owner[below] = owner[pid]
