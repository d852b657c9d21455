"""Ends of a run that nobody planned: signals, killed managers, an operator's word."""

import json
import os
import pty
import random
import signal
import subprocess
import sys
import time

import pytest
from support.program import command_of, marked, stands, state_of, wait_until

SLEEPERS = ("run", "--cpu", "off", "-j", "3", "--name", "sleepers", "sleep", ":::", "60.1", "60.2", "60.3", "60.4")
HANDLER = "trap 'echo asked >> {0}; exit 0' TERM; echo up >> {0}; while :; do sleep 0.05; done; : {{}}"


@pytest.fixture(autouse=True)
def whatever_else_runs(program):
    """These tests count workers: a machine that is busy with something else must not keep them from starting."""
    program.environment["LOADKEEPER_CPU"] = "off"


def run_of(program, workers=1):
    """The only run, once it has so many workers."""

    def found():
        runs = program.status()["runs"]
        return runs[0] if runs and len(runs[0]["workers"]) >= workers else None

    return wait_until(found, 15, "the run does not show")


def finish(process, seconds=20):
    out, err = process.communicate(timeout=seconds)
    return process.returncode, out, err.decode()


# ------------------------------------------------------------------------------------------------------------ signals


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_the_run_gently(program, tmp_path, number, code):
    log = tmp_path / "log"
    process = program.start("run", HANDLER.format(log), ":::", "x")
    wait_until(lambda: log.exists() and "up" in log.read_text(), 10, "the worker is not up")
    run = run_of(program)["id"]
    process.send_signal(number)
    got, _, err = finish(process)
    assert got == code
    assert "asked" in log.read_text()
    assert "1 not done" in err.splitlines()[-1]
    assert marked(run) == []


def test_twice_ends_at_once(program, tmp_path):
    up = tmp_path / "up"
    stubborn = f"import signal, time; signal.signal(15, signal.SIG_IGN); open({str(up)!r}, 'w'); time.sleep(60)"
    process = program.start("run", sys.executable, "-c", stubborn, ":::", "x")
    run = run_of(program)["id"]
    wait_until(up.exists, 10, "the worker is not up")
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None, "the first one is gentle"
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    assert finish(process)[0] == 130
    assert time.monotonic() - began < 5
    assert marked(run) == []


def test_a_hangup_that_is_ignored_stays_ignored(program):
    process = program.start("run", "sleep", ":::", "1", preexec_fn=lambda: signal.signal(1, signal.SIG_IGN))
    run_of(program)
    process.send_signal(signal.SIGHUP)
    assert finish(process)[0] == 0


def test_suspend_stops_the_workers_and_fg_continues_them(program):
    """As a shell does it: a session with a terminal, ^Z, then SIGCONT to the group."""
    leader, follower = pty.openpty()
    process = program.start("run", "sleep", ":::", "4.01", stdin=follower, stderr=follower, start_new_session=True)
    os.close(follower)
    worker = run_of(program)["workers"][0]["pid"]
    os.killpg(process.pid, signal.SIGTSTP)
    wait_until(lambda: stands(worker) and state_of(process.pid) == "T", 5, "they do not stand")
    time.sleep(1.5)
    os.killpg(process.pid, signal.SIGCONT)
    wait_until(lambda: not stands(worker), 5, "the worker does not go on")
    os.close(leader)  # a terminal that goes away ends nothing
    assert process.wait(15) == 0


# ----------------------------------------------------------------------------------------------------------- managers


def test_workers_of_a_killed_process_manager_are_ended(program):
    process = program.start(
        "run", "-j", "2", "setsid sleep 61.5 & (setsid setsid sleep 61.6 &) ; sleep {}", ":::", "60", "60"
    )
    run = run_of(program, 2)["id"]
    wait_until(lambda: len(marked(run)) >= 6, 10, "not all processes are up")
    process.kill()
    process.wait()
    began = time.monotonic()
    wait_until(lambda: not marked(run), 5, "somebody lives on")
    assert time.monotonic() - began < 2.5


