"""A program with a checkpoint file, and the manager's side of it, without a run around it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from loadkeeper.act.checkpoint import Checkpoint
from loadkeeper.model import PauseMode, Reason, Why
from support.waiting import until

IDENTITY = "0123abcd.1"
OPERATOR = Why(Reason.OPERATOR)


class Asked:
    """Ends what it started."""

    def __init__(self, directory: Path, mode: PauseMode = PauseMode.AUTO) -> None:
        self.checkpoint = Checkpoint(
            str(directory / "checkpoint"), mode, lambda why, ending: f"because of {why.reason}"
        )
        assert self.checkpoint.renew(IDENTITY, time.monotonic())
        self.log = directory / "log"
        self.started: list[subprocess.Popen[str]] = []

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "LOADKEEPER_WORKER": IDENTITY,
            "LOADKEEPER_WORKER_CHECKPOINT": self.checkpoint.path,
            "LOG": str(self.log),
        }

    def start(self, code: str, **changed: str) -> "subprocess.Popen[str]":
        """Python code; what it writes with `say` comes back from `said`."""
        process = subprocess.Popen(
            [sys.executable, "-c", HEAD + code],
            env={**self.environment, **changed},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def said(self) -> list[str]:
        return self.log.read_text().split("\n")[:-1] if self.log.exists() else []

    def wait_for(self, word: str, seconds: float = 10.0) -> None:
        until(lambda: word in self.said(), seconds)

    def look(self) -> Checkpoint:
        self.checkpoint.look(time.monotonic())
        return self.checkpoint

    def pause(self, why: Why = OPERATOR) -> bool:
        return self.checkpoint.pause(why, time.monotonic())

    def terminate(self, grace: float = 10.0, why: Why = OPERATOR) -> bool:
        now = time.monotonic()
        return self.checkpoint.terminate(why, now + grace, now)

    def close(self) -> None:
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # with its children
            process.communicate()
        self.checkpoint.remove()


HEAD = """
import os, sys, threading, time
from loadkeeper.worker import Terminated, checkpoint, memory_need, progress

_log = os.open(os.environ["LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def say(*words):
    os.write(_log, " ".join(map(str, words)).encode() + b"\\n")


def work(seconds=60.0):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        checkpoint()
        time.sleep(0.001)


"""


def ended(process: "subprocess.Popen[str]", seconds: float = 10.0) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    out, err = process.communicate(timeout=seconds)
    return process.returncode, out, err


def modules_of(statement: str) -> list[str]:
    """What a fresh interpreter loads for it."""
    code = f"import sys; before = set(sys.modules); {statement}; print(*sorted(set(sys.modules) - before))"
    done: Any = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return str(done.stdout).split()
