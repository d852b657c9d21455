"""Real input for the demo: files of given sizes, joined from this machine's own smaller ones."""

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

MIB = 1 << 20
SIZES = (5, 9, 4, 13, 6, 28, 8, 15, 64, 48, 5, 11, 36, 7, 6, 22, 5, 10, 18, 8, 4, 7, 6, 5)
"""MiB; 350 in all. The two biggest stand beside each other: both at once take more than 1 GiB of ``xz -9``."""
FOLDERS = ("/usr/lib", "/usr/share", "/usr/bin", "/usr/include", "/usr/local", "/opt")
LARGEST = 16 * MIB
"""Bytes: a bigger file is passed over, so that each of ours is joined from many."""
LEAST = 256
"""Bytes: smaller ones cost more to open than they give."""


class Shortage(Exception):
    """The machine has too little to join, or no room to put it; the text says what and where."""


def gather(folder: Path, sizes: Sequence[int] = SIZES, folders: Sequence[str] = FOLDERS) -> list[Path]:
    """Write files of ``sizes`` MiB into ``folder`` and return them, in that order. Raises Shortage."""
    total = sum(sizes) * MIB
    free = shutil.disk_usage(folder).free
    if free < 2 * total:
        raise Shortage(
            f"the demo needs {2 * total // MIB} MiB of disk below {folder}, where {free // MIB} MiB are free"
        )
    parts = _chunks(folders)
    made = []
    for number, size in enumerate(sizes, 1):
        path = folder / f"{number:02}-{size}MiB"
        missing = _fill(path, size * MIB, parts)
        if missing:
            found = (sum(sizes[: number - 1]) + size) * MIB - missing
            raise Shortage(
                f"the demo joins {total // MIB} MiB from files of this machine, and only {found // MIB} MiB that can "
                f"be read were found below {', '.join(folders)}"
            )
        made.append(path)
    return made


def _fill(path: Path, size: int, parts: Iterator[bytes]) -> int:
    """Bytes that are missing because there was nothing left to join. What is over of the last part is dropped."""
    with path.open("wb") as file:
        while size and (part := next(parts, b"")):
            size -= file.write(part[:size])
    return size


def _chunks(folders: Sequence[str]) -> Iterator[bytes]:
    """The content of one file after the other; no file twice, whatever name it has."""
    seen: set[tuple[int, int]] = set()
    for path in _files(folders):
        try:
            with open(path, "rb") as file:
                found = os.fstat(file.fileno())
                if (found.st_dev, found.st_ino) not in seen and LEAST <= found.st_size <= LARGEST:
                    seen.add((found.st_dev, found.st_ino))
                    yield file.read()
        except OSError:
            continue  # not ours to read, or gone


def _files(folders: Sequence[str]) -> Iterator[str]:
    """Regular files below the folders, always in the same order; links are not followed."""
    for top in folders:
        for directory, below, names in os.walk(top):
            below.sort()
            for name in sorted(names):
                path = f"{directory}/{name}"
                if os.path.isfile(path) and not os.path.islink(path):
                    yield path
