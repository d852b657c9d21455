"""The load manager: one per node, user and binding container. Its loop senses, decides, guards and answers.

`Loop.manage` reads as a table of contents; start there."""

import os
import random
import select
import time
from functools import partial
from typing import NamedTuple

from msgspec.structs import replace

from ..channel.address import Place, listening
from ..channel.messages import Answer, AskStatus, Change, Forget, Rejected, Steer, Steered
from ..channel.register import Register
from ..channel.server import Server
from ..decide import Memory, decide, forgive
from ..errors import SettingsError
from ..guard import Guard
from ..linux.ownership import owner
from ..linux.process import Process, myself
from ..model import PROTOCOL, Bye, Decision, Hello, Report, Welcome
from ..saying import say
from ..sense.node import NodeReading, NodeSensor
from ..sense.own import OwnCpu
from ..sense.workers import WorkerSensor
from . import answers
from .black_box import BlackBox
from .figures import figures, measure
from .keeping import Keeping
from .knowledge import Knowledge
from .runs import Run, credible
from .second_hand import SecondHand
from .seeing import Obedience, Picture, asked_gently, see

LINGER = 0.8
"""Seconds it stays after the last run has left."""
WELCOME = 3.0
"""Seconds it waits for its first run."""
SOON = 0.01
"""Seconds between two looks when something happened that should be decided at once."""
FULL_SWEEP = 0.5
"""Seconds between two passes over all processes, which find new members."""
FIRST_SWEEP = 0.2
"""... while there is a worker that no sweep has seen yet, and ..."""
URGENT_SWEEP = 0.05
"""... while memory is short as well."""
SHORT = 0.03
"""Seconds until the next look at or below which memory is short."""
PATIENCE = 0.02
"""Seconds that a full sweep waits for shared memory to be measured; none while memory is short."""
IDLE_LOOK = 0.1
STOOD = 2.0
"""Seconds by which a turn of the loop may be late; more was a stop of this process, or of the whole machine."""
GRACE = 1.0
"""Seconds, at most, that workers of a dead process manager have to end by themselves, ..."""
GRACE_LATE = 0.5
"""... and those of one whose load manager died, too: the next run waits for them."""
NEWCOMERS = 3.0
"""Seconds that a run waits at most for what another has left to be gone: until then its tasks may still be at work, and
their memory is not back."""
TIDY = 60.0
"""Seconds between two looks at whether the place is still there."""


class Newcomer(NamedTuple):
    """A run that is not welcomed yet."""

    sender: bytes
    hello: Hello
    at: float


