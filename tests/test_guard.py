"""What a dead process manager leaves behind is found by run id and ended."""

import os
import signal
import subprocess
import sys
import time

import pytest
from support.program import marked, state_of, wait_until

from loadkeeper.guard import Guard

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"


@pytest.fixture
def worker():
    """Starts processes that carry a run's mark; ends what is left of them."""
    started = []

    def start(run, *command):
        environment = {**os.environ, "LOADKEEPER_WORKER": f"{run}.1"}
        started.append(subprocess.Popen(command, env=environment, start_new_session=True))
        wait_until(lambda: marked(run), 5, "the worker did not start")
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def end(guard: Guard, run: str, grace: float, processes) -> float:
    began = time.monotonic()
    guard.orphaned(run, [], grace, began)
    while guard.busy:
        assert time.monotonic() - began < 10, "the guard does not come to an end"
        guard.turn(time.monotonic())
        for process in processes:
            process.poll()
        time.sleep(0.005)
    return time.monotonic() - began


def test_workers_and_what_they_started_are_ended(worker):
    leader = worker("guard1", "sh", "-c", "setsid sleep 60 & (setsid setsid sleep 60 &); sleep 60; true")
    wait_until(lambda: len(marked("guard1")) >= 4, 5, "the children did not start")
    assert end(Guard(), "guard1", 1.0, [leader]) < 2
    assert marked("guard1") == []


def test_a_stopped_worker_is_ended_too(worker):
    leader = worker("guard2", "sleep", "60")
    leader.send_signal(19)
    wait_until(lambda: state_of(leader.pid) == "T", 5, "it does not stop")
    assert end(Guard(), "guard2", 1.0, [leader]) < 1, "TERM without CONT waits for the grace"
    assert marked("guard2") == []


def test_who_ignores_term_is_killed_after_the_grace(worker):
    leader = worker("guard3", sys.executable, "-c", STUBBORN)
    wait_until(lambda: ignores_term(leader.pid), 5, "TERM is not ignored yet")
    assert 0.3 <= end(Guard(), "guard3", 0.3, [leader]) < 2
    assert marked("guard3") == []


def test_another_run_is_left_alone(worker):
    mine, other = worker("guard4", "sleep", "60"), worker("guard44", "sleep", "60")
    end(Guard(), "guard4", 1.0, [mine])
    assert other.poll() is None


def ignores_term(pid: int) -> bool:
    with open(f"/proc/{pid}/status") as file:
        ignored = next(int(line.split()[1], 16) for line in file if line.startswith("SigIgn:"))
    return bool(ignored & 1 << signal.SIGTERM - 1)
