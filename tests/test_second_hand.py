"""What the load manager does when a process manager does not, beside one that asks its workers at their checkpoints."""

import time
from types import SimpleNamespace

import pytest
from support.children import Crew, state, until

from loadkeeper.linux.process import Process
from loadkeeper.load_manager.second_hand import SecondHand
from loadkeeper.model import Reason, Verdict, Why, WorkerReport, WorkerState

WHY = Why(Reason.MEMORY_PAUSE)


@pytest.fixture
def crew():
    made = Crew()
    yield made
    made.close()


class Run:
    """As the load manager knows it, of one worker."""

    def __init__(self, crew):
        me = Process.myself()
        self.id = crew.run
        self.hello = SimpleNamespace(run=crew.run, start_time=me.start_time, grace=10.0)
        self.worker = crew.worker("sleep", "60")
        self.asked = set()
        self.report = self.verdict = self.told = None

    def says(self, state, confirmed, **more):
        self.report = SimpleNamespace(confirmed=confirmed)
        process = self.worker.process
        self.told = WorkerReport(1, "main", "1", process.pid, process.start_time, 0.0, state, 0.0, **more)

    def wants(self, number, *, urgent=False):
        self.verdict = Verdict(self.id, number, 0, pools={}, paused={1: WHY}, ending={}, urgent=urgent)

    def workers(self):
        return [self.told]

    @property
    def stands(self):
        return state(self.worker.process.pid) == "T"


def test_one_that_is_asked_at_its_checkpoint_is_left_to_its_process_manager(crew):
    run, hand, now = Run(crew), SecondHand(lambda run: None), time.monotonic()
    run.wants(5)
    run.says(WorkerState.PAUSED, 5, asked=True)
    for later in (0.0, 1.0, 4.0):
        hand.turn([run], now + later)
    assert not run.stands


def test_where_memory_has_run_short_who_is_asked_is_stopped_when_its_process_manager_does_not(crew):
    run, hand, now = Run(crew), SecondHand(lambda run: None), time.monotonic()
    run.wants(5)
    run.says(WorkerState.RUNNING, 4)
    hand.turn([run], now)
    run.says(WorkerState.PAUSED, 5, asked=True)
    run.wants(6, urgent=True)  # which it does not confirm: it hangs
    hand.turn([run], now + 0.01)
    assert not run.stands
    hand.turn([run], now + 0.04)
    until(lambda: run.stands)


def test_one_that_its_process_manager_has_stopped_is_left_alone(crew):
    run, hand, now = Run(crew), SecondHand(lambda run: None), time.monotonic()
    run.wants(6, urgent=True)
    run.says(WorkerState.PAUSED, 6)
    hand.turn([run], now)
    hand.turn([run], now + 1.0)
    assert not run.stands
