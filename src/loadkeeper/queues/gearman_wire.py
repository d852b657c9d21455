"""Gearman's packets over one connection that never waits.

Our own, for the libraries at hand are not kept up: gear 0.16 sends a packet from its beginning again when the socket
takes only a part of it, has no time-out for connecting, and needs four packages that have nothing to do with Gearman.
The protocol is 12 bytes of header and words that end with NUL (gearman.org/protocol).
"""

import errno
import select
import socket
import struct
import time
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

_HEADER = struct.Struct("!4sII")
CHUNK = 1 << 18
LARGEST = 256 << 20
"""Bytes of a packet; more is no Gearman server."""


class Kind(IntEnum):
    CAN_DO = 1
    PRE_SLEEP = 4
    NOOP = 6
    SUBMIT_JOB = 7
    JOB_CREATED = 8
    NO_JOB = 10
    WORK_STATUS = 12
    WORK_COMPLETE = 13
    WORK_FAIL = 14
    SUBMIT_JOB_BG = 18
    ERROR = 19
    SUBMIT_JOB_HIGH = 21
    SET_CLIENT_ID = 22
    WORK_WARNING = 29
    GRAB_JOB_UNIQ = 30
    JOB_ASSIGN_UNIQ = 31


class Packet(NamedTuple):
    kind: int
    body: bytes

    def words(self, count: int) -> list[bytes]:
        """The last of so many words may hold NUL itself. One that is missing is empty."""
        found = self.body.split(b"\0", count - 1)
        return found + [b""] * (count - len(found))


class Gone(OSError):
    """The connection is lost."""


class Connection:
    """Raises OSError when it cannot be made within ``seconds``."""

    def __init__(self, host: str, port: int, seconds: float) -> None:
        self._socket = socket.create_connection((host, port), seconds)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else a job takes 44 ms, with it 0.2
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
        self._socket.setblocking(False)
        self._in = bytearray()
        self._out = bytearray()

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def unsent(self) -> bool:
        return bool(self._out)

    def send(self, kind: Kind, *words: bytes) -> None:
        """Raises Gone."""
        body = b"\0".join(words)
        self._out += _HEADER.pack(b"\0REQ", kind, len(body)) + body
        self.flush()

    def flush(self) -> None:
        """As much as the socket takes now. Raises Gone."""
        while self._out:
            try:
                sent = self._socket.send(memoryview(self._out)[:CHUNK])
            except BlockingIOError:
                return
            except OSError as error:
                raise Gone(error.errno, error.strerror or str(error)) from None
            del self._out[:sent]

    def packets(self) -> Iterator[Packet]:
        """Those that have come whole. Raises Gone."""
        ended = self._read()
        while len(self._in) >= _HEADER.size:
            magic, kind, size = _HEADER.unpack_from(self._in)
            if magic != b"\0RES" or size > LARGEST:
                raise Gone(errno.EPROTO, "what answers is no Gearman server")
            if len(self._in) < _HEADER.size + size:
                break
            body = bytes(memoryview(self._in)[_HEADER.size : _HEADER.size + size])
            del self._in[: _HEADER.size + size]
            yield Packet(kind, body)
        if ended:
            raise Gone(errno.ECONNRESET, "the server has closed the connection")

    def _read(self) -> bool:
        """What there is; True at the end of the connection."""
        while True:
            try:
                chunk = self._socket.recv(CHUNK)
            except BlockingIOError:
                return False
            except OSError as error:
                raise Gone(error.errno, error.strerror or str(error)) from None
            if not chunk:
                return True
            self._in += chunk

    def wait(self, kinds: frozenset[Kind], seconds: float) -> Packet:
        """The next of these kinds, others are passed over. Raises Gone, and TimeoutError."""
        until = time.monotonic() + seconds
        while True:
            for packet in self.packets():
                if packet.kind in kinds:
                    return packet
                if packet.kind == Kind.ERROR:
                    raise Gone(errno.EPROTO, " ".join(word.decode("utf-8", "replace") for word in packet.words(2)))
            self._await(until)

    def admin(self, line: bytes, seconds: float) -> list[bytes]:
        """A line of the text protocol, and the lines of its answer up to a single dot. Raises Gone, TimeoutError."""
        until = time.monotonic() + seconds
        self._out += line + b"\n"
        self.flush()
        while not (self._in == b".\n" or self._in.endswith(b"\n.\n")):
            if self._read():
                raise Gone(errno.ECONNRESET, "the server has closed the connection")
            if self._in.startswith(b"ERR "):
                raise Gone(errno.EPROTO, self._in.decode("utf-8", "replace").strip())
            if not self._in.endswith(b".\n"):
                self._await(until)
        lines = bytes(self._in).splitlines()[:-1]
        self._in.clear()
        return lines

    def _await(self, until: float) -> None:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN | (select.POLLOUT if self._out else 0))
        left = until - time.monotonic()
        if left <= 0 or not poll.poll(1000 * left):
            raise TimeoutError(errno.ETIMEDOUT, "the server does not answer")
        self.flush()

    def close(self) -> None:
        self._socket.close()
