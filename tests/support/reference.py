"""Runs of workers that know process-load-manager's wire, and what these have written down of themselves."""

import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from .program import Program

HERE = Path(__file__).parent
PYTHON = f"{sys.executable} {HERE / 'reference_client.py'}"
PHP = f"{shutil.which('php')} {HERE / 'reference_worker.php'}"


def has_php() -> bool:
    """Whether there is PHP with its ZeroMQ extension."""
    php = shutil.which("php")
    return php is not None and b"zmq" in subprocess.run([php, "-m"], capture_output=True, check=False).stdout.split()


class Event(NamedTuple):
    at: float  # CLOCK_MONOTONIC
    pid: int
    task: str
    what: str


class Log:
    """Into which all workers of a test write."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def events(self) -> list[Event]:
        rows = [line.split(" ", 3) for line in self.path.read_text().splitlines()]
        return [Event(float(at), int(pid), task, what) for at, pid, task, what in rows]

    def of(self, task: str, *beginnings: str) -> list[Event]:
        """What the task's workers wrote, those events that begin so."""
        return [one for one in self.events() if one.task == task and one.what.startswith(beginnings or "")]

    def tasks(self, what: str) -> list[str]:
        """Those of which an event begins so, sorted; as often as there is one."""
        return sorted(one.task for one in self.events() if one.what.startswith(what))

    def line(self, task: str, seconds: float, sleep: float, *words: str, client: str = PYTHON) -> str:
        """A command for the shell."""
        return f"{client} {self.path} {task} {seconds:g} {sleep:g} {' '.join(words)}"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def worker_of(program: Program, task: str) -> str:
    """The id of the worker that does this task, the first of the run having number 1; '' while there is none."""
    status = program.ask()
    workers = [worker for run in status.runs for worker in run.workers] if status is not None else []
    return next((worker.id for worker in workers if worker.task == task), "")
