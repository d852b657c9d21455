"""One task of a world played for real: memory and CPU that follow its curve.

``python -S player.py TASK``, where TASK is `spelled`; as a script, for a task should be small. Progress is CPU time
(and rest, of one that waits), so that what is slowed by others takes longer, as real work does. Memory is anonymous and
touched page by page; what a curve gives back is given back to the kernel.
"""

import mmap
import os
import sys
import time
from collections.abc import Callable, Sequence

STEPS = 200
"""In which a task goes on."""
PAGE = mmap.PAGESIZE
BLOCK = 1 << 20


def spelled(seconds: float, memory: int, cpu: float, threads: int, points: Sequence[tuple[float, float]]) -> str:
    """The task as one word. ``points``: its shape, (progress, share of ``memory`` in bytes)."""
    curve = ",".join(f"{at:.6g}:{share:.6g}" for at, share in points)
    return f"{seconds:.6g}/{memory}/{cpu:.6g}/{threads}/{curve}"


class Held:
    """Anonymous memory of which a part is resident, from the front."""

    def __init__(self, most: int) -> None:
        self._map = mmap.mmap(-1, max(most, PAGE), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._most, self._resident = most, 0

    def resize(self, size: int) -> None:
        size = max(0, min(size, self._most)) // PAGE * PAGE
        while self._resident < size:
            step = min(BLOCK, size - self._resident)
            self._map[self._resident : self._resident + step] = b"\1" * step
            self._resident += step
        if size < self._resident:
            self._map.madvise(mmap.MADV_DONTNEED, size, self._resident - size)
            self._resident = size


def play(task: str) -> None:
    seconds, memory, cpu, threads, points = parse(task)
    for _ in range(threads - 1):  # before any memory is taken, so that they share none of it
        if os.fork() == 0:
            _work(seconds, cpu, lambda _progress: None)
            os._exit(0)
    held = Held(max(memory - own_size(), 0))
    mine = own_size()
    _work(seconds, cpu, lambda progress: held.resize(int(memory * share(points, progress)) - mine))
    for _ in range(threads - 1):
        os.wait()


def parse(task: str) -> tuple[float, int, float, int, list[tuple[float, float]]]:
    seconds, memory, cpu, threads, curve = task.split("/")
    points = [(float(at), float(part)) for at, _, part in (point.partition(":") for point in curve.split(","))]
    return float(seconds), int(memory), float(cpu), int(threads), points


def _work(seconds: float, cpu: float, at: Callable[[float], None]) -> None:
    """So many seconds of an idle node, of which the share ``cpu`` is on it."""
    began, rested, step = time.process_time(), 0.0, seconds / STEPS
    for done in range(1, STEPS + 1):
        at((done - 0.5) / STEPS)
        until = began + done * step * cpu
        while time.process_time() < until:
            pass
        rest = done * step * (1 - cpu) - rested
        if rest > 0:
            slept = time.monotonic()
            time.sleep(rest)
            rested += time.monotonic() - slept


def share(points: Sequence[tuple[float, float]], progress: float) -> float:
    """As `shapes.Shape.share`, without importing it: a task should be small."""
    before = points[0]
    for point in points:
        if point[0] > progress:
            if point is before or point[0] <= before[0]:
                return point[1]
            return before[1] + (point[1] - before[1]) * (progress - before[0]) / (point[0] - before[0])
        before = point
    return before[1]


def own_size() -> int:
    """Bytes resident."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * PAGE


if __name__ == "__main__":
    play(sys.argv[1])
