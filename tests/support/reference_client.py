"""The worker's side of process-load-manager's wire, as the reference's own client behaves (which is PHP), and a worker.

    python reference_client.py LOG TASK SECONDS SLEEP [late=S] [block] [die=S] [mute] [hear]

`reference_worker.php` is the same with the real ZeroMQ extension, and says what the words mean. hear: it writes down
that SIGTERM has come, and works on.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import zmq

KEYS = ("Pids_for_terminate", "Pids_for_pause", "Pids_for_continue")
HELLO = ("request_pulsar_rs", "publisher_pulsar", "push_pulsar", "publisher_pm")
STEP = 0.01


class MustEnd(Exception):
    """This process is named in `Pids_for_terminate`."""


class Wrong(Exception):
    """What arrived is not of the wire."""


class Stander:
    """Connects at its first check; reads one frame at each, and one each ``sleep`` seconds while it is paused."""

    def __init__(self, address: str, sleep: float, tell: Callable[[str], None]) -> None:
        self._address, self._sleep, self._tell = address, sleep, tell
        self._socket: Any = None
        self._paused = self._stand = self._go_on = False

    def check(self) -> None:
        self._read()
        if not self._stand:
            return
        self._paused = True
        self._tell("paused")
        while not self._go_on:
            time.sleep(self._sleep)
            self._read()
        self._paused = self._stand = self._go_on = False
        self._tell("continued")

    def _read(self) -> None:
        if self._socket is None:
            self._socket = zmq.Context.instance().socket(zmq.SUB)
            self._socket.connect(self._address)
            self._socket.setsockopt(zmq.SUBSCRIBE, b"")
        try:
            frame = self._socket.recv(zmq.NOBLOCK)
        except zmq.Again:
            return
        self._tell(f"frame {frame.decode()}")
        self._heed(json.loads(frame))

    def _heed(self, said: Any) -> None:
        if not isinstance(said, dict) or not all(isinstance(said.get(key), list) for key in KEYS):
            raise Wrong
        named = {key: any(type(pid) is int and pid == os.getpid() for pid in said[key]) for key in KEYS}
        if named["Pids_for_terminate"]:
            raise MustEnd
        if self._paused:
            self._go_on = self._go_on or named["Pids_for_continue"]
        else:
            self._stand = named["Pids_for_pause"]


def work(stander: Stander, seconds: float, does: dict[str, str]) -> None:
    """So many seconds in steps, with a check at each: what passes while it stands is none of them."""
    for step in range(int(seconds / STEP)):
        if "mute" not in does and step * STEP >= float(does.get("late", 0)):
            stander.check()
        if "die" in does and step * STEP >= float(does["die"]):
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(STEP)


def main() -> int:
    log, task, seconds, sleep, *words = sys.argv[1:]
    does = dict(word.partition("=")[::2] for word in words)
    if "block" in does:
        signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
    if "hear" in does:
        signal.signal(signal.SIGTERM, lambda *_: tell("sigterm"))
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def tell(what: str) -> None:
        os.write(file, f"{time.monotonic():.3f} {os.getpid()} {task} {''.join(what.split())}\n".encode())

    hello = os.read(0, 4096)
    try:
        told = json.loads(hello)
        if tuple(told) != HELLO:
            raise Wrong
        tell(f"hello {hello.decode()}")
        work(Stander(told["publisher_pm"], float(sleep), tell), float(seconds), does)
    except MustEnd:
        tell("terminated")
        return 0
    except Wrong:
        tell("wrong")
        return 9
    tell("done")
    return 0


if __name__ == "__main__":
    sys.exit(main())
