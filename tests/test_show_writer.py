"""Progress on a terminal, a pipe, and on what is left of them."""

import os
import sys
import time

import pytest
from support.screen import Screen

from loadkeeper.model import TaskCounts
from loadkeeper.show.progress import Progress, line, render
from loadkeeper.show.writer import LINES, REDRAW, ProgressWriter


@pytest.fixture(autouse=True)
def _a_terminal_that_can(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")


@pytest.fixture
def screen():
    made = Screen(80, 24)
    yield made
    made.close()


def progress(done: int, reason: str = "waiting for memory: 1.8 GiB available, line 2.0 GiB") -> Progress:
    return Progress(
        name="demo", tasks=TaskCounts(waiting=100 - done, running=0, done=done), reason=reason, elapsed=float(done)
    )


def block(done: int, width: int = 80, **given) -> str:
    return "\n".join(render(progress(done, **given), width))


# ----------------------------------------------------------------------------------------------------------- terminal


def test_the_block_is_written_over_where_it_stands(screen):
    writer = ProgressWriter(screen.tty, 0.0)
    for done in range(50):
        writer.update(progress(done), 1.0 + done)
    assert screen.read() == block(49)


def test_a_shorter_block_leaves_nothing_behind(screen):
    writer = ProgressWriter(screen.tty, 0.0)
    writer.update(progress(1, reason="a long reason " * 12), 1.0)
    writer.update(progress(2, reason=""), 2.0)
    assert screen.read() == block(2, reason="")


def test_a_run_of_a_moment_shows_nothing(screen):
    writer = ProgressWriter(screen.tty, 100.0)
    writer.update(progress(1), 100.1)
    writer.close()
    assert screen.read() == ""


def test_it_is_not_redrawn_more_often_than_people_can_read(screen):
    writer = ProgressWriter(screen.tty, 0.0)
    writer.update(progress(1), 1.0)
    assert writer.due == 1.0 + REDRAW
    writer.update(progress(2), 1.0 + REDRAW / 2)
    assert screen.read() == block(1)


def test_output_stands_above_the_block_in_full(screen):
    writer = ProgressWriter(screen.tty, 0.0)
    writer.update(progress(1), 1.0)
    for text in (b"one\n", b"two", b"three\nfour\n"):
        writer.hide()
        os.write(screen.tty, text)
        writer.show()
    assert screen.read() == "one\ntwo\nthree\nfour\n" + block(1)


def test_nothing_is_drawn_while_somebody_prints(screen):
    writer = ProgressWriter(screen.tty, 0.0)
    writer.update(progress(1), 1.0)
    writer.hide()
    assert screen.read() == ""
    writer.update(progress(2), 2.0)
    assert screen.read() == ""
    writer.show()
    assert screen.read() == block(2)


def test_messages_stand_above_the_block(screen):
    writer = ProgressWriter(screen.tty, 0.0)
    writer.update(progress(1), 1.0)
    writer.say("the journal cannot be written")
    writer.say("two\nlines \x1b[2J")
    assert screen.read() == "the journal cannot be written\ntwo\nlines ?[2J\n" + block(1)


def test_the_last_line_takes_the_blocks_place(screen):
    writer = ProgressWriter(screen.tty, 0.0)
    writer.update(progress(1), 1.0)
    writer.close("100 done")
    writer.update(progress(2), 9.0)
    assert screen.read() == "100 done"


@pytest.mark.parametrize("width", [30, 50, 79, 120])
def test_after_a_resize_nothing_of_the_old_block_is_left(screen, width):
    writer = ProgressWriter(screen.tty, 0.0)
    os.write(screen.tty, b"before\n")
    writer.update(progress(1), 1.0)
    screen.read()
    screen.resize(width, 24)
    writer.update(progress(2), 2.0)
    assert screen.read() == "before\n" + block(2, width)


def test_a_low_terminal_gets_a_low_block(screen):
    writer = ProgressWriter(screen.tty, 0.0)
    screen.resize(80, 3)
    writer.update(progress(1), 1.0)
    assert screen.read() == "\n".join(render(progress(1), 80, 3))


def test_a_dumb_terminal_gets_lines(screen, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    writer = ProgressWriter(screen.tty, 0.0)
    writer.update(progress(1), LINES)
    assert "\x1b" not in screen.read()
    assert screen.read().replace("\n", "").startswith("demo: 1 of 100 done")


# ------------------------------------------------------------------------------------------- terminals in trouble


def test_a_terminal_that_takes_nothing_holds_up_nobody(screen):
    """^S, or a line that hangs: the buffer of the pty fills, and every call still returns at once."""
    writer = ProgressWriter(screen.tty, 0.0)
    began = time.monotonic()
    for done in range(2000):
        writer.update(progress(done % 100, reason="x" * 70), 1.0 + done)
    writer.say("said in between")
    assert time.monotonic() - began < 5.0
    assert not writer.dead
    for done in range(3):  # it takes again: the rest comes, then the present
        screen.read()
        writer.update(progress(42 + done), 5000.0 + done)
    assert screen.read() == "said in between\n" + block(44)


def test_a_terminal_that_is_gone_raises_nothing(screen):
    writer = ProgressWriter(screen.tty, 0.0)
    writer.update(progress(1), 1.0)
    screen.hang_up()
    for call in (
        lambda: writer.update(progress(2), 2.0),
        writer.hide,
        writer.show,
        lambda: writer.say("hello"),
        writer.clear,
        lambda: writer.close("last"),
    ):
        call()
    assert writer.dead


BACKGROUND = """
import os, signal, sys, termios
from loadkeeper.model import TaskCounts
from loadkeeper.show.progress import Progress
from loadkeeper.show.writer import ProgressWriter
settings = termios.tcgetattr(2)
settings[3] |= termios.TOSTOP
termios.tcsetattr(2, termios.TCSANOW, settings)
child = os.fork()
if not child:
    os.setpgid(0, 0)
    ProgressWriter(2, 0.0).update(Progress(name="hidden", tasks=TaskCounts(done=1)), 9.0)
    os._exit(7)
status = os.waitpid(child, os.WUNTRACED)[1]
print("stopped" if os.WIFSTOPPED(status) else f"exit {os.waitstatus_to_exitcode(status)}", flush=True)
"""


def test_a_run_in_the_background_leaves_the_terminal_alone():
    """With `stty tostop` a write from the background would stop the manager."""
    pid, master = os.forkpty()
    if not pid:
        os.execv(sys.executable, [sys.executable, "-c", BACKGROUND])
    told = b""
    try:
        while part := os.read(master, 4096):
            told += part
    except OSError:  # EIO: everybody has closed it
        pass
    os.waitpid(pid, 0)
    os.close(master)
    assert told.decode().split() == ["exit", "7"]


# --------------------------------------------------------------------------------------------------------------- pipes


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            pass


def test_elsewhere_a_line_each_ten_seconds(pipe):
    reader, end = pipe
    writer = ProgressWriter(end, 0.0)
    for now in range(31):
        writer.update(progress(now), float(now))
    writer.hide()
    writer.show()
    writer.close("100 done")
    expected = [line(progress(at)) for at in (10, 20, 30)]
    assert os.read(reader, 65536).decode().splitlines() == [*expected, "100 done"]


def test_a_pipe_that_nobody_empties_holds_up_nobody(pipe):
    writer = ProgressWriter(pipe[1], 0.0)
    began = time.monotonic()
    for turn in range(1, 2000):
        writer.update(progress(1), turn * LINES)
    assert time.monotonic() - began < 5.0


def test_a_pipe_that_nobody_reads_raises_nothing(pipe):
    writer = ProgressWriter(pipe[1], 0.0)
    os.close(pipe[0])
    writer.update(progress(1), LINES)
    writer.say("hello")
    writer.close("last")
    assert writer.dead


def test_a_closed_stderr_raises_nothing(pipe):
    os.close(pipe[1])
    writer = ProgressWriter(pipe[1], 0.0)
    writer.update(progress(1), LINES)
    writer.close("last")
    assert writer.dead
