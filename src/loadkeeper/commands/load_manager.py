"""``loadkeeper load-manager``: one in the foreground, for a service of the user's own or to watch it at work."""

import os
import signal

import click

from ..channel.address import place
from ..channel.server import Taken
from ..errors import PlaceError
from ..load_manager import Loop
from ..load_manager.keeping import of_this_node
from ..sense.capacity import binding_cgroup


@click.command(name="load-manager", short_help="Run a load manager in the foreground.")
def load_manager() -> int:
    """Run this node's load manager in the foreground until SIGINT or SIGTERM. Runs find it by themselves; without one,
    the first run starts one in the background.

    \b
    loadkeeper load-manager
    """
    here = place(os.environ, binding_cgroup())
    try:
        manager = Loop(here, stay=True, keeping=of_this_node())
    except Taken:
        raise PlaceError(
            f"this node has a load manager already (it holds {here.lock}); "
            "it leaves when its last run has left, or `loadkeeper status` shows it"
        ) from None
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: manager.stop())
    click.echo(f"load manager {os.getpid()} watches this node at {here.directory}", err=True)
    manager.manage()
    return 0
