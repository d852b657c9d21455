"""Pauses for CPU: somebody else's load, and a line that the user set. CPU never ends anybody."""

from support.looks import PAUSED, History, knowing, pool, seen, worker

from loadkeeper.model import Amount, Limits, PoolSeen, Reason, Seen, WorkerSeen


def _look(
    now: float, running: int, foreign: float, *, wide: float = 1.0, standing: tuple[int, ...] = (), **more
) -> Seen:
    """So many workers of one or more cores beside foreign load on eight cores; those numbered in `standing` stand."""
    own = min(8.0, wide * running)
    if own + foreign > 8:
        own = 8 * own / (own + foreign)
    count = running + len(standing)
    sizes = [
        worker(n, 10, PAUSED if n in standing else worker(0).state, cpu=0.0 if n in standing else own / running)
        for n in range(count)
    ]
    return seen(now, 12000, sizes, busy=min(8.0, own + foreign), own=own, **more)


def _follow(history: History, seconds: float, foreign: float, start: float = 0.0, count: int = 8, **more) -> float:
    now = start
    while now < start + seconds:
        standing = tuple(int(id.split(".")[1]) for id in (history.decisions[-1].paused if history.decisions else {}))
        history.look(_look(now, count - len(standing), foreign, standing=standing, **more))
        now += 0.1
    return now


def test_foreign_load_pauses_the_youngest_one_each_two_seconds_after_five() -> None:
    history = History(knowing(10))
    _follow(history, 4.9, 5.0)
    assert not history.decisions[-1].paused
    _follow(history, 0.5, 5.0, 4.9)
    paused = history.decisions[-1].paused
    assert {id: why.reason for id, why in paused.items()} == {"run.7": Reason.FOREIGN_CPU}
    assert paused["run.7"].gauge == "cpu"
    assert paused["run.7"].reading > 7.5
    assert paused["run.7"].line == 8.0
    _follow(history, 1.2, 5.0, 5.4)
    assert len(history.decisions[-1].paused) == 1
    _follow(history, 1.0, 5.0, 6.6)
    assert set(history.decisions[-1].paused) == {"run.6", "run.7"}
    _follow(history, 60.0, 5.0, 7.6)
    assert 0 < len(history.decisions[-1].paused) < 8
    assert not history.ends


def test_they_go_on_longest_wait_first_when_the_load_is_gone() -> None:
    history = History(knowing(10))
    now = _follow(history, 10.0, 5.0)
    assert len(history.decisions[-1].paused) >= 2
    began = len(history.decisions)
    _follow(history, 10.0, 0.0, now)
    order = [set(decision.paused) for decision in history.decisions[began:]]
    last = next(paused for paused in reversed(order) if paused)
    assert last == {"run.6"} or "run.7" not in last
    assert not history.decisions[-1].paused


def test_full_by_our_own_load_is_no_reason_to_pause() -> None:
    history = History(knowing(10))
    _follow(history, 20.0, 0.0, count=16)
    assert not history.decisions[-1].paused


def test_unknown_cpu_pauses_and_continues_nobody() -> None:
    history = History(knowing(10))
    now = _follow(history, 8.0, 5.0)
    before = set(history.decisions[-1].paused)
    assert before
    for tick in range(200):
        decision = history.look(seen(now + tick / 10, 12000, [worker(n, 10) for n in range(8)], busy=None))
    assert set(decision.paused) == before


# ------------------------------------------------------------------------------------------------------------ promises


def _half(**more: object) -> tuple[PoolSeen, ...]:
    return (pool(limits=Limits(cpu=Amount(share=0.5), cpu_promised=True), **more),)


def test_own_excess_over_a_line_that_the_user_set_is_paused() -> None:
    """Four workers turn two-threaded under --cpu 50% of eight cores."""
    history = History(knowing(10))
    _follow(history, 40.0, 0.0, count=4, wide=2.0, pools=_half())
    paused = history.decisions[-1].paused
    assert {why.reason for why in paused.values()} == {Reason.CPU_PROMISE}
    assert len(paused) == 1  # 6 cores: over by no more than one worker
    assert all(why.line == 4.0 for why in paused.values())


def test_the_default_line_is_no_promise() -> None:
    history = History(knowing(10))
    _follow(history, 20.0, 0.0, count=4, wide=4.0)
    assert not history.decisions[-1].paused


def test_a_lone_worker_wider_than_the_promise_runs_for_a_share_of_the_time() -> None:
    history = History(knowing(10))
    promise = (pool(limits=Limits(cpu=Amount(absolute=1.0), cpu_promised=True)),)
    share, now = 1.0, 0.0
    for tick in range(100):
        now = tick / 10
        took = 4.0 * share
        decision = history.look(seen(now, 12000, [worker(0, 10, cpu=took)], busy=took, own=took, pools=promise))
        share = decision.throttled.get("run.0", 1.0)
    assert 0.2 < share < 0.3
    for tick in range(100):  # it turns single-threaded: no throttle is left
        decision = history.look(
            seen(now + tick / 10, 12000, [worker(0, 10, cpu=0.9 * share)], busy=0.9 * share, own=0.9, pools=promise)
        )
        share = decision.throttled.get("run.0", 1.0)
    assert decision.throttled == {}


def test_a_throttled_worker_teaches_nothing_of_its_kinds_cpu() -> None:
    history = History(knowing(10, cpu=4.0))
    promise = (pool(limits=Limits(cpu=Amount(absolute=1.0), cpu_promised=True)),)
    for tick in range(100):
        share = history.decisions[-1].throttled.get("run.0", 1.0) if history.decisions else 1.0
        history.look(seen(tick / 10, 12000, [worker(0, 10, cpu=4.0 * share)], busy=4.0 * share, own=1.0, pools=promise))
    assert history.memory.kinds["a"].cpu > 3.5


def test_each_run_goes_on_with_one_at_least() -> None:
    history = History(knowing(10))
    pools = (*_half(), pool(id="other/a"))
    for tick in range(300):
        sizes: list[WorkerSeen] = [
            worker(0, 10, cpu=2.0),
            *(worker(n, 10, pool="other/a", cpu=1.0) for n in range(1, 8)),
        ]
        decision = history.look(seen(tick / 10, 12000, sizes, busy=8.0, own=8.0, pools=pools))
    assert "run.0" not in decision.paused
