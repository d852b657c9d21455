"""What any program needs to obey the node's load manager: report workers, get a verdict.

Thread-free, with one descriptor to wait on; the process manager is built on it. It finds the load manager, starts one
where there is none, and brings up another when it dies.
"""

import os
import select
import shlex
import sys
import time
from collections.abc import Mapping

from .channel.address import Place, place, secure
from .channel.client import Client, listening
from .errors import ChannelError, LoadkeeperError
from .linux.process import Process
from .linux.spawn import reap_helper, spawn_daemon
from .model import Bye, Hello, Report, Verdict, Welcome
from .sense.capacity import binding_cgroup

HELLO_AGAIN = 0.5
"""Seconds without a Welcome after which the load manager is looked for, or started, once more; doubled each time, up to
10. A start takes 0.2 s; one too many leaves at once, for it finds the place taken."""
KEPT_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV")


class Member:
    """A run's tie to the load manager. All methods return at once.

    Wait until `fileno` is readable or `due` seconds have passed, call `turn`, then read `verdict`."""

    def __init__(self, hello: Hello, environment: Mapping[str, str], lm_command: str | None = None) -> None:
        self.hello = hello
        self.verdict: Verdict | None = None
        self.welcome: Welcome | None = None
        self.losses = 0  # load managers that died under us
        self.errors: list[str] = []
        self._environment = environment
        self._lm_command = lm_command
        self._place: Place = place(environment, binding_cgroup())
        self._epoll = select.epoll()
        self._client: Client | None = None
        self._manager: Process | None = None
        self._helpers: list[int] = []
        self._asked = 0.0
        self._attempts = 0
        self._last: Report | None = None

    @property
    def log(self) -> str:
        """Where a load manager that cannot start says why."""
        return self._place.log

    @property
    def connected(self) -> bool:
        """A load manager has welcomed us and lives."""
        return self.welcome is not None

    def connect(self) -> None:
        """Say hello to the load manager that is there, or start one. Raises PlaceError."""
        self._hello(time.monotonic())

    def fileno(self) -> int:
        return self._epoll.fileno()

    def due(self, now: float) -> float | None:
        """Seconds until `turn` must be called at the latest."""
        if self._client is not None and self._client.pending:
            return 0.0
        if self.connected:
            return 1.0 if self._helpers else None
        return max(0.0, self._asked + self._pause() - now)

    def report(self, report: Report) -> None:
        """Tell the whole state; the last one is told again to the next load manager."""
        self._last = report
        if self._client is not None and self.connected:
            self._client.send(report)

    def turn(self, now: float) -> bool:
        """Take in what has arrived, watch the load manager; True when there is a new verdict."""
        self._helpers = [pid for pid in self._helpers if not reap_helper(pid)]
        try:
            if self._manager is not None and not self._manager.alive():
                self._lose(now)
            elif not self.connected and now >= self._asked + self._pause():
                self._hello(now)
        except (LoadkeeperError, OSError) as error:  # the next one is tried again, less and less often
            self.errors.append(str(error))
        return self._hear()

    def leave(self) -> None:
        """Say goodbye: nothing of this run is left."""
        if self._client is not None:
            self._client.send(Bye(self.hello.run))
            self._client.close(linger=0.2)
            self._client = None
        self._watch(None)
        self._epoll.close()
        for pid in self._helpers:
            reap_helper(pid)

    def _hear(self) -> bool:
        if self._client is None:
            return False
        fresh = False
        try:
            messages = self._client.receive()
        except ChannelError as error:
            self.errors.append(str(error))
            return False
        for message in messages:
            if isinstance(message, Welcome):
                self._welcomed(message)
            elif isinstance(message, Verdict) and self._newer(message):
                self.verdict = message
                fresh = True
        return fresh

    def _newer(self, verdict: Verdict) -> bool:
        return verdict.run == self.hello.run and (self.verdict is None or verdict.number > self.verdict.number)

    def _welcomed(self, welcome: Welcome) -> None:
        manager = Process.open(welcome.pid, welcome.start_time)
        if manager is None:
            return  # it died as it spoke; the next hello finds another
        self._watch(manager)
        self.welcome, self.verdict = welcome, None
        self._attempts = 0
        if self._last is not None and self._client is not None:
            self._client.send(self._last)

    def _lose(self, now: float) -> None:
        """The load manager is dead: no verdict holds, bring up another."""
        self.losses += 1
        self._watch(None)
        self.welcome, self.verdict = None, None
        self._hello(now)

    def _watch(self, manager: Process | None) -> None:
        """Hold this load manager's process instead of the last one's; a descriptor that is closed leaves the epoll."""
        if self._manager is not None:
            self._manager.close()
        self._manager = manager
        if manager is not None and (descriptor := manager.fileno()) is not None:
            self._epoll.register(descriptor, select.EPOLLIN)

    def _pause(self) -> float:
        return float(min(HELLO_AGAIN * 2 ** (self._attempts - 1), 10.0))

    def _hello(self, now: float) -> None:
        """A new connection, a hello, and a load manager behind it: one that finds the place taken leaves at once."""
        self._asked = now
        self._attempts += 1
        if self._client is not None:
            self._client.close()
            self._client = None
        secure(os.path.dirname(self._place.directory))
        secure(self._place.directory)  # somebody may have tidied up under a living run
        self._client = Client(self._place.socket)
        self._epoll.register(self._client.fileno(), select.EPOLLIN)
        self._client.send(self.hello)
        if not listening(self._place.socket):
            self._helpers.append(self._start())

    def _start(self) -> int:
        environment = {
            name: value
            for name, value in self._environment.items()
            if name in KEPT_ENVIRONMENT
            or name.startswith("XDG_")
            or name.startswith("SLURM_")  # what a batch system granted
            or name == "_CONDOR_MACHINE_AD"
            or (name.startswith("LOADKEEPER_") and not (name + "_").startswith("LOADKEEPER_WORKER_"))
        }
        own = [sys.executable, "-P", "-m", "loadkeeper.load_manager", self._place.directory]
        command = shlex.split(self._lm_command) if self._lm_command else own
        return spawn_daemon(command, environment, self._place.log)
