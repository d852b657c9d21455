"""The last line and the exit code."""

import pytest

from loadkeeper.record.report import Summary, last_line

MIB, GIB = 1 << 20, 1 << 30


def test_the_line_of_the_manual():
    summary = Summary(
        done=500,
        failed=2,
        given_back=3,
        returned_done=3,
        peak_memory=int(7.1 * GIB),
        memory=8 * GIB,
        pauses=41,
        paused_for=720,
    )
    expected = "500 done, 2 failed, 3 given back and done later; peak memory 7.1 GiB of 8; 41 pauses, 12 min in all"
    assert last_line(summary) == expected


@pytest.mark.parametrize(
    ("summary", "line"),
    [
        (Summary(), "0 tasks"),
        (Summary(done=1), "1 done"),
        (Summary(failed=3), "3 failed"),
        (Summary(done=39, buried=1), "39 done, 1 buried"),
        (Summary(done=2, left=5, message="interrupted"), "2 done, 5 not done; interrupted"),
        (Summary(done=2, left=None), "2 done, others not done"),
        (Summary(done=2, pauses=1, paused_for=3.2), "2 done; 1 pause of 3.2 s"),
        (Summary(done=2, peak_memory=700 * MIB, memory=GIB), "2 done; peak memory 700 MiB of 1 GiB"),
        (Summary(done=2, peak_memory=700 * MIB), "2 done; peak memory 700 MiB"),
        (Summary(done=2, memory=GIB), "2 done"),
        (Summary(done=2, kernel_kills=1), "2 done; 1 worker killed by the kernel for memory"),
    ],
)
def test_nothing_is_told_that_was_not_measured(summary, line):
    assert last_line(summary) == line


@pytest.mark.parametrize(
    ("summary", "code"),
    [
        (Summary(), 0),
        (Summary(done=9, given_back=4, returned_done=4), 0),
        (Summary(done=9, failed=1), 1),
        (Summary(done=9, buried=1), 1),
        (Summary(done=9, stopped=130), 130),
        (Summary(done=9, failed=1, stopped=143), 143),
        (Summary(done=9, failed=1, critical=True), 3),
    ],
)
def test_the_exit_code(summary, code):
    assert summary.exit_code == code
