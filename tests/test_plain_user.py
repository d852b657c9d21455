"""Without root: everything works but what `doctor` names."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from support.memory_group import memory_group, parent
from support.plain import PlainProgram, possible
from support.program import marked, state_of, wait_until
from support.rounds import LIMIT, LOAD, by_loadkeeper, jobs

pytestmark = [
    pytest.mark.skipif(not possible, reason="becoming a plain user needs root"),
    pytest.mark.timeout(200),
]


@pytest.fixture
def plain(open_path):
    made = PlainProgram(open_path / "p")
    yield made
    made.close()


def test_a_list_is_done_and_its_workers_are_the_users(plain):
    done = plain.call("run", "id -u; echo {}", ":::", "a", "b")
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split()) == [b"65534", b"65534", b"a", b"b"]


def test_workers_are_paused_continued_and_ended(plain):
    run = plain.start("run", "--name", "r", "--cpu", "off", "sleep", ":::", "60.1", "60.2")
    pids = wait_until(lambda: workers(plain, 2), 10, "no workers")
    assert plain.call("pause", "r").returncode == 0
    wait_until(lambda: all(state_of(pid) == "T" for pid in pids), 5, "they do not stand")
    assert plain.call("resume", "r").returncode == 0
    wait_until(lambda: all(state_of(pid) == "S" for pid in pids), 5, "they do not go on")
    assert plain.call("stop", "r").returncode == 0
    run.communicate(timeout=20)
    assert run.returncode == 143
    assert all(state_of(pid) in ("", "Z") for pid in pids)


def workers(program, count):
    status = program.ask()
    found = [worker.pid for run in status.runs for worker in run.workers] if status else []
    return found if len(found) >= count else None


def test_a_killed_process_manager_leaves_nobody_behind(plain):
    line = "setsid sleep 61 & (setsid setsid sleep 62 &) ; sleep {}"
    run = plain.start("run", "--cpu", "off", line, ":::", "60.3", "60.4")
    wait_until(lambda: workers(plain, 2), 10, "no workers")
    name = plain.ask().runs[0].id
    wait_until(lambda: len(marked(name)) >= 6, 5, "not all are up")
    os.kill(plain.ask().runs[0].pid, signal.SIGKILL)
    run.communicate(timeout=10)
    began = time.monotonic()
    wait_until(lambda: not marked(name), 5, "somebody lives on")
    assert time.monotonic() - began < 2.5


def test_a_killed_load_manager_is_replaced(plain):
    run = plain.start("run", "-j", "2", "sleep 0.4; echo {}", ":::", *map(str, range(12)))
    first = wait_until(lambda: (s := plain.ask()) and s.node.pid, 10, "no load manager")
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: (s := plain.ask()) and s.node.pid != first, 5, "no other one")
    out, err = run.communicate(timeout=30)
    assert run.returncode == 0, err.decode()
    assert sorted(map(int, out.split())) == list(range(12))


def test_doctor_names_what_is_reduced(plain):
    done = plain.call("doctor", "--json")
    told = {one["try"]: one for one in json.loads(done.stdout)}
    assert done.returncode == 0, "nothing is missing"
    assert told["give a worker a control group of its own"]["state"] == "reduced"
    assert "SIGSTOP" in told["give a worker a control group of its own"]["follows"]
    assert told["raise the load manager's priority"]["state"] == "reduced"
    for name in ("take a lock", "stop a process", "read available memory", "write to the state directory"):
        assert told[name]["state"] == "ok", told[name]


def test_freeze_is_refused_with_a_reason(plain):
    done = plain.call("run", "--pause", "freeze", "true", ":::", "a")
    assert done.returncode == 2
    assert b"--pause freeze" in done.stderr
    assert b"doctor" in done.stderr


@pytest.mark.skipif(parent() is None, reason="needs a memory controller of version 1")
def test_a_round_in_one_gib(open_path):
    work = jobs(11, 16, ["ramp", "spike", "forks"])
    with memory_group(LIMIT) as group:
        program = PlainProgram(open_path / "p")
        came = by_loadkeeper(group, program, work, python=program.python, load=readable(LOAD, open_path))
        program.close()
    assert came.kernel_kills == 0, came
    assert (came.code, came.done) == (0, len(work)), came


def readable(path: str, where: Path) -> str:
    copy = where / "load.py"
    copy.write_bytes(Path(path).read_bytes())
    copy.chmod(0o755)
    return str(copy)


def test_a_place_that_may_not_be_written_fails_its_task_alone(plain, open_path):
    there = plain.root / "there"
    (there / "a").mkdir(parents=True)
    for folder, mode in ((there, 0o777), (there / "a", 0o555)):
        folder.chmod(mode)
    done = plain.call("run", "--results", f"{there}/{{}}/o", "echo", ":::", "a", "b", timeout=30)
    assert done.returncode == 1
    assert b"Permission denied" in done.stderr
    assert (there / "b" / "o").read_bytes() == b"b\n"
