"""``loadkeeper list``: every run, pool and worker by name."""

import click
import msgspec

from .reading import read_status


@click.command(name="list", short_help="List runs, pools and workers.")
@click.option("--json", "as_json", is_flag=True, help="A JSON array of runs, as in `status --json`.")
def list_(as_json: bool) -> int:
    """List the living runs with their pools and workers, by the names that the steering verbs take.

    \b
    loadkeeper list
    loadkeeper list --json | jq '.[].workers[] | select(.state == "paused")'
    """
    found = read_status()
    if as_json:
        click.echo(msgspec.json.encode(found.runs).decode())
        return 0
    from ..show.tables import print_list

    print_list(found)
    return 0
