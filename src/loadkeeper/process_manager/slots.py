"""The slots of a run, by number."""

import heapq


class Slots:
    """Numbers from 1 for those that live, the lowest free one first: `{%}`."""

    def __init__(self) -> None:
        self._free: list[int] = []
        self._most = 0

    def take(self) -> int:
        if self._free:
            return heapq.heappop(self._free)
        self._most += 1
        return self._most

    def give(self, slot: int) -> None:
        heapq.heappush(self._free, slot)
