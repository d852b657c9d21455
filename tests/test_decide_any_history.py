"""Whatever is seen, and in whatever order: `decide` answers, and the answer is well-formed. Nothing here need make
sense physically; load managers see such things after crashes, suspends and in broken containers."""

import msgspec
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from support.looks import GIB, MIB

from loadkeeper.decide import Memory, decide
from loadkeeper.model import (
    Amount,
    Decision,
    ExitSeen,
    Limits,
    Lines,
    Outcome,
    PoolSeen,
    Seen,
    Want,
    WorkerSeen,
    WorkerState,
)

sizes = st.one_of(st.none(), st.integers(0, 4 * GIB))
amounts = st.one_of(
    st.none(),
    st.floats(0, 1).map(lambda share: Amount(share=share)),
    st.floats(0, 2 * GIB).map(lambda size: Amount(absolute=size)),
)
lines = st.builds(Lines, hold=st.floats(0, 1), pause=st.floats(0, 1), end=st.floats(0, 1))
limits = st.builds(
    Limits,
    cpu=st.one_of(st.none(), st.floats(0.01, 1).map(lambda share: Amount(share=share))),
    cpu_promised=st.booleans(),
    memory=amounts,
    memory_pause=amounts,
    memory_end=amounts,
    workers_memory=amounts,
    workers_cpu=st.one_of(st.none(), st.floats(0.1, 8).map(lambda cores: Amount(absolute=cores))),
    memory_per_worker=st.one_of(st.none(), st.integers(0, GIB)),
    memory_need=sizes,
    swap=amounts,
    gauges=st.dictionaries(
        st.sampled_from(["heat", "pressure.io"]), st.builds(Lines, hold=st.floats(0, 1)), max_size=2
    ),
)
pools = st.lists(
    st.builds(
        PoolSeen,
        id=st.sampled_from(["a/x", "a/y", "b/x"]),
        run=st.sampled_from(["a", "b"]),
        kind=st.sampled_from(["k", "l"]),
        waiting=st.one_of(st.none(), st.integers(0, 30)),
        priority=st.integers(-2, 2),
        max_workers=st.one_of(st.none(), st.integers(0, 9)),
        pausable=st.booleans(),
        limits=limits,
        want=st.sampled_from(Want),
        silent=st.booleans(),
    ),
    max_size=3,
    unique_by=lambda pool: pool.id,
)
workers = st.lists(
    st.builds(
        WorkerSeen,
        id=st.integers(0, 9).map(lambda n: f"a.{n}"),
        pool=st.sampled_from(["a/x", "a/y", "b/x", "gone/z"]),
        kind=st.sampled_from(["k", "l"]),
        state=st.sampled_from(WorkerState),
        started=st.floats(-100, 100),
        active=st.floats(0, 500),
        paused_since=st.one_of(st.none(), st.floats(-100, 100)),
        paused_for=st.floats(0, 400),
        floor=st.integers(0, 8 * GIB),
        rss=sizes,
        processes=st.integers(0, 5),
        cpu=st.one_of(st.none(), st.floats(0, 8)),
        exiting=st.booleans(),
        obeyed=st.one_of(st.none(), st.floats(0, 10)),
    ),
    max_size=8,
    unique_by=lambda worker: worker.id,
)
exits = st.lists(
    st.builds(
        ExitSeen,
        id=st.integers(0, 9).map(lambda n: f"a.{n}"),
        pool=st.just("a/x"),
        kind=st.sampled_from(["k", "l"]),
        peak=st.integers(0, 4 * GIB),
        mean=sizes,
        cpu_seconds=st.floats(0, 100),
        active=st.floats(0, 100),
        outcome=st.sampled_from(Outcome),
        killed_by_kernel=st.booleans(),
    ),
    max_size=3,
)
looks = st.builds(
    Seen,
    now=st.floats(0, 200),
    total=st.integers(64 * MIB, 4 * GIB),
    cpus=st.floats(0.1, 64),
    available=sizes,
    busy=st.one_of(st.none(), st.floats(0, 64)),
    own=st.floats(0, 64),
    gauges=st.dictionaries(st.sampled_from(["heat", "swap", "pressure.memory"]), st.one_of(st.none(), st.floats(0, 1))),
    swap_total=st.sampled_from([0, GIB]),
    swept=st.one_of(st.none(), st.floats(0, 200)),
    swept_available=sizes,
    workers=workers.map(tuple),
    pools=pools.map(tuple),
    exits=exits.map(tuple),
    wants=st.dictionaries(st.integers(0, 9).map(lambda n: f"a.{n}"), st.sampled_from(Want), max_size=3),
    neighbours=st.integers(0, 2),
    jitter=st.floats(0, 1),
)


@settings(max_examples=150, deadline=None, phases=[Phase.generate])
@given(st.lists(looks, min_size=1, max_size=6, unique_by=lambda look: look.now), st.booleans())
def test_any_history(history: list[Seen], in_order: bool) -> None:
    memory = Memory()
    for seen in sorted(history, key=lambda look: look.now) if in_order else history:
        decision, after = decide(seen, memory)
        live = {worker.id for worker in seen.workers}
        assert decision.paused.keys() <= live
        assert decision.ending.keys() <= live
        assert not decision.paused.keys() & decision.ending.keys()
        assert set(decision.pools) >= {pool.id for pool in seen.pools}
        assert all(verdict.slots >= 0 for verdict in decision.pools.values())
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(decision), type=Decision) == decision, "no run takes it"
        assert 0 < decision.next_look <= 1
        assert 0 < decision.next_sweep <= 1
        backwards = msgspec.structs.replace(seen, workers=seen.workers[::-1], pools=seen.pools[::-1])
        assert decide(backwards, memory) == (decision, after)
        assert decide(seen, after)[0] == decision
        saved = msgspec.json.decode(msgspec.json.encode(after), type=Memory)
        assert saved == after
        memory = after
