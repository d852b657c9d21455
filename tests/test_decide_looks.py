"""When to look again, and when to sweep."""

from support.looks import GIB, History, knowing, seen, worker

BIG = {"total": 256 * GIB}


def test_little_room_is_looked_at_as_often_as_a_burst_could_matter() -> None:
    near = History(knowing(*[1000] * 8)).look(seen(0.0, 1500, [worker(0, 900)]))
    assert near.next_look < 0.05
    assert History(knowing(*[1000] * 8)).look(seen(0.0, 15000, [worker(0, 900)])).next_look == 0.1


def test_while_a_burst_of_all_cores_would_need_seconds_looks_and_sweeps_are_seldom() -> None:
    far = History(knowing(*[1000] * 8)).look(seen(0.0, 250_000, [worker(0, 900)], **BIG))
    assert 0.25 <= far.next_look < 0.26
    assert far.next_sweep == 0.5


def test_a_calm_look_comes_later_the_more_workers_there_are_but_never_later_than_a_second() -> None:
    some, many = (
        History(knowing(*[9] * 8)).look(seen(0.0, 250_000, [worker(n, 9) for n in range(count)], **BIG)).next_look
        for count in (400, 4000)
    )
    assert 0.4 < some < 0.5
    assert many == 1.0


def test_not_while_somebody_stands_or_is_to_end() -> None:
    history = History(knowing(*[9000] * 8))
    sizes = [worker(0, 2000), worker(1, 2500, active=5.0), worker(2, 900)]
    assert history.look(seen(0.0, 600, sizes)).paused
    assert history.look(seen(0.1, 250_000, sizes, **BIG)).next_look < 0.25


def test_an_unknown_gauge_is_not_calm() -> None:
    blind = History(knowing(*[1000] * 8)).look(seen(0.0, None, [worker(0, 900)], **BIG))
    assert blind.next_look <= 0.1
