"""Workers that do not do as they are told, or stand though nobody here told them to: said once, and for as long as it
lasts in progress and `explain`."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from ..act.worker import Worker
from ..linux.undying import hindrance
from ..model import WorkerState

EVERY = 1.0
"""Seconds between two looks."""
LATE = 2.0
"""Seconds after SIGKILL from which a worker is taken for one that cannot be killed: 7 GiB take 0.14 s to give back."""
SLOW = 5.0
"""Seconds after which a stop that has not taken hold is spoken of; a long system call held one up for 0.65."""
STOPPED = 2.0
"""Seconds that a worker must stand on its own before that is spoken of."""
UNDONE = 5
"""Times that somebody continued a paused worker before that is spoken of."""
LATELY = 2.0
"""Seconds since the last time, after which it is not spoken of any more."""
CONTINUED = "somebody continues it each time that it is stopped"
LIVE = (WorkerState.STARTING, WorkerState.RUNNING)


class Trouble(NamedTuple):
    since: float  # seconds since the epoch
    kind: str
    text: str  # what is wrong, and why if that is known
    follows: str  # what can be done

    @property
    def plain(self) -> str:
        return f"{self.text}, since {time.strftime('%H:%M:%S', time.localtime(self.since))}"

    def __str__(self) -> str:
        return f"{self.plain}; {self.follows}" if self.follows else self.plain


class Troubles:
    """Of the workers of one run, by ``n``."""

    def __init__(self) -> None:
        self._found: dict[int, Trouble] = {}
        self._stood: dict[int, float] = {}  # since when it stands on its own
        self._due = 0.0

    @property
    def found(self) -> Mapping[int, Trouble]:
        return self._found

    def look(
        self, workers: Iterable[Worker], held: Callable[[Worker], bool], now: float
    ) -> list[tuple[Worker, Trouble]]:
        """Those that are new. ``held``: whether it is we who stop it for a part of the time."""
        if now < self._due:
            return []
        self._due = now + EVERY
        new, found = [], {}
        for worker in workers:
            trouble = self._of(worker, held, now)
            if trouble is None:
                continue
            before = self._found.get(worker.n)
            if before is not None and before.kind == trouble.kind:
                trouble = trouble._replace(since=before.since)
            else:
                new.append((worker, trouble))
            found[worker.n] = trouble
        self._found = found
        return new

    def _of(self, worker: Worker, held: Callable[[Worker], bool], now: float) -> Trouble | None:
        if late(worker, now):
            return _undying(worker, now)
        if worker.state is WorkerState.PAUSED:
            return _unpaused(worker, now)
        if worker.state in LIVE and not held(worker):
            return self._stands(worker, now)
        return None

    def _stands(self, worker: Worker, now: float) -> Trouble | None:
        if not worker.process.stopped():
            self._stood.pop(worker.n, None)
            return None
        since = self._stood.setdefault(worker.n, now)
        if now - since < STOPPED:
            return None
        follows = f"`kill -CONT {worker.process.pid}` continues it"
        return Trouble(
            _moment(now - since), "stands", "it has stopped itself, or somebody else has stopped it", follows
        )

    def soon(self) -> None:
        """Look at the next call."""
        self._due = 0.0

    def told(self) -> str:
        """The first of them in one line, for progress."""
        if not self._found:
            return ""
        n, trouble = next(iter(self._found.items()))
        more = f" (and {len(self._found) - 1} workers more)" if len(self._found) > 1 else ""
        return f"worker {n}{more}: {trouble}"

    def forget(self, worker: Worker) -> None:
        """It is gone."""
        self._found = {n: trouble for n, trouble in self._found.items() if n != worker.n}
        self._stood.pop(worker.n, None)


def late(worker: Worker, now: float) -> bool:
    """It was killed, and should be gone."""
    return worker.killed_at is not None and now - worker.killed_at > LATE


def _undying(worker: Worker, now: float) -> Trouble:
    why = hindrance(worker.process.pid) or "it is not gone yet"
    assert worker.killed_at is not None
    follows = "it counts as running until it is gone; ^C twice leaves it behind"
    return Trouble(_moment(now - worker.killed_at), "undying", f"it cannot be killed: {why}", follows)


def _unpaused(worker: Worker, now: float) -> Trouble | None:
    if worker.undone >= UNDONE and now - worker.undone_at < LATELY:
        return Trouble(_moment(now - (worker.paused_since or now)), "unpaused", f"it does not stand: {CONTINUED}", "")
    if worker.asked_at is not None:
        return None  # at its checkpoint, to which it may have a long way
    if worker.obeyed is None and now - worker.stopped_at > SLOW:
        why = hindrance(worker.process.pid) or CONTINUED
        return Trouble(_moment(now - worker.stopped_at), "unpaused", f"it does not stand: {why}", "")
    return None


def _moment(ago: float) -> float:
    return time.time() - ago
