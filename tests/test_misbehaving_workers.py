"""Workers that misbehave: each is paused, ended and counted right and disturbs nobody; what cannot be done is said.

With control groups of version 2 for workers and without, as root and as a plain user."""

import json
import os
import pty
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from itertools import count, pairwise
from pathlib import Path

import pytest
from support import freezer_group, pids_group
from support.freezer_group import freezer_group as frozen_group
from support.plain import NOBODY, PlainProgram, possible
from support.program import Program, command_of, marked, processes, stands, state_of, wait_until

from loadkeeper.linux.cgroup import delegated_base
from loadkeeper.record.journal_reader import read_outcomes

pytestmark = pytest.mark.timeout(120)
_numbers = count(1)


def ways(*now: str, later: tuple[str, ...] = ()) -> pytest.MarkDecorator:
    """In which of them a test is done, and in which only by `./check long`."""
    params = [*now, *(pytest.param(way, marks=pytest.mark.long) for way in later)]
    return pytest.mark.parametrize("program", params, indirect=True)


@pytest.fixture(params=["leaf", "stop", "plain"])
def program(request, open_path):
    """`run` with a control group for each worker; without one; without one and as a plain user."""
    if request.param == "plain" and not possible:
        pytest.skip("becoming a plain user needs root")
    if request.param == "leaf" and delegated_base() is None:
        pytest.skip("no version 2 control group here that leaves may be made in")
    made = PlainProgram(open_path / "p") if request.param == "plain" else Program(open_path / "p")
    made.environment |= {"LOADKEEPER_CPU": "off", "LOADKEEPER_PAUSE": "freeze" if request.param == "leaf" else "stop"}
    made.leaf = request.param == "leaf"
    yield made
    made.close()


@pytest.fixture
def lone(tmp_path):
    """For what is the same in all of them."""
    made = Program(tmp_path / "p", environment={"LOADKEEPER_CPU": "off"})
    yield made
    made.close()


def unique() -> str:
    """Seconds that no other `sleep` on this machine sleeps."""
    return f"7{os.getpid()}.{next(_numbers)}"


def named(word: str) -> list[int]:
    """Who lives and has this among its arguments, the programs of this project left out."""
    found = [pid for pid in processes() if word.encode() in command_of(pid).split(b"\0")]
    return [pid for pid in found if state_of(pid) not in ("Z", "X", "") and b"loadkeeper" not in command_of(pid)]


def end(word: str) -> None:
    """Whom no run can end."""
    for pid in named(word):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def in_session(session: int) -> list[int]:
    found = []
    for pid in processes():
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] not in "ZX":
                found.append(pid)
    return found


def live(program, workers=1):
    """The only run, once it has so many workers."""

    def found():
        status = program.ask()
        return status.runs[0] if status and status.runs and len(status.runs[0].workers) >= workers else None

    return wait_until(found, 15, "the run does not show")


def finish(process, seconds=20):
    """(exit code, stdout, stderr, seconds it took)."""
    began = time.monotonic()
    out, err = process.communicate(timeout=seconds)
    return process.returncode, out, err.decode(), time.monotonic() - began


def interrupt(process):
    """^C, until it has heard two: signals that come together are one."""
    began = time.monotonic()
    while process.poll() is None and time.monotonic() - began < 15:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.7)


def nobody_left(run, *words):
    """By mark, by session, by argument."""
    wait_until(lambda: not marked(run.id), 3, "somebody with the run's mark lives on")
    for worker in run.workers:
        assert in_session(worker.pid) == []
    for word in words:
        assert named(word) == []


def last(err: str) -> str:
    return err.splitlines()[-1]


def explained(program, *names):
    done = program.call("explain", *names)
    return done.stdout.decode()


# ------------------------------------------------------------------------------------------------- who will not listen


def test_who_ignores_term_is_killed_after_its_grace(program):
    word = unique()
    line = f"trap '' TERM; echo up; while :; do sleep {word} & wait; done; : {{}}"
    process = program.start("run", "--timeout", "1", "--grace", "0.5", line, ":::", "x")
    run = live(program)
    code, out, err, took = finish(process)
    assert (code, out) == (1, b"up\n"), err
    assert took < 12
    assert "task 1 (x) failed: ended for --timeout" in err
    assert last(err).startswith("1 failed")
    nobody_left(run, word)


