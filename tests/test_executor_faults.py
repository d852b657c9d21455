"""An executor under faults: processes are killed and stopped at random moments, and every call meets its fate."""

import os
import random
import signal
import threading
import time

import pytest
from support.program import marked, state_of

from loadkeeper import Executor, WorkerLost
from loadkeeper.model import Limits

CALLS = 200
STRIKES = 12
"""Then they may finish: on a busy machine a start takes longer than the time between two strikes."""
YOUNG = 0.15
"""Of the strikes, those that may hit one that has not answered yet: were they all, none would ever begin a call."""
FREE = Limits(cpu=None, memory=None)


@pytest.fixture(autouse=True)
def _own_load_manager(program, monkeypatch):
    for name in [name for name in os.environ if name.startswith(("LOADKEEPER_", "XDG_"))]:
        monkeypatch.delenv(name)
    for name, value in program.environment.items():
        monkeypatch.setenv(name, value)


def work(number, seconds, size):
    time.sleep(seconds)
    return number, bytes(size), os.getpid()


class Faults(threading.Thread):
    """KILL, or STOP and a little later CONT, for processes of a run."""

    def __init__(self, run: str, chance: random.Random) -> None:
        super().__init__()
        self._run, self._chance, self.over = run, chance, threading.Event()
        self.kills = self.stops = 0
        self.known: set[int] = set()  # who has answered

    def answered(self, call) -> None:
        if call.exception() is None:
            self.known.add(call.result()[2])

    def run(self) -> None:
        while self.kills + self.stops < STRIKES and not self.over.wait(self._chance.uniform(0.0, 0.2)):
            found = marked(self._run)
            known = [pid for pid in found if pid in self.known]
            if chosen := found if self._chance.random() < YOUNG else known:
                self._strike(self._chance.choice(chosen))

    def _strike(self, pid: int) -> None:
        try:
            if self._chance.random() < 0.5:
                os.kill(pid, signal.SIGKILL)
                self.kills += 1
            else:
                os.kill(pid, signal.SIGSTOP)
                self.stops += 1
                time.sleep(self._chance.uniform(0.0, 0.1))
                os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            pass  # it was quicker


@pytest.mark.parametrize("seed", [1, 2, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(3, 20))])
def test_every_call_has_its_result_or_is_lost_after_its_tries(seed, record_property):
    chance = random.Random(seed)
    with Executor(4, limits=FREE, retries=1) as pool:
        faults = Faults(pool.run, random.Random(f"faults {seed}"))
        faults.start()
        try:
            sizes = [chance.choice((0, 10, 1_000, 300_000)) for _ in range(CALLS)]
            calls = [pool.submit(work, n, chance.choice((0, 0, 0.01, 0.05)), sizes[n]) for n in range(CALLS)]
            for call in calls:
                call.add_done_callback(faults.answered)
            errors = [call.exception(timeout=90) for call in calls]
        finally:
            faults.over.set()
            faults.join()
        lost = sum(error is not None for error in errors)
        for number, (call, error) in enumerate(zip(calls, errors, strict=True)):
            if error is None:
                assert call.result()[:2] == (number, bytes(sizes[number]))
            else:
                assert isinstance(error, WorkerLost)
                assert "has lost its process 2 times" in str(error)
        run = pool.run
    record_property("measured", f"{faults.kills} kills, {faults.stops} stops: {lost} of {CALLS} calls lost")
    assert faults.kills + faults.stops > 3
    assert [pid for pid in marked(run) if state_of(pid) not in ("", "Z")] == []


def test_one_stopped_process_holds_up_its_own_call_alone():
    with Executor(2, limits=FREE) as pool:
        pids = {call.result() for call in [pool.submit(slow_pid) for _ in range(4)]}
        assert len(pids) == 2
        stopped = pids.pop()
        os.kill(stopped, signal.SIGSTOP)
        calls = [pool.submit(slow_pid) for _ in range(20)]
        until = time.monotonic() + 20
        while sum(call.done() for call in calls) < 19:
            assert time.monotonic() < until, "they do not go on"
            time.sleep(0.01)
        os.kill(stopped, signal.SIGCONT)
        assert {call.result(20) for call in calls} <= {stopped, *pids}


def slow_pid():
    time.sleep(0.05)
    return os.getpid()
