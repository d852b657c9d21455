"""Workers that are asked at their checkpoints, and what else happens to them then."""

import sys
import time

import pytest
from support.asked import HEAD
from support.children import Crew, state, until

from loadkeeper.act.checkpoint import Checkpoint
from loadkeeper.act.end import tick_all
from loadkeeper.act.pause import Found, assert_all
from loadkeeper.act.throttle import Throttle
from loadkeeper.model import PauseMode, Reason, Verdict, Why, WorkerState
from loadkeeper.obey.acting import Actor

WHY = Why(Reason.OPERATOR)
FAR = "checkpoint(); say('there')\nwhile not os.path.exists(os.environ['LOG'] + '.on'): time.sleep(0.002)\n"
"""At a checkpoint once, and at the next one when it is let."""
COUNTS = "signal.signal(signal.SIGTERM, lambda *_: say('TERM'))\n"


class Workers:
    """Each with a checkpoint file. What they write with `say` is in `said`."""

    def __init__(self, directory):
        self.directory = directory
        self.crew = Crew()
        self.files = []
        self.log = directory / "log"
        self.log.touch()

    def __call__(self, code, mode=PauseMode.AUTO, **options):
        n = len(self.files) + 1
        file = Checkpoint(str(self.directory / f"{n}"), mode, lambda why, ending: str(why.reason), **options)
        assert file.renew(f"{self.crew.run}.{n}", time.monotonic())
        self.files.append(file)
        return self.crew.worker(
            *(sys.executable, "-c", f"{HEAD}import signal\n{code}"),
            ask=file,
            LOG=str(self.log),
            LOADKEEPER_WORKER_CHECKPOINT=file.path,
        )

    def said(self):
        return self.log.read_text().split("\n")[:-1]

    def wait_for(self, word):
        until(lambda: word in self.said())

    def let(self):
        (self.directory / "log.on").touch()

    def close(self):
        self.crew.close()
        for file in self.files:
            file.remove()


@pytest.fixture
def workers(tmp_path):
    made = Workers(tmp_path)
    yield made
    made.close()


def now():
    return time.monotonic()


def verdict(number, *paused):
    return Verdict(run="r", number=number, heard=0, pools={}, paused=dict.fromkeys(paused, WHY), ending={})


def comes_to_stand(worker):
    until(lambda: assert_all([worker], now())[worker] is Found.STANDING)


def test_suspending_stops_one_that_is_asked_already(workers):
    """Nobody looks after it while we stand."""
    worker = workers(FAR)
    workers.wait_for("there")
    actor = Actor({1: worker}, 10.0)
    actor.obey(verdict(1, 1), now())
    assert worker.asked_at is not None
    assert state(worker.process.pid) != "T"
    actor.suspend(now())
    until(lambda: state(worker.process.pid) == "T")
    actor.resume(verdict(2, 1), now())
    assert (worker.state, worker.paused_why) == (WorkerState.PAUSED, WHY)  # that holds it still
    actor.obey(verdict(3), now())
    until(lambda: state(worker.process.pid) != "T")


def test_suspending_stops_one_that_stands_by_its_own_word(workers):
    worker = workers("work()", PauseMode.ASK)
    until(lambda: worker.ask.reached(now()))
    actor = Actor({1: worker}, 10.0)
    actor.obey(verdict(1, 1), now())
    comes_to_stand(worker)
    assert worker.stands_by_itself
    actor.suspend(now())
    until(lambda: state(worker.process.pid) == "T")
    actor.resume(verdict(2), now())
    actor.obey(verdict(2), now())
    until(lambda: state(worker.process.pid) != "T")


def test_one_that_the_load_manager_has_sent_its_signal_gets_no_second_one(workers):
    """To many programs a second one means `at once`."""
    worker = workers(COUNTS + "checkpoint(); say('there'); time.sleep(60)")
    workers.wait_for("there")
    worker.ended_by_another(now(), Why(Reason.MEMORY_END), 10.0, kill=False)
    tick_all([worker], now() + 9.0)
    assert not worker.killed
    time.sleep(0.2)  # what must not come
    assert "TERM" not in workers.said()


def test_a_held_worker_that_is_asked_is_let_to_its_checkpoint(workers):
    """One that is held to a share of the CPU may be stopped at that moment."""
    worker = workers("work()")
    until(lambda: worker.ask.reached(now()))
    throttle = Throttle()
    throttle.set({worker: 0.5}, now())
    throttle.turn(100.15)  # in the part of its period in which it stands
    until(lambda: state(worker.process.pid) == "T")
    worker.pause(now(), WHY)
    throttle.turn(100.16)
    until(worker.ask.stands, 3.0)
    comes_to_stand(worker)


def test_one_that_stood_for_an_earlier_pause_does_not_stand_for_this_one(workers):
    """Between its last look and its `r` it is on its way."""
    worker = workers("checkpoint.after_pause(lambda: say('went on'))\nwork()")
    until(lambda: worker.ask.reached(now()))
    worker.pause(now(), WHY)
    comes_to_stand(worker)  # and is stopped there
    until(lambda: state(worker.process.pid) == "T")
    worker.ask.go_on()
    assert worker.ask.pause(WHY, now())
    assert not worker.ask.stands()  # it has seen nothing of it yet
    worker.members.proceed()
    until(worker.ask.stands, 3.0)


def test_from_a_pause_straight_to_an_end_it_is_never_told_to_go_on(workers, monkeypatch):
    worker = workers("work()", PauseMode.ASK)
    until(lambda: worker.ask.reached(now()))
    worker.pause(now(), WHY)
    comes_to_stand(worker)
    told = []
    monkeypatch.setattr(worker.ask, "go_on", lambda: told.append("go on"))
    worker.end(now(), WHY)
    assert not told
    assert until(worker.exited).code == 75
