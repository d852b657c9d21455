"""A Gearman server of our own."""

import shutil
import socket
from pathlib import Path

from support.servers import Server

installed = shutil.which("gearmand") is not None


class Gearmand(Server):
    """Listens on a free port of 127.0.0.1 until it is closed; keeps jobs in memory, or with ``lasting`` in a file, so
    that background jobs survive its death."""

    needs = "gearmand"

    def __init__(self, root: Path, *words: str, lasting: bool = False) -> None:
        super().__init__(root)
        kept = ["--queue-type=libsqlite3", f"--libsqlite3-db={root}/gearmand.db"] if lasting else []
        self._words = [
            "gearmand",
            "--listen=127.0.0.1",
            f"--port={self.port}",
            f"--log-file={root}/gearmand.log",
            "--threads=1",
            *kept,
            *words,
        ]
        self.begin()

    def url(self, name: str = "work") -> str:
        return f"gearman://127.0.0.1:{self.port}/{name}"

    def command(self) -> list[str]:
        return self._words

    def jobs(self, function: str) -> tuple[int, int]:
        """Of a function: jobs that are not done, and those of them that a worker has now."""
        rows = dict(line.split("\t", 1) for line in self._ask("status").splitlines())
        total, running, _ = rows.get(function, "0\t0\t0").split("\t")
        return int(total), int(running)

    def answers(self) -> bool:
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
