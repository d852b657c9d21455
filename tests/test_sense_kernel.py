"""What `available` promises, held against what a process can really take before the kernel kills it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.memory_group import MemoryGroup, memory_group, parent

MIB = 1 << 20
LIMIT = 1 << 30
MARGIN = 24 * MIB
"""The kernel charges in batches, and the taker's own page tables and the shell before it take a little."""

pytestmark = pytest.mark.skipif(parent() is None, reason="needs root and a memory controller of version 1")

LOOK = """
import time
from loadkeeper.sense.node import NodeSensor
reading = NodeSensor().read(time.monotonic())
print(reading.available, reading.total, reading.dirty, reading.available_bound_by.startswith("cgroup /"))
"""
TAKE = """
import mmap, sys
size = int(sys.argv[1])
mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE)
"""
WRITE = """
import sys
with open(sys.argv[1], "wb") as file:
    for _ in range(int(sys.argv[2]) >> 20):
        file.write(b"x" * (1 << 20))
"""
MAPPED = """
import ctypes, mmap, sys, time
file = open(sys.argv[1], "r+b")
view = mmap.mmap(file.fileno(), 0)
sum(view[at] for at in range(0, len(view), 4096))
if sys.argv[2] == "lock":
    address = ctypes.addressof(ctypes.c_char.from_buffer(view))
    assert ctypes.CDLL(None, use_errno=True).mlock(ctypes.c_void_p(address), ctypes.c_size_t(len(view))) == 0
print("ready", flush=True)
time.sleep(100)
"""


def available(group: MemoryGroup) -> int:
    told = group.python(LOOK).stdout.split()
    assert int(told[1]) == LIMIT
    assert told[3] == "True"
    return int(told[0])


def takes(group: MemoryGroup, size: int) -> bool:
    before = group.oom_kills()
    taken = group.python(TAKE, str(size)).returncode == 0
    assert taken == (group.oom_kills() == before)
    return taken


def hold_against_kernel(group: MemoryGroup) -> int:
    told = available(group)
    assert takes(group, told - MARGIN)
    assert not takes(group, told + MARGIN)
    return told


def test_an_empty_group_has_all_of_its_limit() -> None:
    with memory_group(LIMIT) as group:
        assert hold_against_kernel(group) > LIMIT - 64 * MIB


def test_page_cache_clean_and_dirty_can_be_taken(tmp_path: Path) -> None:
    with memory_group(LIMIT) as group:
        group.python(WRITE, str(tmp_path / "file"), str(500 * MIB))
        assert group.number("memory.usage_in_bytes") > 450 * MIB
        assert hold_against_kernel(group) > LIMIT - 96 * MIB
    (tmp_path / "file").unlink()


def test_tmpfs_cannot_be_taken(tmp_path: Path) -> None:
    file = Path("/dev/shm") / f"loadkeeper-{tmp_path.name}"
    try:
        with memory_group(LIMIT) as group:
            group.python(WRITE, str(file), str(400 * MIB))
            assert hold_against_kernel(group) < LIMIT - 400 * MIB
    finally:
        file.unlink(missing_ok=True)


@pytest.mark.parametrize(("locked", "kept"), [("free", 0), ("lock", 200 * MIB)])
def test_mapped_files_can_be_taken_unless_they_are_locked(tmp_path: Path, locked: str, kept: int) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * (200 * MIB))
    with memory_group(LIMIT) as group:
        with file.open("rb") as written:
            os.fsync(written.fileno())
            os.posix_fadvise(written.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # its pages are ours: the group reads anew
        holder = group.start(sys.executable, "-c", MAPPED, str(file), locked, stdout=subprocess.PIPE)
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        assert group.number("memory.usage_in_bytes") > 190 * MIB
        told = hold_against_kernel(group)
        assert LIMIT - kept - 64 * MIB < told <= LIMIT - kept
        holder.kill()
        holder.wait()


FOLLOW = """
import sys, time
from loadkeeper.sense.node import NodeSensor
node = NodeSensor()
for _ in sys.stdin:
    print(node.read(time.monotonic()).total, flush=True)
"""


def test_a_limit_that_changes_shows_at_the_next_look() -> None:
    with memory_group(LIMIT) as group:
        looking = group.start(sys.executable, "-c", FOLLOW, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert looking.stdin is not None
        assert looking.stdout is not None
        for limit in (LIMIT, LIMIT // 2, 3 * LIMIT // 4):
            (group.path / "memory.limit_in_bytes").write_text(str(limit))
            looking.stdin.write("look\n")
            looking.stdin.flush()
            assert int(looking.stdout.readline()) == limit
        looking.stdin.close()
        assert looking.wait(timeout=10) == 0
