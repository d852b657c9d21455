"""`gearman://HOST[:PORT][,HOST2…]/FUNCTION`: jobs of one function from one gearmand or several.

A connection holds one job at most, for the only way to give one back is to close the connection: WORK_FAIL deletes a
background job (measured). So there are as many connections as jobs are held, and for each server one more, that sleeps
until the server has news. A server that was started with `--job-retries N` drops a job that was given back N times.

What fails for good is put to `FUNCTION.buried` first, as a background job with its reason; then the client is told.
"""

import base64
import os
import random
import socket
import time
import uuid
from collections import deque
from collections.abc import Collection, Iterator, Sequence

import msgspec

from .broker import (
    BURIED,
    Answer,
    Backlog,
    Broker,
    Burial,
    Delivery,
    Fate,
    Found,
    Message,
    Past,
    Unreachable,
    chosen,
)
from .gearman_wire import Connection, Gone, Kind
from .url import Host, named, parse

PORT = 4730
CONNECT = 5.0
ANSWER = 10.0
"""Seconds that a server may take to say that it has a job."""
AGAIN, LONGEST = 0.2, 30.0
"""Seconds until a server that is down is tried again, doubled up to the longest."""
MOST_ASKING = 64
SPARE = 4
"""Connections without a job that are kept for the next."""
STEPS = 1000
"""Of progress, as the protocol has it: a numerator and a denominator."""
LIST = 500
"""Buried jobs that stay and are passed over, for each holds a connection meanwhile."""


class Envelope(msgspec.Struct):
    """A buried job, in `FUNCTION.buried`, and one that has come back from there."""

    loadkeeper: int  # version
    payload: str  # base64
    key: str = ""
    burial: Burial | None = None
    past: Past = msgspec.field(default_factory=Past)


class Link:
    """One connection to one server."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.asked = False  # for a job, and not answered yet
        self.asleep = False
        self.held: Delivery | None = None

    def grab(self) -> None:
        self.asked, self.asleep = True, False
        self.connection.send(Kind.GRAB_JOB_UNIQ)

    def sleep(self) -> None:
        self.asked, self.asleep = False, True
        self.connection.send(Kind.PRE_SLEEP)


class Server:
    """One gearmand: its connections, and whether it is up."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.links: list[Link] = []
        self.control: Connection | None = None
        self.news = True  # there may be jobs
        self.window = 1  # connections that may ask for a job at once: doubled by each that gets one
        self.fault = ""
        self.again_at = 0.0
        self.failures = 0

    def down(self, error: OSError, now: float) -> None:
        """Everything at it is lost; its jobs it gives to others."""
        for link in self.links:
            link.connection.close()
            if link.held is not None:
                link.held.lost = True
        self.links.clear()
        if self.control is not None:
            self.control.close()
            self.control = None
        wait = min(LONGEST, AGAIN * 2.0 ** min(self.failures, 16))
        self.failures += 1
        self.fault = error.strerror or str(error)
        self.again_at = now + wait * random.uniform(0.75, 1.25)
        self.news = True


