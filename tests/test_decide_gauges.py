"""Any other gauge with lines: hold closes admission, pause pauses the youngest, end ends it."""

from itertools import pairwise

from support.looks import ENDING, GIB, PAUSED, History, knowing, pool, seen, worker

from loadkeeper.model import Amount, Limits, Lines, Reason

HOT = (pool(limits=Limits(gauges={"heat": Lines(hold=70.0, pause=80.0, end=90.0)})),)


def _look(history: History, now: float, heat: float | None, paused: tuple[int, ...] = (), ending: tuple[int, ...] = ()):
    states = [PAUSED if n in paused else ENDING if n in ending else worker(0).state for n in range(4)]
    sizes = [worker(n, 100, state) for n, state in enumerate(states)]
    return history.look(seen(now, 12000, sizes, gauges={"heat": heat}, pools=HOT))


def test_at_hold_slots_are_frozen_and_a_worker_that_ends_is_replaced() -> None:
    decision = _look(History(knowing(100)), 0.0, 75.0)
    verdict = decision.pools["run/a"]
    assert (verdict.slots, verdict.why.reason, verdict.why.reading, verdict.why.line) == (4, Reason.GAUGE, 75.0, 70.0)


def test_at_pause_the_youngest_is_paused_one_each_two_seconds_and_never_the_last() -> None:
    history = History(knowing(100))
    paused: tuple[int, ...] = ()
    seen_at = []
    for tick in range(100):
        decision = _look(history, tick / 10, 85.0, paused)
        now_paused = tuple(int(id.split(".")[1]) for id in decision.paused)
        if len(now_paused) > len(paused):
            seen_at.append(tick)
        paused = now_paused
    assert set(paused) == {1, 2, 3}
    assert [b - a for a, b in pairwise(seen_at)] == [20, 20]
    why = decision.paused["run.3"]
    assert (why.reason, why.gauge, why.reading, why.line) == (Reason.GAUGE_PAUSE, "heat", 85.0, 80.0)


def test_they_go_on_when_it_is_calm_for_two_seconds() -> None:
    history = History(knowing(100))
    _look(history, 0.0, 85.0)
    assert set(_look(history, 2.5, 75.0, (3,)).paused) == {"run.3"}  # between hold and pause
    assert set(_look(history, 3.0, 60.0, (3,)).paused) == {"run.3"}
    assert set(_look(history, 4.9, 60.0, (3,)).paused) == {"run.3"}
    assert not _look(history, 5.1, 60.0, (3,)).paused


def test_at_end_the_youngest_is_ended_and_the_effect_awaited() -> None:
    history = History(knowing(100))
    assert {id: e.why.reason for id, e in _look(history, 0.0, 95.0).ending.items()} == {"run.3": Reason.GAUGE_END}
    assert set(_look(history, 5.0, 95.0, ending=(3,)).ending) == {"run.3"}


def test_unknown_closes_admission_and_does_nothing_else() -> None:
    decision = _look(History(knowing(100)), 0.0, None)
    assert (decision.paused, decision.ending) == ({}, {})
    assert decision.pools["run/a"].why.reason is Reason.UNKNOWN


def test_a_line_that_is_taken_away_holds_nobody() -> None:
    history = History(knowing(100))
    _look(history, 0.0, 85.0)
    sizes = [worker(n, 100, PAUSED if n == 3 else worker(0).state) for n in range(4)]
    assert not history.look(seen(0.1, 12000, sizes, gauges={"heat": 85.0})).paused


def test_swap_and_pressure() -> None:
    pools = (pool(limits=Limits(swap=Amount(share=0.5))),)
    known = {"swap_total": 4 * GIB, "pools": pools}
    history = History(knowing(100))
    decision = history.look(seen(0.0, 12000, [worker(0, 10)], gauges={"swap": 0.6}, **known))
    assert decision.pools["run/a"].why.gauge == "swap"
    decision = history.look(seen(1.0, 12000, [worker(0, 10)], gauges={"swap": 0.1, "pressure.memory": 0.2}, **known))
    assert decision.pools["run/a"].why.gauge == "pressure.memory"
    decision = history.look(seen(2.0, 12000, [worker(0, 10)], gauges={"swap": 0.1, "pressure.memory": 0.2}))
    assert decision.pools["run/a"].why.gauge != "pressure.memory"  # without swap it says nothing
