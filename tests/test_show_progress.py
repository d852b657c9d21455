"""The block and the line: what they say, and that they fit."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as some

from loadkeeper.model import TaskCounts
from loadkeeper.show.progress import Pace, Progress, line, render
from loadkeeper.show.text import cells, clean, cut, wrap
from loadkeeper.status import GaugeStatus

MIB, GIB = 1 << 20, 1 << 30
GAUGES = {
    "memory": GaugeStatus(1.8 * GIB, 2.0 * GIB, 1.2 * GIB, 614 * MIB, "hold"),
    "pressure.io": GaugeStatus(0.03),
    "cpu": GaugeStatus(0.87, 0.9, None, None, "open"),
}
REASON = "waiting for memory: 1.8 GiB available, a gzip needs about 400 MiB, line 2.0 GiB"
PROGRESS = Progress(
    name="demo",
    tasks=TaskCounts(waiting=8, running=4, done=12, failed=1),
    paused=2,
    gauges=GAUGES,
    reason=REASON,
    elapsed=65.0,
    left=40.0,
)


def test_the_block():
    assert render(PROGRESS, 100) == [
        "demo: 12 of 25 done, 1 failed, 2 running, 2 paused, 8 waiting",
        "[####################--------------------]  52 %  1 min 5 s, about 40 s left",
        "memory  1.8 GiB available  HOLD 2.0 GiB, pause 1.2 GiB, end 614 MiB",
        "cpu     87 % busy          hold 90 %",
        REASON,
    ]


def test_the_line():
    assert line(PROGRESS) == (
        "demo: 12 of 25 done, 1 failed, 2 running, 2 paused, 8 waiting; "
        "memory 1.8 GiB available (HOLD 2.0 GiB, pause 1.2 GiB, end 614 MiB); cpu 87 % busy (hold 90 %); "
        f"{REASON}; 1 min 5 s, about 40 s left"
    )


def test_without_a_known_end_there_is_neither_bar_nor_total():
    endless = Progress(name="demo", tasks=TaskCounts(waiting=None, running=1, done=3), elapsed=5.0)
    assert render(endless, 100) == ["demo: 3 done, 1 running", "5.0 s"]


def test_a_gauge_that_cannot_be_read_says_so():
    blind = Progress(name="x", tasks=TaskCounts(), gauges={"memory": GaugeStatus(None, hold=GIB)})
    assert "memory  unknown  hold 1.0 GiB" in render(blind, 80)


def test_on_a_narrow_terminal_the_reason_keeps_its_figures():
    told = " ".join(part.strip() for part in render(PROGRESS, 48))
    assert REASON in told


def test_on_a_low_terminal_the_counts_come_first_and_then_the_reason():
    assert render(PROGRESS, 100, 4) == [
        "demo: 12 of 25 done, 1 failed, 2 running, 2 paused, 8 waiting",
        "[####################--------------------]  52 %  1 min 5 s, about 40 s left",
        REASON,
    ]
    assert render(PROGRESS, 100, 3) == [render(PROGRESS, 100)[0], REASON]
    assert render(PROGRESS, 100, 2) == render(PROGRESS, 100)[:1]


def test_a_fault_is_shown_above_the_reason():
    block = render(Progress(name="x", tasks=TaskCounts(), reason="waiting", fault="the disk is full"), 80)
    assert block[-2:] == ["the disk is full", "waiting"]


def test_names_and_values_of_others_cannot_move_the_cursor():
    hostile = Progress(name="a\x1b[2J\nb", tasks=TaskCounts(), reason="wait\rc")
    assert all(part.isprintable() for part in render(hostile, 80))


texts = some.text(max_size=200)
amounts = some.none() | some.floats(0, 1e13)
gauges = some.builds(
    GaugeStatus, amounts, amounts, amounts, amounts, some.sampled_from(["open", "hold", "pause", "end", "unknown"])
)
counts = some.builds(
    TaskCounts,
    some.none() | some.integers(0, 10**9),
    *[some.integers(0, 10**7)] * 5,
)
progresses = some.builds(
    Progress,
    name=texts,
    tasks=counts,
    paused=some.integers(0, 10**6),
    ending=some.integers(0, 10**6),
    gauges=some.dictionaries(some.sampled_from(["memory", "cpu", "swap", "pressure.io"]) | texts, gauges, max_size=4),
    reason=texts,
    elapsed=some.floats(0, 1e8),
    left=some.none() | some.floats(0, 1e8),
    fault=texts,
)


@given(progresses, some.integers(1, 200), some.integers(1, 50))
def test_the_block_always_fits(progress, width, height):
    block = render(progress, width, height)
    assert 1 <= len(block) <= max(1, height - 1) or len(block) <= 2
    for part in block:
        assert cells(part) <= max(1, width - 1)
        assert part.isprintable()


# --------------------------------------------------------------------------------------------------------------- text


@pytest.mark.parametrize(
    ("text", "width", "told"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdef", 5, "abc.."),
        ("漢字漢字", 8, "漢字漢字"),
        ("漢字漢字", 6, "漢字.."),
        ("ab", 1, "."),
    ],
)
def test_cutting(text, width, told):
    assert cut(text, width) == told


def test_wrapping_breaks_between_words_and_indents():
    assert wrap("one two three four", 9, 3) == ["one two", "  three", "  four"]
    assert wrap("one two three four", 9, 2) == ["one two", "  three.."]


@given(some.text(), some.integers(3, 60), some.integers(1, 5))
def test_wrapped_text_fits(text, width, most):
    parts = wrap(clean(text), width, most)
    assert len(parts) <= most
    assert all(cells(part) <= width for part in parts)


# --------------------------------------------------------------------------------------------------------------- pace


def test_the_rest_takes_as_long_as_the_last_minute_says():
    pace = Pace()
    for second in range(100):
        pace.note(float(second), second * 2 if second < 40 else 80 + (second - 40) * 10)
    assert pace.left(99.0, 670, 100) == pytest.approx(10.0, rel=0.05)


def test_nobody_knows_the_end_before_something_was_finished():
    pace = Pace()
    assert pace.left(0.0, 0, 5) is None
    pace.note(0.0, 0)
    assert pace.left(9.0, 0, 5) is None
    assert pace.left(10.0, 3, None) is None


# ------------------------------------------------------------------------------------------------------------- imports


def test_progress_imports_nothing_heavy():
    code = "import sys, loadkeeper.show.writer; print({'rich', 'click', 'zmq', 'sqlite3'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_long_name_is_cut_before_the_counts_are():
    long = Progress(name="for f in *; do echo a long line for the shell; done", tasks=TaskCounts(8, 4, 12), elapsed=1.0)
    assert render(long, 60)[0] == "for f in *; do echo..: 12 of 24 done, 4 running, 8 waiting"
    assert render(long, 40)[:2] == ["for f in *..: 12 of 24 done, 4 running,", "  8 waiting"]
