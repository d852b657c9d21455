"""Worlds that are none: one clear error each, with the place."""

import copy
import json
from typing import Any

import pytest
from click.testing import CliRunner

from loadkeeper.commands.simulate import simulate as verb
from loadkeeper.errors import UsageError
from loadkeeper.simulate import simulate

GOOD: dict[str, Any] = {
    "name": "good",
    "node": {"cpus": 2, "memory": "1G"},
    "pools": [{"name": "a", "tasks": 2, "mix": [{"seconds": 1, "memory": "10M"}]}],
}
BAD = [
    ("node", 5, "node"),
    ("node.cpus", 0, "node.cpus"),
    ("node.cpus", "two", "node.cpus"),
    ("node.cpus", -1, "node.cpus"),
    ("node.memory", "lots", "node.memory"),
    ("node.memory", 0, "node.memory"),
    ("node.base", "2G", "node.base"),
    ("node.colour", "red", "colour"),
    ("noise", 2, "noise"),
    ("disk", "fast", "disk"),
    ("pools", [], "pools"),
    ("pools.0.tasks", 0, "pools[0].tasks"),
    ("pools.0.tasks", -5, "pools[0].tasks"),
    ("pools.0.tasks", 1.5, "pools[0].tasks"),
    ("pools.0.mix", [], "pools[0].mix"),
    ("pools.0.each", [{"seconds": 1, "memory": 1}], "pools[0]"),
    ("pools.0.arrive", -1, "pools[0].arrive"),
    ("pools.0.max_workers", 0, "pools[0].max_workers"),
    ("pools.0.pause", "later", "pools[0].pause"),
    ("pools.0.exit_after", [2, 1], "pools[0].exit_after"),
    ("pools.0.limits", {"colour": 1}, "colour"),
    ("pools.0.limits", {"cpu": "0%"}, "pools[0].limits"),
    ("pools.0.limits", {"memory": "much"}, "pools[0].limits"),
    ("pools.0.mix.0.seconds", "1s", "mix[0].seconds"),
    ("pools.0.mix.0.seconds", -1, "mix[0].seconds"),
    ("pools.0.mix.0.seconds", True, "mix[0].seconds"),
    ("pools.0.mix.0.seconds", {"uniform": [2, 1]}, "mix[0].seconds"),
    ("pools.0.mix.0.seconds", {"uniform": [2]}, "uniform takes 2"),
    ("pools.0.mix.0.seconds", {"normal": [2, 1]}, "no distribution"),
    ("pools.0.mix.0.seconds", {}, "no distribution"),
    ("pools.0.mix.0.memory", {"pareto": ["1M", 1.5, "x"]}, "mix[0].memory"),
    ("pools.0.mix.0.memory", None, "mix[0].memory"),
    ("pools.0.mix.0.share", 0, "mix[0].share"),
    ("pools.0.mix.0.cpu", 1.5, "mix[0].cpu"),
    ("pools.0.mix.0.threads", 0, "mix[0].threads"),
    ("pools.0.mix.0.hidden", 2, "mix[0].hidden"),
    ("pools.0.mix.0.burst", [0, 1, 1], "mix[0].burst"),
    ("pools.0.mix.0.shape", "round", "mix[0].shape"),
    ("pools.0.mix.0.shape", [[0, 1], [0, 2]], "mix[0].shape"),
    ("pools.0.mix.0.shape", [["a", "b"]], "mix[0].shape"),
    ("pools.0.tasks", 10**12, "1000000 at most"),
    ("pools.0.name", "\ud800", "pools[0].name"),
    ("pools.0.arrive", 1e300, "pools[0].arrive"),
    ("pools.0.priority", 10**30, "priority"),
    ("pools.0.limits", {"memory_need": -1}, "pools[0].limits"),
    ("pools.0.limits", {"cpu": [[1]]}, "pools[0].limits"),
    ("pools.0.limits", {"give_up": "inf"}, "pools[0].limits"),
    ("pools.0.mix.0.memory", "9" * 400, "mix[0].memory"),
    ("pools.0.mix.0.memory", 10**30, "mix[0].memory"),
    ("pools.0.mix.0.seconds", 1e12, "mix[0].seconds"),
    ("pools.0.mix.0.seconds", {"lognormal": [1, 1e9]}, "mix[0].seconds"),
    ("pools.0.mix.0.seconds", {"pareto": [1, 0, 2]}, "mix[0].seconds"),
    ("pools.0.mix.0.shape", [[0, 1], [1, 2]], "mix[0].shape"),
    ("node.cpus", 1e9, "node.cpus"),
    ("acts", {"kill": [2, 1]}, "acts.kill"),
    ("acts", {"stop": -1}, "acts.stop"),
    ("acts", {"touch": 0}, "acts.touch"),
    ("acts", {"late_look": [2, 1]}, "acts.late_look"),
    ("events", [{"at": -1}], "events[0].at"),
    ("events", [{"at": 1, "memory": "x"}], "events[0].memory"),
    ("foreign", [{"from": 5, "until": 2}], "foreign[0].until"),
    ("foreign", [{"memory": -1}], "foreign[0].memory"),
    ("broken", [{"gauge": "heart", "from": 1, "until": 2}], "broken[0].gauge"),
    ("broken", [{"gauge": "cpu", "from": 2, "until": 2}], "broken[0].until"),
]


def changed(place: str, value: Any) -> dict[str, Any]:
    world = copy.deepcopy(GOOD)
    at: Any = world
    *way, last = place.split(".")
    for step in way:
        at = at[int(step) if step.isdigit() else step]
    at[int(last) if last.isdigit() else last] = value
    return world


def test_the_good_one_is_good() -> None:
    assert simulate(GOOD).finished


@pytest.mark.parametrize(("place", "value", "said"), BAD)
def test_a_bad_world_is_one_error_with_its_place(tmp_path, place, value, said) -> None:
    path = tmp_path / "world.json"
    path.write_text(json.dumps(changed(place, value)))
    with pytest.raises(UsageError) as caught:
        CliRunner().invoke(verb, [str(path)], standalone_mode=False, catch_exceptions=False)
    assert said.replace("[0]", "") in str(caught.value).replace("[0]", "").replace("[...]", "")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "[]", "3", '{"name": 5}', "{'name'}", "\x00", '{"name": "a", "node": {"cpus": NaN}}']
)
def test_what_is_no_world_at_all(tmp_path, text) -> None:
    path = tmp_path / "world.json"
    path.write_text(text)
    with pytest.raises(UsageError, match="world"):
        CliRunner().invoke(verb, [str(path)], standalone_mode=False, catch_exceptions=False)
