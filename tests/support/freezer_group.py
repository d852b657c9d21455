"""A freezer group of version 1: who is in it when it is frozen takes no signal, SIGKILL neither, until the thaw."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.old_groups import make, members, parent_of, remove


def parent() -> Path | None:
    """Our own group of the version 1 freezer; ``None`` where there is none that we may make groups in."""
    return parent_of("freezer")


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
        return members(self.path)


@contextmanager
def freezer_group() -> Iterator[FreezerGroup]:
    """Whoever is in it at the end is thawed and killed."""
    group = FreezerGroup(make("freezer"))
    try:
        yield group
    finally:
        group.thaw()
        remove(group.path)
