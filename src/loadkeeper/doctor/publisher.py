"""A try of the address at which workers of process-load-manager are asked (docs/reference-wire.md)."""

from ..errors import LoadkeeperError
from ..model import PauseMode
from ..process_manager.wire import Wire
from ..settings import parse_wire
from .finding import REDUCED, Finding

ANYBODY = (
    "whoever has an account on this machine can take the port before a run does, and can listen to who is paused and "
    "ended; where that matters use checkpoints of our own, which need no port (docs/checkpoint.md)"
)


def publisher(address: str) -> Finding:
    """``address``: as the settings have it."""
    tried = f"publish to workers at {address}"
    try:
        Wire(parse_wire(address), PauseMode.AUTO, deaf=False).close()
    except LoadkeeperError as error:
        return Finding(tried, REDUCED, str(error), "a run with this setting does not start")
    return Finding(tried, REDUCED, "bound, and let go again", ANYBODY)
