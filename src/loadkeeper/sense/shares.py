"""How much of a process's resident memory is its own: the proportional set size, which only a walk of its page tables
tells (/proc/PID/smaps_rollup: 4 ms for a big process, and up to 0.5 s while it maps memory, so never within a look)."""

import queue
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from ..linux.gauges import read_once
from ..linux.proc import stat
from . import readings

BUDGET = 0.05  # of one core, for all measurements together
_KIB = 1024


class Share(NamedTuple):
    """Bytes of one process at one moment; ``proportional`` counts a page shared by n processes as 1/n."""

    resident: int
    proportional: int


Process = tuple[int, int]
"""(pid, start time): a process."""


def parse_rollup(content: bytes | None) -> Share | None:
    """/proc/PID/smaps_rollup; ``None`` for a process that is gone, has no memory or is not ours to read."""
    if not content:
        return None
    resident, proportional = readings.field(content, b"Rss:"), readings.field(content, b"Pss:")
    if resident is None or proportional is None:
        return None
    return Share(resident * _KIB, proportional * _KIB)


def measure(process: Process, proc_root: str) -> Share | None:
    """One measurement. The start time is compared afterwards: a pid that went to somebody else tells nothing."""
    pid, start_time = process
    share = parse_rollup(read_once(f"{proc_root}/{pid}/smaps_rollup"))
    after = stat(pid, proc_root)
    return share if after is not None and after.start_time == start_time else None


class ShareMeter:
    """Measures in a thread of its own, one process at a time, and rests 19 times as long as each took.

    ``ask`` puts a process in the line (once); ``answers`` hands out what was measured since, ``None`` where it could
    not be. The thread waits inside the kernel while a process maps memory; looks do not wait for it.
    """

    def __init__(self, proc_root: str, measure: Callable[[Process, str], Share | None] = measure) -> None:
        self._proc_root = proc_root
        self._measure = measure
        self._asked: set[Process] = set()
        self._line: queue.SimpleQueue[Process | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[tuple[Process, Share | None]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def ask(self, process: Process) -> None:
        if process in self._asked:
            return
        self._asked.add(process)
        self._line.put(process)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="loadkeeper-shares", daemon=True)
            self._thread.start()

    def answers(self) -> list[tuple[Process, Share | None]]:
        found = []
        while not self._answers.empty():
            process, share = self._answers.get()
            self._asked.discard(process)
            found.append((process, share))
        return found

    def close(self) -> None:
        self._line.put(None)

    def _work(self) -> None:
        while (process := self._line.get()) is not None:
            began = time.monotonic()
            self._answers.put((process, self._measure(process, self._proc_root)))
            time.sleep((time.monotonic() - began) * (1 / BUDGET - 1))
