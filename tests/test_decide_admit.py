"""Slots: what is admitted, whose turn it is, and why not more."""

from itertools import pairwise

import pytest
from support.looks import GIB, MIB, PAUSED, History, knowing, pool, seen, worker

from loadkeeper.model import Amount, Decision, Limits, Lines, Reason, Why

HEAT = Limits(gauges={"heat": Lines(hold=70.0)})


def _why(decision: Decision, id: str = "run/a") -> Why:
    why = decision.pools[id].why
    assert why is not None
    return why


def _crowd(count: int, rss: float = 100, **more):
    return [worker(n, rss, **more) for n in range(count)]


def test_slots_begin_with_two_and_double_each_half_second() -> None:
    history = History(knowing(100, cpu=0.1))
    slots = []
    for tick in range(30):
        live = history.decisions[-1].pools["run/a"].slots if history.decisions else 0
        slots.append(
            history.look(seen(tick / 10, 15000 - 100 * live, _crowd(live, cpu=0.1), busy=0.1 * live))
            .pools["run/a"]
            .slots
        )
    assert slots[0] == 2
    for tick in range(5, 30):
        assert slots[tick] <= 2 * slots[tick - 5]
    assert slots[5:25:5] == [4, 8, 16, 32]


def test_the_reason_while_slots_double() -> None:
    assert _why(History(knowing(100, cpu=0.1)).look(seen(0.0, 15000))).reason is Reason.RAMP


def test_the_last_worker_may_cross_the_default_cpu_line() -> None:
    for live, more in ((7, 1), (8, 0)):
        history = History(knowing(100))
        decision = history.look(seen(0.0, 12000, _crowd(live), busy=float(live), own=float(live)))
        assert decision.pools["run/a"].slots == live + more
    assert _why(decision).reason is Reason.CPU
    assert (_why(decision).reading, _why(decision).line, _why(decision).need) == (8.0, 7.2, 1.0)


def test_a_promised_line_is_met_to_the_nearest_worker() -> None:
    half = (pool(limits=Limits(cpu=Amount(share=0.5), cpu_promised=True)),)
    for live, slots in ((3, 4), (4, 4)):
        history = History(knowing(100, cpu=0.98))
        busy = 0.98 * live
        decision = history.look(seen(0.0, 12000, _crowd(live), busy=busy, own=busy, pools=half))
        assert decision.pools["run/a"].slots == slots


def test_admission_reckons_with_what_those_that_run_have_yet_to_take() -> None:
    """Each is to take 1000 MiB and holds 100; the hold line is 1638."""
    for free, more in ((1638 + 3 * 900 + 1010, 1), (1638 + 3 * 900 + 990, 0)):
        decision = History(knowing(*[1000] * 8)).look(seen(0.0, free, _crowd(3)))
        assert decision.pools["run/a"].slots == 3 + more
    why = _why(decision)
    assert why.reason is Reason.MEMORY
    assert why.reading == int(free * MIB)
    assert abs(why.need - 1000 * MIB) < MIB
    assert abs(why.expected - 2700 * MIB) < MIB
    assert why.reading - why.expected - why.need < why.line


def test_the_very_first_worker_needs_no_forecast_but_an_open_hold_line() -> None:
    assert History(knowing(14000)).look(seen(0.0, 3000)).pools["run/a"].slots == 1
    decision = History(knowing(14000)).look(seen(0.0, 1600))
    assert decision.pools["run/a"].slots == 0
    assert _why(decision).reason is Reason.MEMORY


def test_kinds_that_are_less_than_full_overlap() -> None:
    full, half = knowing(*[1000] * 8), knowing(*[1000] * 8, fill=0.4)
    free = 1638 + 3 * 900 + 600
    assert History(full).look(seen(0.0, free, _crowd(3))).pools["run/a"].slots == 3
    assert History(half).look(seen(0.0, free, _crowd(3))).pools["run/a"].slots > 3


def test_a_slot_is_taken_back_when_those_that_live_will_take_more_than_there_is() -> None:
    history = History(knowing(*[1000] * 8))
    decision = history.look(seen(0.0, 1638 + 300, _crowd(4)))
    assert decision.pools["run/a"].slots == 3
    assert _why(decision).reason is Reason.OVERDRAWN
    assert history.look(seen(0.1, 1638 + 300, _crowd(4))).pools["run/a"].slots == 3  # the next when that one has gone
    assert history.look(seen(0.2, 1638 + 300, _crowd(3))).pools["run/a"].slots == 2


