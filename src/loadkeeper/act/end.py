"""Ending workers, several at a time: ask at the checkpoint, ask by a signal, wait for the grace, kill."""

import signal
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING

from ..model import Why
from .look import look, passes
from .members import Members

if TYPE_CHECKING:
    from .worker import Worker

GRACE = 10.0


class StopTo(StrEnum):
    """Who is asked to end; all members are killed when the grace is over."""

    GROUP = "group"  # the leader's group and every other member
    LEADER = "leader"


def end_all(  # noqa: PLR0913 - one ladder, and each of its rungs can be set
    wanted: Mapping["Worker", Why],
    now: float,
    grace: float = GRACE,
    *,
    kill: bool = False,
    stop_to: StopTo = StopTo.GROUP,
    signum: int = signal.SIGTERM,
) -> None:
    """Ask these workers to end, or kill them now. One that is ending already is not asked again, but its grace may
    become shorter; the first why stays. One that has exited by itself was not ended by us."""
    wanted = {worker: why for worker, why in wanted.items() if not worker.process.exited()}
    asked = [worker for worker, why in wanted.items() if worker.enter_end(now, why, now if kill else now + grace)]
    if kill:
        _kill([worker for worker in wanted if not worker.killed], now)
    else:
        _ask(asked, signum, leader_only=stop_to is StopTo.LEADER)


def tick_all(workers: Iterable["Worker"], now: float) -> float | None:
    """Take the next step of each end that is due; when the next one is, ``None``: none is."""
    workers = list(workers)
    _kill([worker for worker in workers if worker.step(now)], now)
    _ask([worker for worker in workers if worker.take_signal(now)], signal.SIGTERM)
    return min((worker.kill_at for worker in workers if worker.kill_at is not None and not worker.killed), default=None)


def _ask(workers: list["Worker"], signum: int, *, leader_only: bool = False) -> None:
    if not workers:
        return
    table = look(workers)
    for worker in workers:
        worker.flush()
        worker.members.ask(table, signum, leader_only=leader_only)


def _kill(workers: list["Worker"], now: float) -> None:
    """They are looked at first, while ancestry still shows who belongs: who lost its parent has another one."""
    if not workers:
        return
    table = look(workers)
    for worker in workers:
        worker.killed_at = now
        worker.members.find(table)
        worker.members.kill_group()
    passes(workers, Members.kill_rest)
