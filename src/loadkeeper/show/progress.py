"""How far a run is: the block at the bottom of a terminal, and the line elsewhere. Pure: from figures to text."""

from collections import deque
from collections.abc import Mapping, Sequence

from msgspec import Struct

from ..model import TaskCounts
from ..status import GaugeStatus
from ..units import format_duration, format_share
from .gauges import lines, reading, shown
from .text import cells, clean, cut, wrap

NAME = 12
"""Columns that a name has at least; a longer one is cut before the counts are."""
BAR = 40
"""Widest bar, in columns."""


class Progress(Struct, frozen=True, kw_only=True):
    """What is shown of a run. ``tasks.running`` counts every live worker, those that are paused too."""

    name: str
    tasks: TaskCounts
    paused: int = 0
    ending: int = 0
    gauges: Mapping[str, GaugeStatus] = {}  # CPU as a share of all CPUs
    reason: str = ""  # why it does not go faster now: `record.sentences.present_reason`
    elapsed: float = 0.0  # seconds
    left: float | None = None  # seconds until the end, about
    fault: str = ""  # something is wrong that people should know: the journal, the job log
    saying: Sequence[str] = ()  # how far workers are, as they say themselves

    @property
    def finished(self) -> int:
        return self.tasks.done + self.tasks.failed + self.tasks.buried

    @property
    def total(self) -> int | None:
        """All tasks; None while nobody knows how many wait."""
        return None if self.tasks.waiting is None else self.finished + self.tasks.running + self.tasks.waiting


def render(progress: Progress, width: int, height: int = 24) -> list[str]:
    """The block: lines of less than ``width`` columns, fewer than ``height``. What matters least goes first."""
    room = max(1, width - 1)
    told = counts(progress)
    head = wrap(f"{cut(clean(progress.name), max(NAME, room - cells(told) - 2))}: {told}", room, 2)
    why = [line for text in (progress.fault, progress.reason) if text for line in wrap(clean(text), room, 3)]
    bar = [_bar(progress, room)]
    gauges = _gauges(progress.gauges, room)
    saying = [cut(clean(text), room) for text in progress.saying]
    space = max(1, height - 1)
    for part in (saying, gauges, bar, why):
        if len(head) + len(bar) + len(saying) + len(gauges) + len(why) > space:
            part.clear()
    return head + bar + saying + gauges + why


def line(progress: Progress) -> str:
    """The same in one line, for logs."""
    parts = [f"{clean(progress.name)}: {counts(progress)}"]
    parts += [_brief(name, gauge) for name, gauge in shown(progress.gauges)]
    parts += [clean(text) for text in (*progress.saying, progress.fault, progress.reason) if text]
    return "; ".join([*parts, _time(progress)])


def counts(progress: Progress) -> str:
    """``12 done, 1 failed, 2 running, 2 paused, 8 waiting``: what is zero is left out, but for the first."""
    tasks = progress.tasks
    told = [f"{tasks.done} of {progress.total} done" if progress.total is not None else f"{tasks.done} done"]
    running = max(0, tasks.running - progress.paused - progress.ending)
    for count, word in (
        (tasks.failed, "failed"),
        (tasks.buried, "buried"),
        (running, "running"),
        (progress.paused, "paused"),
        (progress.ending, "ending"),
        (tasks.waiting, "waiting"),
    ):
        if count:
            told.append(f"{count} {word}")
    return ", ".join(told)


def _bar(progress: Progress, room: int) -> str:
    time = _time(progress)
    if not progress.total:
        return cut(time, room)
    share = progress.finished / progress.total
    columns = min(BAR, room - len(time) - 12)
    if columns < 10:
        return cut(f"{format_share(share)}, {time}", room)
    filled = int(share * columns)
    return f"[{'#' * filled}{'-' * (columns - filled)}] {format_share(share):>5}  {time}"


def _time(progress: Progress) -> str:
    so_far = format_duration(progress.elapsed)
    return so_far if progress.left is None else f"{so_far}, about {format_duration(progress.left)} left"


def _gauges(gauges: Mapping[str, GaugeStatus], room: int) -> list[str]:
    """A row each, in columns that do not move when a line is reached."""
    rows = [(clean(name), reading(name, g.value), lines(name, g, loud=True)) for name, g in shown(gauges)]
    widths = [max((cells(row[place]) for row in rows), default=0) for place in range(2)]
    told = []
    for row in rows:
        columns = [f"{text:<{width}}" for text, width in zip(row[:2], widths, strict=True)]
        told.append(cut("  ".join([*columns, row[2]]).rstrip(), room))
    return told


def _brief(name: str, gauge: GaugeStatus) -> str:
    told = f"{clean(name)} {reading(name, gauge.value)}"
    drawn = lines(name, gauge, loud=True)
    return f"{told} ({drawn})" if drawn else told


class Pace:
    """How fast tasks are finished, from the last minute, and so when the rest will be."""

    WINDOW = 60.0

    def __init__(self) -> None:
        self._noted: deque[tuple[float, int]] = deque()

    def note(self, now: float, finished: int) -> None:
        """``finished`` tasks so far; call it as often as you like."""
        if not self._noted or now - self._noted[-1][0] >= 1.0:
            self._noted.append((now, finished))
        while len(self._noted) > 2 and now - self._noted[0][0] > self.WINDOW:
            self._noted.popleft()

    def left(self, now: float, finished: int, remaining: int | None) -> float | None:
        """Seconds until the rest is finished; None: nothing was finished lately, or nobody knows how much is left."""
        if remaining is None or not self._noted:
            return None
        since, before = self._noted[0]
        if finished <= before or now <= since:
            return None
        return remaining * (now - since) / (finished - before)
