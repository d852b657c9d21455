"""A freezer group of version 1: who is in it when it is frozen takes no signal, SIGKILL neither, until the thaw."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loadkeeper.linux.gauges import read_once
from loadkeeper.linux.hierarchy import levels, parse_membership, parse_mounts


def parent() -> Path | None:
    """Our own group of the version 1 freezer; ``None`` where there is none that we may make groups in."""
    mounts = parse_mounts(read_once("/proc/self/mountinfo") or b"")
    found = levels("freezer", mounts, parse_membership(read_once("/proc/self/cgroup") or b""))
    directory = Path(found[0].directory) if found else None
    return directory if directory is not None and os.geteuid() == 0 and os.access(directory, os.W_OK) else None


class FreezerGroup:
    def __init__(self, path: Path) -> None:
        self.path = path

    def freeze(self, *pids: int) -> None:
        """Take these in, and hold everybody in it."""
        for pid in pids:
            (self.path / "cgroup.procs").write_text(str(pid))
        self._set("FROZEN")

    def thaw(self) -> None:
        self._set("THAWED")

    def _set(self, state: str) -> None:
        deadline = time.monotonic() + 5
        (self.path / "freezer.state").write_text(state)
        while (self.path / "freezer.state").read_text().strip() != state:
            assert time.monotonic() < deadline, f"the group does not become {state}"
            time.sleep(0.005)

    def members(self) -> list[int]:
        return [int(pid) for pid in (self.path / "cgroup.procs").read_text().split()]


@contextmanager
def freezer_group() -> Iterator[FreezerGroup]:
    """Whoever is in it at the end is thawed and killed."""
    above = parent()
    assert above is not None
    group = FreezerGroup(above / f"loadkeeper-test-{os.getpid()}-{time.monotonic_ns()}")
    group.path.mkdir()
    try:
        yield group
    finally:
        _remove(group)


def _remove(group: FreezerGroup) -> None:
    deadline = time.monotonic() + 10
    group.thaw()
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
