"""Each manager guards the other: both may die at once, either may hang, and nobody is left frozen, orphaned or lost."""

import os
import signal
import subprocess
import sys
import time

import pytest
from support.freezer_group import freezer_group
from support.freezer_group import parent as freezer_parent
from support.memory_group import memory_group, parent
from support.program import Program, command_of, marked, stands, state_of, wait_until
from support.rounds import LIMIT, LOAD

from loadkeeper.channel.address import Place, secure
from loadkeeper.channel.register import Register
from loadkeeper.channel.server import Server, holder
from loadkeeper.guard import Guard
from loadkeeper.linux.process import Process
from loadkeeper.model import Hello, Limits
from loadkeeper.record.journal_reader import read_outcomes

needs_freezer = pytest.mark.skipif(freezer_parent() is None, reason="needs root and a freezer of version 1")
SLEEPERS = "setsid sleep 71 & (setsid setsid sleep 72 &); sleep {}"


@pytest.fixture(autouse=True)
def whatever_else_runs(program):
    program.environment["LOADKEEPER_CPU"] = "off"


def only_run(program, workers):
    def found():
        status = program.ask()
        runs = status.runs if status is not None else []
        return runs[0] if runs and len(runs[0].workers) >= workers else None

    return wait_until(found, 15, "the run does not show")


def leftovers(run):
    """Who lives of the run, and control groups that are left of it."""
    groups = [path for path, _, _ in os.walk("/sys/fs/cgroup") if f"loadkeeper-{run}." in path]
    return marked(run) + groups


def kill(*pids):
    """At once: none of them sees another one die."""
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids:
            os.kill(pid, number)


# -------------------------------------------------------------------------------------------------------- both killed


@pytest.mark.parametrize("paused", [False, True])
def test_what_both_left_is_gone_soon_after_the_next_run_begins(program, paused):
    process = program.start("run", "--name", "r", "-j", "3", SLEEPERS, ":::", "70", "70", "70")
    run = only_run(program, 3).id
    wait_until(lambda: len(marked(run)) >= 9, 10, "not all processes are up")
    if paused:
        program.call("pause", "r")
        wait_until(lambda: all(stands(pid) for pid in marked(run)), 5, "they do not stand")
    kill(process.pid, *program.managers())
    process.wait()
    time.sleep(0.3)
    assert len(marked(run)) >= 9, "nobody is there to end them"
    other = program.start("run", "sleep", ":::", "3")
    wait_until(lambda: not leftovers(run), 2, f"left: {leftovers(run)}")
    assert other.wait(20) == 0
    assert not list((program.root / "r" / "loadkeeper" / "runs").iterdir()), "runs that are over are still announced"


def test_what_both_left_is_gone_before_the_same_task_begins_again(program, tmp_path):
    """A task that is resumed never runs beside its first copy."""
    log, pids, again = tmp_path / "log", tmp_path / "pids", tmp_path / "again"
    pids.mkdir()
    task = (
        f"grep -qs State:.[^Z] /proc/$(cat {pids}/{{}} 2>/dev/null)/status && echo twice >> {log}; "
        f"echo $$ > {pids}/{{}}; "
        f"trap 'sleep 0.5; exit 1' TERM; [ -e {again} ] || sleep 30; sleep 0.1"
    )
    words = ("run", "-j", "2", "--joblog", str(tmp_path / "job.log"))
    process = program.start(*words, task, ":::", "a", "b")
    only_run(program, 2)
    wait_until(lambda: len(list(pids.iterdir())) == 2, 5, "they do not run")
    kill(process.pid, *program.managers())
    process.wait()
    again.touch()
    resumed = program.call(*words, "--resume", task, ":::", "a", "b")
    assert resumed.returncode == 0, resumed.stderr
    assert not log.exists(), "a task ran beside its first copy"


def test_a_run_of_a_living_process_manager_is_left_alone(program):
    process = program.start("run", "-j", "1", "sleep", ":::", "4")
    run = only_run(program, 1).id
    (worker,) = marked(run)
    kill(*program.managers())
    other = program.call("run", "true", ":::", "x")
    assert other.returncode == 0
    assert process.wait(20) == 0
    assert worker not in marked(run)
    (outcome,) = [fate for path in program.journals() for fate in read_outcomes(path) if fate.seconds > 2]
    assert outcome.attempt == 1


