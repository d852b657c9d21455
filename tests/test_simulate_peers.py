"""The rules of other tools in the simulator: each does what its tool does, and what it cannot do shows."""

import json
from pathlib import Path

import pytest

from loadkeeper.simulate import POLICIES, simulate

WORLDS = Path(__file__).parent / "worlds"
PEERS = [policy for policy in POLICIES if policy != "decide"]


def _world(name: str) -> dict:
    return json.loads((WORLDS / f"{name}.json").read_text())


def _small(memory: str, seconds: tuple[float, float] = (4, 8)) -> dict:
    """Four cores, 4 GiB, sixteen tasks that grow all life long."""
    mix = {"seconds": {"uniform": list(seconds)}, "memory": memory, "shape": "ramp"}
    pool = {"name": "a", "tasks": 16, "mix": [mix]}
    return {"name": "small", "node": {"cpus": 4, "memory": "4G", "base": "100M"}, "pools": [pool]}


@pytest.mark.parametrize("policy", PEERS)
def test_where_nothing_is_short_every_rule_finishes_alike(policy: str) -> None:
    result = simulate(_small("100M"), 1, policy=policy)
    assert result.finished
    assert (result.kernel_kills, result.ended, result.pauses) == (0, 0, 0)
    assert result == simulate(_small("100M"), 1, policy=policy), "not the same again"


def test_a_fixed_number_is_killed_by_the_kernel() -> None:
    result = simulate(_small("2G"), 1, policy="fixed")
    assert result.kernel_kills > 0
    assert (result.ended, result.pauses) == (0, 0)


def test_memsuspend_pauses_and_ends_nobody() -> None:
    result = simulate(_small("1500M"), 1, policy="memsuspend")
    assert result.pauses > 0
    assert result.ended == 0


def test_memfree_kills_the_youngest_and_pauses_nobody() -> None:
    result = simulate(_small("1800M", seconds=(40, 60)), 1, policy="memfree")
    assert result.pauses == 0
    assert result.ended > 0


def test_kill_on_pressure_ends_the_biggest_one_at_a_time() -> None:
    result = simulate(_small("1300M"), 1, policy="kill-on-pressure")
    assert result.ended > 0
    assert result.pauses == 0
    assert result.work_lost > 0


def test_two_lines_pause_and_go_on() -> None:
    result = simulate(_small("1300M"), 1, policy="two-lines")
    assert result.pauses > 0
    assert result.ended == 0


def test_the_reference_starts_one_a_cycle() -> None:
    result = simulate(_small("100M"), 1, policy="reference")
    fixed = simulate(_small("100M"), 1, policy="fixed")
    assert result.makespan > 1.2 * fixed.makespan


@pytest.mark.parametrize("name", ["ramp", "late-spike", "bimodal", "plateau-memory"])
def test_who_knows_the_future_needs_neither_pause_nor_end(name: str) -> None:
    result = simulate(_world(name), 1, policy="clairvoyant")
    assert result.finished
    assert (result.kernel_kills, result.ended, result.pauses) == (0, 0, 0)


def test_max_workers_binds_everybody() -> None:
    world = _small("100M")
    world["pools"][0]["max_workers"] = 2
    for policy in ("fixed", "clairvoyant"):
        result = simulate(world, 1, policy=policy)
        work = sum(task.seconds for task in result.tasks)
        assert result.makespan >= work / 2, policy
