"""The door: what `loadkeeper bench` does with its words."""

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from loadkeeper.errors import UsageError

from . import decisions, history, show
from .batches import WORKLOADS
from .figures import Measure
from .measures import EXECUTOR, LONG, MEASURES, QUEUES, Bench
from .tools import Toolbox

GROUPS = {"batches": list(WORKLOADS), "executor": list(EXECUTOR), "queues": list(QUEUES), "all": list(MEASURES)}


def listed() -> list[str]:
    """Names and what they measure, a line each."""
    lines = [
        f"{name:<10} {(measure.__doc__ or '').strip()}" for name, measure in MEASURES.items() if name not in WORKLOADS
    ]
    return [
        *lines,
        f"{'executor':<10} {', '.join(EXECUTOR)}",
        f"{'queues':<10} {', '.join(QUEUES)}",
        f"{'batches':<10} {', '.join(WORKLOADS)}: 16 tasks in 1 GiB beside xargs and GNU parallel: takes half an hour",
    ]


def measure(  # noqa: PLR0913 - the options of the verb
    names: Sequence[str], *, rounds: int, json: str | None, svg: str | None, record: bool, fetch: bool
) -> int:
    """Measure, and say what came of it. Raises UsageError."""
    wanted = _wanted(names)
    tools = Toolbox(_tell, fetch=fetch)
    try:
        bench = Bench(rounds, tools, _tell)
        measures: dict[str, Measure] = {}
        for name in wanted:
            _tell(f"== {name}")
            measures[name] = MEASURES[name](bench)
        one = history.entry(measures, tools.versions(), rounds)
    finally:
        tools.close()
    print("\n".join(show.table(one)))
    if json is not None:
        Path(json).write_bytes(msgspec.json.encode(one) + b"\n")
    if svg is not None:
        Path(svg).write_text(_growth(one) if list(measures) == ["decide"] else show.picture(one))
    if record:
        history.append(one)
    return 0


def _growth(one: history.Entry) -> str:
    """Of the measure `decide` alone."""
    measure = one.measures["decide"]
    found = {
        count: {which: measure.median(f"{count:,} workers, {which}") / 1000 for which in decisions.COLOURS}
        for count in decisions.COUNTS
    }
    return decisions.picture(found, one.title)


def compare(names: Sequence[str]) -> int:
    """The last two runs, or those that are named, the older first. Raises UsageError."""
    if len(names) > 2:
        raise UsageError(
            "bench compare takes one run or two: a commit of the history, -1 for its last, or a file of --json"
        )
    entries = history.load()
    if len(names) < 2 and len(entries) < 2 - len(names):
        raise UsageError(f"{history.FILE} has {len(entries)} run; `loadkeeper bench --record` adds one")
    old = history.pick(names[0] if names else "-2", entries)
    new = history.pick(names[1] if len(names) > 1 else "-1", entries)
    print(f"from {old.title}\nto   {new.title}\n" + "\n".join(history.changes(old, new)))
    return 0


def _wanted(names: Sequence[str]) -> list[str]:
    if not names:
        return [name for name in MEASURES if name not in LONG]
    wanted: list[str] = []
    for name in names:
        if name not in MEASURES and name not in GROUPS:
            raise UsageError(f"there is no benchmark {name!r}; there are {', '.join([*MEASURES, *GROUPS])}")
        wanted += [found for found in GROUPS.get(name, [name]) if found not in wanted]
    return wanted


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