def test_a_register_survives_what_somebody_put_there(tmp_path, caplog):
    here = Place(secure(f"{tmp_path}/place"))
    register = Register(here)
    gone = subprocess.Popen(["true"])
    gone.wait()
    register.announce(Hello("dead", "n", gone.pid, 1, Limits(), 10.0, "true", "/tmp"))
    pid, start = os.getpid(), Process.myself().start_time
    register.announce(Hello("live", "n", pid, start, Limits(), 10.0, "true", "/tmp"))
    runs = tmp_path / "runs"
    (runs / "noise").write_bytes(os.urandom(300))
    (runs / "long").write_bytes(b"[" * 200_000)
    (runs / "half").write_text('{"run": "half", "pid": 1')
    (runs / "other").write_bytes((runs / "dead").read_bytes())
    assert [dead.run for dead in register.dead()] == ["dead"]
    assert sorted(path.name for path in runs.iterdir()) == ["dead", "live"]
    said = caplog.text
    assert all(name in said for name in ("noise", "long", "half"))


# ---------------------------------------------------------------------------------------------------------- one hangs


def test_a_stopped_load_manager_is_continued(program):
    process = program.start("run", "-j", "1", "sleep", ":::", *["0.5"] * 24)
    only_run(program, 1)
    (manager,) = program.managers()
    os.kill(manager, signal.SIGSTOP)
    wait_until(lambda: state_of(manager) == "T", 2, "it does not stand")
    wait_until(lambda: state_of(manager) != "T", 8, "nobody continues it")
    process.send_signal(signal.SIGTERM)
    process.wait(10)


@needs_freezer
def test_a_load_manager_that_hangs_for_good_is_replaced(program, freezer):
    """A frozen one hears no SIGCONT. The next run finds it there and replaces it, too."""
    process = program.start("run", "-j", "1", "sleep", ":::", "25", "0.1")
    only_run(program, 1)
    (manager,) = program.managers()
    freezer.freeze(manager)
    newcomer = program.start("run", "true", ":::", "x")
    time.sleep(11)
    freezer.thaw()  # SIGKILL waits for the thaw
    wait_until(lambda: program.managers() not in ([], [manager]), 3, "no other one comes up")
    assert newcomer.wait(10) == 0
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 143


@pytest.fixture
def freezer():
    """Holds processes so that no signal wakes them."""
    with freezer_group() as group:
        yield group


def test_a_load_manager_that_never_comes_up_again_is_missed(program, tmp_path):
    """What runs goes on; it is said; and when one can come up again all goes on."""
    broken = tmp_path / "broken"
    starter = tmp_path / "lm"
    (place,) = program_places(program)
    starter.write_text(
        f'#!/bin/sh\n[ -e {broken} ] && {{ echo "no, not now" >&2; exit 1; }}\n'
        f"exec {sys.executable} -P -m loadkeeper.load_manager {place}\n"
    )
    starter.chmod(0o755)
    process = program.start("run", "--lm-command", str(starter), "-j", "1", "sleep", ":::", "4", "0.1")
    only_run(program, 1)
    broken.touch()
    kill(*program.managers())
    line = wait_for_line(process, b"no other one comes up", 10)
    assert b"lm.log" in line
    broken.unlink()
    assert process.wait(20) == 0


def program_places(program):
    """Where its load manager will be: one run says."""
    assert program.call("run", "true", ":::", "x").returncode == 0
    return [str(path) for path in (program.root / "r" / "loadkeeper").iterdir() if path.name != "runs"]


def wait_for_line(process, words, seconds):
    os.set_blocking(process.stderr.fileno(), False)
    read = bytearray()

    def found():
        read.extend(process.stderr.read() or b"")
        return next((line for line in read.splitlines() if words in line), None)

    return wait_until(found, seconds, f"not said: {words!r}, but {bytes(read)!r}")


def test_a_place_that_was_tidied_up_is_left(tmp_path):
    secure(f"{tmp_path}/r")
    here = Place(secure(f"{tmp_path}/r/place"))
    server = Server(here)
    assert holder(here.lock).pid == os.getpid()
    assert server.keep()
    os.unlink(here.lock)
    assert not server.keep()
    server.close()
    assert holder(here.lock) is None


@pytest.mark.parametrize("pause", ["stop", "auto"])
def test_who_stood_by_the_hand_of_a_load_manager_that_died_goes_on(program, pause):
    """As after the second hand's stop: its process manager does not know of it, and nobody else is left who does."""
    process = program.start("run", "--pause", pause, "-j", "1", "sleep", ":::", "2", "0.1")
    worker = only_run(program, 1).workers[0].pid
    os.kill(worker, signal.SIGSTOP)
    wait_until(lambda: state_of(worker) == "T", 2, "it does not stand")
    kill(*[pid for pid in program.managers() if b"load_manager" in command_of(pid)])
    assert process.wait(20) == 0


