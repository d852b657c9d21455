"""The checkpoint files of a run's workers: one for each slot, used by one worker after the other.

They lie in memory where that is possible: a write to a file on a disk may wait for a busy disk.
"""

import math
import os
import shutil
from collections.abc import Callable, Iterable

from ..act.checkpoint import Checkpoint
from ..act.worker import Worker
from ..channel.address import secure
from ..errors import PlaceError
from ..model import Figures, Why
from ..record.pruning import FRESH, hold, prune
from ..record.sentences import end_sentence, sentence
from .job import Job
from .wire import Voice

IN_MEMORY = "/dev/shm"
EVERY = 1.0
"""Seconds between two looks at what workers have written, ..."""
ANSWER = 0.05
"""... and to the one after they were asked whether they are still there."""
PRESS = 1.0
"""Seconds between two words of memory pressure to those that listen for it."""
SHORT = ("hold", "pause", "end")
"""States of the memory gauge."""


def is_short(figures: Figures | None) -> bool:
    """Memory is at its hold line, or worse."""
    memory = figures.gauges.get("memory") if figures is not None else None
    return memory is not None and memory.state in SHORT


def _said(why: Why, ending: bool) -> str:
    return end_sentence(why) if ending else sentence(why)


def _file_of(worker: Worker) -> Checkpoint | None:
    ask = worker.ask
    return ask if isinstance(ask, Checkpoint) else ask.file if isinstance(ask, Voice) else None


class Checkpoints:
    def __init__(self, job: Job, say: Callable[[str], None]) -> None:
        """``say`` tells people, once, why a worker has none."""
        self._job = job
        self._say = say
        self._said = False
        self._directory: str | None = None
        self._held: int | None = None
        self._files: dict[int, Checkpoint] = {}  # by slot
        self._made = 0
        self._look_at = math.inf
        self._press_at = 0.0

    def take(self, slot: int, identity: str, now: float) -> Checkpoint | None:
        """For the worker that is about to start in this slot; None: there cannot be one now."""
        try:
            try:
                return self._take(slot, identity, now)
            except FileNotFoundError:
                self._leave()  # somebody has removed the directory
                return self._take(slot, identity, now)
        except (OSError, PlaceError) as error:
            if not self._said:
                self._say(f"worker {identity} has no checkpoint, it is paused and ended by signals alone: {error}")
            self._said = True
            return None

    def _take(self, slot: int, identity: str, now: float) -> Checkpoint:
        file = self._files.get(slot)
        if file is not None and file.renew(identity, now):
            return file
        if file is not None:
            self._files.pop(slot).remove()
        self._made += 1
        settings = self._job.settings
        path = f"{self._place()}/{self._made}"
        file = self._files[slot] = Checkpoint(path, settings.pause, _said, deaf=settings.sigterm_blocking)
        file.renew(identity, now)
        self._look_at = min(self._look_at, now + EVERY)
        return file

    def _place(self) -> str:
        """A directory of this run's own. What runs have left that were killed with their load manager goes."""
        if self._directory is None:
            base = self._base()
            prune(base, seconds=FRESH)
            self._directory = secure(f"{base}/{self._job.run}")
            self._held = hold(self._directory)
        return self._directory

    def _base(self) -> str:
        try:
            return secure(f"{IN_MEMORY}/loadkeeper-{os.getuid()}")
        except PlaceError:
            return secure(f"{os.path.dirname(self._job.launcher.place.directory)}/checkpoints")

    def due(self) -> float:
        """When `turn` wants to be called."""
        return self._look_at

    def turn(self, workers: Iterable[Worker], now: float) -> None:
        """Take in what workers say of themselves, and ask those that were asked nothing for long."""
        if now < self._look_at:
            return
        asked = False
        for worker in workers:
            if (file := _file_of(worker)) is not None:
                file.look(now)
                asked |= file.probe(now)
        self._look_at = now + (ANSWER if asked else EVERY)

    def press(self, workers: Iterable[Worker], now: float) -> None:
        """Memory is short: tell those that listen for it, in systemd's way."""
        if now < self._press_at:
            return
        self._press_at = now + PRESS
        for worker in workers:
            if (file := _file_of(worker)) is not None:
                file.press()

    def close(self) -> None:
        for file in self._files.values():
            file.remove()
        self._files.clear()
        self._leave()

    def _leave(self) -> None:
        if self._held is not None:
            os.close(self._held)
            self._held = None
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None
