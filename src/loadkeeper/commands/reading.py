"""What all reading verbs share: ask every load manager of this user and merge the answers. Nothing is started."""

import os

import msgspec

from ..channel.address import Place, place_name, places, runtime_dir
from ..channel.client import Client
from ..channel.messages import Answer, AskStatus
from ..errors import ChannelError
from ..sense.capacity import binding_cgroup
from ..status import NodeStatus, RunStatus, Status


def read_status() -> Status:
    """The caller's load manager first; without any, an empty status. Those that do not answer are left out."""
    nodes: list[NodeStatus] = []
    runs: list[RunStatus] = []
    own = None
    mine = _own_directory()
    for place in places(os.environ):
        told = _ask(place)
        if told is None or told.node is None:
            continue
        runs += [msgspec.structs.replace(run, node=len(nodes)) for run in told.runs]
        nodes.append(told.node)
        if place.directory == mine:
            own = told.node
    node = own or (nodes[0] if len(nodes) == 1 else None)
    return Status(node, nodes, sorted(runs, key=lambda run: run.began))


def _ask(place: Place) -> Status | None:
    client = Client(place.socket)
    try:
        reply = client.ask(AskStatus())
    except ChannelError:
        return None
    finally:
        client.close()
    return reply.status if isinstance(reply, Answer) else None


def _own_directory() -> str:
    return f"{runtime_dir(os.environ)}/{place_name(binding_cgroup())}"
