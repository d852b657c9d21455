"""Settings from the environment and from files: who wins, and every fault at once with its place."""

import json
import os
import sys

import pytest
from support.program import wait_until

GOOD = """\
[limits]
memory = "2G"
cpu = 1
memory_gap = "100M"

[run]
jobs = 3
keep-order = true
"""
BAD = """\
[limits]
memroy = "2G"
cpu = "much"
jobs = 3

[run]
quiet = "yes"
retries = 0
lm-command = "/tmp/mine"
timeout = [1]

[rum]
x = 1
"""


@pytest.fixture
def here(program, tmp_path):
    """A working directory, and a configuration directory of the user's own."""
    program.environment["XDG_CONFIG_HOME"] = str(tmp_path / "config")
    (tmp_path / "config/loadkeeper").mkdir(parents=True)
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def own(here) -> os.PathLike:
    return here.parent / "config/loadkeeper/loadkeeper.toml"


def config(program, here) -> dict:
    done = program.call("config", "--json", cwd=here)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_without_files_there_are_the_defaults(program, here):
    told = config(program, here)
    assert told["memory"] == {"value": "10%", "origin": "default"}
    assert told["jobs"] == {"value": None, "origin": "default"}
    assert told["grace"] == {"value": "10s", "origin": "default"}
    assert {one["origin"] for one in told.values()} == {"default"}


def test_the_environment_wins_over_the_directory_and_that_over_the_user(program, here):
    (here / "loadkeeper.toml").write_text(GOOD)
    own(here).write_text('[limits]\nmemory = "1G"\nswap = "10%"\n')
    program.environment["LOADKEEPER_CPU"] = "50%"
    told = config(program, here)
    assert told["memory"] == {"value": "2G", "origin": "loadkeeper.toml:2"}
    assert told["memory-gap"] == {"value": "100M", "origin": "loadkeeper.toml:4"}
    assert told["jobs"] == {"value": "3", "origin": "loadkeeper.toml:7"}
    assert told["keep-order"] == {"value": True, "origin": "loadkeeper.toml:8"}
    assert told["swap"] == {"value": "10%", "origin": f"{own(here)}:3"}
    assert told["cpu"] == {"value": "50%", "origin": "LOADKEEPER_CPU"}


def test_a_run_obeys_its_files_and_the_command_line_wins(program, here):
    (here / "loadkeeper.toml").write_text('[run]\njobs = 1\nkeep-order = true\nexit = "parallel"\n')
    line = "echo {#}.{%}; exit 1"
    done = program.call("run", "--cpu", "off", line, ":::", "a", "b", "c", cwd=here)
    assert (done.stdout, done.returncode) == (b"1.1\n2.1\n3.1\n", 3)
    other = program.call("run", "--cpu", "off", "--exit", "loadkeeper", line, ":::", "a", "b", "c", cwd=here)
    assert other.returncode == 1


def test_every_fault_is_said_at_once_with_its_place(program, here):
    (here / "loadkeeper.toml").write_text(BAD)
    program.environment["LOADKEEPER_MEMROY"] = "1G"
    program.environment["LOADKEEPER_GRACE"] = "soon"
    for words in (["run", "touch", "made", ":::", "a"], ["config"]):
        done = program.call(*words, cwd=here)
        said = done.stderr.decode()
        assert done.returncode == 2
        for expected in (
            "loadkeeper.toml:2: [limits] has no setting memroy; did you mean memory?",
            "loadkeeper.toml:3: cpu: 'much' is neither a share nor a number of cores",
            "loadkeeper.toml:4: [limits] has no setting jobs; it belongs into [run]",
            "loadkeeper.toml:7: quiet is true or false",
            "loadkeeper.toml:8: retries: '0' is not a whole number from 1",
            "loadkeeper.toml:9: [run] has no setting lm-command",
            "loadkeeper.toml:10: timeout needs a text or a number",
            "loadkeeper.toml:12: there is no table [rum]; did you mean run?",
            "LOADKEEPER_MEMROY: is no setting, unset it; did you mean LOADKEEPER_MEMORY?",
            "LOADKEEPER_GRACE: 'soon' is not a duration",
        ):
            assert f"loadkeeper: {expected}" in said
        assert len(said.splitlines()) == 10
    assert not (here / "made").exists()
    assert not program.managers()


@pytest.mark.parametrize(
    ("content", "what"),
    [(b"[limits", "is not TOML"), (b"\xff", "is not UTF-8"), (None, "Is a directory")],
)
def test_a_file_that_is_none(program, here, content, what):
    if content is None:
        (here / "loadkeeper.toml").mkdir()
    else:
        (here / "loadkeeper.toml").write_bytes(content)
    done = program.call("run", "true", ":::", "a", cwd=here)
    assert done.returncode == 2
    assert f"loadkeeper: loadkeeper.toml: {what}" in done.stderr.decode()