DOUBLE = "(setsid sleep {word} </dev/null >/dev/null 2>&1 &)"
FLIGHTS = {
    "another session": "setsid sleep {word} & wait",
    "two forks": "(sleep {word} &); sleep 1000",
    "two forks and another session": DOUBLE + "; sleep 1000",
    "no environment": "env -i sleep {word} & wait",
    "another session without environment": "env -i setsid sleep {word} & wait",
    "two forks without environment": "(env -i sleep {word} &); sleep 1000",
}


def test_who_flees_is_paused_and_ended_with_its_worker(program):
    """All at once: a worker for each kind of flight."""
    words = [unique() for _ in FLIGHTS]
    lines = [flight.format(word=word) + "; : bystander" for flight, word in zip(FLIGHTS.values(), words, strict=True)]
    process = program.start("run", "-j", "9", "--name", "r", "--grace", "1", *(":::", *lines))
    run = live(program, len(lines))
    wait_until(lambda: all(named(word) for word in words), 10, "not all are up")
    held = [pid for word in words for pid in named(word)]
    program.call("pause", "r")
    wait_until(lambda: all(map(stands, held)), 5, f"{[command_of(pid) for pid in held if not stands(pid)]} run on")
    time.sleep(0.5)
    assert all(map(stands, held))
    program.call("resume", "r")
    wait_until(lambda: not any(map(stands, held)), 5, "somebody does not go on")
    process.send_signal(signal.SIGTERM)
    code, _, err, took = finish(process)
    assert code == 143
    assert took < 12
    assert last(err).startswith(f"{len(lines)} not done")
    nobody_left(run, *words)


def test_who_ignores_term_and_left_session_parent_and_environment(program):
    """A control group holds it. Without one nothing says whose it is, and that is said."""
    word = unique()
    line = f"(trap '' TERM; env -i setsid sleep {word} </dev/null >/dev/null 2>&1 &); sleep 1; echo {{}}"
    process = program.start("run", line, ":::", "x")
    run = live(program)
    (fled,) = wait_until(lambda: named(word), 5, "it is not up")
    code, out, err, _ = finish(process)
    assert (code, out) == (0, b"x\n")
    if program.leaf:
        nobody_left(run, word)
        assert "left behind" not in err
    else:
        end(word)
        assert f"left behind: process {fled} (sleep {word}), which a worker has started" in err
        assert "control group" in err


# ----------------------------------------------------------------------------------------------------- the unkillable


needs_freezer = pytest.mark.skipif(freezer_group.parent() is None, reason="needs root and a version 1 freezer")


@needs_freezer
@ways("leaf", "plain", later=("stop",))
def test_who_cannot_be_killed_is_named_and_can_be_left_behind(program):
    word = unique()
    process = program.start(
        "run", "-j", "2", "--grace", "0.3", "--timeout", "1.5", "sleep {}; echo {}", ":::", word, "0.1", "0.2", "0.3"
    )
    (sleeper,) = wait_until(lambda: [pid for pid in named(word) if command_of(pid).startswith(b"sleep")], 10, "not up")
    run = live(program)
    leader = next(worker.pid for worker in run.workers if worker.value == word)
    with frozen_group() as group:
        group.freeze(leader, sleeper)
        told = wait_until(lambda: "cannot be killed" in (t := explained(program)) and t, 20, "it is not explained")
        assert str(group.path) in told
        assert "since" in told
        status = program.ask().runs[0]
        assert (status.tasks.running, status.tasks.done) == (1, 3), "the others go on, and it still counts"
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        assert process.poll() is None, "the first one waits"
        interrupt(process)
        code, out, err, _ = finish(process)
        assert (code, sorted(out.split())) == (130, [b"0.1", b"0.2", b"0.3"])
        assert f"of task 1 ({word}), pid {leader}: it cannot be killed" in err
        assert f"left behind: worker {run.id}.1 of task 1 ({word})" in err
        assert last(err).startswith("3 done, 1 not done")
        group.thaw()
        wait_until(lambda: state_of(leader) in ("", "Z"), 3, "it lives on after the thaw")
    remove_leaves(run.id)


