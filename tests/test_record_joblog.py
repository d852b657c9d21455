"""The job log, beside GNU parallel's own where it is installed."""

import os
import shutil
import subprocess

import pytest
from support.waiting import until

from loadkeeper.errors import UsageError
from loadkeeper.record.joblog import HEADER, Joblog, Line, Logged

LINE = Line(12, 1_795_517_995.8754, 0.1114, 8, 1, 0, b"echo 'a b'")
needs_parallel = pytest.mark.skipif(shutil.which("parallel") is None, reason="GNU parallel is not installed")


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "log")


def contents(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def numbers(logged: Logged) -> list[int]:
    return [seq for seq in range(1000) if seq in logged]


def test_a_line_in_bytes():
    assert LINE.text() == b"12\t:\t1795517995.875\t     0.111\t0\t8\t1\t0\techo 'a b'\n"


def test_long_runtimes_grow_to_the_right():
    line = Line(1, 1.0, 1_234_567_890.5, 0, 0, 0, b"x").text()
    assert line.split(b"\t")[3] == b"1234567890.500"


def test_a_newline_in_a_command_becomes_a_nul_and_other_bytes_stay():
    assert Line(1, 1.0, 1.0, 0, 0, 0, b"echo 'a\nb\t\xff'").text().endswith(b"\techo 'a\0b\t\xff'\n")


def test_lines_stand_in_the_order_in_which_they_were_added(path):
    log = Joblog.open(path)
    for seq in (3, 1, 2):
        log.add(Line(seq, 1.0, 0.5, 0, 0, 0, b"true"))
    assert log.close()
    assert numbers(Logged(path)) == [1, 2, 3]
    assert contents(path).startswith(HEADER)


def test_an_empty_run_leaves_the_header(path):
    assert Joblog.open(path).close()
    assert contents(path) == HEADER


def test_lines_are_there_while_the_run_goes_on(path):
    log = Joblog.open(path)
    log.add(LINE)
    until(lambda: contents(path) == HEADER + LINE.text())
    assert log.close()


def test_an_old_log_is_emptied_and_carried_on_only_when_asked(path):
    for opened in (path, path, "+" + path):
        log = Joblog.open(opened)
        log.add(LINE)
        assert log.close()
    assert contents(path) == HEADER + LINE.text() * 2


def test_a_log_on_stdout(capfd):
    log = Joblog.open("-")
    log.add(LINE)
    assert log.close()
    assert capfd.readouterr().out.encode() == HEADER + LINE.text()


@pytest.mark.parametrize("place", ["missing/log", "."])
def test_a_place_that_cannot_be_written_is_the_users_error(tmp_path, place):
    path = str(tmp_path / place)
    with pytest.raises(UsageError, match="--joblog") as caught:
        Joblog.open(path)
    assert path in str(caught.value)
    assert "directory you may write to" in str(caught.value)


def test_a_full_disk_is_a_fault_that_does_not_end_the_run():
    log = Joblog.open("/dev/full")
    log.add(LINE)
    until(lambda: log.fault is not None)
    assert "/dev/full" in log.fault
    assert "No space left" in log.fault
    assert not log.close(0.0)


def test_half_a_line_is_completed_and_not_doubled(path, monkeypatch):
    """A disk that fills takes part of a write, then refuses, then takes the rest."""
    from loadkeeper.record import joblog

    real, calls = os.write, []

    def write(descriptor, text):
        calls.append(len(text))
        if len(calls) == 1:
            return real(descriptor, text[: len(text) - 9])
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return real(descriptor, text)

    sink = joblog._Sink(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), path, HEADER)
    monkeypatch.setattr(joblog.os, "write", write)
    with pytest.raises(joblog.Refused):
        sink.write([LINE])
    sink.write([LINE])
    sink.write([LINE])
    sink.close()
    assert contents(path) == HEADER + LINE.text() * 2


