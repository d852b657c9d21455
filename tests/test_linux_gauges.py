"""Files of the kernel that are kept open."""

import os
from pathlib import Path

import pytest

from loadkeeper.linux.gauges import Gauge, read_once, spare_descriptors


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_changed_content_shows_at_the_next_read(tmp_path: Path) -> None:
    file = tmp_path / "memory.max"
    file.write_text("200\n")
    gauge = Gauge(str(file))
    assert gauge.read() == b"200\n"
    before = open_files()
    with file.open("r+") as changed:
        changed.write("100\n")
    assert gauge.read() == b"100\n"
    assert open_files() == before  # it was not opened again


def test_what_is_not_there_is_none_and_read_as_soon_as_it_is(tmp_path: Path) -> None:
    gauge = Gauge(str(tmp_path / "late"))
    assert gauge.read() is None
    (tmp_path / "late").write_text("7")
    assert gauge.read() == b"7"


def test_a_content_longer_than_the_buffer_is_read_whole(tmp_path: Path) -> None:
    whole = b"cpu 1 2 3\n" * 30_000
    (tmp_path / "stat").write_bytes(whole)
    gauge = Gauge(str(tmp_path / "stat"))
    assert gauge.read() == whole
    assert gauge.read() == whole


def test_a_process_that_is_gone_is_none_and_its_descriptor_is_let_go() -> None:
    pid = os.posix_spawn("/bin/sleep", ["sleep", "60"], {})
    gauge = Gauge(f"/proc/{pid}/statm", lasting=False)
    assert gauge.read()
    kept = open_files()
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    assert gauge.read() is None
    assert open_files() == kept - 1


class Vanishing:
    """Stands for ``os``: its ``pread`` fails as for a cgroup that was removed, until the file is opened anew."""

    def __init__(self) -> None:
        self.dead: set[int] = set()

    def pread(self, descriptor: int, size: int, at: int) -> bytes:
        if descriptor in self.dead:
            raise OSError(19, "No such device")
        return os.pread(descriptor, size, at)

    def open(self, path: str, flags: int) -> int:
        descriptor = os.open(path, flags)
        self.dead.discard(descriptor)
        return descriptor

    def __getattr__(self, name: str) -> object:
        return getattr(os, name)


@pytest.mark.parametrize(("lasting", "again"), [(True, b"new"), (False, None)])
def test_a_file_that_vanishes_is_opened_again_only_where_its_path_keeps_its_meaning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lasting: bool, again: bytes | None
) -> None:
    kernel = Vanishing()
    monkeypatch.setattr("loadkeeper.linux.gauges.os", kernel)
    file = tmp_path / "file"
    file.write_text("old")
    gauge = Gauge(str(file), lasting=lasting)
    assert gauge.read() == b"old"
    file.unlink()
    file.write_text("new")
    kernel.dead = {gauge._descriptor}
    assert gauge.read() == again
    assert gauge.read() == again


def test_a_directory_and_a_forbidden_file_are_none(tmp_path: Path) -> None:
    assert Gauge(str(tmp_path)).read() is None
    assert read_once(str(tmp_path)) is None
    assert read_once(str(tmp_path / "missing")) is None


def test_read_once_reads_files_made_of_records_to_their_end() -> None:
    """Each ``read`` of these gives a page that ends where a record ends, so a short part is not the end."""
    whole = read_once("/proc/self/smaps")
    assert whole is not None
    assert len(whole) > 8192
    with open("/proc/self/maps", "rb") as maps:
        last = maps.read().splitlines()[-1].split()[-1]
    assert last in whole


def test_half_of_the_descriptors_are_left_to_others() -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        assert spare_descriptors() == 128
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