def test_slots_between_two_tasks_are_not_lost() -> None:
    """With tasks of 5 ms a look finds half of the slots empty."""
    history = History(knowing(10))
    history.look(seen(0.0, 12000, _crowd(8, 5), busy=8.0, own=8.0))
    for tick in range(1, 20):
        decision = history.look(seen(tick / 10, 12000, _crowd(tick % 5, 5), busy=7.9, own=7.9))
        assert decision.pools["run/a"].slots == 8


@pytest.mark.parametrize(
    ("changed", "reason", "slots"),
    [
        ({"pools": (pool(0),)}, Reason.WORK_DONE, 0),
        ({"pools": (pool(max_workers=3),)}, Reason.JOBS, 3),
        ({"pools": (pool(silent=True),)}, Reason.SILENT, 0),
        ({"available": None, "swept_available": None}, Reason.UNKNOWN, 0),
        ({"busy": None}, Reason.UNKNOWN, 3),
        ({"gauges": {"heat": None}, "pools": (pool(limits=HEAT),)}, Reason.UNKNOWN, 3),
        ({"gauges": {"heat": 71.0}, "pools": (pool(limits=HEAT),)}, Reason.GAUGE, 3),
    ],
)
def test_what_closes_a_pool(changed: dict, reason: Reason, slots: int) -> None:
    known = {"now": 0.0, "available": 12000, "workers": _crowd(3)} | changed
    decision = History(knowing(100)).look(seen(**known))
    assert _why(decision).reason is reason
    assert decision.pools["run/a"].slots == slots


def test_only_as_many_slots_as_tasks() -> None:
    decision = History(knowing(100)).look(seen(0.0, 12000, _crowd(3), pools=(pool(2),)))
    assert decision.pools["run/a"].slots == 5
    assert _why(decision).reason is Reason.WORK_DONE


def test_unknown_waiting_means_many() -> None:
    assert History(knowing(100)).look(seen(0.0, 12000, pools=(pool(None),))).pools["run/a"].slots == 2


def test_beside_another_users_load_manager_one_at_a_time_and_not_in_step() -> None:
    history = History(knowing(100, cpu=0.1))
    grown = []
    for tick in range(40):
        live = history.decisions[-1].pools["run/a"].slots if history.decisions else 0
        decision = history.look(seen(tick / 20, 12000, _crowd(live), neighbours=1, jitter=0.5))
        grown.append(decision.pools["run/a"].slots)
    steps = [tick for tick in range(1, 40) if grown[tick] > grown[tick - 1]]
    assert all(grown[tick] - grown[tick - 1] == 1 for tick in steps)
    assert all(b - a >= 15 for a, b in pairwise(steps))  # 0.75 s
    assert steps
    assert _why(decision).reason is Reason.NEIGHBOUR


# ------------------------------------------------------------------------------------------------------------- budgets


def _budget(absolute: float = GIB):
    return (pool(limits=Limits(workers_memory=Amount(absolute=absolute))),)


def test_a_budget_admits_inside_itself_though_the_node_is_empty() -> None:
    sizes = [worker(0, 100), worker(1, 100)]
    decision = History(knowing(*[400] * 8)).look(seen(0.0, 15000, sizes, pools=_budget()))
    assert decision.pools["run/a"].slots == 2
    why = _why(decision)
    assert (why.reason, why.gauge, why.reading) == (Reason.BUDGET, "workers-memory", 824 * MIB)


def test_a_budget_pauses_and_ends_inside_itself() -> None:
    history = History(knowing(*[650] * 8))
    decision = history.look(seen(0.0, 15000, [worker(0, 500), worker(1, 400)], pools=_budget()))
    assert {id: (w.reason, w.reading) for id, w in decision.paused.items()} == {"run.1": (Reason.LEAD, 124 * MIB)}
    decision = history.look(seen(0.5, 15000, [worker(0, 600), worker(1, 400, PAUSED)], pools=_budget()))
    assert {id: e.why.reason for id, e in decision.ending.items()} == {"run.1": Reason.BUDGET_END}


