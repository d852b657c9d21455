"""The invariants of the decision core, at every look of worlds drawn at random."""

import os
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace
from support.invariants import Watch
from support.random_worlds import random_world

from loadkeeper.decide import DEFAULT, Memory
from loadkeeper.decide.lines import node_lines
from loadkeeper.model import Decision, Limits, Seen
from loadkeeper.simulate import Result, simulate

SMALL = 4
"""Cores, at most."""
BATCH = 250


def play(seed: int, most_cpus: int = SMALL) -> Result:
    """Raises AssertionError where something does not hold."""
    watch, world = Watch(), random_world(seed, most_cpus)
    try:
        result = simulate(world, seed, watch=watch)
    except AssertionError as error:
        raise AssertionError(f"world {seed} of {most_cpus}: {error}") from error
    assert watch.looks > 20
    assert result.finished, f"world {seed}: {result.makespan_ratio:.1f} bounds and not done"
    buried_are_too_big(result, world)
    return result


def buried_are_too_big(result: Result, world: dict[str, Any]) -> None:
    """A task that fits alone is never buried: no more are than there are tasks that do not fit even into what is there
    when the limit is at its lowest and somebody else takes most."""
    least = min([world["node"]["memory"], *(event["memory"] for event in world.get("events", []))])
    others = sum(foreign["memory"] for foreign in world.get("foreign", []))
    lines = node_lines(Limits(), least, DEFAULT)
    room = least - world["node"]["base"] - others - (lines.end or 0.0) - 0.05 * least
    assert result.buried <= sum(task.memory > room for task in result.tasks), f"{result.buried} tasks buried"


@pytest.mark.parametrize("seed", range(1, 101))
def test_invariants_hold_in_a_hundred_random_worlds(seed: int) -> None:
    play(seed)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("batch", range(40))
def test_invariants_hold_in_ten_thousand_random_worlds(batch: int, record_property) -> None:
    seeds = range(10_000 + batch * BATCH, 10_000 + (batch + 1) * BATCH)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(play, seeds, chunksize=5))
    record_property("worlds", len(results))
    record_property("kernel kills", sum(result.kernel_kills for result in results))


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(100, 160))
def test_invariants_hold_in_larger_random_worlds(seed: int) -> None:
    play(seed, most_cpus=16)


@pytest.mark.parametrize("seed", range(1, 9))
def test_equal_runs_get_equal_shares(seed: int) -> None:
    """Two runs of the same tasks side by side, one of which has twice as many of them: while both have work, they have
    as many workers."""
    random = Random(f"equal {seed}")
    mix = {
        "seconds": {"uniform": [2, 6]},
        "memory": {"uniform": ["100M", f"{random.choice([200, 900, 1800])}M"]},
        "shape": random.choice(["flat", "plateau", "ramp"]),
        "cpu": random.choice([1.0, 0.4]),
    }
    pools = [
        {"name": name, "run": name, "kind": "same", "tasks": n, "mix": [mix]} for name, n in (("a", 60), ("b", 120))
    ]
    world = {"name": f"equal-{seed}", "node": {"cpus": 4, "memory": "8G", "base": "200M"}, "pools": pools}
    had: Counter[str] = Counter()
    last = 0.0

    def watch(seen: Seen, _before: Memory, _decision: Decision, _after: Memory) -> None:
        nonlocal last
        if all(pool.waiting for pool in seen.pools):
            for worker in seen.workers:
                had[worker.pool] += seen.now - last
        last = seen.now

    simulate(world, seed, watch=watch)
    assert had["a/a"] > 60
    assert had["a/a"] / had["b/b"] == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"dwell": 0.3}, "stood for"),
        ({"lift": -0.5}, "beyond the forecast"),
        ({"react_end": 3.0}, "is ended at"),
        ({"first": 16}, "I5"),
    ],
)
def test_a_broken_rule_is_seen(broken: dict[str, float], said: str) -> None:
    """What is watched for can fail: with other figures the same watch finds it within some worlds."""
    parameters = replace(DEFAULT, **broken)

    def play_all() -> None:
        for seed in range(1, 40):
            watch = Watch(parameters=parameters)
            simulate(random_world(seed, SMALL), seed, watch=watch, parameters=parameters)

    with pytest.raises(AssertionError, match=said):
        play_all()
