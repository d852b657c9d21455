"""`LoadManager`: the node's load manager in a process, or a thread, of the program's own."""

import os
import threading
import time

from ..channel.address import Place, place
from ..channel.server import Taken, holder
from ..errors import PlaceError, UsageError
from ..launcher import LAUNCHED
from ..load_manager import Loop
from ..load_manager.keeping import of_this_node
from ..sense.capacity import binding_cgroup

LEAVES = 2.0
"""Seconds in which a load manager is gone that has no run any more, ..."""
AGAIN = 0.05
"""... and those between two looks whether it is."""


class LoadManager:
    """Runs find it by themselves, as they find the one that the first of them would start."""

    def __init__(self, *, stay: bool | None = None) -> None:
        """``stay``: until `stop`, also without a run; False: it leaves within a second of the last run, or after three
        without any. None: it leaves where a run has started this program (``--lm-command``), else it stays."""
        self._stay = LAUNCHED not in os.environ if stay is None else stay
        self._begun = threading.Lock()
        self._loop: Loop | None = None
        self._stopped = False
        self.ready = threading.Event()
        """Set once runs can find it."""

    def manage(self) -> None:
        """Watch the node until `stop`. Signals and everything else of the program are left alone: a program that is to
        leave at SIGTERM says `signal.signal(signal.SIGTERM, lambda *_: manager.stop())`.

        Raises PlaceError when another load manager holds the place, with its process id."""
        if not self._begun.acquire(blocking=False):
            raise UsageError("this LoadManager has been at work already; make another one")
        here = place(os.environ, binding_cgroup())
        self._loop = loop = self._take(here)
        self.ready.set()
        if self._stopped:
            loop.stop()
        try:
            loop.manage()
        finally:
            self._loop = None

    def _take(self, here: Place) -> Loop:
        """One whose last run has just left will leave, too."""
        until = time.monotonic() + LEAVES
        while True:
            try:
                return Loop(here, stay=self._stay, keeping=of_this_node())
            except Taken:
                if self._stopped or time.monotonic() > until:
                    raise PlaceError(_taken(here.lock)) from None
                time.sleep(AGAIN)

    def stop(self) -> None:
        """Leave, within a tenth of a second; runs that live bring up another. From any thread or signal handler."""
        self._stopped = True
        if (loop := self._loop) is not None:
            loop.stop()


def _taken(lock: str) -> str:
    """Who holds the place, for people."""
    other = holder(lock)
    who = f"process {other.pid}" if other is not None else "a process that does not say who it is"
    if other is not None:
        other.close()
    return f"this node has a load manager already, {who}; it leaves when its last run has left (`loadkeeper status`)"
