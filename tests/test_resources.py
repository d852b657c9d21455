"""Descriptors, processes, memory that run out under a living run: it holds, says so, goes on when there is room, and
nothing is counted as a task's failure."""

import fcntl
import os
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from support.plain import PlainProgram, drop
from support.program import Program, marked, stands, state_of, wait_until

VALUES = [str(number) for number in range(24)]
TASK = ("sleep 0.3; echo {}", ":::", *VALUES)


@pytest.fixture(autouse=True)
def whatever_else_runs(program):
    program.environment["LOADKEEPER_CPU"] = "off"


def running(program: Program, workers: int = 1):
    """The only run, once it has so many workers."""

    def found():
        status = program.ask()
        runs = status.runs if status else []
        return runs[0] if runs and len(runs[0].workers) >= workers else None

    return wait_until(found, 20, "the run does not show")


def told(run: "subprocess.Popen[bytes]", text: bytes) -> bytes:
    """What it said on stderr until this came."""
    seen = b""
    os.set_blocking(run.stderr.fileno(), False)

    def found() -> bool:
        nonlocal seen
        seen += run.stderr.read() or b""
        return text in seen

    wait_until(found, 20, f"it does not say {text!r}")
    os.set_blocking(run.stderr.fileno(), True)
    return seen


def all_done(run: "subprocess.Popen[bytes]") -> bytes:
    out, err = run.communicate(timeout=60)
    assert run.returncode == 0, err
    assert sorted(out.split()) == sorted(value.encode() for value in VALUES)
    assert b"failed" not in err or b'"failed":0' in err
    return err


# ---------------------------------------------------------------------------------------------------------- descriptors


def test_a_hard_limit_of_descriptors_holds_starts_and_no_more_than_need_be(program):
    program.prefix = ["prlimit", "--nofile=64:64"]
    run = program.start("run", "-j", "20", *TASK)
    wait_until(lambda: (s := program.ask()) and s.runs and len(s.runs[0].workers) >= 4, 20, "not four at once")
    all_done(run)


@pytest.mark.long
def test_a_soft_limit_is_raised_where_it_may_be_and_workers_keep_it(program):
    program.prefix = ["prlimit", "--nofile=40:4096"]
    run = program.start("run", "-j", "8", "sleep 1.5; ulimit -n; : {}", ":::", *VALUES)
    running(program, 8)  # with their files 46 descriptors and more
    out, err = run.communicate(timeout=60)
    assert run.returncode == 0, err
    assert out.split() == [b"40"] * len(VALUES)


def test_a_limit_of_descriptors_that_falls_below_what_is_open(program):
    run = program.start("run", "-j", "4", "setsid sleep 0.4 & sleep 0.3; echo {}", *TASK[1:])
    running(program, 4)
    before = resource.prlimit(run.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(run.pid, resource.RLIMIT_NOFILE, (12, before[1]))
    wait_until(lambda: not program.ask().runs[0].workers, 20, "it does not hold")
    assert run.poll() is None
    resource.prlimit(run.pid, resource.RLIMIT_NOFILE, before)
    all_done(run)


def test_workers_are_ended_though_nobody_can_be_looked_at(program):
    run = program.start("run", "-j", "2", "--timeout", "2s", "setsid sleep 60.7 & sleep 60; echo", ":::", "1", "2")
    shown = running(program, 2)
    wait_until(lambda: len(marked(shown.id)) >= 6, 10, "not all are up")
    resource.prlimit(run.pid, resource.RLIMIT_NOFILE, (8, resource.prlimit(run.pid, resource.RLIMIT_NOFILE)[1]))
    err = run.communicate(timeout=30)[1]
    assert run.returncode == 1, err
    assert err.count(b"ended for --timeout") == 2
    assert b"Traceback" not in err
    assert marked(shown.id) == []


def test_no_descriptors_at_all_is_one_line(program):
    program.prefix = ["prlimit", "--nofile=10:10"]
    done = program.call("run", "echo", ":::", "1")
    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1, done.stderr
    assert b"Too many open files" in done.stderr
    program.prefix = []


# ------------------------------------------------------------------------------------------------------------ processes


@pytest.fixture
def pids():
    """A control group that limits the number of processes."""
    for top in ("/sys/fs/cgroup/pids", "/sys/fs/cgroup"):
        group = Path(top) / f"loadkeeper-test-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        if (group / "pids.max").exists():
            break
        group.rmdir()
    else:
        pytest.skip("needs the right to make a control group with the pids controller")
    yield group
    wait_until(lambda: not (group / "cgroup.procs").read_text().strip(), 10, "somebody stays in the group")
    group.rmdir()


def test_workers_whose_forks_are_refused_are_done_again_fewer_at_once(program, pids):
    (pids / "pids.max").write_text("14")
    program.prefix = ["sh", "-c", f'echo 0 > {pids}/cgroup.procs; exec "$@"', "sh"]
    run = program.start("run", "--json", "-j", "20", *TASK)
    program.prefix = []
    told(run, b"the machine makes no more processes")
    (pids / "pids.max").write_text("200")
    all_done(run)
    program.close()


def test_too_few_threads_for_a_run_are_one_line(program, pids):
    (pids / "pids.max").write_text("4")
    program.prefix = ["sh", "-c", f'echo 0 > {pids}/cgroup.procs; exec "$@"', "sh"]
    done = program.call("run", "echo", ":::", "1")
    program.prefix = []
    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1, done.stderr
    assert b"no more threads" in done.stderr
    program.close()


def allow(pid: int, processes: int) -> None:
    """As the user himself: root may lack the right to."""
    subprocess.run([*drop(), "prlimit", f"--pid={pid}", f"--nproc={processes}:1000"], check=True)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="becoming a plain user needs root")
