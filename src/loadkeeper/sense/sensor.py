"""A gauge of the user's own: a command that prints a number, and what there is when it does not.

The command may print one number and end (it is started again), or go on and print one now and then. Whatever goes
wrong with it, its reading is unknown (None), which holds starts and does nothing else.
"""

import math
import os
import selectors
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from ..linux.helper import Helper
from ..linux.programs import SpawnError

LEAST_PATIENCE = 10.0
"""Seconds without a number after which a reading is unknown, at least ..."""
PATIENCE = 3.0
"""... and so many times the period."""
LONGEST_LINE = 4096
CHUNK = 4096
LAST_WORDS = 160
"""Characters of what the command said on stderr that people are told."""


def command_of(name: str, line: str | None, every: float) -> list[str]:
    """What is executed: a line for the shell, or, without one, the entry point of this name (`plugin`)."""
    if line is not None:
        return ["/bin/sh", "-c", line]
    return [sys.executable, "-m", "loadkeeper.sense.plugin", name, repr(every)]


class Sensor(threading.Thread):
    """Runs the command each ``every`` seconds, in a thread of its own. ``said`` is called when ``fault`` changes."""

    def __init__(
        self, name: str, command: Sequence[str], every: float, environment: Mapping[str, str], said: Callable[[], None]
    ) -> None:
        super().__init__(name=f"sensor {name}", daemon=True)
        self.sensor = name
        self.fault = ""  # why there is no reading, for people
        self._command, self._every, self._environment, self._said = command, every, environment, said
        self._patience = max(LEAST_PATIENCE, PATIENCE * every)
        self._read: tuple[float, float] | None = None  # when, what
        self._closing = threading.Event()

    def reading(self, now: float) -> float | None:
        """The last number, while it is no older than it may be. ``now``: seconds of CLOCK_MONOTONIC."""
        read = self._read
        return None if read is None or now - read[0] > self._patience else read[1]

    def close(self) -> None:
        """The command is ended, whatever it does."""
        self._closing.set()
        if self.is_alive():
            self.join()

    # ------------------------------------------------------------------------------------------------- in the thread

    def run(self) -> None:
        wait = 0.0
        while not self._closing.wait(wait):
            began = time.monotonic()
            self._once()
            wait = max(0.0, began + self._every - time.monotonic())

    def _once(self) -> None:
        """One life of the command."""
        try:
            helper = Helper(self._command, self._environment)
        except SpawnError as error:
            self._unknown(str(error))
            return
        try:
            _Life(helper, self._number, self._unknown, self._closing, self._patience).follow()
        finally:
            helper.close()

    def _number(self, value: float) -> None:
        self._read = (time.monotonic(), value)
        self._say("")

    def _unknown(self, fault: str) -> None:
        if not self._closing.is_set():
            self._read = None
            self._say(fault)

    def _say(self, fault: str) -> None:
        if fault != self.fault:
            self.fault = fault
            self._said()


class _Life:
    """From a command's start to its end."""

    def __init__(
        self,
        helper: Helper,
        number: Callable[[float], None],
        unknown: Callable[[str], None],
        closing: threading.Event,
        patience: float,
    ) -> None:
        self._helper, self._number, self._unknown, self._closing = helper, number, unknown, closing
        self._patience = patience
        self._line = b""  # the beginning of one
        self._words = b""  # the end of what it said on stderr
        self._numbers = 0
        self._wrong = False

    def follow(self) -> None:
        heard = time.monotonic()
        with selectors.DefaultSelector() as selector:
            for stream in (self._helper.stdout, self._helper.stderr):
                selector.register(stream, selectors.EVENT_READ)
            while selector.get_map() and not self._closing.is_set():
                for key, _ in selector.select(0.1):
                    data = os.read(key.fd, CHUNK)
                    if not data:
                        selector.unregister(key.fd)
                    elif key.fd == self._helper.stderr:
                        self._words = (self._words + data)[-LAST_WORDS:]
                    else:
                        heard = time.monotonic()
                        self._take(data)
                if time.monotonic() - heard > self._patience:
                    self._unknown(f"it has printed nothing for {self._patience:.0f} s")
                    return
        self._end(heard)

    def _take(self, data: bytes) -> None:
        *lines, self._line = (self._line + data).split(b"\n")
        self._line = self._line[:LONGEST_LINE]
        for line in lines:
            self._parse(line)

    def _parse(self, line: bytes) -> None:
        text = line.strip()
        if not text:
            return
        self._numbers += 1
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        self._wrong = not math.isfinite(value)
        if self._wrong:
            self._unknown(f"it printed {_shown(line)!r}, which is no number")
        else:
            self._number(value)

    def _end(self, heard: float) -> None:
        """It has closed its output: how did it end? What it printed last counts when that was well."""
        code = None
        while code is None and not self._closing.is_set():
            code = self._helper.wait(0.1)
            if code is None and time.monotonic() - heard > self._patience:
                self._unknown(f"it has printed nothing for {self._patience:.0f} s")
                return
        if code:
            how = f"was killed by signal {-code}" if code < 0 else f"ended with {code}"
            words = _shown(self._words).strip().splitlines()
            self._unknown(f"it {how}{f': {words[-1]}' if words else ''}")
            return
        self._parse(self._line)
        if not self._numbers and not self._closing.is_set():
            self._unknown("it printed no number")


def _shown(text: bytes) -> str:
    return text[:LAST_WORDS].decode("utf-8", "backslashreplace")
