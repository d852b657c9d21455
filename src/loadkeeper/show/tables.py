"""``status`` and ``list`` as people read them."""

from datetime import UTC, datetime
from typing import TextIO

from ..model import WorkerState
from ..status import NodeStatus, PoolStatus, RunStatus, Status, WorkerStatus
from ..units import format_cores, format_duration, format_size
from .gauges import lines, reading, shown, state
from .paper import Cell, Paper, Row
from .text import cut, saying

NOBODY = "No load manager runs for this user; `loadkeeper run` starts one."
NO_RUNS = "No runs."
VALUE = 32
"""Columns that a task's value may take."""

_STYLES = {"running": "green", "paused": "yellow", "ending": "red", "critical": "red", "draining": "yellow"}
_LINE_STYLES = {"hold": "yellow", "pause": "magenta", "end": "red"}
_HEADINGS = ("worker", "pid", "pool", "task", "state", "memory", "cpu", "for", "paused", "value")
_RIGHT = frozenset({"pid", "memory", "cpu", "for", "paused"})
_DROP = [_HEADINGS.index(name) for name in ("value", "pool", "paused", "for", "pid", "cpu", "memory", "task")]
"""What goes first when the terminal is narrow; names and states stay."""


def print_status(status: Status, stream: TextIO | None = None, now: datetime | None = None) -> None:
    """Nodes with their gauges and lines, and the runs on them, in a few lines each."""
    paper, now = Paper(stream), now or datetime.now(UTC)
    if not status.nodes:
        paper.line(NOBODY)
    for number, node in enumerate(status.nodes):
        if number:
            paper.line()
        _node(paper, node, now)
        for run in status.runs:
            if run.node == number:
                paper.line()
                _run(paper, run, now)
    if status.nodes and not status.runs:
        paper.line()
        paper.line(NO_RUNS)


def print_list(status: Status, stream: TextIO | None = None, now: datetime | None = None) -> None:
    """Every run with its pools and workers, by the names that the steering verbs take."""
    paper, now = Paper(stream), now or datetime.now(UTC)
    if not status.runs:
        paper.line(NO_RUNS)
    for number, run in enumerate(status.runs):
        if number:
            paper.line()
        _heading(paper, run, now)
        for pool in run.pools:
            _pool(paper, pool, f"pool {run.id}/{pool.name}: ")
        if run.workers:
            workers = sorted(run.workers, key=lambda worker: worker.started)
            headings = Row([Cell(name, "dim", name in _RIGHT) for name in _HEADINGS])
            paper.table([headings, *(_worker(worker, now) for worker in workers)], drop=_DROP)


# -------------------------------------------------------------------------------------------------------------- parts


def _node(paper: Paper, node: NodeStatus, now: datetime) -> None:
    capacity = node.capacity
    size = f"{format_cores(capacity.cpus)}, {format_size(capacity.memory)} of memory"
    paper.line(f"node: {size} ({capacity.bound_by}); load manager {node.pid}{_age(node.began, now, ', up ')}")
    rows = []
    for name, gauge in shown(node.gauges):
        reached = Cell(state(gauge), _LINE_STYLES.get(gauge.state, ""))
        rows.append(Row([Cell(name), Cell(reading(name, gauge.value)), reached, Cell(lines(name, gauge))]))
    paper.table(rows, drop=[3])


def _run(paper: Paper, run: RunStatus, now: datetime) -> None:
    _heading(paper, run, now)
    paper.line(tasks(run), indent=2)
    for pool in run.pools:
        _pool(paper, pool, f"pool {pool.name}: " if len(run.pools) > 1 else "")


def _heading(paper: Paper, run: RunStatus, now: datetime) -> None:
    word = Cell(run.state.value, _STYLES.get(run.state.value, ""))
    paper.heading(f"run {run.id} {run.name}: ", word, f"{_age(run.began, now, ', up ')}; {run.command}")


def tasks(run: RunStatus) -> str:
    """``12 done, 1 failed, 2 running, 1 paused, 8 waiting``."""
    live = [worker.state for worker in run.workers]
    paused, ending = live.count(WorkerState.PAUSED), live.count(WorkerState.ENDING)
    told = [f"{run.tasks.done} done"]
    for count, word in (
        (run.tasks.failed, "failed"),
        (run.tasks.buried, "buried"),
        (len(live) - paused - ending, "running"),
        (paused, "paused"),
        (ending, "ending"),
        (run.tasks.waiting, "waiting"),
    ):
        if count:
            told.append(f"{count} {word}")
    back = run.tasks.given_back
    return ", ".join(told) + (f"; given back {'once' if back == 1 else f'{back} times'} so far" if back else "")


def _pool(paper: Paper, pool: PoolStatus, name: str) -> None:
    slots = "1 slot" if pool.slots == 1 else f"{pool.slots} slots"
    parts = [slots, *([f"priority {pool.priority}"] if pool.priority else [])]
    if pool.kind.peak_memory is not None and pool.kind.samples:
        cpu = "" if pool.kind.cpu is None else f" and {format_cores(pool.kind.cpu)}"
        parts.append(f"one task takes about {format_size(pool.kind.peak_memory)}{cpu}")
    paper.line(name + ", ".join(parts), indent=2)
    if pool.why:
        paper.line(pool.why, indent=2)


def _worker(worker: WorkerStatus, now: datetime) -> Row:
    texts = (
        worker.id or str(worker.pid),
        str(worker.pid),
        worker.pool,
        worker.task,
        worker.state,
        "" if worker.memory is None else format_size(worker.memory),
        "" if worker.cpu is None else f"{worker.cpu:.1f}",
        _age(worker.started, now, ""),
        format_duration(worker.paused_for) if worker.paused_for else "",
        cut("; ".join(part for part in (worker.value, saying(worker.progress, worker.saying)) if part), VALUE),
    )
    styles = {_HEADINGS.index("state"): _STYLES.get(worker.state, "")}
    cells = [Cell(text, styles.get(i, ""), _HEADINGS[i] in _RIGHT) for i, text in enumerate(texts)]
    return Row(cells, worker.why)


def _age(began: str, now: datetime, before: str) -> str:
    """``, up 1 min 5 s``; empty when the beginning is not known."""
    if not began:
        return ""
    try:
        since = (now - datetime.fromisoformat(began)).total_seconds()
    except (ValueError, TypeError):  # of a load manager that writes times otherwise
        return ""
    return f"{before}{format_duration(max(0.0, since))}"
