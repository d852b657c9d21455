"""Real children for tests of processes and of what is done to them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TypeVar

import pytest

from loadkeeper.act.asks import Ask
from loadkeeper.act.worker import Worker
from loadkeeper.linux import cgroup, proc
from loadkeeper.linux.cgroup import Leaf
from loadkeeper.linux.members import marked
from loadkeeper.linux.process import Process
from loadkeeper.linux.spawn import PLAIN, Setting, spawn

T = TypeVar("T")
NOBODY = 65534


def until(look: Callable[[], T], timeout: float = 10.0) -> T:
    """The first true answer; fails when there is none in time."""
    deadline = time.monotonic() + timeout
    while not (answer := look()):
        assert time.monotonic() < deadline, f"still {answer!r} after {timeout} s"
        time.sleep(0.002)
    return answer


def environment(**more: str) -> dict[bytes, bytes]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("LOADKEEPER_WORKER")}
    return {os.fsencode(k): os.fsencode(v) for k, v in (kept | more).items()}


def state(pid: int) -> str:
    """The kernel's letter; ``""`` when the process is gone."""
    found = proc.stat(pid)
    return found.state if found is not None else ""


def gone(pid: int) -> bool:
    return state(pid) in ("", "Z", "X")


def named(command: str) -> list[int]:
    """Pids of living processes with exactly these arguments."""
    wanted = command.replace(" ", "\0").encode() + b"\0"
    return [pid for pid in proc.pids() if proc.read(f"/proc/{pid}/cmdline") == wanted]


def start(
    *command: str,
    environ: Mapping[bytes, bytes] | None = None,
    stdout: int | None = None,
    leaf: Leaf | None = None,
    setting: Setting = PLAIN,
) -> int:
    """A child by `spawn`; its pid. Its streams are /dev/null where they are not given."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    try:
        return spawn(
            [os.fsencode(word) for word in command],
            environ if environ is not None else environment(),
            stdin=null,
            stdout=null if stdout is None else stdout,
            stderr=null,
            leaf=leaf,
            setting=setting,
        )
    finally:
        os.close(null)


def output(*command: str, **options: object) -> str:
    """What a child by `spawn` writes, until its end; it is reaped."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        pid = start(*command, stdout=writing, **options)  # type: ignore[arg-type]
    finally:
        os.close(writing)
    with open(reading, encoding="utf-8", errors="surrogateescape") as stream:
        text = stream.read()
    os.waitpid(pid, 0)
    return text


@contextmanager
def child(*command: str) -> Iterator[Process]:
    """A child that is held, killed and reaped."""
    process = Process.child(start(*command))
    try:
        yield process
    finally:
        process.send_group(signal.SIGKILL)
        process.send(signal.SIGKILL)
        process.reap()
        process.close()


class Crew:
    """Workers of one run of a test; all that carry its mark are killed when it is over."""

    def __init__(self) -> None:
        self.run = f"t{os.getpid()}x{time.monotonic_ns()}"
        self.workers: list[Worker] = []

    def worker(self, *command: str, leaf: Leaf | None = None, ask: Ask | None = None, **variables: str) -> Worker:
        n = len(self.workers) + 1
        environ = environment(**variables, LOADKEEPER_WORKER=f"{self.run}.{n}")
        pid = start(*command, environ=environ, leaf=leaf)
        made = Worker(n, self.run, "main", None, Process.child(pid), started=time.monotonic(), leaf=leaf, ask=ask)
        self.workers.append(made)
        return made

    def pids(self) -> list[int]:
        """Everybody alive that carries the mark."""
        return [found.pid for found in marked(self.run)]

    def close(self) -> None:
        for worker in self.workers:
            worker.process.send(signal.SIGCONT)
            worker.process.send(signal.SIGKILL)
        deadline = time.monotonic() + 10
        while (left := marked(self.run)) and time.monotonic() < deadline:
            for found in left:
                with suppress(ProcessLookupError):  # it went away since it was found
                    os.kill(found.pid, signal.SIGKILL)
        for worker in self.workers:
            until(worker.process.exited)
            worker.process.reap()
            worker.close()
            if worker.leaf is not None:
                until(worker.leaf.remove)


def leaf_base() -> str:
    """Where leaves may be made; skips the test where they may not."""
    base = cgroup.delegated_base()
    if base is None:
        pytest.skip("no version 2 control group here that leaves may be made in (needs root or a delegated subtree)")
    return base


def python(code: str, *arguments: str, timeout: float = 30, **options: object) -> str:
    """What a fresh interpreter prints that runs ``code``; fails when that fails."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        **options,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


DAEMON = """
import os, sys, time
if os.fork():
    os._exit(0) if sys.argv[1] == "leave" else time.sleep(1000)
os.setsid()
if os.fork():
    os._exit(0)
os.execvp("sleep", ["sleep", sys.argv[2]])
"""
"""A double fork: with `leave` the first process ends at once, else it stays. The daemon is `sleep ARG`."""