def test_a_file_somewhere_else_is_not_read(program, here):
    (here / "below").mkdir()
    (here / "loadkeeper.toml").write_text(BAD)
    assert program.call("run", "--quiet", "true", ":::", "a", cwd=here / "below").returncode == 0


# ------------------------------------------------------------------------------------------------- while a run lives


def test_limits_are_changed_while_a_run_lives_and_the_next_load_manager_knows_them(program):
    program.start("run", "--cpu", "off", "-j", "1", "--name", "night", "sleep", ":::", *["30"] * 8)
    wait_until(lambda: program.status()["runs"] and program.status()["runs"][0]["workers"], 15, "nothing runs")
    done = program.call("set", "jobs=3", "memory=1G", "priority=4", "night")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"jobs is 3, memory is 1G, priority is 4: ")

    def holds() -> bool:
        run = program.status()["runs"][0]
        hold = run["lines"]["memory"]["hold"]
        return len(run["workers"]) == 3 and hold == 1 << 30 and run["pools"][0]["priority"] == 4

    wait_until(holds, 15, "what was set does not hold")
    os.kill(program.managers()[0], 9)
    wait_until(lambda: program.managers() and program.status()["runs"] and holds(), 15, "the next one forgot it")


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["night"], "NAME=VALUE"),
        (["memroy=1G"], "did you mean memory"),
        (["memory=lots"], "'lots' is not a size"),
        (["timeout=3"], "cannot be set while a run lives"),
        (["memory=9999G"], "more than this node has"),
        (["cpu=50%", "nobody"], "there is no run nobody"),
        (["jobs=0"], "from 1"),
    ],
)
def test_what_cannot_be_set(program, words, what):
    program.start("run", "--cpu", "off", "-j", "1", "--name", "night", "sleep", ":::", "30")
    wait_until(lambda: program.status()["runs"], 15, "nothing runs")
    done = program.call("set", *words)
    assert done.returncode == 2
    assert what in done.stderr.decode()
    assert program.status()["runs"][0]["lines"]["memory"]["hold"] > 1 << 30


def test_wait_waits_until_a_run_is_over(program):
    assert program.call("wait").returncode == 0
    process = program.start("run", "--cpu", "off", "--name", "short", "sleep", ":::", "2")
    wait_until(lambda: program.status()["runs"], 15, "nothing runs")
    assert program.call("wait", "--timeout", "0.2", "short").returncode == 1
    assert program.call("wait", "nobody").returncode == 2
    assert program.call("wait", "short", timeout=20).returncode == 0
    assert process.wait(5) == 0


def test_a_variable_that_begins_like_another_is_seen(program, here):
    program.environment |= {"LOADKEEPER_WORKERS_MEMORY": "1G", "LOADKEEPER_WORKERS_CPU": "1"}
    told = json.loads(program.call("config", "--json", cwd=here).stdout)
    assert told["workers-memory"] == {"value": "1G", "origin": "LOADKEEPER_WORKERS_MEMORY"}
    assert told["workers-cpu"]["value"] == "1"
    program.environment |= {
        "LOADKEEPER_WORKERS_MEMORY": "lots",
        "LOADKEEPER_WORKERS_CUP": "1",
        "LOADKEEPER_STATE_DIRX": "/",
    }
    said = program.call("config", cwd=here).stderr.decode()
    for name in ("WORKERS_MEMORY", "WORKERS_CUP", "STATE_DIRX"):
        assert f"LOADKEEPER_{name}: " in said


def test_a_run_that_is_a_worker_of_another_one_has_settings_of_its_own(program, here):
    inner = f"{sys.executable} -m loadkeeper run --cpu off --quiet echo"
    done = program.call("run", "--cpu", "off", "--quiet", f"{inner} ::: inner", ":::", "1", cwd=here)
    assert (done.returncode, sorted(done.stdout.split())) == (0, [b"1", b"inner"]), done.stderr


def test_a_flag_that_is_not_set_is_false(program, here):
    told = json.loads(program.call("config", "--json", cwd=here).stdout)
    assert told["keep-order"] == {"value": False, "origin": "default"}


def test_a_file_that_is_nested_for_ever(program, here):
    (here / "loadkeeper.toml").write_text("a = " + "[" * 5000 + "]" * 5000)
    done = program.call("config", cwd=here)
    assert done.returncode == 2
    assert b"nested too deeply" in done.stderr