def test_a_users_limit_of_processes_holds_until_there_is_room(tmp_path):
    for path in (tmp_path, *tmp_path.parents[:3]):
        path.chmod(0o755)
    plain = PlainProgram(tmp_path / "q")
    plain.environment["LOADKEEPER_CPU"] = "off"
    run = plain.start("run", "--json", "-j", "4", "sh", "-c", 'sleep 0.3; echo "$0"', ":::", *VALUES)
    running(plain)
    allow(run.pid, 2)
    told(run, b"Resource temporarily unavailable")
    wait_until(lambda: not plain.ask().runs[0].workers, 20, "it does not hold")
    allow(run.pid, 1000)
    all_done(run)
    plain.close()


# --------------------------------------------------------------------------------------------------------------- memory


def test_no_memory_for_a_start_is_waited_for(program):
    run = program.start("run", "-j", "4", *TASK)
    running(program, 4)
    size = int(Path(f"/proc/{run.pid}/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.prlimit(run.pid, resource.RLIMIT_AS)
    resource.prlimit(run.pid, resource.RLIMIT_AS, (size - (50 << 20), before[1]))
    wait_until(lambda: not program.ask().runs[0].workers, 20, "it does not hold")
    time.sleep(1)
    assert run.poll() is None
    resource.prlimit(run.pid, resource.RLIMIT_AS, before)
    all_done(run)


# ---------------------------------------------------------------------------------------------------- time that stands


def stop_all(program: Program, run: "subprocess.Popen[bytes]", seconds: float, *, workers: bool = True) -> None:
    """As a suspend of the whole machine would: everybody stands for so long."""
    living = [worker.pid for worker in running(program).workers]
    for pid in living if workers else []:
        os.killpg(pid, signal.SIGSTOP)
    managers = [run.pid, *program.managers()]
    for pid in managers:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(seconds)
    for pid in reversed(managers):
        os.kill(pid, signal.SIGCONT)
    for pid in living if workers else []:
        os.killpg(pid, signal.SIGCONT)


def test_a_stop_of_everybody_spends_no_timeout_and_no_grace(program):
    run = program.start("run", "-j", "2", "--timeout", "4s", "sleep 2; echo {}", ":::", *VALUES[:2])
    running(program, 2)
    stop_all(program, run, 5)
    out, err = run.communicate(timeout=30)
    assert run.returncode == 0, err
    assert b"done" in err
    assert len(out.split()) == 2


@pytest.mark.long
def test_a_stop_of_everybody_spends_no_patience(program, tmp_path):
    """A pause that is not over is not over its patience because nobody looked."""
    gauge = tmp_path / "gauge"
    gauge.write_text("0")
    sensor = ("--sensor", f"g=cat {gauge}", "--sensor-every", "0.2s", "--line", "g=10,20,")
    run = program.start("run", "--max-pause", "8s", *sensor, "sleep 5; echo {}", ":::", "1", "2")
    workers = [worker.pid for worker in running(program, 2).workers]
    gauge.write_text("25")
    wait_until(lambda: any(stands(pid) for pid in workers), 10, "nobody is paused")
    stop_all(program, run, 9, workers=False)
    gauge.write_text("0")
    err = run.communicate(timeout=30)[1]
    assert run.returncode == 0, err
    assert b"given back" not in err


TICKS = 'while :; do echo >> "$0"; sleep 0.02; done'


def test_after_a_long_suspend_no_verdict_of_before_it_holds(program, tmp_path):
    """The operator pauses the run while it stands for ^Z: after `fg` its worker does not go on for a moment."""
    ticks = tmp_path / "ticks"
    run = program.start("run", "--name", "r", "sh", "-c", TICKS, ":::", str(ticks), start_new_session=True)
    worker = running(program).workers[0].pid
    wait_until(ticks.exists, 10, "it does not work")
    os.kill(run.pid, signal.SIGTSTP)
    wait_until(lambda: stands(worker) and state_of(run.pid) == "T", 5, "they do not stand")
    program.call("pause", "r")
    time.sleep(1)
    before = ticks.stat().st_size
    os.kill(run.pid, signal.SIGCONT)
    time.sleep(2)
    assert ticks.stat().st_size == before
    assert stands(worker)
    assert program.call("resume", "r").returncode == 0
    wait_until(lambda: ticks.stat().st_size > before, 5, "it does not go on")
    program.call("stop", "r")
    assert run.wait(20) == 143


# ------------------------------------------------------------------------------------------ a file system that hangs


@pytest.fixture
def hanging(tmp_path):
    """A program whose exec hangs until the lease on it is given up, as on a file system that does not answer."""
    path = tmp_path / "hanging"
    shutil.copy("/bin/echo", path)
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    except OSError:
        pytest.skip("no lease on files here")

    def release() -> None:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)

    yield path, release
    os.close(descriptor)
    signal.signal(signal.SIGIO, before)


def test_a_start_that_hangs_is_said_and_recovered_from(program, hanging):
    """docs/limits.md: the process manager stands as long, where its workers have no control groups."""
    path, release = hanging
    run = program.start("run", "--pause", "stop", "--name", "r", str(path), ":::", "1", "2", "3")
    wait_until(lambda: b"does not answer" in program.call("explain").stdout, 15, "nobody says so")
    assert b"does not answer" in program.call("status").stdout
    release()
    out, err = run.communicate(timeout=30)
    assert run.returncode == 0, err
    assert sorted(out.split()) == [b"1", b"2", b"3"]


def test_who_was_being_started_is_ended_with_a_killed_process_manager(program, hanging):
    """It has no mark before its exec, and nobody reported it."""
    path, release = hanging
    run = program.start("run", "--pause", "stop", "--name", "r", str(path), ":::", "1")
    wait_until(lambda: b"does not answer" in program.call("explain").stdout, 15, "nobody says so")
    begun = [int(pid) for pid in Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()]
    assert begun
    wait_until(lambda: program.ask() is not None, 5, "nobody looks")
    run.kill()
    run.wait(10)
    wait_until(lambda: all(state_of(pid) in ("", "Z") for pid in begun), 5, "it waits to be executed")
    release()


@pytest.mark.long
def test_with_control_groups_only_the_worker_hangs(program, hanging):
    path, release = hanging
    run = program.start("run", "--name", "r", "-j", "3", str(path), ":::", "1", "2", "3")
    shown = running(program, 1)
    if shown.workers[0].pid and not any("0::" in line for line in _groups(shown.workers[0].pid, shown.id)):
        release()
        run.wait(20)
        pytest.skip("no control groups for workers here")
    time.sleep(4)
    assert b"does not answer" not in program.call("explain").stdout
    program.call("stop", "r")
    assert run.wait(20) == 143
    release()


def _groups(pid: int, run: str) -> list[str]:
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        return []
    return [line for line in lines if run in line]


# ---------------------------------------------------------------------------------------------- a table of foreigners


@pytest.mark.long
def test_three_thousand_foreign_processes_cost_little(program, record_property):
    """Sleepers that are none of ours: sweeps stay bounded, in time and in memory."""
    run = program.start("run", "-j", "2", "sleep {}", ":::", "60", "60")
    running(program, 2)
    [manager] = program.managers()
    alone = _cost(manager, 5)
    crowd = subprocess.Popen(
        ["sh", "-c", "i=0; while [ $i -lt 3000 ]; do sleep 300 & i=$((i+1)); done; wait"], start_new_session=True
    )
    try:
        wait_until(lambda: len(os.listdir("/proc")) > 3000, 60, "not all are up")
        _cost(manager, 5)
        beside = _cost(manager, 10)
        began = time.monotonic()
        program.call("pause")
        workers = [worker.pid for worker in running(program, 2).workers]
        wait_until(lambda: all(stands(pid) for pid in workers), 5, "they do not stand")
        took = time.monotonic() - began
    finally:
        os.killpg(crowd.pid, signal.SIGKILL)
        crowd.wait()
    record_property(
        "measured",
        f"load manager {100 * alone[0]:.1f} % of a core and {alone[1] >> 20} MiB alone, {100 * beside[0]:.1f} % and "
        f"{beside[1] >> 20} MiB beside 3,000; all paused {took:.2f} s after the word",
    )
    assert beside[0] < 0.25
    assert beside[1] - alone[1] < 16 << 20
    run.send_signal(signal.SIGTERM)
    run.communicate(timeout=20)


def _cost(pid: int, seconds: float) -> tuple[float, int]:
    """(share of a core, bytes held) over some seconds."""

    def spent() -> float:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before = spent()
    time.sleep(seconds)
    held = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
    return (spent() - before) / seconds, held
