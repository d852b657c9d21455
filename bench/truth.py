"""A /proc/meminfo that tells what a memory group has, for peers that read nothing else."""

import os
import threading
import time
from pathlib import Path

from support.memory_group import MemoryGroup


class Truth:
    """Keeps the file ``path`` up to date until it is closed: to be bound over /proc/meminfo."""

    def __init__(self, group: MemoryGroup, limit: int, path: Path) -> None:
        self._group, self._limit, self._path = group, limit, path
        self._over = False
        self._write()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    @property
    def prefix(self) -> list[str]:
        """The words that put a command behind it."""
        return ["unshare", "-m", "sh", "-c", f'mount --bind {self._path} /proc/meminfo && exec "$@"', "sh"]

    def close(self) -> None:
        self._over = True
        self._thread.join()

    def _write(self) -> None:
        free, total = max(0, self._group.available()) // 1024, self._limit // 1024
        names = {
            "MemTotal": total,
            "MemFree": free,
            "MemAvailable": free,
            "Cached": 0,
            "Buffers": 0,
            "SwapTotal": 0,
            "SwapFree": 0,
        }
        text = "".join(f"{name}: {size} kB\n" for name, size in names.items())
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT)
        os.pwrite(descriptor, (text + " " * 80)[:300].encode(), 0)
        os.close(descriptor)

    def _follow(self) -> None:
        while not self._over:
            self._write()
            time.sleep(0.02)
