"""A pid that is somebody else's the next moment: forced, in a pid namespace of our own, with pidfds and without.

This file is also the program that runs there, as its process 1.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from support.program import Program, command_of, state_of, wait_until

from loadkeeper.guard import Guard
from loadkeeper.linux import process as module
from loadkeeper.linux.process import Process
from loadkeeper.model import WorkerReport, WorkerState

LAST = "/proc/sys/kernel/ns_last_pid"
RUN = ("run", "--cpu", "off", "--memory", "off", "--grace", "0.3")


def way_in() -> list[str] | None:
    """Before a command: it is process 1 of a new namespace, in which the next pid can be chosen."""
    for more in ([], ["--user", "--map-root-user"]):
        words = ["unshare", *more, "--pid", "--fork", "--mount-proc"]
        done = subprocess.run([*words, "sh", "-c", f"echo 4000 > {LAST}"], capture_output=True, check=False)
        if done.returncode == 0:
            return words
    return None


INSIDE = way_in() if shutil.which("unshare") else None
pytestmark = pytest.mark.skipif(INSIDE is None, reason="a pid namespace needs root or user namespaces")


@pytest.mark.parametrize("pidfds", ["pidfds", "refused"])
@pytest.mark.parametrize("scenario", ["process", "guard", "manager", "steering", "load_manager"])
def test_who_has_the_pid_now_is_left_alone(tmp_path, scenario, pidfds):
    assert INSIDE is not None
    refuse = tmp_path / "sitecustomize.py"
    refuse.write_text(
        "import errno, os\ndef refuse(*_):\n    raise OSError(errno.ENOSYS, '')\nos.pidfd_open = refuse\n"
    )
    path = [*([str(tmp_path)] if pidfds == "refused" else []), *filter(None, sys.path)]
    done = subprocess.run(
        [*INSIDE, sys.executable, __file__, scenario, pidfds],
        env={**os.environ, "PYTHONPATH": ":".join(path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == b"left alone\n", done.stderr.decode()


# -------------------------------------------------------------------------------------------------------------- inside


def take(pid: int) -> "subprocess.Popen[bytes]":
    """Somebody else's process, with this pid."""
    time.sleep(0.03)  # of another tick than the one before it
    for _ in range(50):
        Path(LAST).write_text(str(pid - 1))
        innocent = subprocess.Popen(["sleep", "70"], start_new_session=True)
        if innocent.pid == pid:
            wait_until(lambda: state_of(pid) == "S" and command_of(pid).startswith(b"sleep"), 5, "it does not start")
            return innocent
        innocent.kill()
        innocent.wait()
    raise AssertionError(f"process {pid} cannot be had")


