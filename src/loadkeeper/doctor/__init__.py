"""What this machine allows, found by trying it the way the managers do. No finding rests on a version number.

A try that the machine refuses is *reduced*: runs work without it, and ``follows`` says how. *Missing* is what no run
can work without.
"""

from .finding import MISSING, OK, REDUCED, Finding
from .groups import control_groups
from .node import gauges, trigger
from .places import runtime, state
from .processes import processes
from .publisher import publisher
from .scheduling import scheduling

__all__ = ["MISSING", "OK", "REDUCED", "Finding", "findings"]


def findings(checkpoint: str | None = None) -> list[Finding]:
    """Every try, made now. Nothing is left behind. ``checkpoint``: the setting, if there is one."""
    tries = (gauges, trigger, runtime, state, processes, control_groups, scheduling)
    found = [finding for look in tries for finding in look()]
    return found if checkpoint is None else [*found, publisher(checkpoint)]
