"""The load manager's side of the channel: one lock, one socket."""

import fcntl
import os
from collections.abc import Iterator

import zmq

from ..errors import ChannelError, PlaceError
from .address import Place
from .messages import LARGEST, FromLoadManager, ToLoadManager, decode_request, encode


class Taken(ChannelError):
    """Another load manager holds the place."""


class Lock:
    """An exclusive lock on a file, held until `release` or the end of the process.

    Raises Taken when somebody holds it, PlaceError when the file cannot be used."""

    def __init__(self, path: str) -> None:
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise PlaceError(f"the lock {path} cannot be opened: {error.strerror}") from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._descriptor)
            raise Taken(f"another load manager holds {path}") from None

    def release(self) -> None:
        os.close(self._descriptor)


class Server:
    """Holds the place's lock, then the socket. The lock comes first: a second bind on a living ipc endpoint succeeds
    and steals it (tried, libzmq 4.3).

    Raises Taken when another load manager lives there, PlaceError when the place cannot be used."""

    def __init__(self, place: Place) -> None:
        self._lock = Lock(place.lock)
        self._context = zmq.Context(1)
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.linger = 0
        self._socket.maxmsgsize = LARGEST
        self._socket.router_mandatory = 1
        old = os.umask(0o077)
        try:
            self._socket.bind(f"ipc://{place.socket}")
        except zmq.ZMQError as error:
            raise PlaceError(f"the socket {place.socket} cannot be made: {error}") from None
        finally:
            os.umask(old)
        self._place = place
        self.faults = 0  # messages that were none of ours

    def fileno(self) -> int:
        return int(self._socket.fd)

    def receive(self) -> Iterator[tuple[bytes, ToLoadManager]]:
        """(sender, message) for everything that has arrived. What is no message of ours is counted and dropped."""
        while True:
            try:
                frames = self._socket.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                return
            try:
                if len(frames) != 2:
                    raise ChannelError("a message must have one frame")
                yield frames[0], decode_request(frames[1])
            except ChannelError:
                self.faults += 1

    def send(self, to: bytes, message: FromLoadManager) -> bool:
        """False when the receiver is gone or does not read."""
        try:
            self._socket.send_multipart((to, encode(message)), zmq.DONTWAIT)
        except zmq.ZMQError:
            return False
        return True

    def close(self) -> None:
        """The socket goes before the lock."""
        self._socket.close()
        self._context.term()
        try:
            os.unlink(self._place.socket)
        except OSError:
            pass
        self._lock.release()
