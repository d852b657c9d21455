"""`status` and `list` on wide and narrow terminals and through pipes."""

import io

import pytest
from support.people import ENDED, NOW, PAUSED, RUN, a_node, a_run, a_status, a_worker

from loadkeeper.show.tables import NO_RUNS, NOBODY, print_list, print_status
from loadkeeper.show.text import cells
from loadkeeper.status import Status

WORKERS = [a_worker(17), a_worker(18, "paused", PAUSED, paused_for=12.0), a_worker(19, "ending", ENDED)]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def told(monkeypatch):
    """What is printed, by a terminal's width; None: through a pipe."""

    def print_to(printed, status, width=None, **environment):
        stream = io.StringIO() if width is None else Terminal()
        monkeypatch.setenv("COLUMNS", str(width or 80))
        for name, value in {"NO_COLOR": "1", **environment}.items():
            monkeypatch.setenv(name, value)
        printed(status, stream, NOW)
        return stream.getvalue()

    return print_to


def test_status_through_a_pipe(told):
    assert told(print_status, a_status(a_run(WORKERS))).splitlines() == [
        "node: 2 cores, 8.0 GiB of memory (cgroup /docker/4f1c); load manager 4711, up 1 min 40 s",
        "  memory  1.8 GiB available  at hold  hold 2.0 GiB, pause 1.2 GiB, end 614 MiB",
        "  cpu     87 % busy                   hold 90 %",
        "",
        "run 3f9a12c4 demo: running, up 1 min 5 s; xz -9 -k {}",
        "  12 done, 1 failed, 1 running, 1 paused, 1 ending, 8 waiting",
        "  4 slots, one task takes about 400 MiB and 1 core",
        "  waiting for memory: 1.8 GiB available, an xz needs about 400 MiB, line 2.0 GiB",
    ]


def test_list_through_a_pipe_is_one_line_for_each_worker(told):
    rows = told(print_list, a_status(a_run(WORKERS))).splitlines()
    assert rows[1] == f"  pool {RUN}/main: 4 slots, one task takes about 400 MiB and 1 core"
    headings = ["worker", "pid", "pool", "task", "state", "memory", "cpu", "for", "paused", "value"]
    assert rows[3].split() == headings
    assert [row.split()[0] for row in rows[4:]] == [worker.id for worker in WORKERS]
    assert rows[4].split()[1:5] == ["1017", "main", "17", "running"]
    assert rows[5].endswith("it goes on when about 352 MiB are available")
    assert rows[6].endswith("its task is given back")


def test_on_a_terminal_the_why_stands_below_its_worker(told):
    rows = told(print_list, a_status(a_run(WORKERS)), 130).splitlines()
    place = next(i for i, row in enumerate(rows) if f"{RUN}.18" in row)
    assert rows[place].split()[4] == "paused"
    assert rows[place + 1].startswith("    paused for memory: 118 MiB available, the pause line is 112 MiB")


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("printed", [print_status, print_list])
def test_nothing_is_wider_than_the_terminal_and_no_name_is_cut(told, printed, width):
    text = told(printed, a_status(a_run(WORKERS)), width)
    assert all(cells(row) <= width for row in text.splitlines())
    if printed is print_list:
        assert all(worker.id in text and worker.state in text for worker in WORKERS)
    assert "line 2.0 GiB" in " ".join(text.split())


def test_columns_that_nobody_has_something_in_are_left_out(told):
    rows = told(print_list, a_status(a_run([a_worker(1, value="", cpu=None)]))).splitlines()
    assert rows[3].split() == ["worker", "pid", "pool", "task", "state", "memory", "for"]


def test_colours_are_for_terminals_that_want_them(told):
    status = a_status(a_run(WORKERS))
    assert "\x1b[33mpaused\x1b[0m" in told(print_list, status, 100, NO_COLOR="", TERM="xterm")
    assert "\x1b" not in told(print_list, status, 100)
    assert "\x1b" not in told(print_list, status, 100, NO_COLOR="", TERM="dumb")
    assert "\x1b" not in told(print_list, status, None, NO_COLOR="", TERM="xterm")


def test_values_of_others_cannot_move_the_cursor(told):
    status = a_status(a_run([a_worker(1, value="a\x1b[2Jb\nc")], command="x\x1b]0;y\x07"))
    for printed in (print_status, print_list):
        assert "\x1b" not in told(printed, status, 100)
        assert "\x07" not in told(printed, status, 100)


def test_without_anybody(told):
    assert told(print_status, Status()) == NOBODY + "\n"
    assert told(print_list, Status()) == NO_RUNS + "\n"
    assert told(print_status, Status(a_node(), [a_node()])).splitlines()[-1] == NO_RUNS


def test_runs_stand_below_their_own_node(told):
    nodes = [a_node(1), a_node(2)]
    runs = [a_run([], name="first", node=1), a_run([], name="second", node=0)]
    text = told(print_status, Status(None, nodes, runs))
    order = [text.index(word) for word in ("load manager 1,", "second", "load manager 2,", "first")]
    assert order == sorted(order)
