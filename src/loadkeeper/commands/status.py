"""``loadkeeper status``: nodes and runs at a glance."""

import click
import msgspec

from .reading import read_status


@click.command(short_help="Show nodes, runs and their state.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def status(as_json: bool) -> int:
    """Show this user's nodes with their gauges and lines, and the runs on them. Starts nothing.

    \b
    loadkeeper status
    loadkeeper status --json | jq .node.gauges.memory
    """
    found = read_status()
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
        return 0
    from ..show.tables import print_status

    print_status(found)
    return 0