def test_lines_that_wait_behind_a_refused_header_are_not_lost(tmp_path):
    """The header is refused before the first line comes; both are there in the end."""
    fifo = str(tmp_path / "fifo")
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    filled = 0
    while True:
        try:
            filled += os.write(writer, bytes(4096))
        except BlockingIOError:
            break
    log = Joblog(writer, fifo, HEADER)
    until(lambda: log.fault is not None)
    log.add(LINE)
    while filled:
        filled -= len(os.read(reader, filled))
    assert log.flush()
    assert os.read(reader, 65536) == HEADER + LINE.text()
    assert log.close()
    os.close(reader)


# ---------------------------------------------------------------------------------------------------- reading again


def test_only_tasks_without_exit_code_and_signal_count_as_successful(path):
    log = Joblog.open(path)
    for seq, (code, signal) in enumerate([(0, 0), (1, 0), (0, 9), (-1, 15), (0, 0)], 1):
        log.add(Line(seq, 1.0, 1.0, 0, code, signal, b"x"))
    assert log.close()
    assert numbers(Logged(path, successful=True)) == [1, 5]


def test_no_log_names_no_task(path):
    assert numbers(Logged(path)) == []


def test_another_file_is_not_taken_for_a_log(path):
    with open(path, "w") as file:
        file.write("something\nelse\n")
    with pytest.raises(UsageError, match=f"{path}:2"):
        Logged(path)


# ------------------------------------------------------------------------------------------- beside GNU parallel


@needs_parallel
def test_gnu_parallels_own_lines_come_out_the_same(path):
    """Their log, taken apart and written by us, is the same file."""
    commands = ["echo hello; exit 3", "kill -9 $$", "printf 'a\\nb'; sleep 0.05", "sleep 30", "true 'x\ny'"]
    joined = "\0".join(commands).encode()
    subprocess.run(
        ["parallel", "-0", "-j2", "--timeout", "1", "--joblog", path], input=joined, capture_output=True, check=False
    )
    theirs = contents(path)
    ours = HEADER
    for row in theirs.splitlines(keepends=True)[1:]:
        seq, _, began, seconds, _, received, code, signal, command = row[:-1].split(b"\t")
        numbers = int(seq), float(began), float(seconds), int(received), int(code), int(signal)
        ours += Line(*numbers, command.replace(b"\0", b"\n")).text()
    assert theirs.count(b"\n") == 1 + len(commands)
    assert ours == theirs
    assert b"\t-1\t15\tsleep 30\n" in theirs


@needs_parallel
def test_gnu_parallel_goes_on_from_our_log(path, tmp_path):
    log = Joblog.open(path)
    for seq, code in ((1, 0), (2, 1), (3, 0)):
        log.add(Line(seq, 1.0, 0.01, 0, code, 0, b"echo x\ny"))
    assert log.close()
    done = subprocess.run(
        ["parallel", "--joblog", path, "--resume-failed", "echo", ":::", "a", "b", "c", "d"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert sorted(done.stdout.split()) == ["b", "d"]


def test_a_line_that_was_cut_off_is_taken_away_when_the_log_is_carried_on(path):
    with open(path, "wb") as file:
        file.write(HEADER + LINE.text() + b"13\t:\t1795")
    assert numbers(Logged(path)) == [12]
    log = Joblog.open(path, append=True)
    log.add(LINE)
    assert log.close()
    assert contents(path) == HEADER + LINE.text() * 2


def test_two_runs_do_not_write_one_log(path):
    log = Joblog.open(path)
    with pytest.raises(UsageError, match="another run is writing it"):
        Joblog.open(path)
    assert log.close()
    assert Joblog.open(path).close()


def test_a_log_of_other_tasks_is_told(path):
    log = Joblog.open(path)
    log.add(LINE)
    assert log.close()
    logged = Logged(path)
    logged.check(12, [b"or so", LINE.command])
    logged.check(12, [])
    logged.check(13, [b"never logged"])
    with pytest.raises(UsageError, match=r"its task 12 was .*echo.*, and is 'true' now"):
        logged.check(12, [b"true"])
