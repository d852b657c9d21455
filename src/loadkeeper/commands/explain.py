"""``loadkeeper explain``: why something starts, waits, stands or was given back, in sentences with figures."""

import click
import msgspec

from ..show.explain import explain as explained
from ..show.explain import print_explained
from .reading import read_status


@click.command(short_help="Say in sentences why something starts, waits, is paused or was given back.")
@click.argument("name", required=False, metavar="[RUN|POOL|WORKER|TASK]")
@click.option("--json", "as_json", is_flag=True, help="A JSON array of {subject, sentence}.")
def explain(name: str | None, as_json: bool) -> int:
    """Say why: why nothing starts, why a worker is paused and when it goes on, why a task was given back.

    \b
    loadkeeper explain              everything of this user
    loadkeeper explain nightly      a run, by its name
    loadkeeper explain 3f9a12c4.17  a worker
    """
    told = explained(read_status(), name)
    if as_json:
        click.echo(msgspec.json.encode(told).decode())
    else:
        print_explained(told)
    return 0
