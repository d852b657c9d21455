"""How far a run is, for the program that began it."""

from collections.abc import Mapping

from msgspec import Struct

from ..model import GaugeStatus, TaskCounts
from ..record.report import Summary
from ..show import progress as show


class Progress(Struct, frozen=True, kw_only=True):
    """Tasks are counted once each, but for ``given_back``. As text it is the line that `loadkeeper run` writes."""

    name: str
    waiting: int | None = None  # None: nobody knows how many
    running: int = 0  # workers that live, those that are paused too
    paused: int = 0
    ending: int = 0
    done: int = 0
    failed: int = 0
    given_back: int = 0
    buried: int = 0
    reason: str = ""  # why it does not go faster now, in one line
    fault: str = ""  # what should be looked to
    gauges: Mapping[str, GaugeStatus] = {}  # value, hold, pause, end, state; CPU as a share of all CPUs
    elapsed: float = 0.0  # seconds
    eta: float | None = None  # seconds until the end, about; None: unknown
    over: bool = False  # the last one

    @property
    def finished(self) -> int:
        return self.done + self.failed + self.buried

    @property
    def total(self) -> int | None:
        """All tasks; None while nobody knows how many wait."""
        return None if self.waiting is None else self.finished + self.running + self.waiting

    def __str__(self) -> str:
        tasks = TaskCounts(self.waiting, self.running, self.done, self.failed, self.given_back, self.buried)
        return show.line(
            show.Progress(
                name=self.name,
                tasks=tasks,
                paused=self.paused,
                ending=self.ending,
                gauges=self.gauges,
                reason=self.reason,
                elapsed=self.elapsed,
                left=self.eta,
                fault=self.fault,
            )
        )


def progress_of(shown: show.Progress) -> Progress:
    tasks = shown.tasks
    return Progress(
        name=shown.name,
        waiting=tasks.waiting,
        running=tasks.running,
        paused=shown.paused,
        ending=shown.ending,
        done=tasks.done,
        failed=tasks.failed,
        given_back=tasks.given_back,
        buried=tasks.buried,
        reason=shown.reason,
        fault=shown.fault,
        gauges=dict(shown.gauges),
        elapsed=shown.elapsed,
        eta=shown.left,
    )


def last_progress(name: str, summary: Summary, gauges: Mapping[str, GaugeStatus]) -> Progress:
    """Of a run that is over."""
    return Progress(
        name=name,
        waiting=summary.left,
        done=summary.done,
        failed=summary.failed,
        given_back=summary.given_back,
        buried=summary.buried,
        reason=summary.message,
        gauges=gauges,
        elapsed=summary.seconds or 0.0,
        over=True,
    )
