"""What a worker imports to be paused and ended from inside its own code.

::

    from loadkeeper.worker import checkpoint, Terminated

    for part in parts:
        checkpoint()  # pauses here; raises Terminated here
        work(part)

A kept worker (`loadkeeper run --queue URL --kept`) gets one task after the other::

    for task in tasks():
        work(task.body)

Outside Loadkeeper all of it does nothing, but that `tasks` reads lines from stdin. The protocols are docs/checkpoint.md
and docs/kept-workers.md; nothing else of Loadkeeper is imported.
"""

from .checkpoints import checkpoint, memory_need, progress
from .tasks import Task, tasks
from .terminated import Terminated

__all__ = ["Task", "Terminated", "checkpoint", "memory_need", "progress", "tasks"]
