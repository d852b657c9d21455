"""`loadkeeper simulate`, as a user types it."""

import json
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from loadkeeper.commands.simulate import simulate
from loadkeeper.errors import UsageError
from loadkeeper.simulate import POLICIES

STEADY = str(Path(__file__).parent / "worlds" / "steady.json")


def test_a_result_as_json_has_what_scripts_rely_on() -> None:
    result = CliRunner().invoke(simulate, ["--json", STEADY], standalone_mode=False, catch_exceptions=False)
    told = json.loads(result.output)
    assert {"makespan", "lower_bound", "makespan_ratio", "kernel_kills", "ended", "pauses", "tasks"} <= told.keys()
    assert set(told["tasks"][0]) == {"seconds", "memory", "cpu", "ended_at"}
    assert len(told["tasks"]) == 160
    assert told["makespan_ratio"] == pytest.approx(told["makespan"] / told["lower_bound"])


def test_a_result_for_people() -> None:
    result = CliRunner().invoke(simulate, ["--fixed", "4", STEADY], standalone_mode=False, catch_exceptions=False)
    assert result.output.startswith("steady, fixed 4, seed 1: ")
    assert "160 of 160 tasks done, 0 failed, 0 buried" in result.output


@pytest.mark.parametrize("content", [None, "{", "[1]", '{"name": "x"}'])
def test_what_is_no_world_is_one_clear_error(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "world.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match="world"):
        CliRunner().invoke(simulate, [str(path)], standalone_mode=False, catch_exceptions=False)


def played(*words: str) -> str:
    result = CliRunner().invoke(simulate, list(words), standalone_mode=False, catch_exceptions=False)
    return result.output


def a_world(path: Path, name: str, memory: str, group: str) -> str:
    mix = {"seconds": {"uniform": [10, 20]}, "memory": memory, "shape": "ramp"}
    pool = {"name": "a", "tasks": 12, "mix": [mix]}
    node = {"cpus": 4, "memory": "4G", "base": "100M"}
    (path / f"{name}.json").write_text(json.dumps({"name": name, "group": group, "node": node, "pools": [pool]}))
    return str(path / f"{name}.json")


def test_a_table_of_every_rule_by_group(tmp_path: Path) -> None:
    worlds = [a_world(tmp_path, "small", "100M", "ordinary"), a_world(tmp_path, "big", "2G", "memory")]
    groups, figures = played("--compare", "--seeds", "1", *worlds).strip().split("\n\n")
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in groups.splitlines()]
    assert cells[0][1:] == list(POLICIES)
    assert {row[0] for row in cells[2:]} == {"ordinary", "memory"}
    told = {(row[0], policy): cell for row in cells[2:] for policy, cell in zip(POLICIES, row[1:], strict=True)}
    assert "☠" not in told["memory", "decide"]
    assert "☠" in told["memory", "fixed"]
    assert "kernel kills a run" in figures
    rows = json.loads(played("--compare", "--seeds", "1", "--json", *worlds))
    assert len(rows) == 3 * len(POLICIES)
    assert {row["runs"] for row in rows} == {1, 2}


@pytest.mark.parametrize("policy", ["decide", "kill-on-pressure", "fixed"])
def test_a_picture_shows_every_worker_pause_and_end(tmp_path: Path, policy: str) -> None:
    world, path = a_world(tmp_path, "big", "2200M", "memory"), tmp_path / "big.svg"
    told = json.loads(played("--json", "--policy", policy, "--picture", str(path), world))
    root = ElementTree.parse(path).getroot()
    classes = Counter(one.get("class", "").split(" ")[0] for one in root.iter())
    bands = [one for one in root.iter() if (one.get("fill") or "").startswith("hsl")]
    workers = len(told["tasks"]) + told["given_back"]
    assert 2 * len(told["tasks"]) <= len(bands) <= 2 * workers  # one that came and went between two moments has none
    assert 0 <= told["ended"] - classes["ended"] <= told["kernel_kills"]  # whom the kernel was quicker with
    assert classes["killed"] == told["kernel_kills"]
    assert (classes["paused"] > 0) == (told["pauses"] > 0)
    assert classes["line"] == (3 if policy == "decide" else 0)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--policy", "best"], "there are decide, fixed"),
        (["--picture", "x.svg", "--compare"], "one world under one rule"),
        (["--picture", "/no/such/place/x.svg"], "No such file"),
    ],
)
def test_bad_words_are_one_clear_error(tmp_path: Path, words: list[str], what: str) -> None:
    with pytest.raises(UsageError, match=what):
        played(*words, a_world(tmp_path, "small", "100M", "ordinary"))
