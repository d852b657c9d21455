"""How many processes more are worth their start.

Where calls are short there is an end to it long before the node is full: one thread hands out the calls, and a process
that is started for them must first be paid for."""

import os

HANDED = 1e-4
"""Seconds that each call costs the thread that hands it out: 80 µs (measured), so that calls of a millisecond keep ten
processes busy at most."""
WORTH = 0.05
"""Seconds of work that a process should find when it has started, for that takes as long."""
STALE = 0.2
"""Seconds without a process that came free, though calls wait, after which what is known of earlier calls says nothing
of these: they may even wait for each other."""
WEIGHT = 0.05
"""Of the newest call in what is usual."""


class Demand:
    """Seconds everywhere."""

    def __init__(self) -> None:
        self._usual: float | None = None  # of a call
        self._few = len(os.sched_getaffinity(0))

    def answered(self, took: float) -> None:
        """A call has come back."""
        self._usual = took if self._usual is None else self._usual + WEIGHT * (took - self._usual)

    def more(self, waiting: int, working: int, since: float) -> int:
        """Processes that should be started for so many calls that wait for none of the ``working``; ``since``: when a
        call was handed over last."""
        if waiting <= 0 or self._usual is None or since > STALE:
            return max(0, waiting)
        busy = max(self._few, self._usual / HANDED)
        paid = waiting * self._usual / WORTH
        return max(0, min(waiting, int(min(busy, paid)) - working))
