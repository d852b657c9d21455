"""No more processes can be made: fewer workers, and whose failure it was."""

import pytest

from loadkeeper.act.worker import Exit
from loadkeeper.model import Outcome
from loadkeeper.obey.fate import Judge
from loadkeeper.process_manager.crowd import FORGET, SETTLE, Crowd
from loadkeeper.sources.base import Task

FAILED = Exit(2, 0, 1 << 20, 0.0, None, False)


@pytest.fixture
def crowd(monkeypatch):
    """With a kernel's count that the test moves: ``crowd.refusals``."""
    made = Crowd()
    made.refusals = 0
    made._count = 0
    monkeypatch.setattr(made._forks, "count", lambda: made.refusals, raising=False)
    return made


def test_nothing_is_held_while_nothing_is_refused(crowd):
    crowd.look(10.0, 8)
    assert crowd.room(10.0, 8) == float("inf")
    assert crowd.fault == ""


def test_after_a_refusal_fewer_live_and_more_when_it_has_passed(crowd):
    crowd.refusals = 3
    crowd.look(10.0, 8)
    assert crowd.refused_since(9.5)
    assert not crowd.refused_since(10.5)
    assert "6 workers at once" in crowd.fault
    assert crowd.room(10.5, 2) == 0, "first it settles"
    assert crowd.room(10.1 + SETTLE, 2) == 4
    allowed = []
    for half in range(1, int(2 * FORGET)):
        crowd.look(10.0 + half / 2, 8)
        allowed.append(crowd.room(10.0 + half / 2, 0))
    after = allowed[int(2 * SETTLE) :]
    assert after == sorted(after)
    assert after[0] < 10
    assert after[-1] > 50
    crowd.look(11.0 + FORGET, 8)
    assert crowd.fault == ""


def test_one_worker_is_always_tried_again(crowd):
    now = 10.0
    for _ in range(20):
        crowd.refusals += 1
        crowd.look(now, 1)
        now += 2 * SETTLE
        assert crowd.room(now, 0) >= 1


def test_refusals_of_one_moment_are_one(crowd):
    for tenth in range(9):
        crowd.refusals += 5
        crowd.look(10.0 + tenth / 10, 16)
    assert "12 workers at once" in crowd.fault


def test_a_failure_in_a_crowd_is_not_the_tasks_until_it_failed_alone(monkeypatch):
    monkeypatch.setattr("loadkeeper.obey.fate.oom_kills", lambda: 0)
    judge, task = Judge(1), Task(1)
    for _ in range(5):
        assert judge.judge(task, FAILED, bury=False, by_kernel=False, crowded=4).outcome is Outcome.GIVEN_BACK
    outcomes = [judge.judge(task, FAILED, bury=False, by_kernel=False, crowded=1) for _ in range(3)]
    assert [one.outcome for one in outcomes] == [Outcome.GIVEN_BACK, Outcome.GIVEN_BACK, Outcome.FAILED]
    assert not outcomes[-1].again


def test_what_went_well_in_a_crowd_is_done():
    well = FAILED._replace(code=0)
    assert Judge(1).judge(Task(1), well, bury=False, by_kernel=False, crowded=3).outcome is Outcome.DONE