@needs_freezer
@ways(
    "stop",
    later=(
        "leaf",
        "plain",
    ),
)
def test_who_could_not_be_killed_for_a_while_meets_its_fate_after_the_thaw(program):
    word = unique()
    process = program.start("run", "--grace", "0.2", "--timeout", "0.5", "sleep", ":::", word)
    leader = live(program).workers[0].pid
    with frozen_group() as group:
        group.freeze(leader)
        wait_until(lambda: "cannot be killed" in explained(program), 20, "it is not explained")
        assert process.poll() is None
        group.thaw()
        code, _, err, _ = finish(process)
    assert code == 1
    assert last(err).startswith("1 failed")


@needs_freezer
@ways(
    "leaf",
    later=(
        "stop",
        "plain",
    ),
)
def test_who_is_frozen_by_somebody_else_counts_as_standing_or_is_said_not_to(program):
    """A stop does not take hold in it; the others are paused and continued as always."""
    process = program.start("run", "-j", "2", "--name", "r", "sleep", ":::", first := unique(), second := unique())
    run = live(program, 2)
    one, two = (worker.pid for worker in run.workers)
    with frozen_group() as group:
        group.freeze(one)
        program.call("pause", "r")
        wait_until(lambda: stands(two), 5, "the other one runs on")
        if not program.leaf:
            wait_until(lambda: "does not stand: somebody has frozen" in explained(program), 20, "it is not said")
        group.thaw()
        wait_until(lambda: stands(one), 5, "it runs on after the thaw")
    process.send_signal(signal.SIGTERM)
    assert finish(process)[0] == 143
    nobody_left(run, first, second)


def remove_leaves(run):
    """Of a worker that was left behind."""
    base = delegated_base()
    for path in Path(base).glob(f"loadkeeper-{run}.*") if base else ():
        wait_until(lambda path=path: _rmdir(path), 5, f"{path} is busy")


def _rmdir(path):
    with suppress(OSError):
        path.rmdir()
    return not path.exists()


@pytest.mark.skipif(not possible, reason="becoming a plain user needs root")
def test_who_becomes_another_user_may_not_be_signalled_and_that_is_said(open_path):
    become = open_path / "become"
    shutil.copy(shutil.which("setpriv"), become)
    become.chmod(0o4755)
    plain = PlainProgram(open_path / "p", privileges=True)
    plain.environment["LOADKEEPER_CPU"] = "off"
    plain.environment["LOADKEEPER_CPU"] = "off"
    word = unique()
    try:
        line = f"case {{}} in a) exec {become} --reuid=0 --regid=0 --clear-groups sleep {word};; *) echo {{}};; esac"
        process = plain.start("run", "--timeout", "1", "--grace", "0.3", line, ":::", "a", "b")
        wait_until(lambda: named(word), 10, "it is not up")
        wait_until(lambda: "may not signal it" in explained(plain), 20, "it is not said")
        interrupt(process)
        code, out, err, _ = finish(process)
        assert (code, out) == (130, b"b\n")
        assert "it has become another user's (root)" in err
        assert last(err).startswith("1 done, 1 not done")
    finally:
        end(word)
        plain.close()


@pytest.mark.skipif(not possible, reason="becoming a plain user needs root")
def test_what_a_worker_leaves_as_another_user_is_named(open_path):
    become = open_path / "become"
    shutil.copy(shutil.which("setpriv"), become)
    become.chmod(0o4755)
    plain = PlainProgram(open_path / "p", privileges=True)
    plain.environment["LOADKEEPER_CPU"] = "off"
    word = unique()
    try:
        line = f"setsid {become} --reuid=0 --regid=0 --clear-groups sleep {word} & sleep 0.5; echo {{}}"
        process = plain.start("run", "--cpu", "off", line, ":::", "a")
        (pid,) = wait_until(lambda: named(word), 10, "it is not up")
        code, out, err, _ = finish(process)
        assert (code, out) == (0, b"a\n")
        assert f"left behind: process {pid} (" in err
        assert "it has become another user's (root)" in err
    finally:
        end(word)
        plain.close()


# --------------------------------------------------------------------------------------------------------- fork bombs

BOMB = """
import os, sys, time
while True:
    try:
        if os.fork() == 0 and sys.argv[1] == "sessions":
            os.setsid()
    except OSError:
        time.sleep(0.001)
"""