class Gearman(Broker):
    """Raises SettingsError."""

    claims_end_with_connection = True
    rescues = False
    patience = 60.0  # giving back costs a connection, and one of the tries where the server counts them

    def __init__(self, text: str) -> None:
        url = parse(text, PORT, many=True)
        self.shown = url.shown
        self._function = named(url, "function", 0).encode()
        if len(url.path) > 1:
            self._function = "/".join(url.path).encode()
        self._buried = self._function + f".{BURIED}".encode()
        self._servers = [Server(host) for host in url.hosts]
        self._wanted = 0
        self._turn = 0
        self._lost: list[Delivery] = []

    # ------------------------------------------------------------------------------------------------- who takes tasks

    def connect(self) -> None:
        """To whom it is possible; one server is enough."""
        self.close()
        for server in self._servers:
            self._try(server, time.monotonic())
        self._check()

    def _try(self, server: Server, now: float) -> None:
        try:
            server.control = Connection(*server.host, CONNECT)
        except OSError as error:
            server.down(error, now)
        else:
            server.fault, server.failures, server.news = "", 0, True

    def _check(self) -> None:
        """Raises Unreachable when none is up."""
        down = [server for server in self._servers if server.control is None]
        told = "; ".join(f"{server.host}: {server.fault}" for server in down)
        if len(down) == len(self._servers):
            raise Unreachable(f"{self.shown} cannot be reached: {told}")
        self.trouble = f"{self.shown}: one of its servers is down: {told}" if down else ""

    def descriptors(self) -> Collection[int]:
        return [link.connection.fileno() for server in self._servers for link in server.links]

    def want(self, count: int) -> None:
        self._wanted = count
        self._hunt()

    def _up(self) -> Iterator[Server]:
        """Those that are up, another first each time."""
        self._turn += 1
        for place in range(len(self._servers)):
            server = self._servers[(self._turn + place) % len(self._servers)]
            if server.control is not None:
                yield server

    def _hunt(self) -> None:
        """Ask for as many jobs as are wanted, on connections that hold none; but not on sixty at once for a single
        job: a server that is connected to so often in a moment lets some wait for a second."""
        asked = {server: sum(link.asked for link in server.links) for server in self._servers}
        for server in self._up():
            try:
                while server.news and asked[server] < server.window and sum(asked.values()) < self._wanted:
                    self._idle(server).grab()
                    asked[server] += 1
            except OSError as error:
                self._went(server, error)

    def _idle(self, server: Server) -> Link:
        """A connection that holds and asks nothing. Raises OSError."""
        for link in server.links:
            if link.held is None and not link.asked:
                return link
        link = Link(Connection(*server.host, CONNECT))
        server.links.append(link)
        link.connection.send(Kind.SET_CLIENT_ID, f"loadkeeper-{socket.gethostname()}-{os.getpid()}".encode())
        link.connection.send(Kind.CAN_DO, self._function)
        return link

    def receive(self) -> list[Delivery]:
        found: list[Delivery] = []
        for server in self._servers:
            for link in list(server.links):
                try:
                    self._hear(server, link, found)
                except Gone as error:
                    if link.held is None and not link.asked:
                        link.connection.close()
                        server.links.remove(link)
                        continue
                    self._went(server, error)
                    break
        self._wanted = max(0, self._wanted - len(found))
        self._check()
        self._hunt()
        return found

    def _hear(self, server: Server, link: Link, found: list[Delivery]) -> None:
        link.connection.flush()
        for packet in link.connection.packets():
            if packet.kind == Kind.JOB_ASSIGN_UNIQ:
                handle, _, unique, payload = packet.words(4)
                link.asked, link.held = False, self._delivery(server, link, handle, unique, payload)
                found.append(link.held)
                server.window = min(MOST_ASKING, 2 * server.window)
            elif packet.kind == Kind.NO_JOB:
                server.news, server.window = False, 1
                spare = sum(one.held is None and not one.asked for one in server.links)
                if spare > SPARE and any(one.asleep for one in server.links):  # who is awake is told of no job
                    link.connection.close()
                    server.links.remove(link)
                    return
                link.sleep()
            elif packet.kind == Kind.NOOP:
                link.asleep, server.news = False, True
            elif packet.kind == Kind.ERROR:
                raise Gone(0, b" ".join(packet.words(2)).decode("utf-8", "replace"))

    def _delivery(self, server: Server, link: Link, handle: bytes, unique: bytes, payload: bytes) -> Delivery:
        key, past = (unique or handle).decode("utf-8", "backslashreplace"), Past()
        envelope = _envelope(payload)
        if envelope is not None:
            payload, key, past = base64.b64decode(envelope.payload), envelope.key or key, envelope.past
        return Delivery(payload, key, handle, result=True, past=past, server=(server, link))

    def _went(self, server: Server, error: OSError) -> None:
        server.down(error, time.monotonic())
        self._check()

    def settle(self, answers: deque[Answer]) -> None:
        while answers:
            answer = answers[0]
            if not answer.delivery.lost:
                server, link = answer.delivery.server
                try:
                    self._settle(server, link, answer)
                except OSError as error:
                    self._went(server, error)
            answers.popleft()

    def _settle(self, server: Server, link: Link, answer: Answer) -> None:
        delivery = answer.delivery
        if answer.fate is Fate.BACK:
            link.connection.close()
            server.links.remove(link)
            server.news = True
            return
        if answer.fate is Fate.DONE:
            link.connection.send(Kind.WORK_COMPLETE, delivery.token, answer.result)
        else:
            burial = answer.burial or Burial("")
            self._put(server, self._buried, [_sealed(delivery.payload, delivery.key, burial)])
            link.connection.send(Kind.WORK_WARNING, delivery.token, burial.why.encode() + b"\n" + burial.said)
            link.connection.send(Kind.WORK_FAIL, delivery.token)
        link.held = None
        server.news = True

    def say(self, delivery: Delivery, fraction: float | None, text: str) -> None:
        if delivery.lost or fraction is None:
            return
        server, link = delivery.server
        try:
            words = (delivery.token, b"%d" % round(fraction * STEPS), b"%d" % STEPS)
            link.connection.send(Kind.WORK_STATUS, *words)
        except OSError as error:
            self._went(server, error)

    def due(self, now: float) -> float:
        dues = [server.again_at for server in self._servers if server.control is None]
        if any(link.connection.unsent for server in self._servers for link in server.links):
            dues.append(now + 0.01)
        return min(dues, default=float("inf"))

    def tend(self, now: float) -> None:
        for server in self._servers:
            if server.control is None and now >= server.again_at:
                self._try(server, now)
        self._check()

    def close(self) -> None:
        for server in self._servers:
            for link in server.links:
                link.connection.close()
            server.links.clear()
            if server.control is not None:
                server.control.close()
                server.control = None
        self._wanted = 0

    # ----------------------------------------------------------------------------------------------- who looks after it

    def count(self) -> Backlog:
        waiting = taken = buried = 0
        for server in self._up():
            for line in self._told(server, b"status"):
                name, total, running, *_ = [*line.split(b"\t"), b"0", b"0", b"0"]
                if name == self._function:
                    waiting += int(total) - int(running)
                    taken += int(running)
                elif name == self._buried:
                    buried += int(total)
        return Backlog(waiting, taken, buried)

    def _told(self, server: Server, line: bytes) -> list[bytes]:
        assert server.control is not None
        try:
            return server.control.admin(line, ANSWER)
        except OSError as error:
            self._went(server, error)
            return []

    def put(self, messages: Sequence[Message]) -> list[str]:
        """To the first server that takes them; as background jobs."""
        keys = [message.key or uuid.uuid4().hex for message in messages]
        jobs = [(key.encode(), message.payload) for key, message in zip(keys, messages, strict=True)]
        for server in self._up():
            try:
                self._put(server, self._function, jobs)
            except OSError as error:
                self._went(server, error)
            else:
                return keys
        raise Unreachable(f"{self.shown} cannot be reached")

    @staticmethod
    def _put(server: Server, function: bytes, jobs: Sequence[tuple[bytes, bytes]]) -> None:
        """Raises OSError unless the server has taken each of them."""
        assert server.control is not None
        for unique, payload in jobs:
            server.control.send(Kind.SUBMIT_JOB_BG, function, unique, payload)
            server.control.wait(frozenset({Kind.JOB_CREATED}), ANSWER)

    def peek(self, count: int, *, buried: bool = False) -> list[Found]:
        """gearmand shows no payload: they are taken, and given back by closing the connection."""
        function = self._buried if buried else self._function
        found: list[Found] = []
        for server in self._up():
            taken = self._grab(server, function, count - len(found))
            for connection, _, unique, payload in taken:
                connection.close()
                found.append(_found(unique, payload))
        return found

    def _grab(self, server: Server, function: bytes, count: int) -> list[tuple[Connection, bytes, bytes, bytes]]:
        """(connection, handle, unique, payload) of the first so many jobs, which are ours until the connection is
        closed."""
        taken: list[tuple[Connection, bytes, bytes, bytes]] = []
        try:
            while len(taken) < count:
                connection = Connection(*server.host, CONNECT)
                connection.send(Kind.CAN_DO, function)
                connection.send(Kind.GRAB_JOB_UNIQ)
                packet = connection.wait(frozenset({Kind.JOB_ASSIGN_UNIQ, Kind.NO_JOB}), ANSWER)
                if packet.kind == Kind.NO_JOB:
                    connection.close()
                    break
                handle, _, unique, payload = packet.words(4)
                taken.append((connection, handle, unique, payload))
        except OSError as error:
            for connection, *_ in taken:
                connection.close()
            raise Unreachable(f"{self.shown}: {server.host}: {error}") from None
        return taken

    def requeue(self, keys: Collection[str] | None = None, fits: int | None = None) -> int:
        """Each is put back before it is taken out of where it was buried; the others are let go of at the end."""
        moved = 0
        kept: list[Connection] = []
        try:
            for server in self._up():
                while len(kept) < LIST and (taken := self._grab(server, self._buried, 1)):
                    connection, handle, unique, payload = taken[0]
                    kept.append(connection)
                    if chosen(found := _found(unique, payload), keys, fits):
                        self._put(server, self._function, [_reopened(found)])
                        connection.send(Kind.WORK_COMPLETE, handle, b"")
                        kept.pop().close()
                        moved += 1
        except OSError as error:
            raise Unreachable(f"{self.shown}: {error}") from None
        finally:
            for connection in kept:
                connection.close()
        return moved


def _sealed(payload: bytes, key: str, burial: Burial) -> tuple[bytes, bytes]:
    """Unique and payload of a buried job."""
    envelope = Envelope(1, base64.b64encode(payload).decode(), key, burial)
    return f"{key}.{uuid.uuid4().hex[:8]}".encode(), msgspec.json.encode(envelope)


def _reopened(found: Found) -> tuple[bytes, bytes]:
    """As it was; where it has a need, in an envelope that says so."""
    if found.burial is None or not found.burial.need:
        return found.key.encode(), found.payload
    envelope = Envelope(1, base64.b64encode(found.payload).decode(), found.key, None, Past(need=found.burial.need))
    return found.key.encode(), msgspec.json.encode(envelope)


def _envelope(payload: bytes) -> Envelope | None:
    if not payload.startswith(b'{"loadkeeper":'):
        return None
    try:
        return msgspec.json.decode(payload, type=Envelope)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None


def _found(unique: bytes, payload: bytes) -> Found:
    envelope = _envelope(payload)
    if envelope is None:
        return Found(unique.decode("utf-8", "backslashreplace"), payload)
    return Found(envelope.key, base64.b64decode(envelope.payload), None, envelope.burial)
