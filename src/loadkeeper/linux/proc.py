"""/proc as bytes and as parsed readings. Opening is apart from parsing, so that saved files serve as tests.

``PROC`` is the root; every function takes it as a parameter. What is gone is an outcome (``None``), never an error.
"""

import os
from collections.abc import Iterator
from typing import NamedTuple

PROC = "/proc"
_VFORK = (b"kernel_clone", b"_do_fork", b"do_fork", b"wait_for_vfork_done")


class Stat(NamedTuple):
    """The fields we use of /proc/PID/stat (proc(5)). Ticks are 1/100 s; ``rss`` is in pages."""

    pid: int
    state: str  # R S D T t Z X I
    ppid: int
    group: int
    session: int
    user_ticks: int
    system_ticks: int
    children_user_ticks: int
    children_system_ticks: int
    start_time: int
    rss: int
    threads: int = 1


def read(path: str) -> bytes | None:
    """The whole file, or ``None`` when it is gone or may not be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        parts = []
        while part := os.read(descriptor, 65536):  # a short part is not the end: lists end a part where a record ends
            parts.append(part)
        return b"".join(parts)
    except OSError:  # ESRCH: the process went while it was read
        return None
    finally:
        os.close(descriptor)


def read_record(path: str) -> bytes | None:
    """A file of one record of less than a page, in one read; ``None`` as `read`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.read(descriptor, 4096)
    except OSError:
        return None
    finally:
        os.close(descriptor)


def parse_stat(content: bytes) -> Stat | None:
    """Fields after the command's name, which may hold blanks, brackets and newlines: it ends at the last ``)``."""
    end = content.rfind(b")")
    fields = content[end + 2 :].split()
    if end < 0 or len(fields) < 22:
        return None
    try:
        pid = int(content[: content.index(b" ")])
        numbers = [int(fields[i]) for i in (1, 2, 3, 11, 12, 13, 14, 19, 21, 17)]
    except ValueError:
        return None
    return Stat(pid, fields[0].decode("ascii", "replace"), *numbers)


def stat(pid: int, root: str = PROC) -> Stat | None:
    content = read_record(f"{root}/{pid}/stat")
    return parse_stat(content) if content else None


def stands(pid: int, root: str = PROC) -> bool:
    """The process runs no code: every thread is stopped, has ended, or is held by a vfork. True when it is gone.

    The process's own stat shows its first thread alone, and a stop takes hold thread by thread."""
    found = stat(pid, root)
    if found is None:
        return True
    if found.threads < 2:
        return _letter_stands(found) or (found.state == "D" and waits_in_vfork(pid, root))
    try:
        threads = os.listdir(f"{root}/{pid}/task")
    except OSError:
        return True
    contents = (read_record(f"{root}/{pid}/task/{thread}/stat") for thread in threads)
    return all(_letter_stands(one) for content in contents if content and (one := parse_stat(content)) is not None)


def _letter_stands(found: Stat) -> bool:
    return found.state in "TtZXx"


def pids(root: str = PROC) -> Iterator[int]:
    """Every process there is, threads not counted."""
    for name in os.listdir(root):
        if name.isdigit():
            yield int(name)


def children(pid: int, root: str = PROC) -> list[int]:
    """Direct children of all threads of ``pid``. Empty when it is gone or the kernel lacks the file."""
    found: list[int] = []
    try:
        threads = os.listdir(f"{root}/{pid}/task")
    except OSError:
        return found
    for thread in threads:
        content = read(f"{root}/{pid}/task/{thread}/children")
        if content:
            found += [int(word) for word in content.split()]
    return found


def environment(pid: int, name: bytes, root: str = PROC) -> bytes | None:
    """One variable as the process was started with, or ``None``: not set, gone, or not ours to read."""
    content = read(f"{root}/{pid}/environ")
    if not content:
        return None
    prefix = name + b"="
    for entry in content.split(b"\0"):
        if entry.startswith(prefix):
            return entry[len(prefix) :]
    return None


def waits_in_vfork(pid: int, root: str = PROC) -> bool:
    """It is held until its child's exec, in the kernel, where SIGSTOP does not reach it; it runs no code of its own."""
    return read_record(f"{root}/{pid}/wchan") in _VFORK


def oom_kills(root: str = PROC) -> int | None:
    """Processes that the kernel's memory killer has killed since the start, in all control groups together."""
    for line in (read(f"{root}/vmstat") or b"").splitlines():
        if line.startswith(b"oom_kill "):
            return int(line.split()[1])
    return None


def boot_id(root: str = PROC) -> str:
    """A random name of this boot, or ``""`` where it cannot be read."""
    return (read(f"{root}/sys/kernel/random/boot_id") or b"").decode("ascii", "replace").strip()


def pid_namespace(root: str = PROC) -> str:
    """``pid:[4026531836]``: in which pids mean the same, or ``""`` where it cannot be read."""
    try:
        return os.readlink(f"{root}/self/ns/pid")
    except OSError:
        return ""


def resident(pid: int, root: str = PROC) -> int:
    """Bytes of it that lie in memory, shared ones too; 0 when it is gone."""
    fields = (read(f"{root}/{pid}/statm") or b"").split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") if len(fields) > 1 else 0
