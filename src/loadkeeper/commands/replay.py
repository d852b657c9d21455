"""``replay``: the decisions of the past through today's rules."""

from datetime import datetime
from pathlib import Path

import click
import msgspec

from ..errors import UsageError
from ..load_manager.black_box import Replay
from ..load_manager.black_box import replay as replayed
from ..units import format_duration
from .moments import black_boxes, identify, read_box

TOLD = 10
"""Differences that are named; the others are only counted."""


@click.command(short_help="Play the decisions of a past run again, and name what would be decided otherwise.")
@click.argument("run", required=False, metavar="[RUN]")
@click.option("--with", "changes", metavar="NAME=VALUE", multiple=True, help="What if: memory=+8G, cpus=4, jobs=8 ...")
@click.option(
    "--world", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="Write the run as a world."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object, with every difference.")
def replay(run: str | None, changes: tuple[str, ...], world: Path | None, as_json: bool) -> int:
    """Give what a load manager saw at each look of RUN (of all that is kept without one) to today's rules again, and
    compare. An unchanged program decides the same; after an upgrade this shows what changed. Exit code 1: it differs.

    With --with: how long RUN (the last one without a name) would have taken on a node with more memory (memory=+8G or
    =32G), other cores (cpus=4), without other programs (others=none), or with another limit (jobs=8, limit.cpu=50%).

    \b
    loadkeeper replay nightly
    loadkeeper replay --json | jq '.differences | length'
    loadkeeper replay nightly --with memory=+8G --with cpus=4
    loadkeeper replay nightly --world nightly.json && loadkeeper simulate nightly.json
    """
    boxes = black_boxes()
    if changes or world is not None:
        from . import what_if

        what_if.parse_changes(changes)  # what is wrong with them is said at once
        recorded = what_if.record(boxes, identify(run))
        if world is not None:
            what_if.write_world(recorded, world)
        if changes:
            what_if.tell(recorded, changes, as_json=as_json)
        return 0
    wanted = identify(run).id if run is not None else None
    told = _together([replayed(read_box(box), wanted) for box in boxes])
    if run is not None and not told.looks:
        raise UsageError(
            f"nothing is kept of the decisions for {run}; the black box holds the last 64 MiB of each node"
        )
    if as_json:
        click.echo(msgspec.json.encode(told).decode())
    else:
        _tell(told)
    return 1 if told.differences else 0


def _together(found: list[Replay]) -> Replay:
    """What all nodes of this user have kept."""
    return Replay(
        looks=sum(one.looks for one in found),
        skipped=sum(one.skipped for one in found),
        began=min((one.began for one in found if one.began is not None), default=None),
        ended=max((one.ended for one in found if one.ended is not None), default=None),
        differences=[difference for one in found for difference in one.differences],
    )


def _tell(told: Replay) -> None:
    if told.began is None or told.ended is None:
        click.echo("nothing is kept to be played again")
        return
    since = datetime.fromtimestamp(told.began).strftime("%Y-%m-%d %H:%M:%S")
    click.echo(f"{told.looks} looks in {format_duration(told.ended - told.began)} from {since} on")
    click.echo(
        "all of them decided the same" if not told.differences else f"{len(told.differences)} decided otherwise:"
    )
    for difference in told.differences[:TOLD]:
        at = datetime.fromtimestamp(difference.at).strftime("%H:%M:%S.%f")[:-3]
        click.echo(f"  {at}  {difference.what}")
    if len(told.differences) > TOLD:
        click.echo(f"  and {len(told.differences) - TOLD} more")
    if told.skipped:
        click.echo(f"{told.skipped} looks stand before the first memory that was kept, or behind a gap")
