"""Ends: only when pausing cannot help. Lines of the node of 16 GiB: hold 1638, pause 983, end 492 MiB."""

from support.looks import ENDING, GIB, MIB, PAUSED, History, gone, knowing, pool, seen, worker

from loadkeeper.model import Limits, Outcome, Reason


def _at_the_end_line(free: float = 480, **more) -> History:
    """Worker 0 is the lead; 1 and 2 stand."""
    history = History(knowing(*[3000] * 8))
    history.look(seen(0.0, free + 400, [worker(0, 2500), worker(1, 2000), worker(2, 1500)]))
    history.look(seen(0.1, free, [worker(0, 2900), worker(1, 2000, PAUSED), worker(2, 1500, PAUSED)], **more))
    return history


def test_at_the_end_line_those_are_ended_that_lose_least_and_never_the_lead() -> None:
    decision = _at_the_end_line().decisions[-1]
    assert set(decision.ending) == {"run.1"}  # 10 s of work for 2000 MiB, against 10 s for 1500
    why = decision.ending["run.1"].why
    assert (why.reason, why.reading, why.held) == (Reason.MEMORY_END, 480 * MIB, 2000 * MIB)
    assert not decision.ending["run.1"].kill
    assert "run.1" not in decision.paused


def test_nobody_is_ended_above_the_end_line() -> None:
    assert not _at_the_end_line(500).ends


def test_enough_are_ended_at_once() -> None:
    history = History(knowing(*[9000] * 8))
    sizes = [worker(0, 6500), *(worker(n, 200, PAUSED) for n in range(1, 30))]
    decision = history.look(seen(0.0, 480, sizes))
    freed = 200 * len(decision.ending)
    goal = 983 + 2500  # what the lead still needs, above the pause line
    assert goal <= 480 + freed < goal + 200


def test_while_an_end_is_awaited_no_other_is_chosen_and_nobody_starts() -> None:
    history = _at_the_end_line()
    for tick in range(2, 30):
        sizes = [worker(0, 2900, PAUSED), worker(1, 2000, ENDING), worker(2, 1500, PAUSED)]
        decision = history.look(seen(tick / 10, 450, sizes))
        assert set(decision.ending) == {"run.1"}
        assert decision.pools["run/a"].slots == 0
        assert not decision.ending["run.1"].kill


def test_an_end_is_awaited_even_when_the_back_off_is_over_and_nobody_is_paused() -> None:
    history = _at_the_end_line()
    slow = [worker(0, 2900), worker(1, 2000, ENDING)]
    for tick in range(2, 80):
        decision = history.look(seen(tick / 10, 9000, slow))
    assert decision.pools["run/a"].slots == 0
    assert decision.pools["run/a"].why.reason is Reason.END_AWAITED
    assert history.look(seen(8.1, 11000, [worker(0, 2900)])).pools["run/a"].slots > 0


def test_half_way_through_the_end_line_the_grace_is_over() -> None:
    history = _at_the_end_line()
    sizes = [worker(0, 2900), worker(1, 2000, ENDING), worker(2, 1500, PAUSED)]
    assert history.look(seen(0.2, 240, sizes)).ending["run.1"].kill
    assert history.look(seen(0.3, 900, sizes)).ending["run.1"].kill  # once over, always over


def test_also_of_one_that_is_ending_for_another_reason() -> None:
    history = History()
    decision = history.look(seen(0.0, 200, [worker(0, 9000), worker(1, 5000, ENDING)]))
    assert decision.ending["run.1"].kill


def test_the_lead_waits_too_while_an_end_is_awaited_below_the_line() -> None:
    history = _at_the_end_line()
    sizes = [worker(0, 2900), worker(1, 2000, ENDING), worker(2, 1500, PAUSED)]
    assert set(history.look(seen(0.2, 400, sizes)).paused) == {"run.0", "run.2"}


def test_each_end_holds_admission_longer_than_the_one_before() -> None:
    history = History(knowing(100))
    waits = []
    now = 0.0
    for _ in range(5):
        now += 5.0
        history.look(seen(now, 480, [worker(0, 100), worker(1, 8000)]))
        began = now
        now += 0.1
        while history.look(seen(now, 12000, [worker(0, 100)])).pools["run/a"].slots == 0:
            now += 0.1
        waits.append(round(now - began))
    assert waits == [1, 2, 4, 8, 8]
    history.look(seen(now + 100, 480, [worker(0, 100), worker(1, 8000)]))
    after = history.look(seen(now + 101.5, 12000, [worker(0, 100)]))
    assert after.pools["run/a"].slots > 0


