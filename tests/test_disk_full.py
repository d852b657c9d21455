"""A disk that is full under results or output: the run holds, says so, loses nothing, goes on when there is room."""

import os
import re
import subprocess

import pytest
from support.program import Program, wait_until
from support.screen import Screen

MIB = 1 << 20


@pytest.fixture
def disk(tmp_path):
    """A file system of 24 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "none", place]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small file system")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


@pytest.fixture
def program(tmp_path):
    made = Program(tmp_path / "p", environment={"LOADKEEPER_CPU": "off"})  # whatever else runs
    yield made
    made.close()


def fill(disk, left: int = 0) -> None:
    """Until only so much is free."""
    free = os.statvfs(disk).f_bfree * os.statvfs(disk).f_frsize
    with open(disk / "ballast", "ab") as file:
        file.write(bytes(max(0, free - left)))


def told(run, text: bytes) -> None:
    seen = b""
    os.set_blocking(run.stderr.fileno(), False)

    def found():
        nonlocal seen
        seen += run.stderr.read() or b""
        return text in seen

    wait_until(found, 20, f"it does not say {text!r}")


PRINTS = 'while [ ! -e "$0" ]; do sleep 0.05; done; head -c 3000000 /dev/zero; exit 0'
"""Waits for a file, then prints 3 MB, and does not care whether that went well."""


@pytest.mark.parametrize("kept", ["output", "results"])
def test_tasks_that_could_not_write_are_done_again_when_there_is_room(program, disk, tmp_path, kept):
    go, out = tmp_path / "go", tmp_path / "out"
    words = ["--results", str(disk / "results")] if kept == "results" else []
    if kept == "output":
        program.environment["XDG_STATE_HOME"] = str(disk)
    with open(out, "wb") as stdout:
        run = program.start("run", *words, "-j2", "sh", "-c", PRINTS, str(go), ":::", "1", "2", "3", "4", stdout=stdout)
        wait_until(lambda: (s := program.ask()) and s.runs and len(s.runs[0].workers) == 2, 20, "no workers")
        fill(disk, left=MIB)
        go.touch()
        told(run, b"is full")
        assert run.poll() is None
        os.truncate(disk / "ballast", 0)
        assert run.wait(30) == 0
    if kept == "output":
        assert out.stat().st_size == 4 * 3_000_000
    else:
        sizes = [file.stat().st_size for file in (disk / "results").rglob("stdout")]
        assert sizes == [3_000_000] * 4


def test_a_disk_that_is_short_before_the_first_start_is_said(program, disk):
    program.environment["XDG_STATE_HOME"] = str(disk)
    fill(disk, left=300_000)
    run = program.start("run", "echo", ":::", "1")
    told(run, b"KiB more are free")
    os.truncate(disk / "ballast", 0)
    assert run.wait(30) == 0
    assert run.stdout.read() == b"1\n"


def test_who_fills_the_disk_and_runs_on_is_named(program, disk):
    program.environment |= {"XDG_STATE_HOME": str(disk), "TERM": "xterm"}
    screen = Screen(200)
    line = "head -c 40000000 /dev/zero; exec sleep 60"
    run = program.start("run", "sh", "-c", line, ":::", "1", stdout=subprocess.DEVNULL, stderr=screen.tty)
    wait_until(lambda: re.search(r"\.1\s+has\s+written\s+2\d\s+MiB", screen.read()), 10, "it is not named")
    run.terminate()
    assert run.wait(20) == 143
    screen.close()


def test_a_task_that_fills_the_disk_itself_is_not_tried_for_ever_and_never_called_done(program, disk, tmp_path):
    """It holds after each of the first two, until somebody makes room that is not enough either."""
    program.environment["XDG_STATE_HOME"] = str(disk)
    fill(disk, left=8 * MIB)
    with open(tmp_path / "out", "wb") as stdout:
        run = program.start("run", "sh", "-c", "head -c 40000000 /dev/zero; exit 0", ":::", "1", stdout=stdout)
        for left in (12 * MIB, 8 * MIB):
            told(run, b"is full")
            os.truncate(disk / "ballast", left)
        assert run.wait(30) == 1
    assert b"failed: a disk was full while it ran" in run.stderr.read()
