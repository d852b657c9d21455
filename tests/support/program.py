"""The program as a user runs it: in directories of its own, so that nothing else on the machine is touched."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from loadkeeper.channel.address import places
from loadkeeper.channel.client import Client
from loadkeeper.channel.messages import Answer, AskStatus, Steer, Steered
from loadkeeper.errors import ChannelError
from loadkeeper.model import Want
from loadkeeper.record.journal import NAME
from loadkeeper.status import Status


class Program:
    """`loadkeeper` with runtime and state directories below ``root``; ends what it started."""

    def __init__(self, root: Path, prefix: Sequence[str] = (), environment: dict[str, str] | None = None) -> None:
        """``prefix`` stands before every command."""
        self.root = root
        self.prefix = list(prefix)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("LOADKEEPER_", "XDG_"))},
            "XDG_RUNTIME_DIR": str(root / "r"),
            "XDG_STATE_HOME": str(root / "s"),
            **(environment or {}),
        }
        for name in ("r", "s"):
            (root / name).mkdir(mode=0o700, exist_ok=True, parents=True)
        self.started: list[subprocess.Popen[bytes]] = []

    def command(self, *words: str | bytes) -> list[str | bytes]:
        return [*self.prefix, sys.executable, "-m", "loadkeeper", *words]

    def call(
        self, *words: str | bytes, stdin: bytes | None = b"", timeout: float = 60, **options: Any
    ) -> subprocess.CompletedProcess[bytes]:
        """Run to the end."""
        return subprocess.run(
            self.command(*words),
            input=stdin,
            capture_output=True,
            env=self.environment,
            timeout=timeout,
            check=False,
            **options,
        )

    def start(self, *words: str | bytes, **options: Any) -> subprocess.Popen[bytes]:
        """Run beside the test; it is ended at the test's end."""
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        process = subprocess.Popen(self.command(*words), env=self.environment, **options)
        self.started.append(process)
        return process

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.call("status", "--json").stdout)
        return found

    def ask(self) -> Status | None:
        """The same without a process of its own, for those who ask often; ``None`` while nobody answers."""
        for place in places(self.environment):
            client = Client(place.socket)
            try:
                reply = client.ask(AskStatus(), 1.0)
            except ChannelError:
                continue
            finally:
                client.close()
            if isinstance(reply, Answer):
                return reply.status
        return None

    def steer(self, want: Want, *names: str) -> list[str]:
        """Tell the load manager what the operator wants; whom it reached."""
        for place in places(self.environment):
            client = Client(place.socket)
            try:
                reply = client.ask(Steer(want, list(names)), 1.0)
            except ChannelError:
                continue
            finally:
                client.close()
            if isinstance(reply, Steered):
                return reply.reached
        return []

    def journals(self) -> list[str]:
        """Of every run so far."""
        return sorted(str(path) for path in (self.root / "s").glob(f"loadkeeper/runs/*/{NAME}"))

    def end(self) -> None:
        """What was started."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.wait(10)
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()
        self.started.clear()

    def close(self) -> None:
        self.end()
        wait_until(lambda: not self.managers(), 5, "a load manager stays though its runs are gone")

    def managers(self) -> list[int]:
        """Load managers of this root."""
        return [pid for pid in processes() if str(self.root).encode() in command_of(pid)]


def wait_until(true: Callable[[], Any], seconds: float, complaint: str) -> Any:
    """What ``true`` returns once it is true; fails with the complaint after so many seconds."""
    until = time.monotonic() + seconds
    while True:
        if found := true():
            return found
        if time.monotonic() > until:
            raise AssertionError(f"after {seconds:g} s: {complaint}")
        time.sleep(0.01)


def processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def state_of(pid: int) -> str:
    """The kernel's letter, or '' when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except OSError:
        return ""


def parent_of(pid: int) -> int:
    """0 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    except OSError:
        return 0


def marked(run: str) -> list[int]:
    """Living processes that carry the run's mark; zombies do not count."""
    mark = f"LOADKEEPER_WORKER={run}.".encode()
    found = []
    for pid in processes():
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        if mark in environment and state_of(pid) not in ("Z", "X", ""):
            found.append(pid)
    return found


def below(root: Path) -> list[int]:
    """Living processes whose environment names a directory of this root: a program's own, and whom it started."""
    name = os.fsencode(root / "r")
    found = []
    for pid in processes():
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        if b"XDG_RUNTIME_DIR=" + name in environment.split(b"\0") and state_of(pid) not in ("Z", "X", ""):
            found.append(pid)
    return found


def stands(pid: int) -> bool:
    """Stopped, or frozen with its control group."""
    return state_of(pid) in ("T", "t") or _frozen(pid)


def _frozen(pid: int) -> bool:
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        return False
    path = next((line.split("::")[1].strip() for line in lines if line.startswith("0::")), None)
    for root in ("/sys/fs/cgroup/unified", "/sys/fs/cgroup"):
        try:
            return "frozen 1" in Path(f"{root}{path}/cgroup.events").read_text()
        except OSError:
            continue
    return False