# ------------------------------------------------------------------------------------------------------------- alone


def test_one_that_holds_all_there_is_can_never_fit() -> None:
    history = History(knowing(100))
    for free in (12000, 6000, 1500):
        history.look(seen(20 - free / 1000, free, [worker(0, 15500 - free)]))
    decision = history.look(seen(20.0, 450, [worker(0, 15050)]))
    ending = decision.ending["run.0"]
    assert (ending.bury, ending.why.reason) == (True, Reason.NEVER_FITS)


def test_what_others_took_buries_nobody() -> None:
    history = History(knowing(100))
    history.look(seen(0.0, 12000, [worker(0, 3500)]))
    decision = history.look(seen(1.0, 450, [worker(0, 7000)]))
    assert not decision.ending["run.0"].bury


def test_the_second_time_that_it_stands_alone_it_is_buried() -> None:
    floor = int(1.5 * 12500 * MIB)
    for known, bury in ((0, False), (floor, True)):
        history = History(knowing(100))
        history.look(seen(0.0, 14000, [worker(0, 1500, floor=known)]))
        decision = history.look(seen(1.0, 450, [worker(0, 12500, floor=known)]))
        assert decision.ending["run.0"].bury is bury


def test_a_lone_worker_is_not_ended_for_a_forecast() -> None:
    history = History(knowing(100))
    for tick in range(8):  # somebody else takes 5 GiB/s
        history.look(seen(tick / 20, 2400 - 250 * tick, [worker(0, 5000)]))
    assert history.memory.trend.strange > 2 * GIB
    assert not history.ends


# -------------------------------------------------------------------------------------------------- growth of others


def test_growth_that_nobody_of_ours_explains_ends_ahead_of_the_line() -> None:
    history = History(knowing(*[3000] * 8))
    for tick in range(8):
        history.look(seen(tick / 20, 2400 - 250 * tick, [worker(0, 5000), worker(1, 3000)]))
    reasons = {e.why.reason for decision in history.decisions for e in decision.ending.values()}
    assert reasons == {Reason.MEMORY_AHEAD}


def test_an_end_that_was_not_begun_is_dropped_when_memory_came_back() -> None:
    history = _at_the_end_line()
    why = history.decisions[-1].ending["run.1"].why
    assert why.recovered is not None
    assert abs(why.recovered - 983 * MIB) < MIB
    sizes = [worker(0, 2900), worker(1, 2000, PAUSED), worker(2, 1500, PAUSED)]
    decision = history.look(seen(0.2, 1000, sizes))
    assert not decision.ending
    assert set(decision.paused) == {"run.1", "run.2"}


def test_a_kill_that_was_not_begun_is_dropped_as_well() -> None:
    """Who has to begin it looks once more and leaves it alone: one that was awaited for ever held up a whole run."""
    history = _at_the_end_line()
    sizes = [worker(0, 2900), worker(1, 2000, PAUSED), worker(2, 1500, PAUSED)]
    assert history.look(seen(0.2, 200, sizes)).ending["run.1"].kill
    decision = history.look(seen(0.3, 1000, sizes))
    assert not decision.ending
    assert "run.1" in decision.paused


def test_an_end_that_nobody_begins_is_decided_anew() -> None:
    """Memory was back for the moment in which it was looked at once more, and for none in which we looked."""
    history = _at_the_end_line()
    sizes = [worker(0, 2900), worker(1, 2000, PAUSED), worker(2, 1500, PAUSED)]
    assert set(history.look(seen(0.5, 600, sizes)).ending) == {"run.1"}
    assert not history.look(seen(0.7, 600, sizes)).ending
    assert set(history.look(seen(0.8, 480, sizes)).ending) == {"run.1"}


def test_an_end_that_has_begun_is_never_dropped() -> None:
    history = _at_the_end_line()
    sizes = [worker(0, 2900), worker(1, 2000, ENDING), worker(2, 1500, PAUSED)]
    assert set(history.look(seen(0.2, 3000, sizes)).ending) == {"run.1"}