class Loop:
    """Watches the node and every run on it; answers each with the whole state that it should be in.

    ``stay`` keeps it when the last run has left; ``keeping`` says where what it learns and decides is kept. Raises
    `channel.server.Taken` when the place has one already."""

    def __init__(self, place: Place, *, stay: bool = False, keeping: Keeping | None = None) -> None:
        self._server = Server(place)
        self._place = place
        self._stay = stay
        self._runs: dict[str, Run] = {}
        self._node = NodeSensor()
        self._workers = WorkerSensor()
        self._own = OwnCpu()
        self._guard = Guard()
        self._register = Register(place)
        self._second_hand = SecondHand(self._send_again)
        self._newcomers: dict[str, Newcomer] = {}
        self._knowledge = Knowledge(keeping.kinds) if keeping is not None else None
        self._black_box = BlackBox(keeping.black_box) if keeping is not None else None
        self._memory = Memory(kinds=self._knowledge.kinds if self._knowledge is not None else {})
        self._decision: Decision | None = None
        self._obedience = Obedience()
        self._me = myself()
        self._jitter = random.random()
        self._epoll = select.epoll()
        self._epoll.register(self._server.fileno(), select.EPOLLIN)
        now = time.monotonic()
        self._began = time.time()
        self._idle_since = now + WELCOME - LINGER
        self._look_at = self._looked = self._turned = now
        self._swept = self._swept_full = 0.0
        self._swept_available: int | None = None
        self._stopped = False
        self._tidied = now

    def manage(self) -> None:
        """Work until the last run has left (or `stop`)."""
        try:
            self._sweep_up()
            while not self._over():
                self._wait()
                self._hear()
                self._watch()
                self._welcome()
                if time.monotonic() >= self._look_at:
                    self._look()
                self._second_hand.turn(self._runs.values(), time.monotonic())
                self._tidy()
        finally:
            self._second_hand.close()
            self._server.close()
            self._epoll.close()
            if self._knowledge is not None:
                self._knowledge.close()
            if self._black_box is not None:
                self._black_box.close()

    def stop(self) -> None:
        """Leave at the next turn; the runs bring up another if they still live."""
        self._stopped = True

    def _over(self) -> bool:
        if self._stopped:
            return True
        if self._runs or self._newcomers or self._guard.busy:
            self._idle_since = time.monotonic()
            return False
        return not self._stay and time.monotonic() - self._idle_since > LINGER

    def _wait(self) -> None:
        now = time.monotonic()
        until = min(self._look_at, now + IDLE_LOOK, self._guard.due(now), self._second_hand.due(now))
        until = now if self._server.pending else until
        waited = max(0.0, until - now)
        self._epoll.poll(waited)
        now = time.monotonic()
        if (late := now - self._turned - waited) > STOOD:
            self._stood(late)
        self._turned = now

    def _stood(self, seconds: float) -> None:
        """We looked at nothing for so long, and the process managers may have stood, too: nobody's time runs out by
        it, and nobody is taken for silent before it could speak."""
        self._memory = forgive(self._memory, seconds)
        self._second_hand.forgive()
        for run in self._runs.values():
            run.stood(seconds)
        if self._black_box is not None:
            self._black_box.anew()

    # ------------------------------------------------------------------------------------------------------- hear

    def _hear(self) -> None:
        for sender, message in self._server.receive():
            if isinstance(message, Report):
                self._reported(sender, message)
            elif isinstance(message, Hello):
                self._joined(sender, message)
            elif isinstance(message, Bye):
                self._said_bye(sender, message.run)
            elif isinstance(message, AskStatus):
                self._told(sender)
            elif isinstance(message, Steer):
                self._steered(sender, message)
            elif isinstance(message, Change):
                self._changed(sender, message)
            elif isinstance(message, Forget):
                self._forgot(sender, message)

    def _joined(self, sender: bytes, hello: Hello) -> None:
        """It is welcomed once nothing of dead runs is left."""
        self._sweep_up()
        before = self._newcomers.get(hello.run)
        self._newcomers[hello.run] = Newcomer(sender, hello, before.at if before else time.monotonic())

    def _welcome(self) -> None:
        now = time.monotonic()
        for newcomer in list(self._newcomers.values()):
            if not self._guard.busy or now >= newcomer.at + NEWCOMERS:
                del self._newcomers[newcomer.hello.run]
                self._join(newcomer.sender, newcomer.hello)

    def _join(self, sender: bytes, hello: Hello) -> None:
        process = Process.open(hello.pid, hello.start_time)
        if problem := self._doubt(hello, process):
            self._server.send(sender, Rejected(problem))
            return
        assert process is not None
        old = self._runs.pop(hello.run, None)
        if old is not None:
            self._forget(old)
        self._runs[hello.run] = Run(hello, process, sender, time.monotonic())
        if (descriptor := process.fileno()) is not None:
            self._epoll.register(descriptor, select.EPOLLIN)
        self._server.send(sender, Welcome(*self._me, PROTOCOL))

    def _doubt(self, hello: Hello, process: Process | None) -> str:
        """Why this hello is not believed, '' when it is. Root's load manager, too, has runs of root alone: its place is
        keyed by user."""
        if hello.protocol != PROTOCOL:
            return f"the message is of version {hello.protocol}, and this load manager speaks {PROTOCOL}"
        user = owner(hello.pid)
        if process is None or not process.alive():
            return f"there is no process {hello.pid} that started at {hello.start_time}"
        if user != os.getuid():
            return f"process {hello.pid} is not of user {os.getuid()}"
        old = self._runs.get(hello.run)
        if old is not None and old.process.alive() and old.process.pid != hello.pid:
            return f"run {hello.run} is that of process {old.process.pid}, which lives"
        return ""

    def _reported(self, sender: bytes, report: Report) -> None:
        run = self._runs.get(report.run)
        if run is None or run.address != sender:
            return  # it says hello again once it finds that nobody answers
        now = time.monotonic()
        if run.hear(report, now):
            self._look_soon(now)

    def _said_bye(self, sender: bytes, name: str) -> None:
        run = self._runs.get(name)
        if run is not None and run.address == sender:
            self._left(name)
        elif name in self._newcomers and self._newcomers[name].sender == sender:
            del self._newcomers[name]

    def _left(self, name: str) -> None:
        if name in self._runs and self._runs[name].exits:
            self._look()  # its last workers teach
        run = self._runs.pop(name, None)
        if run is not None:
            self._forget(run)
            self._look_soon(time.monotonic())

    def _told(self, sender: bytes) -> None:
        self._look()
        assert self._decision is not None
        assert self._node.last is not None
        view = answers.View(self._node.last, self._decision, self._memory, self._workers.readings, _epoch())
        told = answers.status(view, list(self._runs.values()), os.getpid(), self._began)
        self._server.send(sender, Answer(told))

    def _steered(self, sender: bytes, message: Steer) -> None:
        reached, unknown = answers.steer(list(self._runs.values()), message.want, message.names)
        self._server.send(sender, Steered(reached, unknown))
        self._look_soon(time.monotonic())

    def _changed(self, sender: bytes, message: Change) -> None:
        try:
            runs = list(self._runs.values())
            reached, unknown = answers.change(runs, message.settings, message.names, self._node.last)
        except SettingsError as error:
            self._server.send(sender, Rejected(str(error)))
            return
        self._server.send(sender, Steered(reached, unknown))
        self._look_soon(time.monotonic())

    def _forgot(self, sender: bytes, message: Forget) -> None:
        known = self._memory.kinds
        gone = [name for name in known if not message.names or name in message.names]
        self._memory = replace(self._memory, kinds={name: kind for name, kind in known.items() if name not in gone})
        if self._knowledge is not None:
            self._knowledge.offer(self._memory.kinds)
        self._server.send(sender, Steered(gone, [name for name in message.names if name not in gone]))

    # ------------------------------------------------------------------------------------------------------ guard

    def _watch(self) -> None:
        """A process manager that died leaves its workers to the guard."""
        now = time.monotonic()
        for run in [run for run in self._runs.values() if not run.process.alive()]:
            del self._runs[run.id]
            left = [own for worker in run.workers() if (own := credible(worker, run.hello)) is not None]
            self._guard.orphaned(run.id, left, min(run.hello.grace, GRACE), now, run.hello.leaves, run.begun)
            self._forget(run)
        for name in self._guard.turn(time.monotonic()):
            self._register.withdraw(name)

    def _sweep_up(self) -> None:
        """What runs have left whose load manager died, too. One that another load manager has in hand is left to it."""
        for dead in self._register.dead():
            if dead.run in self._runs or dead.run in self._guard.runs:
                continue
            if dead.place != self._place.directory and listening(Place(dead.place).socket):
                continue
            say(f"both managers of run {dead.run} died; what is left of it is ended")
            self._guard.orphaned(dead.run, (), min(dead.grace, GRACE_LATE), time.monotonic(), dead.leaves)

    def _tidy(self) -> None:
        """A place that somebody tidied away is no place: the next load manager makes it anew."""
        now = time.monotonic()
        if now >= self._tidied + TIDY:
            self._tidied = now
            if not self._server.keep():
                say("the runtime directory was tidied up under this load manager")
                self.stop()

    def _forget(self, run: Run) -> None:
        if (descriptor := run.process.fileno()) is not None:
            self._epoll.unregister(descriptor)
        run.process.close()

    # --------------------------------------------------------------------------------------------- sense and decide

    def _look_soon(self, now: float) -> None:
        self._look_at = min(self._look_at, max(now, self._looked + SOON))

    def _look(self) -> None:
        now = time.monotonic()
        runs = list(self._runs.values())
        for run in runs:
            if run.silent(now):
                run.note_children()
        held = sum(reading.rss or 0 for reading in self._workers.readings.values())
        node = self._node.read(now, held, self._own.seconds)
        self._sweep(now, runs, node)
        if self._decision is not None:
            self._obedience.note(self._decision.paused, self._workers.readings, asked_gently(runs), now)
        throttled = self._decision.throttled if self._decision is not None else {}
        picture = Picture(
            node, self._workers, self._own.last, self._obedience, throttled, self._swept, self._swept_available
        )
        seen = see(runs, picture, self._jitter)
        before = self._memory
        self._decision, self._memory = decide(seen, before)
        if self._knowledge is not None:
            self._knowledge.offer(self._memory.kinds)
        self._answer(runs, now)
        if self._black_box is not None:
            self._black_box.note(before, seen, self._decision, _epoch())
        self._looked = now
        self._look_at = now + (self._decision.next_look if runs else IDLE_LOOK)

    def _sweep(self, now: float, runs: list[Run], node: NodeReading) -> None:
        """Read the workers' memory: all processes now and then, known members' sizes in between."""
        self._own.exited((run.worker_id(gone.n), gone.cpu_seconds) for run in runs for gone in run.exits)
        self._workers.keep({run.worker_id(w.n): (w.pid, w.start_time, w.leaf) for run in runs for w in run.workers()})
        if now >= self._swept_full + self._full_sweep():
            self._workers.sweep(now, 0.0 if self._short() else PATIENCE)
            managers = [(run.hello.pid, run.hello.start_time) for run in runs] + [self._me]
            self._own.add(now, self._workers.readings, managers, node.busy_seconds)
            self._swept_full = now
        elif self._decision is not None and now >= self._swept + self._decision.next_sweep:
            self._workers.fast(now, self._obedience.watch())
        else:
            return
        self._swept, self._swept_available = now, node.available

    def _full_sweep(self) -> float:
        if len(self._workers.readings) == sum(len(run.workers()) for run in self._runs.values()):
            return FULL_SWEEP
        return URGENT_SWEEP if self._short() else FIRST_SWEEP

    def _short(self) -> bool:
        """Memory is short: a line is near, or was crossed."""
        return self._decision is not None and self._decision.next_look <= SHORT

    def _send_again(self, run: Run) -> None:
        """Something was done to its workers from here, which it must know before they are gone."""
        assert self._decision is not None
        assert self._node.last is not None
        verdict = run.answer(self._decision, time.monotonic(), partial(figures, run, self._node.last, self._decision))
        if verdict is not None:
            self._server.send(run.address, verdict)

    def _answer(self, runs: list[Run], now: float) -> None:
        assert self._decision is not None
        assert self._node.last is not None
        for run in runs:
            measure(run, self._node.last, self._workers.readings)
            verdict = run.answer(self._decision, now, partial(figures, run, self._node.last, self._decision))
            if verdict is not None:
                self._server.send(run.address, verdict)


def _epoch() -> float:
    """What turns times into seconds since the epoch. It changes when the clock is set, and with each suspend."""
    return time.time() - time.monotonic()
