"""Histories that were seen on a real kernel and that earlier rules got wrong, replayed look by look."""

from hypothesis import given, settings
from hypothesis import strategies as st
from support.looks import ENDING, GIB, MIB, PAUSED, RUNNING, History, gone, knowing, pool, seen, worker

from loadkeeper.model import Reason

SMALL = {"total": GIB, "cpus": 2.0}
"""A container of 1 GiB on two cores: lines at 160, 112 and 56 MiB."""


def _small(now: float, free: float, workers=(), **more):
    return seen(now, free, workers, **(SMALL | more))


def test_rss_0_while_usage_is_high_is_an_exit_and_not_somebody_elses_growth() -> None:
    """A killed worker shows nothing for 7 to 130 ms before its 500 MiB are back. Two others go on."""
    history = History(knowing(*[500] * 8))
    for tick in range(20):
        history.look(_small(tick * 0.012, 170, [worker(0, 500), worker(1, 150), worker(2, 150)]))
    for tick in range(20, 31):
        decision = history.look(_small(tick * 0.012, 170, [worker(0, 0), worker(1, 150), worker(2, 150)]))
        assert not decision.ending, f"ended at {tick}"
    assert max(history.memory.trend.strange, 0) < 10 * MIB
    decision = history.look(_small(0.4, 670, [worker(1, 150), worker(2, 150)], exits=[gone(0, 500)]))
    assert not decision.ending


def test_what_an_exiting_worker_held_is_counted_as_coming_back() -> None:
    """Below the end line, but 500 MiB are on their way: nobody else is ended for them."""
    history = History(knowing(*[500] * 8))
    for tick in range(5):
        history.look(_small(tick / 10, 140, [worker(0, 500), worker(1, 150), worker(2, 150)]))
    assert not history.look(_small(10.0, 50, [worker(0, 0), worker(1, 150), worker(2, 150)])).ending


def test_children_forked_between_two_sweeps_are_not_strange() -> None:
    """Five children share 200 MiB: their pages are counted six times, until a sweep has told them apart."""
    history = History(knowing(*[900] * 8))
    for tick in range(10):
        history.look(_small(tick * 0.09, 700, [worker(0, 200), worker(1, 50)]))
    history.look(_small(0.9, 690, [worker(0, 1200, processes=6), worker(1, 50)]))
    for tick in range(11, 20):
        history.look(_small(tick * 0.09, 690, [worker(0, 210, processes=6 - tick % 2), worker(1, 50)]))
        assert history.memory.trend.strange < MIB
    assert not history.ends


def test_the_tail_of_a_filter_ends_nobody() -> None:
    """Somebody else takes 600 MiB at 4 GiB/s and stops, well above every line. A quarter second later our workers
    come near the line by themselves: what was strange then is over."""
    history = History(knowing(*[3000] * 8))
    free = 3200.0
    for tick in range(60):
        now = tick * 0.012
        if tick in range(20, 32):
            free -= 50
        elif tick > 32:
            free -= 2  # worker 0 grows
        grown = max(0, tick - 32) * 2
        decision = history.look(seen(now, free, [worker(0, 2500 + grown), worker(1, 2000)]))
    assert free < 2600
    assert history.memory.trend.strange < 0.1 * GIB
    assert not decision.ending


def test_an_exit_with_peak_0_teaches_nothing() -> None:
    history = History(knowing(300))
    history.look(_small(0.0, 900, exits=[gone(n, 0, cpu_seconds=0.001, active=0.005) for n in range(50)]))
    assert history.memory.kinds["a"].peaks == (300 * MIB,)


def test_short_tasks_that_no_sweep_sees_are_admitted_by_the_kernels_peak() -> None:
    """Without a peak their claim would stay the first guess, and two cores would stand idle."""
    history = History()
    for tick in range(20):
        exits = [gone(100 * tick + n, 8, cpu_seconds=0.004, active=0.005) for n in range(20)]
        decision = history.look(_small(tick * 0.1, 900, [worker(1, None)], exits=exits, busy=0.8, own=0.8))
    assert decision.pools["run/a"].slots >= 2


