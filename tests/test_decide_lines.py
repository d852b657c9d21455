"""Where lines lie."""

import pytest
from support.looks import GIB, MIB, History, pool, seen, worker

from loadkeeper.decide import DEFAULT
from loadkeeper.decide.lines import budget_lines, budget_total, cpu_lines, gauge_lines, node_lines
from loadkeeper.model import Amount, Limits, Lines


def _mib(lines: Lines) -> tuple[int | None, ...]:
    return tuple(None if x is None else round(x / MIB) for x in (lines.hold, lines.pause, lines.end))


@pytest.mark.parametrize(
    ("limits", "total", "expected"),
    [
        (Limits(), 16 * GIB, (1638, 983, 492)),
        (Limits(), GIB, (160, 112, 56)),  # 3 % of 1 GiB is gone in 30 ms
        (Limits(memory=Amount(absolute=2 * GIB)), 16 * GIB, (2048, 1229, 614)),
        (Limits(memory_gap=200 * MIB), 16 * GIB, (1838, 983, 492)),
        (Limits(memory_pause=Amount(share=0.5), memory_end=Amount(share=0.01)), 10 * GIB, (5120, 5120, 102)),
        (Limits(memory_pause=Amount(absolute=10 * MIB)), 16 * GIB, (1638, 10, 10)),
        (Limits(memory_end=Amount(absolute=1000 * MIB)), 16 * GIB, (1638, 1000, 1000)),
        (Limits(memory=None), 16 * GIB, (None, None, None)),
        (Limits(memory=None, memory_gap=GIB), 16 * GIB, (None, None, None)),
        (Limits(memory=None, memory_end=Amount(absolute=GIB)), 16 * GIB, (None, None, 1024)),
    ],
)
def test_lines_of_the_node(limits: Limits, total: int, expected: tuple[int | None, ...]) -> None:
    assert _mib(node_lines(limits, total, DEFAULT)) == expected


def test_a_budget_has_the_same_shares_and_no_floors() -> None:
    assert _mib(budget_lines(Limits(), GIB, DEFAULT)) == (102, 61, 31)
    assert _mib(budget_lines(Limits(memory=Amount(share=0.2)), GIB, DEFAULT)) == (205, 123, 61)
    assert _mib(budget_lines(Limits(memory=None), GIB, DEFAULT)) == (102, 61, 31)
    assert _mib(budget_lines(Limits(memory=Amount(absolute=2 * GIB)), GIB, DEFAULT)) == (102, 61, 31)


def test_a_share_as_budget_is_of_what_would_be_there_without_the_workers() -> None:
    limits = Limits(workers_memory=Amount(share=0.5))
    assert budget_total(limits, 3 * GIB, GIB) == 2 * GIB
    assert budget_total(limits, None, GIB) is None
    assert budget_total(Limits(workers_memory=Amount(absolute=GIB)), None, 0) == GIB


def test_only_a_line_that_the_user_set_is_a_promise() -> None:
    assert cpu_lines(Limits(), 8) == Lines(hold=7.2)
    assert cpu_lines(Limits(cpu=Amount(share=0.5), cpu_promised=True), 8) == Lines(hold=4.0, pause=4.0)
    assert cpu_lines(Limits(cpu=None), 8) == Lines()


def test_a_limit_on_swap_says_how_much_stays_free() -> None:
    look = seen(0.0, 8000, swap_total=4 * GIB, gauges={"swap": 0.1, "pressure.memory": 0.0})
    lines = gauge_lines(Limits(swap=Amount(absolute=float(GIB))), look, DEFAULT)
    assert lines == {"swap": Lines(hold=0.75), "pressure.memory": Lines(hold=0.1)}
    assert gauge_lines(Limits(swap=Amount(share=0.5)), seen(0.0, 8000), DEFAULT) == {}


def test_lines_are_told_for_every_run_and_gauge() -> None:
    limits = Limits(
        workers_memory=Amount(absolute=GIB), workers_cpu=Amount(absolute=2), gauges={"heat": Lines(hold=70)}
    )
    decision = History().look(seen(0.0, 8000, [worker(1, 100)], pools=(pool(limits=limits),), gauges={"heat": 20.0}))
    assert set(decision.lines["run"]) == {"memory", "workers-memory", "cpu", "workers-cpu", "heat"}


def test_memory_off_pauses_and_ends_nobody() -> None:
    history = History()
    off = pool(limits=Limits(memory=None))
    for step in range(50):
        decision = history.look(
            seen(step / 10, 8000 - 160 * step, [worker(n, 20 * step) for n in range(8)], pools=(off,))
        )
    assert (decision.paused, decision.ending) == ({}, {})
