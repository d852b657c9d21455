"""``loadkeeper bench``: the program beside its peers. What it measures is in the repository, not in the package."""

import importlib
import sys
from pathlib import Path
from typing import Any

import click

import loadkeeper

from ..errors import UsageError

ROOT = Path(loadkeeper.__file__).resolve().parents[2]


@click.command(short_help="Measure this program beside its peers.", context_settings={"ignore_unknown_options": True})
@click.argument("names", nargs=-1)
@click.option("--list", "listed", is_flag=True, help="Say what there is to measure.")
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="How often, each in turn.")
@click.option("--json", metavar="FILE", help="Write all samples there.")
@click.option("--svg", metavar="FILE", help="Write a picture there.")
@click.option("--record", is_flag=True, help="Add this to the history in the repository (bench/history.jsonl).")
@click.option(
    "--fetch/--no-fetch", default=True, help="Unpack packages of peers that are not installed aside, or skip those."
)
def bench(names: tuple[str, ...], **options: Any) -> int:
    """Measure jobs a second, start to end, reaction, what the managers take and hold, beside GNU parallel, xargs, make,
    task-spooler, earlyoom and a C program that only starts and waits: in turn, with medians, spread and ratios. All but
    the long ones (million, batches, executor) without names. `bench compare` shows what changed between two runs of the
    history.

    \b
    loadkeeper bench rate start
    loadkeeper bench --record --svg bench.svg
    loadkeeper bench compare           the last two of the history
    loadkeeper bench compare 1a2b3c4 -1
    """
    program = _program()
    if options.pop("listed"):
        click.echo("\n".join(program.listed()))
        return 0
    if names[:1] == ("compare",):
        return int(program.compare(names[1:]))
    return int(program.measure(names, **options))


def _program() -> Any:
    if not (ROOT / "bench" / "run.py").is_file():
        raise UsageError(
            "the benchmarks are in the repository, not in the package: clone it, and run ./loadkeeper bench there"
        )
    sys.path.append(str(ROOT))
    return importlib.import_module("bench.run")
