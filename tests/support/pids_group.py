"""A group of the version 1 pids controller: no more processes than it allows, however they fork."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loadkeeper.linux.gauges import read_once
from loadkeeper.linux.hierarchy import levels, parse_membership, parse_mounts


def parent() -> Path | None:
    """Our own group of the controller; ``None`` where there is none that we may make groups in."""
    mounts = parse_mounts(read_once("/proc/self/mountinfo") or b"")
    found = levels("pids", mounts, parse_membership(read_once("/proc/self/cgroup") or b""))
    directory = Path(found[0].directory) if found else None
    return directory if directory is not None and os.geteuid() == 0 and os.access(directory, os.W_OK) else None


class PidsGroup:
    def __init__(self, path: Path) -> None:
        self.path = path

    def open_to(self, user: int) -> None:
        """This user may put its processes in."""
        os.chown(self.path / "cgroup.procs", user, user)

    def members(self) -> list[int]:
        return [int(pid) for pid in (self.path / "cgroup.procs").read_text().split()]


@contextmanager
def pids_group(most: int) -> Iterator[PidsGroup]:
    """Whoever is in it at the end is killed: forks fail meanwhile."""
    above = parent()
    assert above is not None
    group = PidsGroup(above / f"loadkeeper-test-{os.getpid()}-{time.monotonic_ns()}")
    group.path.mkdir()
    try:
        (group.path / "pids.max").write_text(str(most))
        yield group
    finally:
        (group.path / "pids.max").write_text("0")
        _remove(group)


def _remove(group: PidsGroup) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for pid in group.members():
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                pass
        try:
            group.path.rmdir()
            return
        except OSError:  # busy until the last of it is gone
            time.sleep(0.01)
    raise TimeoutError(f"{group.path} cannot be removed")
