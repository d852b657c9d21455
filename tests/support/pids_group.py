"""A group of the version 1 pids controller: no more processes than it allows, however they fork."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.old_groups import make, members, parent_of, remove


def parent() -> Path | None:
    """Our own group of the controller; ``None`` where there is none that we may make groups in."""
    return parent_of("pids")


class PidsGroup:
    def __init__(self, path: Path) -> None:
        self.path = path

    def open_to(self, user: int) -> None:
        """This user may put its processes in."""
        os.chown(self.path / "cgroup.procs", user, user)

    def members(self) -> list[int]:
        return members(self.path)


@contextmanager
def pids_group(most: int) -> Iterator[PidsGroup]:
    """Whoever is in it at the end is killed: forks fail meanwhile."""
    group = PidsGroup(make("pids"))
    try:
        (group.path / "pids.max").write_text(str(most))
        yield group
    finally:
        (group.path / "pids.max").write_text("0")
        remove(group.path)