def test_a_budget_of_one_run_holds_only_that_run() -> None:
    pools = (pool(id="tight/a", limits=Limits(workers_memory=Amount(absolute=GIB))), pool(id="free/a"))
    sizes = [worker(0, 500, pool="tight/a"), worker(1, 400, pool="tight/a"), worker(2, 500, pool="free/a")]
    decision = History(knowing(*[650] * 8)).look(seen(0.0, 12000, sizes, pools=pools))
    assert set(decision.paused) == {"tight.1"}
    assert decision.pools["tight/a"].slots == 0
    assert decision.pools["free/a"].slots > 1


def test_a_task_bigger_than_its_budget_is_buried() -> None:
    history = History(knowing(100))
    history.look(seen(0.0, 15000, [worker(0, 500)], pools=_budget()))
    ending = history.look(seen(5.0, 14400, [worker(0, 1000)], pools=_budget())).ending["run.0"]
    assert ending.bury


def test_a_cpu_budget() -> None:
    two = (pool(limits=Limits(workers_cpu=Amount(absolute=2.0))),)
    for live, slots in ((1, 2), (2, 2)):
        decision = History(knowing(100)).look(seen(0.0, 12000, _crowd(live), busy=float(live), pools=two))
        assert decision.pools["run/a"].slots == slots
    assert _why(decision).reason is Reason.BUDGET_CPU


# --------------------------------------------------------------------------------------------------------------- turns


def test_the_higher_priority_comes_first() -> None:
    pools = (pool(id="low/a"), pool(id="high/a", priority=10))
    decision = History(knowing(100)).look(seen(0.0, 12000, pools=pools))
    assert (decision.pools["high/a"].slots, decision.pools["low/a"].slots) == (2, 0)


def test_equal_runs_share_alike_whatever_their_number_of_tasks() -> None:
    pools = (pool(1000, id="many/a"), pool(10, id="few/a"))
    history = History(knowing(100))
    for tick in range(30):
        decision = history.look(seen(tick / 10, 12000, pools=pools))
    assert {verdict.slots for verdict in decision.pools.values()} == {4}


def test_one_that_comes_late_gets_its_part_as_places_fall_free() -> None:
    """Eight cores are taken; the new run gets slots only as the old one does not replace what ends."""
    pools = (pool(1000, id="old/a"), pool(1000, id="new/a"))
    history = History(knowing(100))
    live = {"old": 8, "new": 0}
    for tick in range(80):
        names = [name for name, count in live.items() for _ in range(count)]
        sizes = [worker(n, 100, pool=f"{name}/a") for n, name in enumerate(names)]
        decision = history.look(
            seen(tick / 10, 12000, sizes, pools=pools, busy=float(len(sizes)), own=float(len(sizes)))
        )
        if tick % 5 == 0 and live["old"] > decision.pools["old/a"].slots:
            live["old"] -= 1  # a task ends, and is not replaced
        live = {name: max(count, min(decision.pools[f"{name}/a"].slots, count + 1)) for name, count in live.items()}
    assert live == {"old": 4, "new": 4}


def test_a_big_task_whose_turn_it_is_is_not_starved_by_small_ones() -> None:
    memory = knowing(*[8000] * 4, kind="big")
    memory.kinds.update(knowing(*[100] * 4).kinds)
    pools = (pool(id="big/a", kind="big", priority=5), pool(id="small/a"))
    sizes = [worker(n, 1000, pool="small/a") for n in range(3)]
    decision = History(memory).look(seen(0.0, 8000, sizes, pools=pools))
    assert decision.pools["big/a"].why.reason is Reason.MEMORY
    assert decision.pools["small/a"].slots <= 3
    assert decision.pools["small/a"].why.reason is Reason.TURN


def test_a_run_that_its_own_stricter_line_keeps_out_blocks_nobody() -> None:
    pools = (pool(id="careful/a", priority=5, limits=Limits(memory=Amount(share=0.6))), pool(id="bold/a"))
    decision = History(knowing(*[100] * 4)).look(seen(0.0, 8000, [worker(0, 100, pool="bold/a")], pools=pools))
    assert decision.pools["careful/a"].why.reason is Reason.MEMORY
    assert decision.pools["bold/a"].slots > 1
