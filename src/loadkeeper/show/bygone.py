"""Runs that are over: what became of them and of their tasks, from the journals that they left."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime

from msgspec import Struct

from ..errors import LoadkeeperError, UsageError
from ..model import Outcome
from ..record.journal import NAME, Fate, Header
from ..units import format_duration
from .explain import Explained, past
from .text import clean, cut, is_number

TOLD = 20
"""Tasks that did not simply go well and are told of; the others are only counted."""
VALUE = 40
"""Columns that a task's value may take in a sentence."""


class Bygone(Struct, frozen=True):
    header: Header
    journal: str  # the file

    @property
    def name(self) -> str:
        return f"run {self.header.run} {clean(self.header.name)}".rstrip()


def bygone_runs(state: str, living: set[str]) -> list[Bygone]:
    """Those that are remembered, the latest first."""
    from ..record.journal_reader import read_header

    found = []
    for journal in _journals(state, living):
        with suppress(LoadkeeperError):
            found.append(Bygone(read_header(journal), journal))
    return sorted(found, key=lambda run: -run.header.began)


def check_versions(state: str) -> None:
    """What is not found may be in a journal that only a newer version can read: raises OtherVersion when there is
    one."""
    from ..record.journal_reader import OtherVersion, read_header

    for journal in _journals(state, set()):
        try:
            read_header(journal)
        except OtherVersion:
            raise
        except LoadkeeperError:
            pass  # cut off, or none at all


def _journals(state: str, living: set[str]) -> Iterator[str]:
    with suppress(OSError), os.scandir(f"{state}/runs") as entries:
        for entry in entries:
            if entry.name not in living:
                yield f"{entry.path}/{NAME}"


def explain_bygone(runs: Sequence[Bygone], name: str) -> list[Explained]:
    """What became of a run, by its id or name (the latest of that name), of one of its tasks (``RUN:12``; ``12`` of the
    latest run), or of a worker (``RUN.3``). Nothing where none of them is meant. Raises LoadkeeperError."""
    from ..record.journal_reader import read_outcomes

    for run in runs:
        if name in (run.header.run, run.header.name):
            return list(_run(run, list(read_outcomes(run.journal))))
    of, _, number = name.rpartition(":")
    if is_number(number):
        for run in runs if of else runs[:1]:
            if of in ("", run.header.run, run.header.name):
                return _task(run, list(read_outcomes(run.journal, int(number))), int(number))
    of, _, number = name.rpartition(".")
    if is_number(number):
        for run in runs:
            if of == run.header.run:
                fates = [fate for fate in read_outcomes(run.journal) if fate.worker == int(number)]
                return [
                    Explained(f"worker {name} (task {run.header.run}:{fate.task})", past(fate, over=True))
                    for fate in fates
                ]
    return []


def explain_latest(runs: Sequence[Bygone]) -> list[Explained]:
    """The run that was last, where none lives."""
    return explain_bygone(runs, runs[0].header.run) if runs else []


# -------------------------------------------------------------------------------------------------------------- parts


def _run(run: Bygone, fates: list[Fate]) -> Iterator[Explained]:
    began = datetime.fromtimestamp(run.header.began).strftime("%Y-%m-%d %H:%M:%S")
    yield Explained(run.name, f"began {began}, and is over; {_counts(fates)}; {clean(run.header.command)}")
    notable = [fate for fate in fates if fate.outcome is not Outcome.DONE]
    for fate in notable[:TOLD]:
        yield _one(run, fate)
    if len(notable) > TOLD:
        yield Explained(run.name, f"{len(notable) - TOLD} more attempts failed, were given back or buried")


def _task(run: Bygone, fates: list[Fate], number: int) -> list[Explained]:
    if not fates:
        raise UsageError(f"{run.name} is over, and no attempt at a task {number} of it ended")
    return [_one(run, fate) for fate in fates]


def _one(run: Bygone, fate: Fate) -> Explained:
    value = fate.value.decode("utf-8", "backslashreplace")
    shown = f" ({cut(clean(value), VALUE)})" if value else ""
    return Explained(f"task {run.header.run}:{fate.task}{shown}, attempt {fate.attempt}", past(fate, over=True))


def _counts(fates: Sequence[Fate]) -> str:
    """``497 tasks done, 2 failed, 1 buried, 3 attempts given back; 12 min of pauses``."""
    ends = Counter(fate.outcome for fate in fates if not fate.again)
    back = sum(fate.outcome is Outcome.GIVEN_BACK for fate in fates)
    told = [f"{ends[Outcome.DONE]} task{'' if ends[Outcome.DONE] == 1 else 's'} done"]
    told += [f"{ends[outcome]} {outcome.value}" for outcome in (Outcome.FAILED, Outcome.BURIED) if ends[outcome]]
    told += [f"{back} attempt{'' if back == 1 else 's'} given back"] if back else []
    paused = sum(fate.paused for fate in fates)
    return ", ".join(told) + (f"; {format_duration(paused)} of pauses" if paused else "")
