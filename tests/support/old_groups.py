"""Control groups of version 1, below our own, for tests on the living kernel. Needs root."""

import os
import time
from pathlib import Path

from loadkeeper.linux.gauges import read_once
from loadkeeper.linux.hierarchy import levels, parse_membership, parse_mounts


def parent_of(controller: str) -> Path | None:
    """Our own group of the controller; ``None`` where there is none that we may make groups in."""
    mounts = parse_mounts(read_once("/proc/self/mountinfo") or b"")
    found = levels(controller, mounts, parse_membership(read_once("/proc/self/cgroup") or b""))
    directory = Path(found[0].directory) if found else None
    return directory if directory is not None and os.geteuid() == 0 and os.access(directory, os.W_OK) else None


def make(controller: str) -> Path:
    """An empty one of this test."""
    above = parent_of(controller)
    assert above is not None
    path = above / f"loadkeeper-test-{os.getpid()}-{time.monotonic_ns()}"
    path.mkdir()
    return path


def members(path: Path) -> list[int]:
    return [int(pid) for pid in (path / "cgroup.procs").read_text().split()]


def remove(path: Path) -> None:
    """Whoever is still in it is killed."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for pid in members(path):
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                pass
        try:
            path.rmdir()
            return
        except OSError:  # busy until the last of it is gone
            time.sleep(0.01)
    raise TimeoutError(f"{path} cannot be removed")
