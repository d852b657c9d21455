"""What any program needs to obey the node's load manager: report workers, get a verdict.

Thread-free, with one descriptor to wait on; the process manager is built on it. It finds the load manager, starts one
where there is none, and brings up another when it dies.
"""

import os
import select
import signal
import time
from collections.abc import Mapping
from typing import Protocol

import zmq
from msgspec.structs import replace

from .channel.client import Client
from .channel.messages import Rejected, Steer
from .channel.register import Register
from .errors import ChannelError, LoadkeeperError
from .launcher import Launcher
from .linux.process import Process
from .linux.spawn import check_descriptors
from .model import Bye, Ending, Hello, Limits, Report, Verdict, Want, Welcome

HELLO_AGAIN = 0.5
"""Seconds without a Welcome after which the load manager is looked for, or started, once more; doubled each time, up to
10."""
STEADY = 10.0
"""Seconds below which a load manager died young, ..."""
ONCE_MORE = 3
"""... and how many of those in a row are replaced at once: the next ones may die of the same."""
SILENT = 5.0
"""Seconds without a word, though it says one each second, after which a load manager is continued: somebody may have
stopped it; after as many more it is killed, and another one comes."""
STOOD = 1.0
"""Seconds between two turns by which it is known that we ourselves stood: nobody's silence counts then."""
UNHEARD = 0.02
"""Seconds after which nothing more is on its way, ..."""
ZEROMQ = 16
"""Descriptors that a connection takes at most: libzmq aborts the whole process where it gets none."""
CATCH_UP = 0.1
"""... and the most that is waited for it."""
ANNOUNCE = 60.0
"""Seconds after which the run is announced anew, for tidiers of old files."""


class HasModel(Protocol):
    """`loadkeeper.Limits`: in the words of the command line."""

    @property
    def model(self) -> Limits: ...


