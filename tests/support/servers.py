"""Brokers of our own on free ports of 127.0.0.1, each begun, killed and ended by its test."""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.waiting import until


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


class Server:
    """``root``: where it keeps what it keeps. It may be killed and begun again: the port stays."""

    needs = ""
    """The program; tests are skipped where it is not installed."""
    seconds = 10.0

    def __init__(self, root: Path) -> None:
        if shutil.which(self.needs) is None:
            pytest.skip(f"{self.needs} is not installed")
        root.mkdir(parents=True, exist_ok=True)
        self.root = root
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def url(self, name: str = "work") -> str:
        raise NotImplementedError

    def command(self) -> list[str]:
        raise NotImplementedError

    def answers(self) -> bool:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def begin(self) -> None:
        """Returns when it answers."""
        with open(self.root / "output", "ab") as output:
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.root,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        until(self._is_up, self.seconds)

    def _is_up(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.root / "output").read_text()
        return self.answers()

    def kill(self) -> None:
        """As the kernel would."""
        self._end(signal.SIGKILL)

    def close(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


class RedisServer(Server):
    needs = "redis-server"

    def __init__(self, root: Path, *words: str) -> None:
        super().__init__(root)
        self._words = words
        self.begin()

    def url(self, name: str = "work") -> str:
        return f"redis://127.0.0.1:{self.port}/{name}?idle=2s"

    def command(self) -> list[str]:
        words = ["--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--appendonly", "yes"]
        return ["redis-server", *words, "--appendfsync", "always", "--dir", str(self.root), *self._words]

    def answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False


class Rabbit(Server):
    """RabbitMQ, which takes some 8 s to come up: one for a session. A name server of Erlang's goes with it."""

    needs = "rabbitmq-server"
    seconds = 90.0

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._distribution, self._names = free_port(), free_port()
        self._epmd = subprocess.Popen(
            ["epmd", "-port", str(self._names), "-address", "127.0.0.1"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        (root / "advanced.config").write_text("[].")
        (root / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\n"
            "vm_memory_high_watermark.absolute = 512MB\n"
            "disk_free_limit.absolute = 1MB\n"
        )
        (root / "plugins").write_text("[].")
        self.begin()

    def url(self, name: str = "work", who: str = "guest:guest") -> str:
        return f"amqp://{who}@127.0.0.1:{self.port}/{name}"

    def environment(self) -> dict[str, str]:
        root = str(self.root)
        return {
            **os.environ,
            "HOME": root,
            "RABBITMQ_NODENAME": f"test{self.port}@localhost",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_DIST_PORT": str(self._distribution),
            "RABBITMQ_MNESIA_BASE": f"{root}/mnesia",
            "RABBITMQ_LOG_BASE": f"{root}/log",
            "RABBITMQ_CONFIG_FILE": f"{root}/rabbitmq",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{root}/advanced.config",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{root}/plugins",
            "RABBITMQ_PID_FILE": f"{root}/pid",
            "ERL_EPMD_PORT": str(self._names),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none -kernel inet_dist_use_interface {127,0,0,1}",
        }

    def command(self) -> list[str]:
        return ["/usr/lib/rabbitmq/bin/rabbitmq-server"]

    def answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 2) as connection:
                connection.sendall(b"AMQP\0\0\x09\x01")
                return bool(connection.recv(8))
        except OSError:
            return False

    def control(self, *words: str) -> str:
        """``rabbitmqctl``."""
        done = subprocess.run(
            ["/usr/lib/rabbitmq/bin/rabbitmqctl", *words],
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def close(self) -> None:
        super().close()
        self._epmd.terminate()
        self._epmd.wait()


class Given(Rabbit):
    """One that another process has begun, and ends."""

    def __init__(self, root: Path, ports: dict[str, int]) -> None:
        self.root, self.port = root, ports["port"]
        self._distribution, self._names = ports["distribution"], ports["names"]


@contextlib.contextmanager
def shared(root: Path) -> Iterator[Rabbit]:
    """One RabbitMQ for several processes: the first begins it, the last ends it, whichever that is."""
    root.mkdir(exist_ok=True)
    told = root / "told"
    with open(root / "users", "a+") as users, open(root / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not told.exists():
            ours = Rabbit(root / "server")
            assert ours.process is not None
            ports = {"port": ours.port, "distribution": ours._distribution, "names": ours._names}
            told.write_text(json.dumps(ports | {"server": ours.process.pid, "epmd": ours._epmd.pid}))
        known = json.loads(told.read_text())
        fcntl.flock(users, fcntl.LOCK_SH)
        fcntl.flock(lock, fcntl.LOCK_UN)
        try:
            yield Given(root / "server", known)
        finally:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                told.unlink()
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(known["server"], signal.SIGTERM)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(known["epmd"], signal.SIGTERM)