@pytest.mark.skipif(pids_group.parent() is None, reason="needs root and a pids controller of version 1")
@pytest.mark.parametrize("fled", [pytest.param("group", marks=pytest.mark.long), "sessions"])
def test_a_fork_bomb_inside_a_pids_limit_is_ended(program, fled):
    python = getattr(program, "python", sys.executable)
    with pids_group.pids_group(120) as group:
        group.open_to(NOBODY)
        bomb = shlex.join([python, "-S", "-c", BOMB, fled])
        line = f"case {{}} in bomb) echo $$ > {group.path}/cgroup.procs; exec {bomb};; *) sleep 3; echo {{}};; esac"
        process = program.start("run", "-j", "2", "--timeout", "2", "--grace", "0.3", line, ":::", "bomb", "other")
        wait_until(lambda: len(group.members()) >= 100, 10, "the bomb does not go off")
        code, _, err, took = finish(process, 40)
        assert group.members() == []
    assert code == 1
    assert "task 1 (bomb) failed: ended for --timeout" in err
    assert took < 15


# ------------------------------------------------------------------------------------------- stops and continues


@ways(
    "stop",
    later=(
        "leaf",
        "plain",
    ),
)
def test_who_stops_itself_is_told_of_and_goes_on_when_it_is_continued(program):
    process = program.start("run", "kill -STOP $$; echo {}", ":::", "x")
    worker = live(program).workers[0]
    told = wait_until(lambda: "stopped itself" in (t := explained(program)) and t, 20, "it is not explained")
    assert f"kill -CONT {worker.pid}" in told
    os.kill(worker.pid, signal.SIGCONT)
    code, out, err, _ = finish(process)
    assert (code, out) == (0, b"x\n")
    assert err.count("stopped itself") == 1


@ways(
    "leaf",
    later=(
        "stop",
        "plain",
    ),
)
def test_who_stopped_itself_is_ended_by_its_timeout(program):
    process = program.start("run", "--timeout", "1", "kill -STOP $$; echo {}", ":::", "x")
    code, _, err, took = finish(process)
    assert code == 1
    assert "failed: ended for --timeout" in err
    assert took < 15


@ways(
    "plain",
    later=(
        "leaf",
        "stop",
    ),
)
def test_who_stops_its_siblings_is_no_manager(program):
    """Who was stopped is told of, is paused and continued with its run, and so goes on."""
    line = "echo $$ > {1}; test {1} = one || exec sleep {2}; sleep 0.5; kill -STOP $(cat two); exec sleep {2}"
    words = [unique(), unique()]
    where = program.root / "w"
    where.mkdir()
    where.chmod(0o777)
    process = program.start("run", "--link", "--name", "r", line, ":::", "one", "two", ":::", *words, cwd=where)
    run = live(program, 2)
    wait_until(lambda: "has stopped it" in explained(program), 20, "it is not said")
    program.call("pause", "r")
    wait_until(lambda: all(stands(worker.pid) for worker in run.workers), 5, "they do not stand")
    program.call("resume", "r")
    wait_until(lambda: not any(stands(worker.pid) for worker in run.workers), 5, "they do not go on")
    wait_until(lambda: "has stopped it" not in explained(program), 15, "it is still said")
    process.send_signal(signal.SIGTERM)
    assert finish(process)[0] == 143
    nobody_left(run, *words)


@ways("leaf", "stop", later=("plain",))
def test_who_continues_others_undoes_no_pause_of_the_run(program):
    """Whoever stands continues nobody; while only its victim stands, that is held by a freezer or told of."""
    word = unique()
    loop = "until read pid < b; do sleep 0.1; done 2>/dev/null; while kill -CONT $pid; do sleep 0.02; done"
    line = f"test {{}} = b && exec sleep {word}; {loop}"
    where = program.root / "w"
    where.mkdir()
    where.chmod(0o777)
    process = program.start("run", "--name", "r", f"echo $$ > {{}}; {line}", ":::", "b", "a", cwd=where)
    run = live(program, 2)
    victim, helper = (next(w for w in run.workers if w.value == value) for value in "ba")
    program.call("pause", victim.id)
    if program.leaf:
        wait_until(lambda: stands(victim.pid), 5, "it does not stand")
        time.sleep(1)
        assert stands(victim.pid)
    else:
        wait_until(lambda: "somebody continues it" in explained(program), 20, "it is not said")
    program.call("pause", "r")
    wait_until(lambda: stands(victim.pid) and stands(helper.pid), 5, "they do not stand")
    time.sleep(0.5)
    assert stands(victim.pid)
    assert stands(helper.pid)
    wait_until(lambda: "somebody continues it" not in explained(program), 15, "it is still said")
    process.send_signal(signal.SIGTERM)
    assert finish(process)[0] == 143
    nobody_left(run, word)


