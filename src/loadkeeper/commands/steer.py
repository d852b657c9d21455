"""``pause``, ``resume`` and ``stop``: what the operator wants, told to every load manager of this user."""

import json
import os
from collections.abc import Iterator

import click

from ..channel.address import places
from ..channel.client import Client
from ..channel.messages import Change, FromLoadManager, Steer, Steered
from ..errors import ChannelError, UsageError
from ..model import Want

PAST = {Want.PAUSE: "paused", Want.RUN: "resumed", Want.STOP: "stopping", Want.DRAIN: "draining"}


def everywhere(message: Steer | Change) -> Iterator[FromLoadManager]:
    """The answers of all load managers of this user."""
    for place in places(os.environ):
        client = Client(place.socket)
        try:
            yield client.ask(message)
        except ChannelError:
            continue  # a name left by a load manager that is gone
        finally:
            client.close()


def _steer(want: Want, names: tuple[str, ...], as_json: bool) -> int:
    """Reach each name at whichever load manager has it. A name that nobody has is a usage error."""
    reached: list[str] = []
    unknown = set(names)
    for reply in everywhere(Steer(want, list(names))):
        if isinstance(reply, Steered):
            reached += reply.reached
            unknown &= set(reply.unknown)
    if as_json:
        click.echo(json.dumps({"want": want.value, "reached": reached, "unknown": sorted(unknown)}))
    elif reached:
        click.echo(f"{PAST[want]}: {', '.join(reached)}")
    elif not names:
        click.echo("nothing runs")
    if unknown:
        raise UsageError(f"there is no run, pool or worker {', '.join(sorted(unknown))}; `loadkeeper list` names them")
    return 0


_names = click.argument("names", nargs=-1, metavar="[RUN|POOL|WORKER]...")
_json = click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a sentence.")


@click.command(short_help="Pause runs, pools or workers.")
@_names
@_json
def pause(names: tuple[str, ...], as_json: bool) -> int:
    """Pause what is named (all runs without a name) until `loadkeeper resume`. A paused worker keeps its memory.

    \b
    loadkeeper pause                 everything of this user
    loadkeeper pause 3f9a12c4.17     one worker, as `loadkeeper list` names it
    """
    return _steer(Want.PAUSE, names, as_json)


@click.command(short_help="Let what was paused go on.")
@_names
@_json
def resume(names: tuple[str, ...], as_json: bool) -> int:
    """Let go on what `loadkeeper pause` paused. What load has paused goes on when there is room.

    \b
    loadkeeper resume nightly
    """
    return _steer(Want.RUN, names, as_json)


@click.command(short_help="End runs, pools or workers; their tasks are given back.")
@click.option("--drain", is_flag=True, help="Start nothing more, but let what runs finish.")
@_names
@_json
def stop(names: tuple[str, ...], as_json: bool, drain: bool) -> int:
    """End what is named (all runs without a name): TERM, then KILL after the grace; tasks are given back.

    \b
    loadkeeper stop nightly
    loadkeeper stop --drain
    """
    return _steer(Want.DRAIN if drain else Want.STOP, names, as_json)
