"""``loadkeeper explain``: why something starts, waits, stands or was given back, in sentences with figures."""

import os

import click
import msgspec

from ..errors import UsageError
from ..record.places import state_dir
from ..show.explain import Explained, print_explained
from ..show.explain import explain as explained
from ..status import Status
from .reading import read_status


@click.command(short_help="Say in sentences why something starts, waits, is paused or was given back.")
@click.argument("name", required=False, metavar="[RUN|POOL|WORKER|TASK]")
@click.option("--at", metavar="TIME", help="A moment of a run, also a past one: 10:42:50, or +90s from its beginning.")
@click.option("--json", "as_json", is_flag=True, help="A JSON array of {subject, sentence}.")
def explain(name: str | None, at: str | None, as_json: bool) -> int:
    """Say why: why nothing starts, why a worker is paused and when it goes on, why a task was given back, failed or was
    buried, in runs that are over too.

    \b
    loadkeeper explain              everything of this user; where nothing runs, the last run
    loadkeeper explain nightly      a run, by its name
    loadkeeper explain nightly:12   a task
    loadkeeper explain 3f9a12c4.17  a worker
    loadkeeper explain nightly --at +90s     a moment of it: the verdict, why, and what would have changed it
    """
    told = _told(read_status(), name) if at is None else _moment(name, at)
    if as_json:
        click.echo(msgspec.json.encode(told).decode())
    else:
        print_explained(told)
    return 0


def _told(status: Status, name: str | None) -> list[Explained]:
    """Of the living first. Raises UsageError for a name that no run has or had."""
    if name is None and status.runs:
        return explained(status)
    try:
        return explained(status, name) if name is not None else explained(status) + _bygone(status, None)
    except UsageError:
        if name is None or not (told := _bygone(status, name)):
            raise
        return told


def _moment(name: str | None, at: str) -> list[Explained]:
    """Raises UsageError."""
    from ..load_manager.past import Look, moment
    from ..show.moment import Past, explain_moment
    from .moments import black_boxes, identify, parse_moment, read_box

    run = identify(name)
    seconds = parse_moment(at, run.began)
    for box in black_boxes():
        found = moment(read_box(box), run.id, seconds)
        if found is not None:

            def past(look: Look) -> Past:
                return Past(look.looked.seen, look.before, look.looked.decision, look.at)

            since = {id: past(look) for id, look in found.since.items()}
            return explain_moment(past(found.look), since, run.id, run.name, found.began)
    raise UsageError(
        f"nothing is kept of the decisions for {run.name}; the black box holds the last 64 MiB of each node"
    )


def _bygone(status: Status, name: str | None) -> list[Explained]:
    from ..show.bygone import bygone_runs, check_versions, explain_bygone, explain_latest

    state = state_dir(os.environ)
    runs = bygone_runs(state, {run.id for run in status.runs})
    told = explain_latest(runs) if name is None else explain_bygone(runs, name)
    if not told:
        check_versions(state)
    return told
