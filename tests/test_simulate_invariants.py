"""The invariants of the decision core, at every look of worlds drawn at random."""

import pytest
from support.invariants import Watch
from support.random_worlds import random_world

from loadkeeper.simulate import Result, simulate


def _run(seed: int, most_cpus: int = 8) -> Result:
    watch = Watch()
    result = simulate(random_world(seed, most_cpus), seed, watch=watch)
    assert watch.looks > 20
    assert result.finished, f"{result.makespan_ratio:.1f} bounds and not done"
    return result


@pytest.mark.parametrize("seed", range(1, 13))
def test_invariants_hold_in_random_worlds(seed: int) -> None:
    assert _run(seed).failed == 0


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(100, 220))
def test_invariants_hold_in_many_random_worlds(seed: int) -> None:
    _run(seed, most_cpus=16)
