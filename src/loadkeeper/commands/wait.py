"""``wait``: until runs are over."""

import os
import select
import time
from collections.abc import Iterator
from contextlib import suppress
from glob import escape as glob_escape
from glob import glob

import click

from ..errors import LoadkeeperError, UsageError
from ..linux.process import Process
from ..record.journal import NAME
from ..record.journal_reader import read_header
from ..record.places import state_dir
from ..show.bygone import check_versions
from ..status import RunStatus
from .options import DURATION
from .reading import read_status

AGAIN = 0.2
"""Seconds between two looks at processes that no descriptor tells of."""
TIMED_OUT = 1


@click.command(short_help="Wait until runs are over.")
@click.argument("names", nargs=-1, metavar="[RUN]...")
@click.option("--timeout", type=DURATION, metavar="TIME", help="Give up after so long, with exit code 1.")
def wait(names: tuple[str, ...], timeout: float | None) -> int:
    """Wait until the runs that are named (all of this user without a name) are over. Returns at once when they
    are, or when none runs.

    \b
    loadkeeper wait nightly && loadkeeper run ./report
    loadkeeper wait --timeout 10m
    """
    runs = _named(read_status().runs, names)
    until = float("inf") if timeout is None else time.monotonic() + timeout
    processes = [process for run in runs if (process := Process.open(run.pid)) is not None]
    for process in processes:
        if not _gone(process, until):
            return TIMED_OUT
    return 0


def _named(runs: list[RunStatus], names: tuple[str, ...]) -> list[RunStatus]:
    """The living ones. Raises UsageError for a name that no run has, of those that are over either."""
    if not names:
        return runs
    unknown = {name for name in names if not any(name in (run.id, run.name) for run in runs)}
    if unknown and (never := unknown - set(_ended(state_dir(os.environ)))):
        check_versions(state_dir(os.environ))
        raise UsageError(f"there is no run {', '.join(sorted(never))}; `loadkeeper list` names those that live")
    return [run for run in runs if run.id in names or run.name in names]


def _ended(state: str) -> Iterator[str]:
    """Ids and names of the runs that are remembered."""
    for path in glob(f"{glob_escape(state)}/runs/*/{NAME}"):
        with suppress(LoadkeeperError):
            header = read_header(path)
            yield from (header.run, header.name)


def _gone(process: Process, until: float) -> bool:
    """Wait for its end; False when that takes too long."""
    poll = select.poll()
    if (descriptor := process.fileno()) is not None:
        poll.register(descriptor, select.POLLIN)
    while process.alive():
        left = until - time.monotonic()
        if left <= 0:
            return False
        poll.poll(min(left, 3600.0 if descriptor is not None else AGAIN) * 1000)
    return True