# ------------------------------------------------------------------------------------------- whatever the gauges say


def test_above_its_cap_a_worker_is_ended_and_the_second_time_buried() -> None:
    capped = (pool(limits=Limits(memory_per_worker=GIB)),)
    for floor, bury in ((0, False), (int(1.6 * GIB), True)):
        decision = History().look(seen(0.0, 9000, [worker(0, 1100, floor=floor), worker(1, 900)], pools=capped))
        assert {id: (e.why.reason, e.bury) for id, e in decision.ending.items()} == {"run.0": (Reason.CAP, bury)}
        assert decision.ending["run.0"].why.reading == 1100 * MIB


def test_a_stop_that_does_not_take_near_the_line_becomes_a_kill() -> None:
    for free, obeyed, killed in ((1200, 0.03, True), (1200, 0.015, False), (9000, 0.03, False)):
        history = History(knowing(*[3000] * 8))
        history.look(seen(0.0, 1400, [worker(0, 2500), worker(1, 2000), worker(2, 2000)]))
        assert history.decisions[-1].paused.keys() == {"run.1", "run.2"}
        sizes = [worker(0, 2500), worker(1, 2000, obeyed=obeyed), worker(2, 2000, PAUSED, obeyed=0.001)]
        decision = history.look(seen(0.03, free, sizes))
        assert ("run.1" in decision.ending) is killed
        if killed:
            assert decision.ending["run.1"].kill
            assert decision.ending["run.1"].why.reason is Reason.STOP_IGNORED


def test_a_sweep_from_before_the_stop_says_nothing_of_it() -> None:
    """With a thousand workers sweeps are 300 ms apart."""
    history = History(knowing(*[3000] * 8))
    history.look(seen(0.0, 1400, [worker(0, 2500), worker(1, 2000), worker(2, 2000)]))
    sizes = [worker(0, 2500), worker(1, 2000, obeyed=0.2), worker(2, 2000, PAUSED, obeyed=0.001)]
    assert not history.look(seen(0.2, 1200, sizes, swept=0.0)).ending


def test_an_ended_worker_is_forgotten_when_it_is_gone() -> None:
    history = _at_the_end_line()
    sizes = [worker(0, 2900), worker(2, 1500, PAUSED)]
    decision = history.look(seen(0.2, 2400, sizes, exits=[gone(1, 2000, outcome=Outcome.GIVEN_BACK)]))
    assert not decision.ending
    assert not history.memory.ending


def test_critical_only_when_nobody_of_ours_is_left_and_there_is_work() -> None:
    history = History()
    for now in range(0, 60, 5):
        assert not history.look(seen(float(now), 300)).critical
    assert set(history.look(seen(60.0, 300)).critical) == {"run"}
    assert not History().look(seen(60.0, 300, [worker(0, 100)])).critical
    history = History()
    patient = (pool(limits=Limits(give_up=None)), pool(id="other/a", waiting=0))
    assert not history.looks(seen(float(now), 300, pools=patient) for now in range(200)).critical


def test_back_off_does_not_hold_up_an_empty_node_where_one_more_likely_fits() -> None:
    history = History(knowing(*[3000] * 8))
    history.look(seen(0.0, 450, [worker(0, 2900), worker(1, 2000)]))
    assert history.memory.back_off
    assert history.look(seen(0.2, 12000)).pools["run/a"].slots > 0
    waits = history.look(seen(0.3, 4000)).pools["run/a"]  # 3000 do not fit above the hold line
    assert (waits.slots, waits.why.reason) == (0, Reason.BACK_OFF)
    beside = history.look(seen(0.4, 12000, [worker(2, 100)])).pools["run/a"]
    assert (beside.slots, beside.why.reason) == (0, Reason.BACK_OFF)


def test_an_end_that_nobody_begins_is_not_asked_about_a_second_time() -> None:
    """Who has to begin it reads another gauge than we do, for ever: the run would stand still."""
    history = _at_the_end_line()
    sizes = [worker(0, 2900), worker(1, 2000, PAUSED), worker(2, 1500, PAUSED)]
    assert history.look(seen(0.5, 480, sizes)).ending["run.1"].why.recovered is not None
    history.look(seen(0.7, 600, sizes))
    again = history.look(seen(0.8, 480, sizes)).ending["run.1"]
    assert again.why.recovered is None