# --------------------------------------------------------------------------------------------------------- names

HOSTILE = [b") R 1 1", b"a\nb) Z 0", b"\x1b[31m\x07x", b"\xff\xfe) T", b"((()))) D 1"]
RENAMED = """
import ctypes, os, sys, time
ctypes.CDLL(None).prctl(15, os.fsencode(sys.argv[1]), 0, 0, 0)
os.fork()
held = bytearray(20 << 20)
time.sleep(1000)
"""
"""Its name of the kernel is the first argument; it has a child of the same."""
ARGV0 = "import os, sys; os.execv('/bin/sleep', [os.fsencode(sys.argv[1]), sys.argv[2]])"


@ways(
    "leaf",
    later=(
        "stop",
        "plain",
    ),
)
def test_hostile_names_are_parsed_and_never_reach_a_terminal(program):
    python = getattr(program, "python", sys.executable)
    renamed = shlex.join([python, "-S", "-c", RENAMED])
    named_so = shlex.join([python, "-S", "-c", ARGV0])
    word = unique()
    process = program.start("run", "-j", "9", f"{renamed} {{}} & {named_so} {{}} {word}", ":::", *HOSTILE)
    run = live(program, len(HOSTILE))
    wait_until(lambda: len(members(word)) == len(HOSTILE), 10, "not all are up")
    wait_until(lambda: all(w.memory and w.memory > 40 << 20 for w in program.ask().runs[0].workers), 5, "no memory")
    found = program.ask().runs[0].workers
    assert {worker.state for worker in found} == {"running"}
    assert {worker.processes for worker in found} == {4}, "shell, sleep, and a fork of the other"
    for verb in ("status", "list", "explain"):
        shown = program.call(verb).stdout
        assert all(line.isprintable() for line in shown.decode().splitlines()), shown
        json.loads(program.call(verb, "--json").stdout)
    for pid in (worker.pid for worker in found):
        assert all(line.isprintable() for line in explained(program, str(pid)).splitlines())
    program.call("pause")
    wait_until(lambda: all(stands(w.pid) for w in found) and all(map(stands, members(word))), 5, "they do not stand")
    process.send_signal(signal.SIGTERM)
    code, _, err, _ = finish(process)
    assert code == 143
    assert all(line.isprintable() for line in err.splitlines()), err
    nobody_left(run)
    assert members(word) == []


def members(word):
    found = [pid for pid in processes() if command_of(pid).endswith(b"\0" + word.encode() + b"\0")]
    return [pid for pid in found if state_of(pid) not in ("Z", "X", "") and command_of(pid).count(b"\0") == 2]


def test_hostile_values_never_reach_a_terminal(lone):
    """The progress block, messages of failures, of --halt and of what is left behind."""
    leader, follower = pty.openpty()
    words = ["--retries", "2", "--halt", "soon,fail=3", 'sh -c \'printf "%s" "$1" >&2; sleep 0.6; exit 3\' sh {}']
    process = lone.start(
        "run", "--results", str(lone.root / "kept"), *words, ":::", *HOSTILE, stderr=follower, stdout=subprocess.DEVNULL
    )
    os.close(follower)
    shown = b""
    while process.poll() is None or select.select([leader], [], [], 0)[0]:
        if select.select([leader], [], [], 0.1)[0]:
            try:
                shown += os.read(leader, 65536)
            except OSError:
                break
    os.close(leader)
    assert b"\x1b[31m" not in shown
    assert b"\x07" not in shown
    assert b"failed" in shown


# --------------------------------------------------------------------------------------------------------- streams

MIB = 1 << 20


def written(size: int) -> str:
    return f"head -c {size} /dev/zero"


