"""A Gearman server of our own."""

import shutil
import socket
import subprocess
from pathlib import Path

from support.waiting import until

installed = shutil.which("gearmand") is not None


class Gearmand:
    """Listens on a free port of 127.0.0.1 until it is closed; keeps jobs in memory alone."""

    def __init__(self, root: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        words = [
            "gearmand",
            "--listen=127.0.0.1",
            f"--port={self.port}",
            f"--log-file={root}/gearmand.log",
            "--threads=1",
        ]
        self._process = subprocess.Popen(words, cwd=root, stdin=subprocess.DEVNULL)
        until(self._answers)

    def jobs(self, function: str) -> tuple[int, int]:
        """Of a function: jobs that are not done, and those of them that a worker has now."""
        rows = dict(line.split("\t", 1) for line in self._ask("status").splitlines())
        total, running, _ = rows.get(function, "0\t0\t0").split("\t")
        return int(total), int(running)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()

    def _answers(self) -> bool:
        assert self._process.poll() is None, "gearmand did not start"
        try:
            return bool(self._ask("version"))
        except OSError:
            return False

    def _ask(self, command: str) -> str:
        """A command of its text protocol; what it says ends with a dot on a line of its own, or is one line."""
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection,
            connection.makefile("rw") as talk,
        ):
            talk.write(f"{command}\n")
            talk.flush()
            if command == "version":
                return talk.readline()
            return "".join(iter(talk.readline, ".\n"))