class Member:
    """A run's tie to the load manager. All methods return at once.

    Wait until `fileno` is readable or `due` seconds have passed, call `turn`, then read `verdict`."""

    def __init__(self, hello: Hello, launcher: Launcher) -> None:
        self.hello = hello
        self.verdict: Verdict | None = None
        self.welcome: Welcome | None = None
        self.ended: dict[int, Ending] = {}  # workers whose end a load manager has seen to itself; the caller takes them
        self.losses = 0  # load managers that died under us
        self.lost_at: float | None = None  # since when there is none; None: there is one, or there never was
        self.fault = ""  # why there is none, for people
        self._launcher = launcher
        self._register = Register(launcher.place)
        self._announced = 0.0
        self._welcomed_at = self._heard = self._turned = 0.0
        self._urged = False  # the one that is silent was continued
        self._helped = True  # nobody who helped at a start is left to be reaped
        self._epoll = select.epoll()
        check_descriptors(ZEROMQ)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(1)  # the only one: each takes threads of its own
        self._client: Client | None = None
        self._manager: Process | None = None
        self._asked = 0.0
        self._attempts = self._young = 0
        self._last: Report | None = None
        self._wanted: Want | None = None  # of this run, by itself, until a load manager is told

    @classmethod
    def open(
        cls,
        name: str,
        *,
        limits: "HasModel | Limits | None" = None,
        grace: float = 10.0,
        lm_command: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> "Member":
        """A member for a program with workers of its own, connected. ``name`` is what `status` and `list` show;
        ``grace``: seconds from asking a worker to end until it is killed; ``lm_command``: started instead of our load
        manager; ``environment``: says where load managers are, instead of the program's own.

        Raises PlaceError when the runtime directory cannot be used."""
        me = Process.myself()
        hello = Hello(
            run=os.urandom(4).hex(),
            name=name,
            pid=me.pid,
            start_time=me.start_time,
            limits=limits if isinstance(limits, Limits) else Limits() if limits is None else limits.model,
            grace=grace,
            command=name,
            state_dir="",
            began=time.time(),
            guest=True,
        )
        member = cls(hello, Launcher(os.environ if environment is None else environment, lm_command))
        member.connect()
        return member

    @property
    def log(self) -> str:
        """Where a load manager that cannot start says why."""
        return self._launcher.place.log

    @property
    def connected(self) -> bool:
        """A load manager has welcomed us and lives."""
        return self.welcome is not None

    def connect(self) -> None:
        """Announce the run, say hello to the load manager that is there, or start one. Raises PlaceError."""
        now = self._turned = self._heard = time.monotonic()
        self._announce(now)
        self._hello(now)

    def fileno(self) -> int:
        return self._epoll.fileno()

    def due(self, now: float) -> float | None:
        """Seconds until `turn` must be called at the latest."""
        if self._client is not None and self._client.pending:
            return 0.0
        if self.connected:
            return SILENT if self._helped else 1.0
        return max(0.0, min(self._asked + self._pause(), self._heard + 2 * SILENT + 0.1) - now)

    def wait(self, seconds: float) -> bool:
        """For a program that waits for nothing else: at most so many seconds for news, and a `turn`."""
        due = self.due(time.monotonic())
        self._epoll.poll(seconds if due is None else min(seconds, due))
        return self.turn(time.monotonic())

    def report(self, report: Report) -> None:
        """Tell the whole state; the last one is told again to the next load manager."""
        self._last = report
        if self._client is not None and self.connected:
            self._client.send(report)

    def steer(self, want: Want) -> None:
        """What an operator could want of the whole run, wanted by its own program."""
        self._wanted = want
        self._tell_wanted()

    def turn(self, now: float) -> bool:
        """Take in what has arrived, watch the load manager; True when there is a new verdict."""
        self._helped = self._launcher.reap()
        if now >= self._announced + ANNOUNCE:
            self._announce(now)
        if now > self._turned + STOOD and self.connected:
            self._heard = now
        self._turned = now
        fresh = self._hear(now)
        try:
            if self._manager is not None and not self._manager.alive():
                self._lose(now)
                fresh = False
            elif not self.connected and now >= self._asked + self._pause():
                self._hello(now)
            self._mind_silence(now)
        except (LoadkeeperError, OSError) as error:  # the next one is tried again, less and less often
            self.fault = str(error)
        return fresh

    def catch_up(self) -> bool:
        """Wait for what is on its way, for whoever stood still has heard nothing; True when there is a new verdict."""
        until, fresh = time.monotonic() + CATCH_UP, False
        while time.monotonic() < until and self._epoll.poll(UNHEARD):
            fresh |= self.turn(time.monotonic())
        return fresh

    def leave(self) -> None:
        """Say goodbye: nothing of this run is left."""
        self._register.withdraw(self.hello.run)
        if self._client is not None:
            self._client.send(Bye(self.hello.run))
            self._client.close(linger=0.2)
            self._client = None
        self._context.term()
        self._watch(None)
        self._epoll.close()
        self._launcher.reap()

    def _tell_wanted(self) -> None:
        if self._wanted is not None and self._client is not None and self.connected:
            self._client.send(Steer(self._wanted, [self.hello.run]))
            self._wanted = None  # from now on its verdicts say it, and our reports tell the next one

    def _announce(self, now: float) -> None:
        self._announced = now
        self._register.announce(self.hello)

    def _mind_silence(self, now: float) -> None:
        """A load manager that says nothing may be stopped: it is continued, and killed when that did not help."""
        if now - self._heard < SILENT:
            self._urged = False
            return
        manager = self._manager or self._launcher.holder()
        if manager is None:
            self._heard = now
        elif not self._urged:
            self._urged = True
            self.fault = f"the load manager (process {manager.pid}) does not answer"
            manager.send(signal.SIGCONT)
        elif now - self._heard >= 2 * SILENT:
            self._heard, self._urged = now, False
            manager.send(signal.SIGKILL)
        if manager is not None and manager is not self._manager:
            manager.close()

    def _hear(self, now: float) -> bool:
        if self._client is None:
            return False
        fresh = False
        try:
            messages = self._client.receive()
        except ChannelError as error:
            self.fault = str(error)
            return False
        if messages:
            self._heard = now
        for message in messages:
            if isinstance(message, Welcome):
                self._welcomed(message, now)
            elif isinstance(message, Rejected):
                self.fault = message.error
            elif isinstance(message, Verdict) and self._newer(message):
                self.verdict = message
                self.ended.update({n: ending for n, ending in message.ending.items() if ending.asked})
                fresh = True
        return fresh

    def _newer(self, verdict: Verdict) -> bool:
        return verdict.run == self.hello.run and (self.verdict is None or verdict.number > self.verdict.number)

    def _welcomed(self, welcome: Welcome, now: float) -> None:
        manager = Process.open(welcome.pid, welcome.start_time)
        if manager is None:
            return  # it died as it spoke; the next hello finds another
        self._watch(manager)
        self.welcome, self.verdict = welcome, None
        self.lost_at, self.fault, self._welcomed_at = None, "", now
        self._launcher.arrived()
        if self._last is not None and self._client is not None:
            self._client.send(replace(self._last, confirmed=0))  # it speaks of what another one said
        self._tell_wanted()

    def _lose(self, now: float) -> None:
        """The load manager is dead: no verdict holds, bring up another; at once, unless one after the other died."""
        self.losses += 1
        self._watch(None)
        self.welcome, self.verdict = None, None
        self.lost_at = self._asked = self._heard = now
        self._young = self._young + 1 if now - self._welcomed_at < STEADY else 0
        self._attempts = max(0, self._young - ONCE_MORE)
        if not self._attempts:
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
        self._client = Client(self._launcher.place.socket, self._context)
        self._epoll.register(self._client.fileno(), select.EPOLLIN)
        self._client.send(self.hello)
