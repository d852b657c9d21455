"""What the load manager holds of each run: who it is, what it said last, what was answered."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from msgspec.structs import replace

from ..errors import SettingsError
from ..linux import proc
from ..linux.cgroup import is_leaf
from ..linux.members import Key
from ..linux.process import Process
from ..model import (
    Decision,
    Ending,
    Figures,
    Hello,
    Outcome,
    Report,
    Verdict,
    Want,
    WorkerExit,
    WorkerReport,
)
from ..settings import Changed, change

SILENT = 3.0
"""Seconds without a report after which a process manager is given nothing: it reports once a second."""
REFRESH = 0.25
"""Seconds after which a verdict is sent again because only the figures in its reasons have changed."""
GROWN = 1.01
"""By which the most memory in use must have grown to be news."""
HEARTBEAT = 1.0
"""Seconds after which it is sent again though nothing has changed."""


@dataclass
class Run:
    """One process manager and its run."""

    hello: Hello
    process: Process
    address: bytes  # of its connection
    joined: float
    report: Report | None = None
    heard_at: float = 0.0
    exits: list[WorkerExit] = field(default_factory=list)  # since the last look
    exits_heard: int = 0
    asked: set[int] = field(default_factory=set)  # workers that the load manager itself sent their end
    begun: set[Key] = field(default_factory=set)  # while it is silent: children that it did not report
    want: Want = Want.RUN
    wants: dict[str, Want] = field(default_factory=dict)  # of its pools and workers, by name or id
    changes: dict[str, str] = field(default_factory=dict)  # of its settings, by the operator
    changed: Changed = field(init=False)  # what holds with them
    verdict: Verdict | None = None
    sent_at: float = 0.0
    used: int | None = None  # bytes: by its workers where it has a budget, else on the node
    memory: int = 0  # ... of so many
    peak: int | None = None  # the most of them

    def __post_init__(self) -> None:
        self.changed = Changed(self.hello.limits)

    def change(self, settings: Mapping[str, str]) -> None:
        """Take on the operator's changes. Raises SettingsError, and then none of them holds."""
        changes = {**self.changes, **settings}
        self.changed = change(self.hello.limits, changes)
        self.changes = changes

    @property
    def id(self) -> str:
        return self.hello.run

    def pool_id(self, name: str) -> str:
        return f"{self.id}/{name}"

    def worker_id(self, n: int) -> str:
        return f"{self.id}.{n}"

    def workers(self) -> list[WorkerReport]:
        return self.report.workers if self.report else []

    def sensors(self, now: float) -> dict[str, float | None]:
        """What its own gauges show; unknown while nobody tells it anew."""
        told = self.report.sensors if self.report is not None else {}
        return dict.fromkeys(told) if self.silent(now) else told

    def silent(self, now: float) -> bool:
        return self.report is None or now - self.heard_at > SILENT

    def note_children(self) -> None:
        """It does not answer: whom it starts at this moment (the exec hangs) has no mark yet, and would be found by
        nobody when it dies. A worker leads its session; a load manager, which may be its child, does not. Children of
        a program that the run is a guest in are the program's own."""
        if self.hello.guest:
            return
        found = (proc.stat(pid) for pid in proc.children(self.process.pid))
        self.begun |= {(stat.pid, stat.start_time) for stat in found if stat is not None and stat.session == stat.pid}

    def hear(self, report: Report, now: float) -> bool:
        """Take in a report; True when it changes what should be decided at once."""
        before, self.report, self.heard_at = self.report, report, now
        self.asked.intersection_update({worker.n for worker in report.workers})
        self.begun = set()
        fresh = [exit for exit in report.exits if exit.number > self.exits_heard]
        if fresh:
            self.exits += fresh
            self.exits_heard = fresh[-1].number
        if before is None:
            self._adopt(report)
            return True
        ended = any(exit.outcome is not Outcome.DONE for exit in fresh)
        return ended or report.state is not before.state or _starved(before) != _starved(report)

    def stood(self, seconds: float) -> None:
        """So much time is nobody's."""
        self.heard_at += seconds
        if self.report is not None:
            workers = [
                worker if worker.paused_since is None else replace(worker, paused_since=worker.paused_since + seconds)
                for worker in self.report.workers
            ]
            self.report = replace(self.report, workers=workers)

    def _adopt(self, report: Report) -> None:
        """A report that comes first tells what the operator wanted of the load manager before us."""
        for name, want in report.wants.items():
            if name == self.id:
                self.want = want
            else:
                self.wants[name] = want
        try:
            self.change(report.changes)
        except SettingsError:
            pass  # of a process manager that knows other settings than we do: it has what it began with

    def answer(self, decision: Decision, now: float, figures: Callable[[], Figures]) -> Verdict | None:
        """The verdict to send now, or None when the last one still says it all."""
        fresh = self._verdict(decision)
        old = self.verdict
        if old is not None:
            same = _wanted(old) == _wanted(fresh)
            grown = old.figures is not None and (self.peak or 0) > GROWN * (old.figures.peak_memory or 0)
            old_enough = now - self.sent_at >= (HEARTBEAT if _same_figures(old, fresh) and not grown else REFRESH)
            if same and not old_enough and old.exits_heard == self.exits_heard:
                return None
        self.verdict, self.sent_at = replace(fresh, figures=figures()), now
        return self.verdict

    def _verdict(self, decision: Decision) -> Verdict:
        prefix = len(self.id) + 1
        mine = [worker.n for worker in self.workers()]
        reached = {self.id: self.want} if self.want is not Want.RUN else {}
        return Verdict(
            run=self.id,
            number=self.verdict.number + 1 if self.verdict else 1,
            heard=self.report.number if self.report else 0,
            pools={key[prefix:]: pool for key, pool in decision.pools.items() if key.startswith(self.id + "/")},
            paused={n: why for n in mine if (why := decision.paused.get(self.worker_id(n))) is not None},
            ending={n: self._ending(n, end) for n in mine if (end := decision.ending.get(self.worker_id(n)))},
            want=self.want,
            wants={**self.wants, **reached},
            changes=self.changes,
            critical=self.id in decision.critical,
            exits_heard=self.exits_heard,
            urgent=self.id in decision.urgent,
            throttled={n: share for n in mine if (share := decision.throttled.get(self.worker_id(n))) is not None},
        )

    def _ending(self, n: int, ending: Ending) -> Ending:
        return replace(ending, asked=True) if n in self.asked else ending


