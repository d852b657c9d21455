"""Looks at all processes that several workers share, for one look costs 9 µs for each process of the machine."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ..linux.members import Table
from .members import Members

if TYPE_CHECKING:
    from .worker import Worker

PASSES = 20
"""Looks that one act makes at most; each finds what was forked before the last one found was reached."""


def look(workers: Iterable["Worker"]) -> Table:
    """One table for all of them, with the environments of their runs read."""
    kins = list({id(worker.kin): worker.kin for worker in workers}.values())
    table = kins[0].take()
    for kin in kins[1:]:
        kin.read_marks(table)
    return table


def passes(workers: list["Worker"], reach: Callable[[Members, Table], bool]) -> None:
    """Reach whoever is new, until a look finds nobody new anywhere. ``reach`` says whether it found somebody."""
    for _ in range(PASSES):
        if not workers:
            return
        table = look(workers)
        workers = [worker for worker in workers if reach(worker.members, table)]
