"""What a run must mind about the broker that its tasks come from: that it is there, and how long it waits."""

from collections.abc import Callable, Iterable

from ..model import Reason, Why, WorkerState
from ..obey.acting import Actor
from ..sources.base import Source
from .attempt import Attempt
from .telling import task_name

TROUBLED = 1.0
"""Seconds without a broker before that is said."""


class Brokers:
    """``say`` tells people."""

    def __init__(self, source: Source, grace: float, actor: Actor, say: Callable[[str], None]) -> None:
        self._source, self._grace, self._actor, self._say = source, grace, actor, say
        self._trouble_at: float | None = None
        self._troubled = False  # it was said
        self._warned: set[int] = set()  # tasks of which others may be given a copy

    def look(self, attempts: Iterable[Attempt], now: float) -> None:
        self._mind_trouble(now)
        self._mind_deadlines(attempts, now)

    def _mind_trouble(self, now: float) -> None:
        """No tasks come: it is said, unless it is over in a moment; and when they come again."""
        trouble = self._source.trouble
        if not trouble:
            if self._troubled:
                self._say("the queue answers again")
            self._trouble_at, self._troubled = None, False
        elif self._trouble_at is None:
            self._trouble_at = now
        elif now - self._trouble_at > TROUBLED and not self._troubled:
            self._troubled = True
            self._say(trouble)

    def _mind_deadlines(self, attempts: Iterable[Attempt], now: float) -> None:
        """Who stands for as long as the broker waits for an answer is ended, whoever wants it to stand: its task goes
        back in time. Of who runs for longer people are told."""
        for attempt in attempts:
            task, worker = attempt.task, attempt.worker
            deadline = self._source.deadline(task)
            if deadline is None or now < deadline - self._grace:
                continue
            if worker.state is WorkerState.PAUSED:
                stood = worker.paused_in_all(now)
                self._actor.end({worker: Why(Reason.PATIENCE, reading=stood, line=stood)}, now)
            elif now >= deadline and task.number not in self._warned and worker.state is not WorkerState.ENDING:
                self._warned.add(task.number)
                self._say(
                    f"{task_name(task)} runs for longer than its broker waits for an answer: others may be given it, "
                    "too; raise consumer_timeout at the broker and in the URL"
                )

    def answered(self, number: int) -> None:
        """The task has met its fate."""
        self._warned.discard(number)
