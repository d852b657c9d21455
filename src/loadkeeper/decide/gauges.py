"""Any other gauge with lines: swap, pressure, a sensor of the user's own. Higher is worse, unless its lines fall.

At hold nobody is admitted; at pause the youngest of the lowest priority is paused, one each 2 s; at end the youngest is
ended and the effect awaited. Unknown closes admission and does nothing else.
"""

from msgspec import Struct
from msgspec.structs import replace

from ..model import Lines, Reason, Seen
from .cpu import youngest_of_lowest
from .lines import gauge_lines
from .memory import NEVER, End, Memory, Pause
from .pause import go_on
from .view import View, running
from .workers import Worker


class Gauge(Struct, frozen=True):
    """A gauge as one run sees it."""

    run: str
    name: str
    reading: float | None
    lines: Lines

    @property
    def key(self) -> str:
        return f"{self.name} {self.run}"

    def is_at(self, line: float | None) -> bool:
        if self.reading is None or line is None:
            return False
        return self.reading <= line if self.lines.falling else self.reading >= line

    @property
    def is_calm(self) -> bool:
        behind = self.lines.hold if self.lines.hold is not None else self.lines.pause
        return self.reading is not None and not self.is_at(behind)


def gauges_of(run: str, view: View) -> list[Gauge]:
    lines = gauge_lines(view.limits[run], view.seen, view.p)
    return [Gauge(run, name, reading(run, name, view.seen), lines[name]) for name in sorted(lines)]


def reading(run: str, name: str, seen: Seen) -> float | None:
    """Of the run's own sensor of that name, else of the node's gauge."""
    own = seen.sensors.get(run, {})
    return own[name] if name in own else seen.gauges.get(name)


def relieve_gauges(view: View, memory: Memory) -> Memory:
    for run in view.limits:
        gauges = gauges_of(run, view)
        if not gauges and not memory.paused:
            continue
        for gauge in gauges:
            memory = _relieve(gauge, view, memory)
        memory = _release_of_lost_lines(run, {gauge.name for gauge in gauges}, view, memory)
    return memory


def _release_of_lost_lines(run: str, names: set[str], view: View, memory: Memory) -> Memory:
    """A line that was taken away while somebody stood for it holds nobody any more."""
    for worker in view.of_run(run):
        pause = memory.paused.get(worker.id)
        if pause is not None and pause.reason is Reason.GAUGE_PAUSE and pause.gauge not in names:
            memory = go_on(worker, memory, view.now)
    return memory


def _relieve(gauge: Gauge, view: View, memory: Memory) -> Memory:
    memory = _note_calm(gauge, view, memory)
    if view.now - memory.gauge_at.get(gauge.key, NEVER) < view.p.cpu_gap:
        return memory
    if gauge.is_at(gauge.lines.end):
        return _end_youngest(gauge, view, memory)
    if gauge.is_at(gauge.lines.pause):
        return _pause_youngest(gauge, view, memory)
    if _calm_for(gauge, view, memory) >= view.p.gauge_calm:
        return _continue_one(gauge, view, memory)
    return memory


def _note_calm(gauge: Gauge, view: View, memory: Memory) -> Memory:
    calm = {key: since for key, since in memory.gauge_calm.items() if key != gauge.key}
    if gauge.is_calm:
        calm[gauge.key] = memory.gauge_calm.get(gauge.key, view.now)
    return replace(memory, gauge_calm=calm)


def _calm_for(gauge: Gauge, view: View, memory: Memory) -> float:
    since = memory.gauge_calm.get(gauge.key)
    return -1.0 if since is None else view.now - since


def _acted(gauge: Gauge, view: View, memory: Memory) -> Memory:
    return replace(memory, gauge_at={**memory.gauge_at, gauge.key: view.now})


def _end_youngest(gauge: Gauge, view: View, memory: Memory) -> Memory:
    staying = [w for w in view.workers if w.pool.run == gauge.run and not w.leaving and w.id not in memory.ending]
    awaited = any(end.gauge == gauge.key for end in memory.ending.values())
    if awaited or not staying:
        return memory
    youngest = min(staying, key=lambda w: (w.pool.priority, -w.seen.started, w.id))
    end = End(view.now, Reason.GAUGE_END, gauge.key, pause=memory.paused.get(youngest.id))
    paused = {id: pause for id, pause in memory.paused.items() if id != youngest.id}
    return _acted(gauge, view, replace(memory, paused=paused, ending={**memory.ending, youngest.id: end}))


def _pause_youngest(gauge: Gauge, view: View, memory: Memory) -> Memory:
    worker = youngest_of_lowest([w for w in running(view, memory) if w.pool.run == gauge.run])
    if worker is None:
        return memory
    pause = Pause(view.now, Reason.GAUGE_PAUSE, gauge.name)
    return _acted(gauge, view, replace(memory, paused={**memory.paused, worker.id: pause}))


def _continue_one(gauge: Gauge, view: View, memory: Memory) -> Memory:
    standing = [worker for worker in view.workers if _stands_for(gauge, worker, memory)]
    if not standing:
        return memory
    first = min(standing, key=lambda w: (memory.paused[w.id].since, w.id))
    return _acted(gauge, view, go_on(first, memory, view.now))


def _stands_for(gauge: Gauge, worker: Worker, memory: Memory) -> bool:
    pause = memory.paused.get(worker.id)
    if pause is None or worker.leaving or worker.told_to_stand or worker.pool.run != gauge.run:
        return False
    return pause.reason is Reason.GAUGE_PAUSE and pause.gauge == gauge.name
