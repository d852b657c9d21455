"""Gauges and memory as people are shown them: by the reading verbs, and by each run's own progress."""

from collections.abc import Iterable, Mapping

from ..model import Decision, Figures, GaugeStatus, Lines
from ..sense.node import NodeReading
from .runs import Run
from .seeing import Readings

BUDGET = "workers-memory"
_OF_CPU = ("cpu", "workers-cpu")
_LEAST_IS_WORST = ("memory", BUDGET)


def of_people(lines: Mapping[str, Lines], cpus: float) -> dict[str, Lines]:
    """CPU lines as shares of all CPUs, as the gauge is shown."""
    return {name: _by(cpus, line) if name in _OF_CPU else line for name, line in lines.items()}


def _by(whole: float, line: Lines) -> Lines:
    hold, pause, end = (None if at is None else at / whole for at in (line.hold, line.pause, line.end))
    return Lines(hold, pause, end)


Sensors = Mapping[str, float | None]
"""Readings of the user's own gauges, by name."""


def gauges(node: NodeReading, sensors: Sensors, lines: Iterable[Mapping[str, Lines]]) -> dict[str, GaugeStatus]:
    """The node's gauges and the users' own, with the strictest of the lines of these runs."""
    told = [of_people(of_run, node.cpus) for of_run in lines]
    busy = None if node.busy is None else node.busy / node.cpus
    values: dict[str, float | None] = {"memory": node.available, "cpu": busy, **node.gauges, **sensors}
    return {
        name: gauge(name, value, [of_run[name] for of_run in told if name in of_run]) for name, value in values.items()
    }


def gauge(name: str, value: float | None, lines: list[Lines]) -> GaugeStatus:
    """One gauge; its state is the furthest line that it has reached."""
    falls = any(line.falling for line in lines)
    strictest = max if name in _LEAST_IS_WORST or falls else min

    def line(which: str) -> float | None:
        return strictest((at for of_run in lines if (at := getattr(of_run, which)) is not None), default=None)

    hold, pause, end = line("hold"), line("pause"), line("end")
    if value is None:
        return GaugeStatus(None, hold, pause, end, "unknown")
    state = "open"
    for reached, at in (("hold", hold), ("pause", pause), ("end", end)):
        if at is not None and (value >= at if strictest is min else value <= at if falls else value < at):
            state = reached
    return GaugeStatus(value, hold, pause, end, state)


def measure(run: Run, node: NodeReading, readings: Readings) -> None:
    """Take note of the most memory in use: by the run's own workers where it has a budget, else by the whole node."""
    budget = run.changed.limits.workers_memory
    seen = (readings.get(run.worker_id(worker.n)) for worker in run.workers())
    read = [reading.rss for reading in seen if reading is not None and reading.rss is not None]
    held = sum(read)
    if budget is not None:
        run.memory = int(budget.of((node.available or 0) + held))
        run.used = held if read or run.used is not None else None  # short workers may be gone before anybody looks
    elif node.available is not None:
        run.memory, run.used = node.total, node.total - node.available
    if run.used is not None:
        run.peak = max(run.peak or 0, run.used)


def figures(run: Run, node: NodeReading, decision: Decision) -> Figures:
    """What the run's own progress shows; after `measure`."""
    lines = decision.lines.get(run.id, {})
    told = gauges(node, run.sensors(node.now), [lines])
    if BUDGET in lines and run.used is not None:
        told[BUDGET] = gauge(BUDGET, run.memory - run.used, [lines[BUDGET]])
    return Figures(told, run.peak, run.memory)
