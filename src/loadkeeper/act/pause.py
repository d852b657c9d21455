"""Pausing workers, holding them paused, and continuing them, several at a time."""

import time
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING

from ..model import Why, WorkerState
from .look import passes
from .members import Members

if TYPE_CHECKING:
    from .worker import Worker


class Found(StrEnum):
    """What a look at a worker that is to stand found."""

    STANDING = "standing"
    RUNNING_ON = "running-on"  # it has not obeyed yet; it was told again
    AWAITED = "awaited"  # it was told, or asked at its checkpoint, a moment ago, and is slow to obey
    CONTINUED = "continued"  # somebody continued it; it was stopped again
    NOT_WANTED = "not-wanted"  # it is not to stand


def pause_all(wanted: Mapping["Worker", Why], now: float, *, at_once: bool = False) -> None:
    """Stop these workers: each one's leader and group at once, then, looking at all processes together, whoever else
    belongs, parents first, until a look finds nobody new. Those that can be asked at their checkpoints are, unless all
    are to stand ``at_once``; `assert_all` sees to the rest.

    No effect on those that are paused already (the new why counts) or ending."""
    began = time.monotonic()
    stopped = [worker for worker, why in wanted.items() if worker.enter_pause(now, why, at_once=at_once)]
    _stop(stopped)
    for worker in stopped:
        worker.check(now + time.monotonic() - began)


def resume_all(workers: Iterable["Worker"], now: float) -> None:
    """Continue these workers, children before their parents. No effect on those that are not paused.

    At their checkpoints they are told before they are continued, for they look there at once."""
    paused = [worker for worker in workers if worker.state is WorkerState.PAUSED]
    for worker in paused:
        worker.leave_pause(now)
    for worker in paused:
        worker.flush()
        worker.members.proceed()


def assert_all(workers: Iterable["Worker"], now: float) -> dict["Worker", Found]:
    """Make the pauses of these workers hold; what was found of each."""
    found = {worker: worker.check(now) for worker in workers}
    _stop([worker for worker, what in found.items() if what in (Found.RUNNING_ON, Found.CONTINUED)])
    return found


def _stop(workers: list["Worker"]) -> None:
    passes([worker for worker in workers if not worker.members.stop_group()], Members.stop_rest)
