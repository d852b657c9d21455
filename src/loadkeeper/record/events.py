"""``--json``: what happens to a run as JSON objects on stderr, one a line, for programs.

Every object has ``event`` and ``at`` (seconds since the epoch). docs/events.md lists them with their fields; fields may
be added, none is renamed or taken away.
"""

import errno
import os
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from .writer import Refused, Writer

GONE = frozenset({errno.EPIPE, errno.EBADF, errno.EIO, errno.ECONNRESET})
"""Nobody reads any more: a run goes on without."""

SLOW = 0.05
"""Seconds between two looks at whether a reader has caught up."""


class EventLog:
    """Writes events to ``descriptor`` from a thread of its own. What waits for a slow reader holds new starts (`full`)
    and nothing else."""

    def __init__(self, descriptor: int) -> None:
        self._writer: Writer[bytes] = Writer("events", _Sink(descriptor), len, pace=0.0)

    @property
    def full(self) -> bool:
        return self._writer.full

    @property
    def fault(self) -> str | None:
        return self._writer.fault

    def put(self, event: str, **fields: Any) -> None:
        """Fields that are None are left out: not known, not measured."""
        told = {"event": event, "at": round(time.time(), 3)}
        told |= {name: readable(value) for name, value in fields.items() if value is not None}
        self._writer.put(msgspec.json.encode(told) + b"\n")

    def stderr(self, task: int, text: bytes) -> None:
        """What a task wrote there. For the printer's thread: it waits while too much waits for the reader."""
        while self._writer.full:
            time.sleep(SLOW)
        self.put("stderr", task=task, text=text)

    def close(self, seconds: float = 10.0) -> bool:
        return self._writer.close(seconds)


def readable(value: Any) -> Any:
    """Bytes that are no text are shown as such."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


class _Sink:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._left = b""
        self._begun = False
        self._dead = False

    def write(self, batch: Sequence[bytes]) -> None:
        if not self._begun:
            self._left += b"".join(batch)
            self._begun = True
        try:
            while self._left and not self._dead:
                self._left = self._left[os.write(self._descriptor, self._left) :]
        except OSError as error:
            if error.errno not in GONE:
                raise Refused(f"events cannot be written to stderr: {error.strerror}") from error
            self._dead = True
        self._begun = False

    def close(self) -> None:
        pass
