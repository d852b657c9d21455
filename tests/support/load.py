"""A task that takes memory and CPU as told: ``load.py SHAPE MIB SECONDS``, in one word or three.

It is a program of its own, for rounds on the living kernel. It uses SECONDS of CPU (so what is slowed by others takes
longer, as real work does), and says ``done`` when it is. Shapes of memory over its progress:

flat       all of it at once
ramp       evenly to the end
spike      a fifth until 70 %, then all, touched page by page
populated  a fifth until 70 %, then all in one mmap that the kernel fills (MAP_POPULATE)
populate   10 MiB until a third of it, then all in one such mmap, kept to the end
huge       ... with pages of 2 MiB
idle       all of it at once, kept for SECONDS of wall time at a tenth of a core
forks      four children that share what the parent holds and take a share of their own
cache      a file as big is written and read again beside 30 MiB of memory
dirty      ... written only, as fast as it goes
soak       a file of 1.1 times that is written as fast as it goes, then as much memory is taken
tmpfs      a file as big on a tmpfs, kept to the end and then unlinked
"""

import mmap
import os
import signal
import sys
import time

MIB = 1 << 20
STEP = 1 * MIB
_POPULATE = 0x8000  # mmap(2)
_POPULATE_WRITE = 23  # madvise(2), Linux 5.14


class Memory:
    """Anonymous memory, touched from the front."""

    def __init__(self, size: int, flags: int = 0) -> None:
        self._map = mmap.mmap(-1, max(size, mmap.PAGESIZE), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | flags)
        self._size = size
        self._touched = 0

    def touch(self, share: float) -> None:
        """Have this share of it resident."""
        until = min(self._size, int(share * self._size))
        while self._touched < until:
            step = min(STEP, until - self._touched)
            self._map[self._touched : self._touched + step] = b"\1" * step
            self._touched += step


def filled(size: int, *, huge: bool = False) -> mmap.mmap:
    """Memory that the kernel fills at once: while it does, a stop does not take."""
    if not huge:
        return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _POPULATE)
    made = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    made.madvise(mmap.MADV_HUGEPAGE)
    made.madvise(_POPULATE_WRITE)
    return made


def burn(since: float, seconds: float) -> None:
    """Until so many CPU seconds are spent since then."""
    while time.process_time() < since + seconds:
        pass


def curve(shape: str, progress: float) -> float:
    if shape == "flat":
        return 1.0
    if shape == "ramp":
        return progress
    return 0.2 if progress < 0.7 or shape == "populated" else 1.0


def plain(shape: str, size: int, seconds: float) -> None:
    memory, rest = Memory(size), None
    began, steps = time.process_time(), 40
    for step in range(1, steps + 1):
        memory.touch(curve(shape, step / steps))
        if shape == "populated" and step / steps >= 0.7 and rest is None:
            rest = filled(int(0.8 * size))
        burn(began, step / steps * seconds)


def populate(shape: str, size: int, seconds: float) -> None:
    began = time.process_time()
    memory = Memory(10 * MIB)
    memory.touch(1.0)
    burn(began, seconds / 3)
    rest = filled(size, huge=shape == "huge")
    burn(time.process_time(), seconds * 2 / 3)
    rest.close()


def idle(size: int, seconds: float) -> None:
    memory = Memory(size)
    memory.touch(1.0)
    for _ in range(int(seconds * 20)):
        burn(time.process_time(), 0.005)
        time.sleep(0.045)


def forks(size: int, seconds: float) -> None:
    memory = Memory(size // 2)
    memory.touch(1.0)
    children = []
    for _ in range(4):
        pid = os.fork()
        if pid == 0:
            plain("ramp", size // 8, seconds / 4)
            os._exit(0)
        children.append(pid)
    failed = [pid for pid in children if os.waitpid(pid, 0)[1]]
    if failed:
        sys.exit(1)


def file(shape: str, size: int, seconds: float) -> None:
    """Its name is the task's, so that an attempt replaces what one that was killed has left."""
    base = "/dev/shm" if shape == "tmpfs" else "/var/tmp"
    path = (
        f"{base}/loadkeeper-load-{os.environ.get('LOADKEEPER_WORKER', '').partition('.')[0]}-{shape}-{size}-{seconds}"
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    memory = Memory(30 * MIB)
    memory.touch(1.0)
    block = b"\1" * STEP
    try:
        with open(path, "wb") as out:
            for _ in range(int((1.1 if shape == "soak" else 1.0) * size) // STEP):
                out.write(block)
        if shape == "cache":
            with open(path, "rb") as back:
                while back.read(STEP):
                    pass
        plain("flat", size if shape == "soak" else 8 * MIB, seconds)
    finally:
        os.unlink(path)


def main() -> None:
    shape, mib, seconds_of_cpu = " ".join(sys.argv[1:]).split()
    size, seconds = int(float(mib) * MIB), float(seconds_of_cpu)
    if shape == "forks":
        forks(size, seconds)
    elif shape == "idle":
        idle(size, seconds)
    elif shape in ("populate", "huge"):
        populate(shape, size, seconds)
    elif shape in ("cache", "dirty", "soak", "tmpfs"):
        file(shape, size, seconds)
    else:
        plain(shape, size, seconds)
    print("done", shape, mib, seconds_of_cpu)


main()
