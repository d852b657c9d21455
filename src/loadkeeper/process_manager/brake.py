"""A queue whose tasks all fail at once: most likely it is not the tasks. They are taken ever more slowly, so that a
broken worker does not bury a queue in a minute."""

from ..units import format_duration

FROM = 20
"""Attempts in a row that failed within a second, of different tasks or not, from which on starts are held up ..."""
FIRST, MOST = 1.0, 60.0
"""... for so many seconds, doubled with each further one up to the most."""


class Brake:
    """``now``: seconds of CLOCK_MONOTONIC."""

    def __init__(self) -> None:
        self._row = 0
        self._until = 0.0

    def failed_at_once(self, now: float) -> None:
        self._row += 1
        if self._row >= FROM:
            self._until = now + min(MOST, FIRST * 2.0 ** min(self._row - FROM, 16))

    def went(self) -> None:
        """An attempt has ended otherwise."""
        self._row, self._until = 0, 0.0

    def holds(self, now: float) -> bool:
        return now < self._until

    @property
    def until(self) -> float:
        return self._until

    def fault(self, now: float) -> str:
        """For people; empty when all is well."""
        if not self.holds(now):
            return ""
        return (
            f"the last {self._row} attempts have all failed within a second: the next is in "
            f"{format_duration(self._until - now)}"
        )
