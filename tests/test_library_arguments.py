"""Arguments, limits and outcomes of the library: every fault at once, before anything is begun."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from loadkeeper import Limits, Outcome, ProcessManager, UsageError, model
from loadkeeper.commands.run import run
from loadkeeper.program import keywords
from loadkeeper.program.arguments import Faults
from loadkeeper.program.outcome import Failure
from loadkeeper.settings import RunSettings

PAGE = Path(__file__).parents[1] / "docs" / "library.md"


def test_every_fault_at_once_with_its_argument():
    with pytest.raises(UsageError) as raised:
        ProcessManager(
            ["x"], tasks=-1, timeout="5 parsecs", jbs=3, memory="2G", retries=0, output=3, limits=7, resume=1
        )
    told = str(raised.value).splitlines()
    assert [line.split(": ")[1] for line in told] == [
        "limits", "timeout", "jbs", "memory", "retries", "resume", "tasks", "output",
    ]  # fmt: skip
    assert "did you mean jobs?" in told[2]
    assert "limits=Limits(memory=...)" in told[3]
    assert "write it as 30s, 5m or 1h30m" in told[1]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "command: is needed"),
        ({"command": "x"}, "tasks, values, commands or queue: is needed"),
        ({"command": "x", "tasks": 1, "values": [1]}, "tasks and values: are given"),
        ({"command": "x", "commands": ["y"]}, "command: is given and commands, too"),
        ({"command": "x", "values": "abc"}, "values: 'abc' is one str, not several"),
        ({"command": "x", "values": 3}, "values: 3 is one int"),
        ({"command": "x", "values": ["a", None]}, "values: number 2, None: a NoneType is neither text"),
        ({"command": [], "tasks": 1}, "command: [] is no command"),
        ({"command": " ", "tasks": 1}, "command: is empty"),
        ({"command": ["a", 3.5, True], "tasks": 1}, "command: a bool is neither text"),
        ({"command": "x", "tasks": True}, "tasks: True is neither text nor a number"),
        ({"command": "x", "tasks": 1, "pause": "later"}, "pause: 'later' is not one of auto, never, stop"),
        ({"command": "x", "tasks": 1, "halt": "sometimes"}, "halt: 'sometimes' is not a way to halt"),
        ({"command": "x", "tasks": 1, "name": 3}, "name: 3 is no text"),
        ({"command": "x", "tasks": 1, "results": "r", "output": "o"}, "output: is given and results, too"),
        ({"command": "x", "tasks": 1, "sensors": {"A b": "c"}}, "sensors: 'A b=c' is no sensor"),
        ({"command": "x", "tasks": 1, "limits": Limits(lines={"gpu": "1,2,3"})}, "limits: lines of 'gpu'"),
        ({"command": "x", "tasks": 1, "environment": {"A": 1}}, "environment: must be a mapping"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_begun(arguments, told):
    with pytest.raises(UsageError) as raised:
        ProcessManager(**{"command": None, **arguments} if arguments else {"tasks": 1})
    assert f"ProcessManager: {told}" in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"command": "no-such-thing", "tasks": 1}, "command 'no-such-thing' is not found in PATH"),
        (
            {"command": "true", "tasks": 1, "limits": Limits(memory_need="900T")},
            "memory_need 900 TiB is more than this",
        ),
        ({"command": "true", "tasks": 1, "joblog": "/no/such/file"}, "/no/such/file"),
        ({"command": "true", "tasks": 1, "resume": True}, "resume needs joblog FILE"),
        ({"command": "true", "tasks": 1, "output": "/no/such/file"}, "output: /no/such/file cannot be written"),
    ],
)
def test_what_the_node_or_its_files_refuse_is_raised_by_the_run(arguments, told):
    with pytest.raises(UsageError, match=told):
        ProcessManager(**arguments).manage()


def test_limits_by_text_and_number():
    limits = Limits(cpu=1.5, memory="2G", memory_gap=200 << 20, workers_memory="20%", give_up=None, max_pause="5m")
    assert limits.model == model.Limits(
        cpu=model.Amount(absolute=1.5),
        cpu_promised=True,
        memory=model.Amount(absolute=2.0 * (1 << 30)),
        memory_gap=200 << 20,
        workers_memory=model.Amount(share=0.2),
        give_up=None,
    )
    assert Limits().model == model.Limits()
    assert Limits(cpu=None).model.cpu is None
    assert Limits(cpu="90%").model.cpu_promised
    assert Limits(pressure={"cpu": "40%"}, lines={"gpu": "80,90,95"}).model.gauges == {
        "pressure.cpu": model.Lines(hold=0.4),
        "gpu": model.Lines(80, 90, 95),
    }
    assert Limits(memory="2G") == Limits(memory=2 << 30) != Limits()
    assert repr(Limits(memory="2G", give_up="never")) == "Limits(memory='2G', give_up='never')"
    with pytest.raises(AttributeError):
        limits.memory = "3G"


def test_wrong_limits_are_one_error():
    with pytest.raises(UsageError) as raised:
        Limits(cpu="most", memory=0.1, memory_need=0, give_up=True)
    assert str(raised.value).splitlines() == [
        "Limits: cpu: 'most' is neither a share nor a number of cores; write it as 90% or 3.5, or off",
        "Limits: memory: 0.1 is no number of bytes; write a share as '10%' and a size as '2G' or in bytes, or off",
        "Limits: memory_need: '0' is no memory at all; write it as 200M or 2G",
        "Limits: give_up: True is neither text nor a number, or never",
    ]
    with pytest.raises(UsageError, match="memory_gap is added to what memory keeps available"):
        Limits(memory="off", memory_gap="1G")
    with pytest.raises(TypeError, match="unexpected keyword argument 'memroy'"):
        Limits(memroy="1G")


def test_an_outcome_as_json_and_back():
    outcome = Outcome(message="m", task_id="7", error=True, done=3, failures=(Failure(number=1),))
    told = json.loads(outcome.to_json())
    assert {"message", "task_id", "error", "critical", "done", "failed", "given_back"} <= told.keys()
    assert Outcome.from_json(outcome.to_json()) == outcome
    assert Outcome.from_json(json.dumps({**told, "of a later version": 1})) == outcome
    assert Outcome.from_json(b'{"message": ""}') == Outcome(message="")
    for wrong in ("", "[]", '{"message": 1}', b"\xff", "[" * 100_000):
        with pytest.raises(UsageError, match="no outcome of a run"):
            Outcome.from_json(wrong)


def test_every_option_of_run_is_an_argument():
    """But those that say where values come from, what is printed first, and what this is."""
    inputs = {
        "arg_file", "null", "delimiter", "colsep", "max_args", "header", "link", "no_run_if_empty", "replace", "shell",
        "quote", "dry_run", "will_cite", "words", "tasks",
    }  # fmt: skip
    others = {"exit_as": "exit", "tagstring": "tag", "sensor": "sensors", "line": "lines"}
    options = {others.get(str(one.name), str(one.name)) for one in run.params} - inputs
    limits = {field.name for field in dataclasses.fields(Limits)} - {"model"}
    assert options <= {*keywords.KEYWORDS, *keywords.QUEUE, *keywords._others(), *limits}
    assert limits <= options
    page = PAGE.read_text()
    for name in [*keywords.KEYWORDS, *limits]:
        assert f"`{name}`" in page or f"{name}=" in page, name


def test_a_setting_of_a_later_version_is_taken_by_its_name_and_type(monkeypatch):
    class Later(RunSettings, frozen=True, kw_only=True):
        sigterm: bool = False
        address: str | None = None

    monkeypatch.setattr(keywords, "RunSettings", Later)
    faults = Faults("here")
    settings = keywords.settings_of(model.Limits(), {"sigterm": True, "address": "tcp://x", "jobs": 2}, faults)
    faults.report()
    assert (settings.sigterm, settings.address, settings.jobs) == (True, "tcp://x", 2)
    keywords.settings_of(model.Limits(), {"sigterm": "yes"}, faults)
    with pytest.raises(UsageError, match="here: sigterm: 'yes': Expected `bool`, got `str`"):
        faults.report()


def test_a_program_loads_neither_the_command_line_nor_asyncio():
    code = (
        "import sys; from loadkeeper import LoadManager, Limits, Member, ProcessManager; "
        "print(*sorted({'click', 'rich', 'asyncio', 'loadkeeper.commands'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
