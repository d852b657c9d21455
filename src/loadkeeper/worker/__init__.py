"""What a worker imports to be paused and ended from inside its own code.

::

    from loadkeeper.worker import checkpoint, Terminated

    for part in parts:
        checkpoint()  # pauses here; raises Terminated here
        work(part)

Outside Loadkeeper all of it does nothing. The protocol is docs/checkpoint.md; nothing else of Loadkeeper is imported.
"""

from .checkpoints import checkpoint, memory_need, progress
from .terminated import Terminated

__all__ = ["Terminated", "checkpoint", "memory_need", "progress"]