# -------------------------------------------------------------------------------------------- a stuck process manager

needs_group = pytest.mark.skipif(parent() is None, reason="needs root and a memory controller of version 1")
GROWING = (
    "run",
    "-j",
    "4",
    "--retries",
    "1",
    sys.executable,
    LOAD,
    "ramp",
    "420",
    "{}",
    ":::",
    "6",
    "6.1",
    "6.2",
    "6.3",
)


@needs_group
@pytest.mark.parametrize("pause", ["stop", "auto"])
def test_workers_of_a_stopped_process_manager_are_paused_for_memory(tmp_path, pause):
    """Four times 420 MiB do not fit into 1 GiB; whoever should pause them is stopped itself."""
    with memory_group(LIMIT) as group:
        program = Program(tmp_path / "p", group.prefix)
        program.environment["LOADKEEPER_CPU"] = "off"
        process = program.start(*GROWING[:1], "--pause", pause, *GROWING[1:])
        run = only_run(program, 2)
        time.sleep(1.0)
        process.send_signal(signal.SIGSTOP)
        complaint = "nobody stands, and all of them want more than there is"
        wait_until(lambda: any(stands(pid) for pid in marked(run.id)), 40, complaint)
        time.sleep(5)
        assert group.oom_kills() == 0
        process.send_signal(signal.SIGCONT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert group.oom_kills() == 0
        fates = [fate for path in program.journals() for fate in read_outcomes(path)]
        assert sum(fate.outcome == "done" for fate in fates) == 4
        assert not any(fate.outcome == "failed" for fate in fates)
        program.close()


@needs_group
def test_workers_of_a_stopped_process_manager_are_ended_for_memory(tmp_path):
    """Somebody else takes memory: pausing does not help, so one must end; its task comes back, and did not fail."""
    with memory_group(LIMIT) as group:
        program = Program(tmp_path / "p", group.prefix)
        program.environment["LOADKEEPER_CPU"] = "off"
        flat = ("run", "-j", "3", "--retries", "1", sys.executable, LOAD, "idle", "180", "{}")
        process = program.start(*flat, ":::", "15", "15.1", "15.2")
        run = only_run(program, 3)
        wait_until(lambda: group.number("memory.usage_in_bytes") > 560 << 20, 10, "they do not grow")
        process.send_signal(signal.SIGSTOP)
        hog = group.start(sys.executable, "-c", HOG)
        wait_until(lambda: len(marked(run.id)) < 3, 15, "nobody is ended")
        time.sleep(1.0)
        assert group.oom_kills() == 0
        process.send_signal(signal.SIGCONT)
        hog.kill()
        hog.wait()
        _, err = process.communicate(timeout=90)
        assert process.returncode == 0, err
        fates = [fate for path in program.journals() for fate in read_outcomes(path)]
        assert sum(fate.outcome == "done" for fate in fates) == 3
        assert sum(fate.outcome == "given-back" for fate in fates) >= 1
        assert not any(fate.outcome == "failed" for fate in fates)
        program.close()


HOG = """
import time
held = []
for _ in range(95):
    held.append(bytearray(5 << 20))
    time.sleep(0.08)
time.sleep(60)
"""


# ------------------------------------------------------------------------------------------------------ who never dies


@needs_freezer
def test_who_cannot_die_is_told_and_waited_for_by_nobody(freezer, caplog):
    environment = {**os.environ, "LOADKEEPER_WORKER": "undying.1"}
    process = subprocess.Popen(["sleep", "60"], env=environment, start_new_session=True)
    wait_until(lambda: command_of(process.pid).startswith(b"sleep"), 5, "it does not start")
    freezer.freeze(process.pid)
    guard, began = Guard(), time.monotonic()
    guard.orphaned("undying", [], 0.2, began)
    scans = 0
    while guard.busy:
        now = time.monotonic()
        assert now < began + 6, "it waits for ever"
        scans += now >= guard.due(now)
        guard.turn(now)
        time.sleep(0.01)
    assert f"processes {process.pid} do not die" in caplog.text
    freezer.thaw()
    process.wait(5)
    wait_until(lambda: "undying" in guard.turn(time.monotonic()), 5, "that it is gone is not seen")
