"""``loadkeeper doctor``: tries what this machine allows, and says what follows. No line rests on a version number."""

import click
import msgspec

from ..doctor import MISSING, findings
from ..show.findings import print_findings


@click.command(short_help="Try what this machine allows, and say what follows.")
@click.option("--json", "as_json", is_flag=True, help="A JSON array of {try, state, found, follows}.")
def doctor(as_json: bool) -> int:
    """Try what Loadkeeper needs from this machine: each line is the result of a try, and says what follows from it.
    Exit code 1 when something is missing without which runs cannot work.

    \b
    loadkeeper doctor
    loadkeeper doctor --json | jq '.[] | select(.state != "ok")'
    """
    found = findings()
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
    else:
        print_findings(found)
    return 1 if any(finding.state == MISSING for finding in found) else 0
