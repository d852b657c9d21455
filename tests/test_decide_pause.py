"""Pausing and continuing for memory. Lines of the node of 16 GiB: hold 1638, pause 983, end 492 MiB."""

from msgspec.structs import replace
from support.looks import MIB, PAUSED, History, gone, knowing, pool, seen, worker

from loadkeeper.decide import Memory, forgive
from loadkeeper.decide.memory import Pause
from loadkeeper.model import Amount, Limits, Reason, Want


def _growing(history: History, sizes: list[float], free: float, start: float = 0.0, step: float = 30.0) -> float:
    """A second of looks in which each worker grows; returns what is available at the end."""
    for tick in range(11):
        grown = step * tick
        free_now = free - grown * len(sizes)
        history.look(seen(start + tick / 10, free_now, [worker(n, size + grown) for n, size in enumerate(sizes)]))
    return free - 10 * step * len(sizes)


def test_the_lead_is_kept_and_the_others_wait() -> None:
    history = History(knowing(*[3000] * 8))
    _growing(history, [2000, 1500, 1000, 500], 2500)
    decision = history.decisions[-1]
    assert set(decision.paused) == {"run.1", "run.2", "run.3"}
    why = decision.paused["run.1"]
    assert why.gauge == "memory"
    assert why.line is not None
    assert abs(why.line - 983 * MIB) < MIB
    assert why.need == (3000 - 1800) * MIB
    assert why.held == 1800 * MIB


def test_the_reading_of_a_pause_is_that_of_each_look() -> None:
    history = History(knowing(*[3000] * 8))
    free = _growing(history, [2000, 1500], 1800)
    sizes = [worker(0, 2300), worker(1, 1800, PAUSED)]
    for tick in range(5):
        decision = history.look(seen(1.1 + tick / 10, free - tick, sizes))
        assert decision.paused["run.1"].reading == int((free - tick) * MIB)


def test_pause_before_the_lead_runs_out_of_room_not_only_at_the_line() -> None:
    history = History(knowing(*[3000] * 8))
    decision = history.look(seen(0.0, 2500, [worker(0, 1200), worker(1, 1000)]))
    assert decision.paused["run.1"].reason is Reason.LEAD
    history = History(knowing(*[3000] * 8))
    assert not history.look(seen(0.0, 2900, [worker(0, 1200), worker(1, 1000)])).paused


def test_one_that_does_not_grow_is_left_alone_until_the_end_is_near() -> None:
    history = History(knowing(*[3000] * 8))
    steady = [worker(0, 2000), worker(1, 1500)]
    for tick in range(5):
        history.look(seen(tick / 10, 4000, steady))
    assert not history.look(seen(20.0, 950, steady)).paused
    assert set(history.look(seen(40.0, 700, steady)).paused) == {"run.1"}


def test_a_worker_that_may_not_be_paused_is_not() -> None:
    history = History(knowing(*[3000] * 8))
    stubborn = (replace(pool(), pausable=False),)
    decision = history.look(seen(0.0, 900, [worker(0, 1200), worker(1, 1000)], pools=stubborn))
    assert not decision.paused


def _paused_pair() -> tuple[History, float]:
    """Worker 0 runs, workers 1 and 2 stand since 0.0 and 0.1."""
    history = History(knowing(*[3000] * 8))
    history.look(seen(0.0, 2500, [worker(0, 1500), worker(1, 1000)]))
    history.look(seen(0.1, 2400, [worker(0, 1500), worker(1, 1000, PAUSED), worker(2, 100)]))
    assert set(history.decisions[-1].paused) == {"run.1", "run.2"}
    return history, 0.1


def _standing(now: float, free: float, lead: float = 1500):
    return seen(now, free, [worker(0, lead), worker(1, 1000, PAUSED), worker(2, 100, PAUSED)])


def test_the_longest_wait_goes_on_first_and_one_at_a_time() -> None:
    history, now = _paused_pair()
    assert set(history.look(_standing(now + 0.9, 9000)).paused) == {"run.1", "run.2"}  # shorter than any pause is
    assert set(history.look(_standing(now + 1.05, 9000)).paused) == {"run.2"}
    assert set(history.look(_standing(now + 1.15, 9000)).paused) == {"run.2"}  # 0.2 s between two
    assert not history.look(_standing(now + 1.3, 9000)).paused


def test_nobody_goes_on_until_the_lead_fits_one_and_a_half_times() -> None:
    history, now = _paused_pair()
    needs = 3000 - 2500  # of the lead
    assert history.look(_standing(now + 1.1, 983 + 1.4 * needs, 2500)).paused.keys() == {"run.1", "run.2"}
    history, now = _paused_pair()
    history.look(_standing(now + 1.0, 983 + 3 * needs, 2500))
    assert history.look(_standing(now + 1.1, 983 + 3 * needs, 2500)).paused.keys() == {"run.2"}