def credible(worker: WorkerReport, hello: Hello) -> WorkerReport | None:
    """What may be ended once its process manager is dead: a report is no proof, and a mistake in one must reach nobody
    else. A worker leads the session that it was started in, after its manager; its control group bears its name."""
    found = proc.stat(worker.pid)
    if found is not None and found.start_time == worker.start_time:
        began_before = worker.start_time < hello.start_time
        if found.session != worker.pid or began_before or worker.pid == os.getpid():
            return None
    if worker.leaf is not None and not is_leaf(worker.leaf, f"{hello.run}.{worker.n}"):
        return replace(worker, leaf=None)
    return worker


def _starved(report: Report) -> bool:
    """Nothing lives though something waits."""
    return not report.workers and any(pool.waiting != 0 for pool in report.pools)


def _wanted(verdict: Verdict) -> tuple[object, ...]:
    """What a verdict asks for, without its figures."""
    return (
        {name: (pool.slots, pool.why and pool.why.reason) for name, pool in verdict.pools.items()},
        {n: why.reason for n, why in verdict.paused.items()},
        {n: (end.why.reason, end.kill, end.bury, end.asked) for n, end in verdict.ending.items()},
        verdict.want,
        verdict.wants,
        verdict.changes,
        verdict.critical,
        verdict.urgent,
        verdict.throttled,
    )


def _same_figures(old: Verdict, new: Verdict) -> bool:
    whys = [pool.why for pool in new.pools.values()], list(new.paused.values())
    return whys == ([pool.why for pool in old.pools.values()], list(old.paused.values()))
