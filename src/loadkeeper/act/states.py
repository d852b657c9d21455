"""A worker's states and what moves it from one to the next: the table is the whole of it."""

from enum import Enum, auto

from ..model import WorkerState


class Event(Enum):
    SEEN = auto()  # a look found it alive
    PAUSE = auto()
    CONTINUE = auto()
    END = auto()


_S, _E = WorkerState, Event
TABLE: dict[tuple[WorkerState, Event], WorkerState] = {
    (_S.STARTING, _E.SEEN): _S.RUNNING,
    (_S.STARTING, _E.PAUSE): _S.PAUSED,
    (_S.STARTING, _E.CONTINUE): _S.STARTING,
    (_S.STARTING, _E.END): _S.ENDING,
    (_S.RUNNING, _E.SEEN): _S.RUNNING,
    (_S.RUNNING, _E.PAUSE): _S.PAUSED,
    (_S.RUNNING, _E.CONTINUE): _S.RUNNING,
    (_S.RUNNING, _E.END): _S.ENDING,
    (_S.PAUSED, _E.SEEN): _S.PAUSED,
    (_S.PAUSED, _E.PAUSE): _S.PAUSED,
    (_S.PAUSED, _E.CONTINUE): _S.RUNNING,
    (_S.PAUSED, _E.END): _S.ENDING,
    (_S.ENDING, _E.SEEN): _S.ENDING,
    (_S.ENDING, _E.PAUSE): _S.ENDING,  # an end is not taken back, and a stopped process could not obey it
    (_S.ENDING, _E.CONTINUE): _S.ENDING,
    (_S.ENDING, _E.END): _S.ENDING,
}
"""Ended workers have no state: they are no workers any more."""
