"""What `decide` is shown of a worker: what the kernel shows, where a report says only what is wanted."""

import pytest

from loadkeeper.load_manager.seeing import state_of
from loadkeeper.model import WorkerReport, WorkerState
from loadkeeper.sense.worker import WorkerReading

STARTING, RUNNING, PAUSED, ENDING = WorkerState.STARTING, WorkerState.RUNNING, WorkerState.PAUSED, WorkerState.ENDING


def reading(*, stopped: bool) -> WorkerReading:
    state = "stopped" if stopped else "running"
    return WorkerReading(rss=1 << 20, cpu=0.0, cpu_seconds=0.0, processes=1, state=state, exiting=False, members=())


@pytest.mark.parametrize(
    ("reported", "stopped", "throttled", "state"),
    [
        (PAUSED, True, False, PAUSED),
        (PAUSED, False, False, RUNNING),  # it has not obeyed yet: a populating mmap runs on for half a second
        (RUNNING, True, False, PAUSED),  # somebody else stopped it
        (RUNNING, True, True, RUNNING),  # it stands for a part of each 200 ms
        (STARTING, False, False, RUNNING),
        (ENDING, True, False, ENDING),
        (PAUSED, None, False, PAUSED),  # never swept: the report is all there is
        (STARTING, None, False, STARTING),
    ],
)
def test_what_the_kernel_shows_stands_over_what_was_wanted(reported, stopped, throttled, state) -> None:
    worker = WorkerReport(n=1, pool="main", task="1", pid=1, start_time=1, started=0.0, state=reported, active=0.0)
    shown = None if stopped is None else reading(stopped=stopped)
    assert state_of(worker, shown, throttled=throttled) is state
