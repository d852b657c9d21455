"""``pause``, ``resume`` and ``stop``: what the operator wants, told to every load manager of this user."""

import json
import os
from typing import Any

import click

from ..channel.address import places
from ..channel.client import Client
from ..channel.messages import Change, Rejected, Steer, Steered
from ..errors import ChannelError, UsageError
from ..model import Want

PAST = {Want.PAUSE: "paused", Want.RUN: "resumed", Want.STOP: "stopping", Want.DRAIN: "draining"}


def reach(message: Steer | Change) -> tuple[list[str], list[str]]:
    """Tell every load manager of this user: whom it reached, and names that nobody has. Raises UsageError when one
    refuses it."""
    reached: list[str] = []
    unknown = set(message.names)
    for place in places(os.environ):
        client = Client(place.socket)
        try:
            reply = client.ask(message)
        except ChannelError:
            continue  # a name left by a load manager that is gone
        finally:
            client.close()
        if isinstance(reply, Rejected):
            raise UsageError(reply.error)
        if isinstance(reply, Steered):
            reached += reply.reached
            unknown &= set(reply.unknown)
    return reached, sorted(unknown)


def say(message: Steer | Change, what: str, wanted: dict[str, Any], *, as_json: bool) -> int:
    """Tell it and say what came of it; ``what`` was done, to whom. A name that nobody has is a usage error."""
    reached, unknown = reach(message)
    if as_json:
        click.echo(json.dumps({**wanted, "reached": reached, "unknown": unknown}))
    elif reached:
        click.echo(f"{what}: {', '.join(reached)}")
    elif not message.names:
        click.echo("nothing runs")
    if unknown:
        whom = "run" if isinstance(message, Change) else "run, pool or worker"
        raise UsageError(f"there is no {whom} {', '.join(unknown)}; `loadkeeper list` names them")
    return 0


def _steer(want: Want, names: tuple[str, ...], as_json: bool) -> int:
    return say(Steer(want, list(names)), PAST[want], {"want": want.value}, as_json=as_json)


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