def test_a_dropped_end_leaves_the_worker_paused_and_it_goes_on_in_its_turn() -> None:
    """The actor read available again, found it risen, and did not send the TERM."""
    history = History(knowing(*[400] * 8))
    history.look(_small(0.0, 100, [worker(0, 350), worker(1, 300), worker(2, 200)]))
    decision = history.look(_small(0.1, 55, [worker(0, 395), worker(1, 300, PAUSED), worker(2, 200, PAUSED)]))
    assert set(decision.ending) == {"run.1"}
    decision = history.look(_small(0.2, 300, [worker(0, 395), worker(1, 300, PAUSED), worker(2, 200, PAUSED)]))
    assert (set(decision.ending), set(decision.paused)) == (set(), {"run.1", "run.2"})
    later = [worker(0, 395), worker(1, 300, PAUSED), worker(2, 200, PAUSED)]
    continued = [set(history.look(_small(0.2 + n / 10, 500, later)).paused) for n in range(1, 30)]
    assert {"run.2"} in continued or {"run.1"} in continued


def test_a_stop_obeyed_half_a_second_late_lengthens_the_forecast() -> None:
    """And it is still wanted, or no longer: the paused set says so at every look, whatever the kernel shows."""
    history = History(knowing(*[9000] * 8))
    history.look(seen(0.0, 4000, [worker(0, 5000), worker(1, 4000)]))
    assert set(history.decisions[-1].paused) == {"run.1"}
    for tick in range(1, 6):
        decision = history.look(seen(tick / 10, 4000, [worker(0, 5000), worker(1, 4000, RUNNING, obeyed=tick / 10)]))
        assert set(decision.paused) == {"run.1"}
        assert not decision.ending  # far from the line there is time
    assert history.memory.trend.obey == 0.5
    for tick in range(600):
        history.look(seen(1 + tick / 10, 4000, [worker(0, 5000), worker(1, 4000, PAUSED, obeyed=0.5)]))
    assert 0.2 < history.memory.trend.obey < 0.3  # forgotten by half in a minute


def test_a_stop_obeyed_late_is_continued_if_it_is_no_longer_wanted() -> None:
    history = History(knowing(*[9000] * 8))
    history.look(seen(0.0, 4000, [worker(0, 5000), worker(1, 4000)]))
    decision = history.look(seen(1.1, 9000, [worker(1, 4000)], exits=[gone(0, 9000)]))
    assert not decision.paused
    assert not history.look(seen(1.5, 9000, [worker(1, 4000, PAUSED, obeyed=0.5)])).paused


def test_a_workers_own_spike_is_not_taken_for_foreign_growth() -> None:
    """1 GiB/s of one worker, swept at each look: a fitting task was buried for it."""
    history = History(knowing(*[600] * 8))
    size = 60.0
    for tick in range(45):
        size = min(600.0, 60 + tick * 12)
        decision = history.look(_small(tick * 0.012, 960 - size, [worker(0, size)]))
        assert not decision.ending
    assert abs(history.memory.trend.strange) < MIB


def test_a_slow_worker_in_the_way_is_awaited_with_the_growth_beside_it() -> None:
    """While one ends for seconds somebody else takes 1.9 GiB/s: the grace ends in time, not at half the end line."""
    history = History(knowing(*[1200] * 8))
    free = 3000.0
    for tick in range(200):
        now, free = tick * 0.012, free - 23
        state = ENDING if "run.1" in (history.decisions[-1].ending if history.decisions else {}) else PAUSED
        sizes = [worker(0, 1100), worker(1, 1000, state), worker(2, 1000, PAUSED)]
        decision = history.look(seen(now, free, sizes))
        if any(ending.kill for ending in decision.ending.values()):
            break
    assert free > 500  # half the end line is 246


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0.005, 0.2), min_size=5, max_size=40),
    st.lists(st.floats(-400, 400), min_size=5, max_size=40),
    st.integers(0, 3000),
)
def test_no_lone_worker_is_ended_while_available_is_above_the_end_line(steps, moves, floor) -> None:
    """Whatever grows beside it and however fast: a forecast is no reason."""
    history, now, free, size = History(knowing(100)), 0.0, 1500.0, 100.0
    for step, move in zip(steps, moves, strict=False):
        now, free, size = now + step, min(15000.0, max(493.0, free - abs(move))), max(1.0, size + move)
        decision = history.look(seen(now, free, [worker(0, size, floor=floor * MIB)]))
        assert not decision.ending


def test_memory_that_an_adopted_worker_waits_for_is_told() -> None:
    """After a crash of the load manager: the first answer says already what is waited for."""
    decision = History(knowing(*[900] * 8)).look(
        _small(50.0, 90, [worker(0, 300), worker(1, 300, PAUSED, paused_since=20.0)], pools=(pool(),))
    )
    why = decision.paused["run.1"]
    assert (why.reason, why.reading, why.need) == (Reason.MEMORY_PAUSE, 90 * MIB, 600 * MIB)