def test_no_control_group_is_left_of_a_killed_process_manager(program):
    """Though its workers were frozen."""
    process = program.start("run", "-j", "2", "--name", "r", "sleep", ":::", "60.5", "60.6")
    run = run_of(program, 2)
    groups = [
        path for path in (group_of(worker["pid"]) for worker in run["workers"]) if f"loadkeeper-{run['id']}" in path
    ]
    program.call("pause", "r")
    wait_until(lambda: all(stands(worker["pid"]) for worker in run["workers"]), 5, "they do not stand")
    process.kill()
    process.wait()
    wait_until(lambda: not marked(run["id"]), 3, "somebody lives on")
    wait_until(lambda: not [path for path in groups if os.path.exists(path)], 3, f"left: {groups}")


def group_of(pid):
    """The directory of its version 2 control group."""
    with open(f"/proc/{pid}/cgroup") as file:
        path = next((line.split("::")[1].strip() for line in file if line.startswith("0::")), "")
    return next(
        (root + path for root in ("/sys/fs/cgroup/unified", "/sys/fs/cgroup") if os.path.exists(root + path)), ""
    )


def test_a_worker_that_cleared_its_environment_is_ended_with_its_killed_manager(program):
    process = program.start("run", "-j", "1", "env", "-i", "sleep", ":::", "60.7")
    worker = run_of(program)["workers"][0]["pid"]
    wait_until(lambda: command_of(worker).startswith(b"sleep"), 5, "it does not run")
    process.kill()
    process.wait()
    wait_until(lambda: state_of(worker) in ("", "Z"), 3, "it lives on")


def test_a_process_manager_killed_at_any_moment_leaves_nobody(program):
    chance = random.Random(3)
    for _ in range(12):
        process = program.start("run", "-j", "4", "sleep 62 & setsid sleep 63 & sleep 64", ":::", *"abcdefgh")
        time.sleep(chance.uniform(0.05, 0.9))
        process.kill()
        process.wait()
    found = b"LOADKEEPER_WORKER="
    wait_until(lambda: not of_root(program, found), 5, "somebody lives on")


def of_root(program, mark):
    """Living processes that carry a worker's mark and this test's directories."""
    found = []
    for name in os.listdir("/proc"):
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                environment = file.read()
        except OSError:
            continue
        if mark in environment and str(program.root).encode() in environment and state_of(int(name)) not in "ZX":
            found.append(command_of(int(name)))
    return found


def test_a_killed_load_manager_is_replaced_and_the_run_goes_on(program):
    process = program.start("run", "-j", "3", "sleep 0.5; echo {}", ":::", *map(str, range(40)))
    run_of(program)
    killed = []
    for _ in range(3):
        killed.append(wait_until(lambda: manager_of(program, killed), 5, "no other load manager answers"))
        os.kill(killed[-1], signal.SIGKILL)
    wait_until(lambda: manager_of(program, killed), 5, "no other load manager answers")
    code, out, err = finish(process, 60)
    assert code == 0, err
    assert sorted(out.split(), key=int) == [str(n).encode() for n in range(40)]
    assert "another one has taken over" in err


def manager_of(program, killed):
    """The pid of the load manager that answers now, unless it is one that was killed."""
    pid = (program.status()["node"] or {}).get("pid")
    return None if pid in killed else pid


def test_while_there_is_no_load_manager_workers_live_and_paused_ones_stay_paused(program):
    process = program.start("run", "-j", "2", "--name", "r", "sleep", ":::", "60", "60", "60")
    workers = [worker["pid"] for worker in run_of(program, 2)["workers"]]
    assert program.call("pause", "r").returncode == 0
    wait_until(lambda: all(stands(pid) for pid in workers), 5, "they do not stand")
    os.kill(program.managers()[0], signal.SIGKILL)
    wait_until(program.managers, 3, "it is not replaced")
    time.sleep(1)
    assert all(stands(pid) for pid in workers), "the operator's word is lost"
    program.call("stop", "r")
    assert finish(process)[0] == 143


# ------------------------------------------------------------------------------------------------------------ steering


def test_stop_ends_the_run_and_says_so(program):
    process = program.start(*SLEEPERS)
    run = run_of(program, 3)
    done = program.call("stop", "sleepers")
    assert done.returncode == 0, done.stderr
    code, _, err = finish(process)
    assert code == 143
    assert "stopped by the operator" in err
    assert marked(run["id"]) == []


def test_drain_lets_what_runs_finish(program):
    process = program.start("run", "-j", "1", "--name", "r", "sleep 1; echo {}", ":::", "a", "b", "c")
    run_of(program)
    assert program.call("stop", "--drain", "r").returncode == 0
    code, out, err = finish(process)
    assert (code, out) == (143, b"a\n")
    assert "2 not done" in err


