"""Processes and threads that the kernel refused to make, because a control group may hold no more of them."""

import threading

from .cgroup import standing_in
from .gauges import Gauge
from .hierarchy import UNIFIED


class RefusedForks:
    """A count that only grows: of this process's control groups and, from Linux 6.11 on, of those inside them
    (``pids.events``, cgroup-v2.rst). A limit of the user (``ulimit -u``) is counted nowhere."""

    def __init__(self) -> None:
        groups = [level for controller in ("pids", UNIFIED) for level in standing_in(controller)]
        files = [Gauge(f"{group.directory}/pids.events") for group in groups]
        self._files = [file for file in files if file.read() is not None]

    def count(self) -> int:
        return sum(_of(file.read() or b"") for file in self._files)


def _of(events: bytes) -> int:
    words = events.split()
    return int(words[1]) if len(words) > 1 and words[0] == b"max" else 0


THREADS = 6
"""That a run takes: of ZeroMQ two, of the journal, the job log, the printer and the events one each."""


def try_threads(count: int = THREADS) -> None:
    """Start so many at once and let them end: ZeroMQ aborts the process where it gets none. Raises RuntimeError."""
    go = threading.Event()
    started = []
    try:
        for _ in range(count):
            thread = threading.Thread(target=go.wait, daemon=True)
            thread.start()
            started.append(thread)
    finally:
        go.set()
        for thread in started:
            thread.join()
