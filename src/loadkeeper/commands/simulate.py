"""``loadkeeper simulate``: what the load manager would make of a world."""

import json
from pathlib import Path
from typing import Any

import click
import msgspec

from ..errors import UsageError


@click.command(short_help="Play a world file through the load manager's decisions.")
@click.argument("world", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed draws the same tasks.")
@click.option("--fixed", type=click.IntRange(min=1), metavar="N", help="A fixed number of workers instead, to compare.")
@click.option("--json", "as_json", is_flag=True, help="The whole result, each task's end included.")
def simulate(world: Path, seed: int, fixed: int | None, as_json: bool) -> int:
    """Run the decisions of the load manager on a small simulated machine; docs/worlds.md describes the file.

    \b
    loadkeeper simulate tests/worlds/ramp.json
    loadkeeper simulate --fixed 8 tests/worlds/ramp.json
    loadkeeper simulate --json --seed 7 tests/worlds/ramp.json | jq .makespan_ratio
    """
    from ..simulate import simulate as play

    result = play(_read(world), seed, fixed=fixed)
    if as_json:
        click.echo(msgspec.json.encode(result).decode())
        return 0
    from ..units import format_duration

    done = sum(task.ended_at is not None for task in result.tasks)
    end = "" if result.finished else ", not finished"
    click.echo(f"{result.world}, {result.policy}, seed {seed}: {format_duration(result.makespan)}{end}")
    click.echo(f"  {result.makespan_ratio:.2f} x the lower bound of {format_duration(result.lower_bound)}")
    click.echo(f"  {done} of {len(result.tasks)} tasks done, {result.failed} failed, {result.buried} buried")
    click.echo(f"  {result.kernel_kills} killed by the kernel, {result.ended} ended by us, {result.pauses} pauses")
    return 0


def _read(path: Path) -> dict[str, Any]:
    try:
        given = json.loads(path.read_text())
    except OSError as error:
        raise UsageError(f"world {path}: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"world {path} is not JSON: {error}") from None
    if not isinstance(given, dict):
        raise UsageError(f"world {path} is not a JSON object; docs/worlds.md describes it")
    return given
