"""Where the clients for other languages lie, the examples of the page about them, and files that are none."""

import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from support.checkpoint_file import CheckpointFile

ROOT = Path(__file__).parent.parent.parent
PHP = ROOT / "clients/share/loadkeeper/loadkeeper.php"
SHELL = ROOT / "clients/bin/loadkeeper-checkpoint"
PAGE = ROOT / "docs/clients.md"


def example(name: str) -> str:
    """The code block of docs/clients.md whose first lines name it: ``# compress.sh`` or ``// worker.php``."""
    blocks = re.findall(r"^```\w+\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    found = [block for block in blocks if re.search(rf"^(#|//) {re.escape(name)}\b", block, re.MULTILINE)]
    assert len(found) == 1, f"{PAGE} has {len(found)} examples that are called {name}"
    return found[0]


class Programs:
    """Programs in another language, each in a session of its own; ends what it started."""

    def __init__(self, root: Path, words: list[str], environment: dict[str, str]) -> None:
        """``words`` begin every command."""
        self.root, self.words, self.environment = root, words, environment
        self.started: list[subprocess.Popen[bytes]] = []

    def run(self, *words: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        """Beside the test; it is ended at the test's end."""
        process = subprocess.Popen(
            [*self.words, *words],
            env=self.environment,
            cwd=self.root,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def close(self) -> None:
        for process in self.started:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def result(process: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr, once it has run."""
    out, err = process.communicate(timeout=20)
    return process.returncode, out.decode(), err.decode()


def missing(checkpoints: CheckpointFile) -> None:
    checkpoints.path.unlink()


def directory(checkpoints: CheckpointFile) -> None:
    checkpoints.path.unlink()
    checkpoints.path.mkdir()


def other_version(checkpoints: CheckpointFile) -> None:
    checkpoints.write(1, b"loadkeeper 2")


def scribbled(checkpoints: CheckpointFile) -> None:
    checkpoints.write(0, b"\xffrubbish\x1b[31m" * 20)


def scribbled_wish(checkpoints: CheckpointFile) -> None:
    checkpoints.write(0, b"x")


def another(checkpoints: CheckpointFile) -> None:
    checkpoints.write(64, b"3f9a12c4.8")


CUT = 100
"""Bytes that are left of a file that was cut short."""


def cut_short(checkpoints: CheckpointFile) -> None:
    os.truncate(checkpoints.path, CUT)


def empty(checkpoints: CheckpointFile) -> None:
    os.truncate(checkpoints.path, 0)


SPOILT: dict[Callable[[CheckpointFile], None], str] = {
    missing: "is not there",
    directory: "is not there",
    other_version: "does not say 'loadkeeper 1'",
    scribbled: "does not say 'loadkeeper 1'",
    scribbled_wish: "was written over",
    another: "belongs to another worker, 3f9a12c4.8",
    cut_short: "was cut short",
    empty: "was cut short",
}
"""What may become of a checkpoint file, and how a client says so."""
