"""A wire between a client and a server that can be cut, slowed down, and held."""

import contextlib
import selectors
import socket
import threading
import time


class Proxy:
    """Listens on a free port of 127.0.0.1 and passes on what comes to ``port``. Any thread may change how."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.delay = 0.0  # seconds before each piece is passed on
        self.held = False  # nothing is passed on, and nobody is told
        self.closed = False  # nobody is let in
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._lock = threading.Lock()
        self._over = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """Both ends of every connection see it end."""
        with self._lock:
            for one in self._pairs:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._over = True
        self.cut()
        self._thread.join(5)
        self._listener.close()
        for one in list(self._pairs):
            one.close()

    def _run(self) -> None:
        with selectors.DefaultSelector() as ready:
            ready.register(self._listener, selectors.EVENT_READ)
            while not self._over:
                if self.held:
                    time.sleep(0.01)
                    continue
                for key, _ in ready.select(0.05):
                    if key.fileobj is self._listener:
                        self._let_in(ready)
                    elif key.fileobj in self._pairs:  # the other end may have been first
                        self._pass_on(key.fileobj, ready)

    def _let_in(self, ready: selectors.BaseSelector) -> None:
        client, _ = self._listener.accept()
        try:
            if self.closed:
                raise OSError
            server = socket.create_connection(("127.0.0.1", self._target), 1)
        except OSError:
            client.close()
            return
        with self._lock:
            self._pairs |= {client: server, server: client}
        for one in (client, server):
            one.settimeout(5)
            ready.register(one, selectors.EVENT_READ)

    def _pass_on(self, one: socket.socket, ready: selectors.BaseSelector) -> None:
        other = self._pairs[one]
        try:
            piece = one.recv(1 << 16)
            if self.delay:
                time.sleep(self.delay)
            if piece:
                other.sendall(piece)
                return
        except OSError:
            pass
        with self._lock:
            for end in (one, other):
                self._pairs.pop(end, None)
        for end in (one, other):
            ready.unregister(end)
            end.close()
