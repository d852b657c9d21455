"""The manager's side of a checkpoint file, as docs/checkpoint.md has it: for tests of clients."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

WORKER = "3f9a12c4.7"
SIZE, SLOTS, SLOT, COUNT = 4096, 256, 32, 24
FIELDS = {"number": (16, 16), "deadline": (32, 32), "who": (64, 64), "why": (128, 128)}
SAID = {"share": (1024, 32), "need": (1056, 32), "at": (1088, 192)}
FIELD_ENDS = [
    *(offset + length - 1 for offset, length in [(0, 16), *FIELDS.values(), *SAID.values()]),
    *range(SLOTS + 15, SLOTS + COUNT * SLOT, 16),
]
"""Where a newline stands that nobody may overwrite."""


@dataclass(frozen=True)
class Slot:
    state: str
    """One letter; empty: free."""
    pid: int
    seen: str
    """The number of the last wish that it has seen; empty: none."""


class CheckpointFile:
    """One worker's file; wishes are numbered from 1."""

    def __init__(self, path: Path, who: str = WORKER) -> None:
        self.path = path
        self.number = 0
        content = bytearray(SIZE)
        content[1:13] = b"loadkeeper 1"
        for end in FIELD_ENDS:
            content[end] = ord("\n")
        path.touch(mode=0o600)
        path.write_bytes(content)
        self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._put("who", who)

    def close(self) -> None:
        os.close(self._file)

    @property
    def environment(self) -> dict[str, str]:
        """What a worker is given, beside what this process has."""
        outer = {name: value for name, value in os.environ.items() if not name.startswith("LOADKEEPER_")}
        return {**outer, "LOADKEEPER_WORKER": WORKER, "LOADKEEPER_WORKER_CHECKPOINT": str(self.path)}

    def wish(self, what: str, why: str = "", grace: float | None = None) -> str:
        """Want ``p``, ``t`` or ``?``; its number. ``grace``: seconds until the worker would be killed."""
        self.number += 1
        self._put("number", str(self.number))
        self._put("deadline", "" if grace is None else str(time.monotonic_ns() + int(grace * 1e9)))
        self._put("why", why)
        self.write(0, what.encode())
        return str(self.number)

    def go_on(self) -> None:
        """Want nothing any more."""
        self.write(0, b"\0")

    def slots(self) -> list[Slot]:
        """Those that are not free."""
        content = os.pread(self._file, COUNT * SLOT, SLOTS)
        found = [self._slot(content[start : start + SLOT]) for start in range(0, COUNT * SLOT, SLOT)]
        return [slot for slot in found if slot.state]

    def slot(self, pid: int) -> Slot | None:
        """The one of this process."""
        return next((slot for slot in self.slots() if slot.pid == pid), None)

    def states(self) -> str:
        """Of all slots, in their order: for example ``rs``."""
        return "".join(slot.state for slot in self.slots())

    def stands(self) -> bool:
        """Every process that has a slot has seen the last wish and stands."""
        found = self.slots()
        return bool(found) and all(slot.state == "s" and slot.seen == str(self.number) for slot in found)

    def said(self, name: str) -> str:
        """``share``, ``need`` or ``at``."""
        return self._text(*SAID[name]).decode(errors="replace")

    def write(self, offset: int, content: bytes) -> None:
        os.pwrite(self._file, content, offset)

    def whole(self) -> bool:
        """The file has its size, and each field its newline."""
        content = self.path.read_bytes()
        return len(content) == SIZE and all(content[end] == ord("\n") for end in FIELD_ENDS)

    def _slot(self, content: bytes) -> Slot:
        pid = content[1:16].rstrip(b"\0\n").decode()
        return Slot(content[:1].strip(b"\0").decode(), int(pid or 0), content[16:].rstrip(b"\0\n").decode())

    def _put(self, name: str, text: str) -> None:
        offset, length = FIELDS[name]
        self.write(offset, text.encode()[: length - 1].ljust(length - 1, b"\0"))

    def _text(self, offset: int, length: int) -> bytes:
        return os.pread(self._file, length, offset).rstrip(b"\0\n")
