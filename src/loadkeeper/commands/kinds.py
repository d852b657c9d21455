"""``kinds``: what has been learned of tasks that resemble each other, and how it is forgotten."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from glob import escape, glob

import click

from ..channel.address import places
from ..channel.client import Client
from ..channel.messages import Forget
from ..decide import likely_peak
from ..errors import ChannelError, LoadkeeperError, UsageError
from ..load_manager.knowledge import Known, forget, read
from ..record.places import state_dir
from ..show.paper import Cell, Paper, Row
from ..show.text import cut
from ..units import format_cores, format_duration, format_size

NAME = 48
"""Columns that the name of a kind may take."""
NOTHING = "Nothing has been learned yet; the first runs of a command teach what it needs."


@click.command(short_help="Show or forget what has been learned of tasks.")
@click.argument("names", nargs=-1, metavar="[KIND]...")
@click.option("--forget", "drop", is_flag=True, help="Forget these kinds; all of them without a name.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each node.")
def kinds(names: tuple[str, ...], drop: bool, as_json: bool) -> int:
    """Show what the load managers of this user have learned: how much memory and CPU a task of each kind takes. A kind
    is what `run --kind` says, else the program's or script's name. A living load manager writes it down each 2 s.

    \b
    loadkeeper kinds
    loadkeeper kinds --forget train.py      it was upgraded, and needs less now
    loadkeeper run --memory-need 2G ...     says it instead, for one run
    """
    files = sorted(glob(f"{escape(state_dir(os.environ))}/kinds/*.json"))
    if drop:
        return _forget(files, names)
    known = {path: _chosen(read(path), names) for path in files}
    unknown = set(names) - {name for found in known.values() for name in found}
    if unknown:
        raise UsageError(f"nothing has been learned of {', '.join(sorted(unknown))}; `loadkeeper kinds` shows of what")
    if as_json:
        click.echo(
            json.dumps({path: {name: _figures(one) for name, one in found.items()} for path, found in known.items()})
        )
        return 0
    _show([found for found in known.values() if found])
    return 0


def _chosen(known: dict[str, Known], names: tuple[str, ...]) -> dict[str, Known]:
    return {name: one for name, one in known.items() if not names or name in names}


def _figures(known: Known) -> dict[str, float | int | None]:
    """What decisions rest on; ``peak_memory`` is the quantile of the last peaks that a growing worker is expected to
    reach."""
    kind, peaks = known.kind, sorted(known.kind.peaks)
    return {
        "peak_memory": likely_peak(kind),
        "least": peaks[0] if peaks else None,
        "most": peaks[-1] if peaks else None,
        "fill": kind.fill,
        "cpu": kind.cpu,
        "samples": len(peaks),
        "seen": kind.count,
        "used": known.used,
    }


def _show(nodes: list[dict[str, Known]]) -> None:
    paper = Paper()
    if not nodes:
        paper.line(NOTHING)
    for number, known in enumerate(nodes):
        if number:
            paper.line()
        head = [
            Cell(name, "dim", name not in ("kind",)) for name in ("kind", "memory", "from", "to", "cpu", "seen", "used")
        ]
        rows = [Row(head)]
        for name in sorted(known, key=lambda name: -known[name].used):
            figures, used = _figures(known[name]), time.time() - known[name].used
            sizes = [
                "" if figures[part] is None else format_size(figures[part] or 0)
                for part in ("peak_memory", "least", "most")
            ]
            cpu = "" if figures["cpu"] is None else format_cores(figures["cpu"])
            texts = [cut(name, NAME), *sizes, cpu, str(figures["seen"]), f"{format_duration(max(0.0, used))} ago"]
            rows.append(Row([Cell(text, "", place > 0) for place, text in enumerate(texts)]))
        paper.table(rows, drop=[2, 3, 6, 5])


def _forget(files: list[str], names: tuple[str, ...]) -> int:
    """In the load managers that live, or they would write it down again; then in the files."""
    gone = set(_told(names))
    for path in files:
        try:
            gone.update(forget(path, names))
        except OSError as error:
            raise LoadkeeperError(f"{path} cannot be written: {error.strerror}") from None
    unknown = sorted(set(names) - gone)
    if gone:
        click.echo(f"forgotten: {', '.join(sorted(gone))}")
    elif not names:
        click.echo("nothing had been learned")
    if unknown:
        raise UsageError(f"nothing has been learned of {', '.join(unknown)}; `loadkeeper kinds` shows of what")
    return 0


def _told(names: tuple[str, ...]) -> Iterator[str]:
    for place in places(os.environ):
        client = Client(place.socket)
        try:
            with suppress(ChannelError):  # a name left by a load manager that is gone
                yield from getattr(client.ask(Forget(list(names))), "reached", [])
        finally:
            client.close()
