"""`loadkeeper simulate`, as a user types it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from loadkeeper.commands.simulate import simulate
from loadkeeper.errors import UsageError

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
