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
BURST = 0.05  # seconds that may be spent at once after a rest
_KIB = 1024

Process = tuple[int, int]
"""(pid, start time): a process."""


class Share(NamedTuple):
    """Bytes of one process at one moment. ``proportional`` counts a page that n processes share as 1/n of it,
    ``private`` only those that nobody else has."""

    resident: int
    proportional: int
    private: int


Shares = dict[Process, Share]
"""Those of one worker, as far as they could be measured."""


def parse_rollup(content: bytes | None) -> Share | None:
    """/proc/PID/smaps_rollup; ``None`` for a process that is gone, has no memory or is not ours to read."""
    if not content:
        return None
    resident, proportional = readings.field(content, b"Rss:"), readings.field(content, b"Pss:")
    private = [readings.field(content, key) or 0 for key in (b"Private_Clean:", b"Private_Dirty:")]
    if resident is None or proportional is None:
        return None
    return Share(resident * _KIB, proportional * _KIB, sum(private) * _KIB)


def measure(process: Process, proc_root: str) -> Share | None:
    """One measurement. The start time is compared afterwards: a pid that went to somebody else tells nothing."""
    pid, start_time = process
    share = parse_rollup(read_once(f"{proc_root}/{pid}/smaps_rollup"))
    after = stat(pid, proc_root)
    return share if after is not None and after.start_time == start_time else None


class ShareMeter:
    """Measures in a thread of its own, one worker at a time, within ``BUDGET``.

    ``ask`` puts a worker in the line (once); ``answers`` hands out what was measured since and waits for the rest of
    the line at most ``patience`` seconds. The thread waits inside the kernel while a process maps memory; looks do
    not.
    """

    def __init__(self, proc_root: str, measure: Callable[[Process, str], Share | None] = measure) -> None:
        self._proc_root = proc_root
        self._measure = measure
        self._asked: set[str] = set()
        self._line: queue.SimpleQueue[tuple[str, tuple[Process, ...]] | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[tuple[str, Shares]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def ask(self, worker: str, processes: tuple[Process, ...]) -> None:
        if worker in self._asked:
            return
        self._asked.add(worker)
        self._line.put((worker, processes))
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="loadkeeper-shares", daemon=True)
            self._thread.start()

    def answers(self, patience: float = 0.0) -> list[tuple[str, Shares]]:
        found: list[tuple[str, Shares]] = []
        until = time.monotonic() + patience
        while self._asked:
            try:
                answer = self._answers.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
            self._asked.discard(answer[0])
            found.append(answer)
        return found

    @property
    def waiting(self) -> bool:
        """Is something asked and not answered?"""
        return bool(self._asked)

    def close(self) -> None:
        self._line.put(None)

    def _work(self) -> None:
        credit, rested = BURST, time.monotonic()
        while (asked := self._line.get()) is not None:
            worker, processes = asked
            began = time.monotonic()
            credit = min(BURST, credit + (began - rested) * BUDGET)
            measured = {process: self._measure(process, self._proc_root) for process in processes}
            self._answers.put((worker, {process: share for process, share in measured.items() if share is not None}))
            rested = time.monotonic()
            credit -= rested - began
            if credit < 0:
                time.sleep(-credit / BUDGET)
