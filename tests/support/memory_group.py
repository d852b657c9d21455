"""A memory control group of version 1 with a limit, for tests on the living kernel. Needs root."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.old_groups import make, parent_of, remove

_ENTER = 'echo $$ > "$0/cgroup.procs" && exec "$@"'


def parent() -> Path | None:
    """Our own group of the version 1 memory controller; ``None`` where there is none that we may make groups in."""
    return parent_of("memory")


class MemoryGroup:
    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def prefix(self) -> list[str]:
        """Before a command: it is in the group before it is executed."""
        return ["sh", "-c", _ENTER, str(self.path)]

    def start(self, *command: str, **options: object) -> "subprocess.Popen[str]":
        """A command inside the group."""
        return subprocess.Popen([*self.prefix, *command], text=True, **options)  # type: ignore[call-overload,no-any-return]

    def python(self, code: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        started = self.start(sys.executable, "-c", code, *arguments, stdout=subprocess.PIPE)
        output, _ = started.communicate(timeout=60)
        return subprocess.CompletedProcess([code], started.returncode, output)

    def number(self, name: str) -> int:
        return int((self.path / name).read_text())

    def available(self) -> int:
        """Bytes that can still be taken: the limit, less what is used, and what can be reclaimed."""
        stat = dict(line.split() for line in (self.path / "memory.stat").read_text().splitlines())
        files = int(stat["total_active_file"]) + int(stat["total_inactive_file"])
        return self.number("memory.limit_in_bytes") - self.number("memory.usage_in_bytes") + files

    def oom_kills(self) -> int:
        lines = (self.path / "memory.oom_control").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))


@contextmanager
def memory_group(limit: int) -> Iterator[MemoryGroup]:
    """A group that may use ``limit`` bytes. Whoever is still in it at the end is killed."""
    path = make("memory")
    try:
        (path / "memory.limit_in_bytes").write_text(str(limit))
        yield MemoryGroup(path)
    finally:
        remove(path)
