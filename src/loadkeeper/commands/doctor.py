"""``loadkeeper doctor``: tries what this machine allows, and says what follows. No line rests on a version number."""

import os

import click
import msgspec

from ..doctor import MISSING, Finding, findings
from ..errors import SettingsError
from ..show.findings import print_findings
from . import origins
from .run import run


@click.command(short_help="Try what this machine allows, and say what follows.")
@click.option("--json", "as_json", is_flag=True, help="A JSON array of {try, state, found, follows}.")
def doctor(as_json: bool) -> int:
    """Try what Loadkeeper needs from this machine: each line is the result of a try, and says what follows from it.
    Exit code 1 when something is missing without which runs cannot work.

    \b
    loadkeeper doctor
    loadkeeper doctor --json | jq '.[] | select(.state != "ok")'
    """
    found = _findings()
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
    else:
        print_findings(found)
    return 1 if any(finding.state == MISSING for finding in found) else 0


def _findings() -> list[Finding]:
    """With what the settings of this directory ask for, where they can be read."""
    try:
        checkpoint = origins.find(origins.options_of(run), os.environ).get("checkpoint")
    except SettingsError as error:
        faults = str(error).replace("\nloadkeeper: ", "; ")
        return [*findings(), Finding("read the settings", MISSING, faults, "no run starts here until they are right")]
    return findings(None if checkpoint is None else str(checkpoint.value))
