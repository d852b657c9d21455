"""Every pair of a worker's state and an event."""

from itertools import product

import pytest

from loadkeeper.act.states import TABLE, Event
from loadkeeper.model import WorkerState

EXPECTED = {  # by event: what each state becomes, in the order of WorkerState: starting, running, paused, ending
    Event.SEEN: ("running", "running", "paused", "ending"),
    Event.PAUSE: ("paused", "paused", "paused", "ending"),
    Event.CONTINUE: ("starting", "running", "running", "ending"),
    Event.END: ("ending", "ending", "ending", "ending"),
}


@pytest.mark.parametrize(("state", "event"), list(product(WorkerState, Event)))
def test_every_pair(state, event):
    assert TABLE[state, event] == EXPECTED[event][list(WorkerState).index(state)]


def test_the_table_holds_nothing_else():
    assert set(TABLE) == set(product(WorkerState, Event))
