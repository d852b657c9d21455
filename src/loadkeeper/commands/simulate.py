"""``loadkeeper simulate``: what the load manager would make of a world, and what others would."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from ..errors import UsageError

if TYPE_CHECKING:
    from ..simulate import Recording, Result


@click.command(short_help="Play world files through the load manager's decisions.")
@click.argument("worlds", nargs=-1, required=True, type=click.Path(dir_okay=False, path_type=Path), metavar="WORLD...")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed draws the same tasks.")
@click.option(
    "--policy", default="decide", metavar="NAME", help="Another rule: fixed, memfree ... clairvoyant. [decide]"
)
@click.option(
    "--fixed", type=click.IntRange(min=1), metavar="N", help="A fixed number of workers; --policy fixed -j N."
)
@click.option(
    "-j", "--jobs", "most", type=click.IntRange(min=1), metavar="N", help="Workers of other rules. [one a core]"
)
@click.option("--picture", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.svg", help="Draw it.")
@click.option("--compare", is_flag=True, help="Every rule on every world: a table by group of worlds.")
@click.option("--seeds", type=click.IntRange(min=1), default=2, metavar="N", help="Seeds that --compare plays. [2]")
@click.option("--json", "as_json", is_flag=True, help="The whole result, each task's end included.")
def simulate(worlds: tuple[Path, ...], policy: str, picture: Path | None, **options: Any) -> int:
    """Run the decisions of the load manager on a small simulated machine; docs/worlds.md describes the file.

    \b
    loadkeeper simulate tests/worlds/ramp.json
    loadkeeper simulate --picture ramp.svg tests/worlds/ramp.json
    loadkeeper simulate --policy memsuspend -j 8 tests/worlds/ramp.json
    loadkeeper simulate --compare tests/worlds/*.json
    loadkeeper simulate --json --seed 7 tests/worlds/ramp.json | jq .makespan_ratio
    """
    from ..simulate import POLICIES, Recording
    from ..simulate import simulate as play

    if policy not in POLICIES:
        raise UsageError(f"--policy {policy}: there is no such rule; there are {', '.join(POLICIES)}")
    if picture is not None and (options["compare"] or len(worlds) > 1):
        raise UsageError("--picture draws one world under one rule; name one, without --compare")
    read = [_read(world) for world in worlds]
    if options["compare"]:
        return _compare(read, options["seeds"], as_json=options["as_json"])
    if options["fixed"] is not None:
        policy, options["most"] = "fixed", options["fixed"]
    for world in read:
        recording = Recording() if picture is not None else None
        result = play(world, options["seed"], policy=policy, most=options["most"], recording=recording)
        if options["as_json"]:
            click.echo(msgspec.json.encode(result).decode())
        else:
            _tell(result)
        if recording is not None and picture is not None:
            _draw(picture, recording, result)
    return 0


def _draw(path: Path, recording: "Recording", result: "Result") -> None:
    from ..simulate import DECIDE
    from ..simulate.picture import draw

    try:
        path.write_text(draw(recording, result, limits_of_node=result.policy == DECIDE))
    except OSError as error:
        raise UsageError(f"--picture {path}: {error.strerror}; name a file that can be written") from None


def _tell(result: "Result") -> None:
    from ..show.text import clean
    from ..units import format_duration

    done = sum(task.ended_at is not None for task in result.tasks)
    end = "" if result.finished else ", not finished"
    click.echo(f"{clean(result.world)}, {result.policy}, seed {result.seed}: {format_duration(result.makespan)}{end}")
    click.echo(f"  {result.makespan_ratio:.2f} x the lower bound of {format_duration(result.lower_bound)}")
    click.echo(f"  {done} of {len(result.tasks)} tasks done, {result.failed} failed, {result.buried} buried")
    click.echo(f"  {result.kernel_kills} killed by the kernel, {result.ended} ended by us, {result.pauses} pauses")


def _compare(worlds: list[dict[str, Any]], seeds: int, *, as_json: bool) -> int:
    from ..simulate import POLICIES
    from ..simulate.compare import play_all, rows, table

    made = rows(play_all(worlds, POLICIES, range(1, seeds + 1)))
    click.echo(msgspec.json.encode(made).decode() if as_json else table(made))
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
