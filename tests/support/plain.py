"""The program as a plain user runs it: started by root, which becomes that user."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
import pytest

import loadkeeper
from support.program import Program

NOBODY = 65534
STRANGER = 65533
SITE = ":".join(dict.fromkeys(str(Path(module.__file__).parent.parent) for module in (loadkeeper, click)))
"""Where the program and its libraries lie: with them any interpreter of our version will do."""
possible = os.geteuid() == 0 and shutil.which("setpriv") is not None
needs_root = pytest.mark.skipif(not possible, reason="becoming a plain user needs root")


def drop(user: int = NOBODY, *, privileges: bool = False) -> list[str]:
    """Before a command: it is executed as this user. ``privileges``: set-user-ID programs work."""
    words = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--inh-caps=-all"]
    return words if privileges else [*words, "--no-new-privs"]


def usable() -> str | None:
    """An interpreter of our version that a plain user may execute: root's own may lie where nobody else may look."""
    version = f"sys.version_info[:2] == {sys.version_info[:2]}"
    wanted = f"import os, sys; sys.exit(not ({version} and os.access(sys.executable, os.X_OK)))"
    for candidate in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        done = subprocess.run([*drop(), candidate, "-c", wanted], capture_output=True, check=False)
        if done.returncode == 0:
            return candidate
    return None


class PlainProgram(Program):
    """`loadkeeper` as a plain user runs it."""

    def __init__(self, root: Path, prefix: Sequence[str] = (), user: int = NOBODY, *, privileges: bool = False) -> None:
        become = drop(user, privileges=privileges)
        super().__init__(root, [*prefix, *become], {"PYTHONPATH": SITE, "HOME": str(root)})
        found = usable()
        if found is None:
            pytest.skip(f"no Python {sys.version_info[0]}.{sys.version_info[1]} here that a plain user may execute")
        self.python = found
        for path in (root, root / "r", root / "s"):
            os.chown(path, user, user)

    def command(self, *words: str | bytes) -> list[str | bytes]:
        return [*self.prefix, self.python, "-m", "loadkeeper", *words]


@contextmanager
def open_directory() -> Iterator[Path]:
    """That other users may pass: each start of pytest closes the ways to its own."""
    with tempfile.TemporaryDirectory(prefix="loadkeeper-test-") as made:
        Path(made).chmod(0o755)
        yield Path(made)
