"""The load manager's side of the channel: one lock, one socket."""

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator

import zmq

from ..errors import ChannelError, PlaceError
from ..linux.proc import read
from ..linux.process import Process, myself
from .address import Place, secure
from .messages import LARGEST, FromLoadManager, ToLoadManager, decode_request, encode

AT_ONCE = 256
"""Messages that are taken in before the node is looked at again, however many come."""


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
        self._path = path
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, b"%d %d\n" % myself())

    def there(self) -> bool:
        """The file is still the one that is locked; its age begins anew, for tidiers of old files."""
        try:
            os.utime(self._path)
            found = os.stat(self._path)
        except OSError:
            return False
        ours = os.fstat(self._descriptor)
        return (found.st_dev, found.st_ino) == (ours.st_dev, ours.st_ino)

    def release(self) -> None:
        """Said in so many words: a process that the program has forked meanwhile holds the same descriptor."""
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        os.close(self._descriptor)


def holder(path: str) -> Process | None:
    """Who holds the lock, where it says so and lives."""
    words = (read(path) or b"").split()
    if len(words) != 2 or not all(word.isdigit() for word in words):
        return None
    return Process.open(int(words[0]), int(words[1]))


def _let_in_only(socket: zmq.Socket[bytes], users: Iterable[int]) -> None:
    """The kernel says who connects (SO_PEERCRED), whatever has become of the directory's mode. Root is let in: it could
    become the user anyway. A ZeroMQ that was built without it leaves the directory's mode alone in charge."""
    for user in users:
        with contextlib.suppress(zmq.ZMQError):
            socket.setsockopt(zmq.IPC_FILTER_UID, user)


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
        _let_in_only(self._socket, (os.getuid(), 0))
        try:  # the directory lets nobody else in; the process's umask is left alone, for it may be a program's
            self._socket.bind(f"ipc://{place.binding}")
            os.chmod(place.binding, 0o600)
            os.rename(place.binding, place.socket)
            self._inode = os.stat(place.socket).st_ino
        except (zmq.ZMQError, OSError) as error:
            raise PlaceError(f"the socket {place.socket} cannot be made: {error}") from None
        self._place = place
        self.faults = 0  # messages that were none of ours

    def fileno(self) -> int:
        return int(self._socket.fd)

    @property
    def pending(self) -> bool:
        """Something has arrived and was not received."""
        return bool(int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN)

    def receive(self) -> Iterator[tuple[bytes, ToLoadManager]]:
        """(sender, message) for what has arrived, `AT_ONCE` at most. What is no message of ours is counted and
        dropped."""
        for _ in range(AT_ONCE):
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

    def keep(self) -> bool:
        """Whether others can still find the place, or could not make it anew either; its files are young again."""
        if self._lock.there() and _touched(self._place.socket):
            return True
        try:
            secure(os.path.dirname(self._place.directory))
            secure(self._place.directory)
        except PlaceError:
            return True
        return False

    def close(self) -> None:
        """The socket goes before the lock. One that has taken our place stays."""
        self._socket.close()
        self._context.term()
        with contextlib.suppress(OSError):
            if os.stat(self._place.socket).st_ino == self._inode:
                os.unlink(self._place.socket)
        self._lock.release()


def _touched(path: str) -> bool:
    try:
        os.utime(path)
    except OSError:
        return False
    return True
