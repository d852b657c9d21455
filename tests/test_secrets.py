"""Secrets stay where they were put: the environment nowhere at all, passwords in addresses out of all that is shown."""

import json
import os
from pathlib import Path

import pytest
from support.program import processes, wait_until

from loadkeeper.masking import masked
from loadkeeper.record import boxes
from loadkeeper.record.journal_reader import read_header, read_outcomes

ENVIRONMENT = "in-the-environment-8f1c"
PASSWORD = "p%40ss-in-an-address-27d0"
ADDRESS = f"amqp://worker:{PASSWORD}@broker.example:5672/jobs"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (ADDRESS, "amqp://worker:***@broker.example:5672/jobs"),
        ("redis://:secret@host/0", "redis://:***@host/0"),
        ("a 'http://u:p@h' b https://v:q@i/", "a 'http://u:***@h' b https://v:***@i/"),
        ("http://u:p@ss@h/", "http://u:***@h/"),
        ("--broker=nats://u:p:q@h", "--broker=nats://u:***@h"),
        ("http://host:8080/a@b", "http://host:8080/a@b"),
        ("ssh://git@host/x", "ssh://git@host/x"),
        ("u:p@h", "u:p@h"),
        ("", ""),
    ],
)
def test_passwords_in_addresses_are_hidden(text, shown):
    assert masked(text) == shown


def test_hiding_takes_no_time_with_hostile_text():
    for text in ("a://" * 100_000, "a://b:" + "c" * 1_000_000, "://" + ":@" * 500_000, "a" * 1_000_000 + "://"):
        masked(text)


def kept(directory: Path) -> dict[str, bytes]:
    """Every file below, and what a black box holds when it is unpacked."""
    found = {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    for path in {path.parent for path in directory.rglob("*.box")}:
        found[f"{path}, unpacked"] = b"".join(boxes.read(str(path)))
    return found


def ours(program) -> list[int]:
    """Processes of the managers: their directories stand in their environment."""
    mark = f"XDG_STATE_HOME={program.root}/s".encode()
    return [pid for pid in processes() if mark in read(pid, "environ") and b"loadkeeper" in read(pid, "cmdline")]


def read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def test_a_secret_of_the_environment_is_nowhere(program, tmp_path):
    program.environment["BROKER_PASSWORD"] = ENVIRONMENT
    line = 'test -n "$BROKER_PASSWORD" && sleep 1.5; false {}'
    run = program.start("run", "--cpu", "off", "--joblog", str(tmp_path / "log"), "--json", line, ":::", "a", "b")
    wait_until(lambda: (s := program.ask()) and s.runs and s.runs[0].workers, 20, "nothing runs")
    told = [program.call(*words).stdout for words in (["status", "--json"], ["list"], ["explain"], ["kinds"])]
    pids = ours(program)
    assert len(pids) >= 2
    assert not [pid for pid in pids if ENVIRONMENT.encode() in read(pid, "cmdline")]
    manager = program.ask().node.pid
    assert ENVIRONMENT.encode() not in read(manager, "environ"), "the load manager holds nothing of a run's environment"
    told += run.communicate(timeout=30)
    told += [program.call("explain").stdout, program.call("config").stdout, program.call("doctor").stdout]
    wait_until(lambda: not program.managers(), 10, "it stays")
    files = kept(program.root) | kept(tmp_path)
    assert len(files) >= 5
    assert [name for name, content in files.items() if ENVIRONMENT.encode() in content] == []
    assert [text for text in told if ENVIRONMENT.encode() in text] == []


def test_a_password_in_a_command_is_shown_to_nobody(program):
    """It is in the worker's own command line, as its user wrote it, and in no file."""
    line = f"sleep 1.5; echo {ADDRESS} >/dev/null; false {{}}"
    run = program.start("run", "--cpu", "off", line, ":::", "a", "b")
    wait_until(lambda: (s := program.ask()) and s.runs and s.runs[0].workers, 20, "nothing runs")
    told = [program.call(*words).stdout for words in (["status", "--json"], ["status"], ["list"], ["list", "--json"])]
    assert b"amqp://worker:***@broker.example" in told[0]
    told += [program.call("explain").stdout, *run.communicate(timeout=30)]
    told += [program.call("explain", run_of(program)).stdout, program.call("explain").stdout]
    wait_until(lambda: not program.managers(), 10, "it stays")
    told.append(program.call("kinds").stdout)
    assert [text for text in told if PASSWORD.encode() in text] == []
    files = kept(program.root)
    assert any(b"amqp://worker:***@" in content for content in files.values())
    assert [name for name, content in files.items() if PASSWORD.encode() in content] == []


def run_of(program) -> str:
    return os.path.basename(os.path.dirname(program.journals()[0]))


def test_a_password_in_a_value_is_kept_for_its_own_user_alone(program):
    """The journal has values exactly, as what is done again must be; nobody else may read it, and nothing shows it."""
    long = f"{'x' * 45} {ADDRESS}"  # where it would be cut, the end of the password is not seen any more
    run = program.start("run", "--cpu", "off", "--halt", "soon,fail=2", "sleep 1.5; test {} = -", ":::", ADDRESS, long)
    wait_until(lambda: (s := program.ask()) and s.runs and s.runs[0].workers, 20, "nothing runs")
    told = [program.call(*words).stdout for words in (["status", "--json"], ["list"], ["explain"])]
    told += run.communicate(timeout=30)
    told += [program.call("explain", f"{run_of(program)}:1").stdout]
    assert b"amqp://worker:***@" in told[0]
    assert [text for text in told if PASSWORD.encode() in text] == []
    wait_until(lambda: not program.managers(), 10, "it stays")
    (journal,) = program.journals()
    assert PASSWORD not in json.dumps(read_header(journal).command)
    assert sorted(fate.value for fate in read_outcomes(journal)) == sorted([ADDRESS.encode(), long.encode()])
    holding = [name for name, content in kept(program.root).items() if PASSWORD.encode() in content]
    assert {os.path.basename(name).split("-")[0] for name in holding} == {"journal.db"}
    assert {os.stat(name).st_mode & 0o777 for name in holding} == {0o600}


def test_an_error_repeats_no_password(program):
    for words in (
        ["stop", ADDRESS],
        ["run", "-a", f"/no/{ADDRESS}", "true"],
        ["run", "--memory", ADDRESS, "true", ":::", "a"],
    ):
        done = program.call(*words)
        assert done.returncode == 2
        assert PASSWORD.encode() not in done.stderr


def test_a_password_in_a_queue_is_hidden_from_ps(program, tmp_path):
    process = program.start("run", "--queue", "redis://me:opensesame@127.0.0.1:1/work", "sleep", "1")
    line = Path(f"/proc/{process.pid}/cmdline")
    wait_until(lambda: b"redis://me:**********@127.0.0.1:1/work" in line.read_bytes(), 10, "it is to be seen")
    wait_until(lambda: (s := program.ask()) and s.runs, 20, "the run does not show")
    told = program.call("status", "--json").stdout + program.call("explain").stdout
    assert b"opensesame" not in told
    said = process.stderr.readline()
    process.terminate()
    said += process.communicate(timeout=20)[1]
    assert b"opensesame" not in said
    assert b"redis://me:***@127.0.0.1:1/work cannot be reached" in said
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert b"opensesame" not in path.read_bytes(), path
