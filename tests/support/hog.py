"""Somebody else's program: ``hog.py MIB RAMP HOLD CORES [TIMES REST]``.

Takes MIB within RAMP seconds, keeps them for HOLD seconds with so many cores busy, gives all back, and does so TIMES
with REST seconds in between."""

import mmap
import multiprocessing
import sys
import time

MIB = 1 << 20


def spin(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def once(size: int, ramp: float, hold: float, cores: int) -> None:
    busy = [multiprocessing.Process(target=spin, args=(ramp + hold,)) for _ in range(cores)]
    for process in busy:
        process.start()
    held = mmap.mmap(-1, size * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    began = time.monotonic()
    for step in range(size):
        held[step * MIB : (step + 1) * MIB] = b"\1" * MIB
        time.sleep(max(0.0, began + ramp * step / size - time.monotonic()))
    time.sleep(hold)
    held.close()
    for process in busy:
        process.join()


def main() -> None:
    size, ramp, hold, cores = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    times, rest = (int(sys.argv[5]), float(sys.argv[6])) if len(sys.argv) > 5 else (1, 0.0)
    for _ in range(times):
        once(size, ramp, hold, cores)
        time.sleep(rest)


main()