def test_one_always_runs() -> None:
    """The lead is gone: the one with the least left to grow goes on, whatever the lines say."""
    history, now = _paused_pair()
    left = [worker(1, 1000, PAUSED), worker(2, 100, PAUSED)]
    decision = history.look(seen(now + 10, 600, left, exits=[gone(0, 3000)]))
    assert set(decision.paused) == {"run.2"}


def test_while_somebody_waits_nobody_new_starts() -> None:
    history, now = _paused_pair()
    decision = history.look(_standing(now + 0.5, 9000))
    assert decision.pools["run/a"].slots == 0
    assert decision.pools["run/a"].why.reason is Reason.PAUSED_FIRST
    assert decision.pools["run/a"].why.need == 2000 * MIB


def test_paused_workers_that_nobody_remembers_are_taken_for_ours() -> None:
    """A new load manager after a crash: they waited for memory."""
    history = History(knowing(*[3000] * 8))
    stand = [worker(0, 1000), worker(1, 1000, PAUSED, paused_since=-20.0)]
    decision = history.look(seen(0.0, 900, stand))
    assert decision.paused.keys() >= {"run.1"}
    assert history.memory.paused["run.1"].since == -20.0


def test_a_worker_that_somebody_else_stopped_is_not_wanted_to_stand() -> None:
    history = History()
    history.look(seen(0.0, 9000, [worker(0, 10)]))
    assert not history.look(seen(0.1, 9000, [worker(0, 10, PAUSED)])).paused


def test_patience_ends_the_longest_wait_and_only_one_at_a_time() -> None:
    history = History(knowing(*[3000] * 8))
    short = {"patience": 30.0}
    history.look(seen(0.0, 2400, [worker(0, 1500, **short), worker(1, 1000, **short), worker(2, 900, **short)]))
    sizes = [worker(0, 1500, **short), worker(1, 1000, PAUSED, **short), worker(2, 900, PAUSED, **short)]
    assert not history.look(seen(29.9, 2400, sizes)).ending
    decision = history.look(seen(30.1, 2400, sizes))
    assert {id: ending.why.reason for id, ending in decision.ending.items()} == {"run.1": Reason.PATIENCE}
    assert history.look(seen(30.2, 2400, sizes)).ending.keys() == {"run.1"}


def test_the_first_line_that_is_crossed_acts_and_only_on_its_own_run() -> None:
    """2800 MiB available are below the pause line of the careful run (2949), and above the bold one's (983)."""
    pools = (pool(id="bold/a"), pool(id="careful/a", limits=Limits(memory=Amount(share=0.3))))
    workers = [worker(n, 1000, pool=f"{run}/a") for n, run in enumerate(["careful", "careful", "bold", "bold"])]
    decision = History(knowing(*[1000] * 8)).look(seen(0.0, 2800, workers, pools=pools))
    assert {id: round(why.line / MIB) for id, why in decision.paused.items()} == {"careful.1": 2949}


def test_the_operator_pauses_and_it_is_not_ours_to_continue() -> None:
    history = History()
    wants = {"run.1": Want.PAUSE}
    decision = history.look(seen(0.0, 9000, [worker(0, 10), worker(1, 10)], wants=wants))
    assert {id: why.reason for id, why in decision.paused.items()} == {"run.1": Reason.OPERATOR}
    lone = history.look(seen(400.0, 9000, [worker(1, 10, PAUSED)], wants=wants))
    assert set(lone.paused) == {"run.1"}  # neither I1 nor patience is about it
    assert not lone.ending
    assert not history.look(seen(400.1, 9000, [worker(1, 10, PAUSED)])).paused


def test_a_pool_that_is_paused_starts_nothing_and_one_that_is_stopped_ends() -> None:
    history = History()
    decision = history.look(seen(0.0, 9000, [worker(0, 10)], pools=(pool(want=Want.PAUSE),)))
    assert (decision.pools["run/a"].slots, set(decision.paused)) == (0, {"run.0"})
    decision = history.look(seen(0.1, 9000, [worker(0, 10)], pools=(pool(want=Want.STOP),)))
    assert (decision.pools["run/a"].slots, set(decision.ending)) == (0, {"run.0"})
    decision = history.look(seen(0.2, 9000, [worker(1, 10)], pools=(pool(want=Want.DRAIN),)))
    assert (decision.pools["run/a"].slots, decision.paused, decision.ending) == (0, {}, {})


def test_time_in_which_nobody_looked_is_nobodys() -> None:
    """The load manager stood for a minute: no patience is spent by it, and nobody gives up for it."""
    memory = Memory(paused={"r.1": Pause(10.0, Reason.MEMORY_PAUSE)}, critical={"r": 12.0}, now=20.0)
    after = forgive(memory, 60.0)
    assert after.paused["r.1"].since == 70.0
    assert after.critical == {"r": 72.0}
    assert after.now == 20.0
