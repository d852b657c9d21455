"""The calling side of the channel: a process manager's, or a verb's."""

import time

import zmq

from ..errors import ChannelError
from .messages import LARGEST, FromLoadManager, ToLoadManager, decode_reply, encode


class Client:
    """A connection to the load manager behind ``socket``. Sending never blocks; replies are drained with `receive`
    whenever `fileno` is readable and after each `send` (ZeroMQ's descriptor is edge-triggered)."""

    def __init__(self, path: str, context: zmq.Context[zmq.Socket[bytes]] | None = None) -> None:
        self._context = context or zmq.Context(1)
        self._own_context = context is None
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.maxmsgsize = LARGEST
        self._socket.reconnect_ivl = 5  # the whole time: a load manager that comes up is waited for
        self._socket.sndhwm = 1000
        self._socket.connect(f"ipc://{path}")

    def fileno(self) -> int:
        return int(self._socket.fd)

    @property
    def pending(self) -> bool:
        """Something has arrived and was not received: `fileno` may stay silent about it, for a send takes its edge."""
        return bool(int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN)

    def send(self, message: ToLoadManager) -> bool:
        """False when the queue to a load manager that does not read is full: the next whole state replaces it."""
        try:
            self._socket.send(encode(message), zmq.DONTWAIT)
        except zmq.Again:
            return False
        return True

    def receive(self) -> list[FromLoadManager]:
        """Everything that has arrived. Raises ChannelError when none of it is a message of ours."""
        messages: list[FromLoadManager] = []
        fault: ChannelError | None = None
        while self.pending:
            try:
                messages.append(decode_reply(self._socket.recv(zmq.DONTWAIT)))
            except ChannelError as error:
                fault = error
        if fault is not None and not messages:
            raise fault
        return messages

    def ask(self, message: ToLoadManager, seconds: float = 2.0) -> FromLoadManager:
        """Send one request and wait for its reply. Raises ChannelError after ``seconds``."""
        self.send(message)
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self._socket.poll(int(left * 1000) + 1):
                return decode_reply(self._socket.recv())
        raise ChannelError(f"the load manager does not answer within {seconds:g} s")

    def close(self, linger: float = 0.0) -> None:
        """Let go; what was sent a moment ago gets ``linger`` seconds to leave."""
        self._socket.close(linger=int(linger * 1000))
        if self._own_context:
            self._context.term()