def test_one_worker_is_paused_and_continued(program):
    process = program.start(*SLEEPERS)
    worker = run_of(program, 3)["workers"][1]
    assert program.call("pause", worker["id"]).returncode == 0
    wait_until(lambda: stands(worker["pid"]), 5, "it does not stand")
    shown = {w["id"]: w for w in program.status()["runs"][0]["workers"]}
    assert shown[worker["id"]]["state"] == "paused"
    assert "asked" in shown[worker["id"]]["why"]
    assert [w["state"] for id, w in shown.items() if id != worker["id"]] == ["running", "running"]
    assert program.call("resume", worker["id"]).returncode == 0
    wait_until(lambda: not stands(worker["pid"]), 5, "it does not go on")
    process.send_signal(signal.SIGTERM)
    assert finish(process)[0] == 143


def test_who_was_continued_by_somebody_else_is_stopped_again(program):
    process = program.start("run", "--pause", "stop", "--name", "r", "sleep", ":::", "60")
    worker = run_of(program)["workers"][0]["pid"]
    program.call("pause")
    wait_until(lambda: state_of(worker) == "T", 5, "it does not stand")
    os.kill(worker, signal.SIGCONT)
    wait_until(lambda: state_of(worker) == "T", 5, "it is not stopped again")
    process.send_signal(signal.SIGTERM)
    assert finish(process)[0] == 143


def test_a_name_that_nobody_has_is_an_error(program):
    process = program.start(*SLEEPERS)
    run_of(program)
    done = program.call("pause", "nobody")
    assert done.returncode == 2
    assert b"nobody" in done.stderr
    done = program.call("pause", "nobody", "sleepers")  # and whoever was reached is told
    assert done.returncode == 2
    assert done.stdout.startswith(b"paused: ")
    process.send_signal(signal.SIGTERM)
    finish(process)


# ----------------------------------------------------------------------------------------------------------- two runs


def test_a_second_run_joins_the_same_load_manager(program):
    first = program.start(*SLEEPERS)
    run_of(program)
    second = program.start("run", "--name", "other", "sleep", ":::", "60")
    runs = wait_until(lambda: len(r := program.status()["runs"]) == 2 and r, 10, "the second does not join")
    assert [run["name"] for run in runs] == ["sleepers", "other"]
    assert len(program.managers()) == 1
    for process in (first, second):
        process.send_signal(signal.SIGTERM)
        assert finish(process)[0] == 143


def test_a_run_inside_a_worker_is_counted_once(program):
    inner = "import time; held = b'x' * 200_000_000; time.sleep(60)"
    inside = program.command("run", "--name", "inner", "--tasks", "1", "--", sys.executable, "-c", inner, "{}")
    process = program.start("run", "--name", "outer", *inside, ":::", "v")
    runs = wait_until(
        lambda: len(r := program.status()["runs"]) == 2 and all(x["workers"] for x in r) and r, 15, "no inner run"
    )
    assert [run["name"] for run in runs] == ["outer", "inner"]
    wait_until(lambda: held(program)["inner"] > 190e6, 10, "the memory does not show")
    assert held(program)["outer"] < 100e6
    process.send_signal(signal.SIGTERM)
    assert finish(process)[0] == 143


def held(program):
    return {run["name"]: sum(worker["memory"] or 0 for worker in run["workers"]) for run in program.status()["runs"]}


def test_the_run_returns_though_a_pipe_is_read_to_its_end(program):
    """`ssh host loadkeeper run …` returns when the last holder of its streams is gone: the load manager holds none."""
    began = time.monotonic()
    done = subprocess.run(
        program.command("run", "true", ":::", "x"),
        env=program.environment,
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 0
    assert time.monotonic() - began < 10
    for pid in program.managers():
        links = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (0, 1, 2)}
        assert not any(link.startswith("pipe:") for link in links)


def test_explain_answers_in_sentences(program):
    process = program.start("run", "-j", "1", "--name", "r", "sleep", ":::", "60", "60")
    run_of(program)
    done = program.call("explain")
    assert done.returncode == 0, done.stderr
    assert b"--jobs" in done.stdout or b"-j" in done.stdout
    told = json.loads(program.call("explain", "--json", "r").stdout)
    assert told
    assert all({"subject", "sentence"} <= set(one) for one in told)
    process.send_signal(signal.SIGTERM)
    finish(process)