def gone(pid: int) -> None:
    """It is dead and reaped: by us, or by whoever is its parent."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)
    wait_until(lambda: state_of(pid) == "", 10, f"process {pid} stays")


def lives(innocent: "subprocess.Popen[bytes]", state: str = "S") -> None:
    assert innocent.poll() is None, "it was ended"
    assert state_of(innocent.pid) == state, "it was stopped, or continued"


def process(_: Program) -> None:
    first = subprocess.Popen(["sleep", "60"], start_new_session=True)
    held = Process.open(first.pid)
    assert held is not None
    assert (held.fileno() is None) == (sys.argv[2] == "refused")
    began = held.start_time
    first.kill()
    first.wait()
    innocent = take(first.pid)
    for signum in (signal.SIGSTOP, signal.SIGTERM, signal.SIGKILL):
        assert held.send(signum) is False
        assert held.send_group(signum) is False
    held.stop()
    held.kill()
    assert (held.alive(), held.state()) == (False, None)
    assert Process.open(innocent.pid, began) is None
    now = Process.open(innocent.pid)
    assert now is not None
    assert now.start_time > began
    lives(innocent)
    assert now.send(signal.SIGKILL), "and a signal would have reached it"
    assert innocent.wait(5) == -signal.SIGKILL


def guard(_: Program) -> None:
    first = subprocess.Popen(["sleep", "60"], start_new_session=True)
    held = Process.open(first.pid)
    assert held is not None
    report = WorkerReport(1, "main", "1", first.pid, held.start_time, 0.0, WorkerState.RUNNING, 0.0)
    first.kill()
    first.wait()
    innocent = take(first.pid)
    guard, now = Guard(), time.monotonic()
    guard.orphaned("r1", [report], 0.0, now)
    while guard.busy:
        now += 0.05
        guard.turn(now)
    lives(innocent)


def manager(program: Program) -> None:
    """Process manager and worker die while the load manager sleeps; when it wakes, both pids are other people's."""
    run = program.start(*RUN, "sleep", ":::", "61")
    status = wait_until(lambda: (s := program.ask()) and s.runs and s.runs[0].workers and s, 20, "nothing runs")
    worker = status.runs[0].workers[0].pid
    os.kill(status.node.pid, signal.SIGSTOP)
    run.kill()
    run.wait()
    gone(worker)
    innocents = [take(worker), take(run.pid)]
    os.kill(status.node.pid, signal.SIGCONT)
    wait_until(lambda: (s := program.ask()) is None or not s.runs, 10, "the dead run is not noticed")
    wait_until(lambda: not program.managers(), 10, "the guard does not come to an end")
    for innocent in innocents:
        lives(innocent)


def steering(program: Program) -> None:
    """A member of a paused worker is gone, and its pid a stranger's who stands: he is neither continued nor ended."""
    run = program.start(*RUN, "--pause", "stop", "--name", "n", "(setsid sleep 62 &); exec sleep {}", ":::", "61")
    status = wait_until(lambda: (s := program.ask()) and s.runs and s.runs[0].workers and s, 20, "nothing runs")
    member = wait_until(lambda: asleep("62"), 10, "it has no second member")
    assert program.call("pause", "n").returncode == 0
    worker = status.runs[0].workers[0].pid
    wait_until(lambda: state_of(worker) == state_of(member) == "T", 10, "they do not stand")
    gone(member)
    innocent = take(member)
    innocent.send_signal(signal.SIGSTOP)
    wait_until(lambda: state_of(member) == "T", 5, "it does not stand")
    assert program.call("resume", "n").returncode == 0
    wait_until(lambda: state_of(worker) == "S", 10, "the worker does not go on")
    time.sleep(0.3)
    lives(innocent, "T")
    assert program.call("stop", "n").returncode == 0
    assert run.wait(20) == 143
    lives(innocent, "T")


def asleep(seconds: str) -> int | None:
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if name.isdigit() and Path(f"/proc/{name}/cmdline").read_bytes() == f"sleep\0{seconds}\0".encode():
                return int(name)
    return None


def load_manager(program: Program) -> None:
    """Who has the pid of a dead load manager is not taken for it."""
    run = program.start(*RUN, "sleep 3; echo {}", ":::", "a")
    status = wait_until(lambda: (s := program.ask()) and s.runs and s.runs[0].workers and s, 20, "nothing runs")
    os.kill(run.pid, signal.SIGSTOP)
    gone(status.node.pid)
    innocent = take(status.node.pid)
    os.kill(run.pid, signal.SIGCONT)
    new = wait_until(lambda: (s := program.ask()) and s.runs and s.node, 10, "no other load manager comes up")
    assert new.pid != innocent.pid
    out, err = run.communicate(timeout=20)
    assert (run.returncode, out) == (0, b"a\n"), err.decode()
    lives(innocent)


SCENARIOS = {
    "process": process,
    "guard": guard,
    "manager": manager,
    "steering": steering,
    "load_manager": load_manager,
}


def main() -> None:
    assert (module._pidfd(os.getpid()) is None) == (sys.argv[2] == "refused")
    with tempfile.TemporaryDirectory() as directory:
        program = Program(Path(directory, "p"))
        SCENARIOS[sys.argv[1]](program)
    print("left alone")


if __name__ == "__main__":
    main()
