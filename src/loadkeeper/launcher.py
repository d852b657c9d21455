"""Bringing up the node's load manager where there is none."""

import os
import shlex
import sys
import time
from collections.abc import Mapping

from .channel.address import Place, listening, place, secure
from .channel.server import holder
from .linux.process import Process
from .linux.spawn import reap_helper, spawn_daemon
from .sense.capacity import binding_cgroup

COMES_UP = 0.5
"""Seconds in which a load manager that was started may be expected: a start takes 0.15 to 0.2 s. One too many leaves at
once, for it finds the place taken, but costs 0.1 s of CPU."""
LAUNCHED = "LOADKEEPER_LAUNCHED"
"""Set for a load manager that a run starts: it leaves with the last run, whatever program it is in."""
KEPT_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV")


class Launcher:
    """Knows the place of the load manager that the caller's processes belong to, and starts one there.

    Raises PlaceError when the runtime directory cannot be used."""

    def __init__(self, environment: Mapping[str, str], command: str | None = None) -> None:
        """``command``: started instead of ours."""
        self.place: Place = place(environment, binding_cgroup())
        self._environment = environment
        self._command = command
        self._directory = os.getcwd() if command else "/"  # a command may name files that lie there
        self._launched: float | None = None  # one is on its way
        self._helpers: list[int] = []

    def launch(self) -> None:
        """Start one, unless one listens or is on its way. Raises PlaceError and SpawnError."""
        secure(os.path.dirname(self.place.directory))
        secure(self.place.directory)  # somebody may have tidied up under a living run
        now = time.monotonic()
        on_its_way = self._launched is not None and now < self._launched + COMES_UP
        if not on_its_way and not listening(self.place.socket):
            self._helpers.append(self._start())
            self._launched = now

    def arrived(self) -> None:
        """It has answered: when it is gone the next one is not on its way."""
        self._launched = None

    def holder(self) -> Process | None:
        """The load manager that has the place, whether it answers or not."""
        return holder(self.place.lock)

    def reap(self) -> bool:
        """Whether every process that helped at a start is gone."""
        self._helpers = [pid for pid in self._helpers if not reap_helper(pid)]
        return not self._helpers

    def _start(self) -> int:
        environment = {name: value for name, value in self._environment.items() if _is_kept(name)} | {LAUNCHED: "1"}
        own = [sys.executable, "-P", "-m", "loadkeeper.load_manager", self.place.directory]
        command = shlex.split(self._command) if self._command else own
        directory = self._directory if self._command else "/"
        return spawn_daemon(command, environment, self.place.log, directory)


def _is_kept(name: str) -> bool:
    """What a load manager needs to know; of a run's own environment it holds nothing."""
    return (
        name in KEPT_ENVIRONMENT
        or name.startswith("XDG_")
        or name.startswith("SLURM_")  # what a batch system granted
        or name == "_CONDOR_MACHINE_AD"
        or (name.startswith("LOADKEEPER_") and not (name + "_").startswith("LOADKEEPER_WORKER_"))
    )
