"""What any program needs to obey the node's load manager: report workers, get a verdict.

Thread-free, with one descriptor to wait on; the process manager is built on it. It finds the load manager, starts one
where there is none, and brings up another when it dies.
"""

import select
import time

from .channel.client import Client
from .errors import ChannelError, LoadkeeperError
from .launcher import Launcher
from .linux.process import Process
from .model import Bye, Hello, Report, Verdict, Welcome

HELLO_AGAIN = 0.5
"""Seconds without a Welcome after which the load manager is looked for, or started, once more; doubled each time, up to
10."""


class Member:
    """A run's tie to the load manager. All methods return at once.

    Wait until `fileno` is readable or `due` seconds have passed, call `turn`, then read `verdict`."""

    def __init__(self, hello: Hello, launcher: Launcher) -> None:
        self.hello = hello
        self.verdict: Verdict | None = None
        self.welcome: Welcome | None = None
        self.losses = 0  # load managers that died under us
        self.errors: list[str] = []
        self._launcher = launcher
        self._helped = True  # nobody who helped at a start is left to be reaped
        self._epoll = select.epoll()
        self._client: Client | None = None
        self._manager: Process | None = None
        self._asked = 0.0
        self._attempts = 0
        self._last: Report | None = None

    @property
    def log(self) -> str:
        """Where a load manager that cannot start says why."""
        return self._launcher.place.log

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
            return None if self._helped else 1.0
        return max(0.0, self._asked + self._pause() - now)

    def report(self, report: Report) -> None:
        """Tell the whole state; the last one is told again to the next load manager."""
        self._last = report
        if self._client is not None and self.connected:
            self._client.send(report)

    def turn(self, now: float) -> bool:
        """Take in what has arrived, watch the load manager; True when there is a new verdict."""
        self._helped = self._launcher.reap()
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
        self._launcher.reap()

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
        self._launcher.arrived()
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
        """A load manager, a new connection to it, and a hello."""
        self._asked = now
        self._attempts += 1
        if self._client is not None:
            self._client.close()
            self._client = None
        self._helped = False
        self._launcher.launch()
        self._client = Client(self._launcher.place.socket)
        self._epoll.register(self._client.fileno(), select.EPOLLIN)
        self._client.send(self.hello)