def peak(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


@pytest.mark.parametrize("size", [200 * MIB, pytest.param(1 << 30, marks=pytest.mark.long)], ids=["200M", "1G"])
def test_gigabytes_for_a_slow_reader_are_held_on_disk_and_not_in_memory(lone, size, record_property):
    process = lone.start("run", f"{written(size)}; : {{}}", ":::", "a", "b")
    most, received = 0, 0
    while chunk := process.stdout.read1(MIB):
        received += len(chunk)
        with suppress(OSError, StopIteration):  # it has ended
            most = max(most, peak(process.pid))
        time.sleep(0.001)
    assert received == 2 * size
    assert process.wait(10) == 0
    record_property("measured", f"{2 * size >> 20} MiB to a slow reader; the process manager held {most >> 20} MiB")
    assert most < 80 * MIB, most >> 20


@pytest.mark.long
def test_output_that_nobody_reads_holds_new_starts_says_so_and_ends_with_a_signal(lone):
    process = lone.start("run", "-j", "2", f"{written(100 * MIB)}; : {{}}", ":::", *"abcdefgh", stderr=subprocess.PIPE)
    wait_until(lambda: (s := lone.ask()) and s.runs and not s.runs[0].workers and s.runs[0].tasks.done, 20, "no done")
    time.sleep(1)
    assert lone.ask().runs[0].tasks.done < 6, "nothing holds the starts"
    os.set_blocking(process.stderr.fileno(), False)
    wait_until(lambda: b"stdout is read slowly" in (process.stderr.read() or b""), 15, "it is not said")
    interrupt(process)
    assert process.wait(1) == 130


@ways(
    "leaf",
    later=(
        "stop",
        "plain",
    ),
)
def test_streams_that_are_closed_and_read(program):
    lines = ["exec <&- >&- 2>&-; sleep 0.2", "cat; echo read", "exec >&-; echo lost", "exec 2>&1; echo both >&2"]
    process = program.start("run", "-k", *(":::", *lines), stdin=subprocess.PIPE)
    code, out, err, _ = finish(process)
    assert out == b"read\nboth\n"
    assert code == 1
    assert "task 3" in err


# --------------------------------------------------------------------------------------------- exits at once, for ever


def test_a_thousand_that_exit_at_once_are_tried_at_full_speed_and_counted(lone):
    began = time.monotonic()
    done = lone.call("run", "--retries", "3", "false", ":::", *map(str, range(334)))
    assert done.returncode == 1
    assert last(done.stderr.decode()).startswith("334 failed")
    assert done.stderr.count(b"failed: exit code 1, after 3 tries") == 10
    assert time.monotonic() - began < 30
    (journal,) = lone.journals()
    assert sum(1 for _ in read_outcomes(journal)) == 1002


def test_who_fails_at_once_again_and_again_waits_longer_each_time_and_is_buried_with_its_last_words(lone):
    line = "echo out; echo 'no such file {}' >&2; exit 3"
    began = time.monotonic()
    process = lone.start("run", "--name", "r", "--retries", "6", line, ":::", "a\x1b[31m", "b")
    wait_until(lambda: b"failed at once" in lone.call("explain").stdout or process.poll() is not None, 20, "hangs")
    code, out, err, _ = finish(process)
    assert code == 1
    assert out == b"out\nout\n", "the last try's output alone"
    assert "task 2 (b) failed: exit code 3, after 6 tries; it said last: no such file b" in err
    told = lone.call("explain", "r:2").stdout.decode()
    assert "it said last: no such file b" in told.splitlines()[-1]
    assert "\x1b" not in lone.call("explain", "r:1").stdout.decode()
    (journal,) = lone.journals()
    starts = [fate.began for fate in read_outcomes(journal, 2)]
    gaps = [b - a for a, b in pairwise(starts)]
    assert gaps[0] < 0.2, "the second try comes at once"
    assert all(gap >= 0.75 * 0.25 * 2**n for n, gap in enumerate(gaps[1:])), gaps
    assert time.monotonic() - began < 15


def test_waits_between_tries_can_be_turned_off_and_keep_nobody_else_waiting(lone):
    done = lone.call("run", "--retries", "40", "--retry-delay", "0", "false", ":::", "a", timeout=15)
    assert done.returncode == 1
    began = time.monotonic()
    line = "test {} = bad && exit 1; sleep 0.05; echo {}"
    process = lone.start("run", "-j", "1", "--retries", "5", line, ":::", "bad", *map(str, range(10)))
    code, out, _, _ = finish(process)
    assert (code, len(out.split())) == (1, 10)
    assert time.monotonic() - began < 10
