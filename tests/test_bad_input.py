"""What cannot be done is said in one line with what, where and what to do; exit 2, and nothing is started."""

import os
import stat
import subprocess

import pytest
from support.program import wait_until
from support.screen import Screen

TABLE = [
    (["run", "--memroy", "1G", "true", ":::", "a"], "--memroy", "--memory"),
    (["run", "--job", "3", "true", ":::", "a"], "--job", "--jobs"),
    (["runn", "true"], "runn", "run"),
    (["run", "--memory", "200%", "true", ":::", "a"], "200%", "100%"),
    (["run", "--memory", "9999G", "true", ":::", "a"], "--memory", "more than this node has"),
    (["run", "--workers-memory", "9999G", "true", ":::", "a"], "--workers-memory", "more than this node has"),
    (["run", "--memory-need", "9999G", "true", ":::", "a"], "--memory-need", "more than this node has"),
    (["run", "--workers-memory", "0", "true", ":::", "a"], "--workers-memory", "no memory at all"),
    (["run", "--memory-per-worker", "0", "true", ":::", "a"], "--memory-per-worker", "no memory at all"),
    (["run", "--memory-per-worker", "x", "true", ":::", "a"], "--memory-per-worker", "200M"),
    (["run", "--cpu", "999", "true", ":::", "a"], "--cpu", "more than this node has"),
    (["run", "--workers-cpu", "0", "true", ":::", "a"], "--workers-cpu", "cores"),
    (["run", "--pressure", "disk=3%", "true", ":::", "a"], "disk=3%", "io=30%"),
    (["run", "--pause", "sometimes", "true", ":::", "a"], "sometimes", "freeze"),
    (["run", "--checkpoint", "tcp://127.0.0.1:6268", "true", ":::", "a"], "tcp://", "zmq://127.0.0.1:6268"),
    (["run", "--checkpoint", "zmq://127.0.0.1", "true", ":::", "a"], "zmq://127.0.0.1", "zmq://127.0.0.1:6268"),
    (["run", "--checkpoint", "zmq://10.0.0.1:6268", "true", ":::", "a"], "10.0.0.1", "no passwords"),
    (["run", "--checkpoint", "zmq://there:6268", "true", ":::", "a"], "there", "zmq://127.0.0.1:6268"),
    (["run", "--checkpoint", "zmq://127.0.0.1:99999", "true", ":::", "a"], "99999", "zmq://127.0.0.1:6268"),
    (["run", "--timeout", "-1", "true", ":::", "a"], "-1", "30s"),
    (["run", "--grace", "soon", "true", ":::", "a"], "soon", "30s"),
    (["run", "--give-up", "0", "true", ":::", "a"], "--give-up", "30s"),
    (["run", "-j", "many", "true", ":::", "a"], "many", "50%"),
    (["run", "-N", "0", "true", ":::", "a"], "-N", "from 1"),
    (["run", "-N2", "true", ":::", "a", ":::", "b"], "--max-args", "one input"),
    (["run", "-N2", "--colsep", ",", "true", ":::", "a"], "--max-args", "--colsep"),
    (["run", "--header", "1", "true", ":::", "a"], "--header 1", "--header :"),
    (["run", "-I", "", "true", ":::", "a"], "-I", "-I %"),
    (["run", "--shell", "-q", "true", ":::", "a"], "--shell", "--quote"),
    (["run", "--retries", "many", "true", ":::", "a"], "many", "from 1"),
    (["run", "--tasks", "-3", "--", "true"], "-3", "from 0"),
    (["run", "no-such-command-xyz", ":::", "a"], "no-such-command-xyz", "not found"),
    (["run", "./no-such-file", ":::", "a"], "./no-such-file", "not found"),
    (["run", "/etc/passwd", ":::", "a"], "/etc/passwd", "chmod"),
    (["run", "/etc", ":::", "a"], "/etc", "directory"),
    (["run", "-a", "/no/such/list", "true"], "/no/such/list", "No such file"),
    (["run", "-a", "/etc", "true"], "/etc", "directory"),
    (["run", "--give-up", "later", "true", ":::", "a"], "later", "never"),
    (["run", "-a", "/etc/passwd", "--tasks", "3", "true"], "--tasks", "-a"),
    (["run", "--joblog", "/no/such/dir/log", "true", ":::", "a"], "/no/such/dir/log", "No such file"),
    (["run", "--tasks", "3"], "command", "loadkeeper run"),
    (["run", "echo", ":::", "a", "::::"], "::::", "a file"),
    (["run", "echo", ":::", "a", "::::", "/no/such/list"], "/no/such/list", "No such file"),
    (["run", "-0", "-d", ",", "echo", ":::", "a"], "--delimiter", "one of them"),
    (["run", "-d", "", "echo", ":::", "a"], "--delimiter", "NUL"),
    (["run", "--colsep", "(", "echo", ":::", "a"], "--colsep", "regular expression"),
    (["run", "--halt", "now", "echo", ":::", "a"], "'now'", "now,fail=1"),
    (["run", "--halt", "soon,fail=0", "echo", ":::", "a"], "soon,fail=0", "now,fail=1"),
    (["run", "--halt", "now,fail=300%", "echo", ":::", "a"], "300%", "100%"),
    (["run", "--delay", "-1", "echo", ":::", "a"], "-1", "30s"),
    (["run", "--exit", "make", "echo", ":::", "a"], "make", "parallel"),
    (["run", "--resume", "echo", ":::", "a"], "--resume", "--joblog"),
    (["run", "--resume-failed", "--joblog", "-", "echo", ":::", "a"], "--resume-failed", "--joblog FILE"),
    (["run", "--tasks", "2", "echo", ":::", "a"], "--tasks", ":::"),
    (["run", "--cpu", "0%", "echo", ":::", "a"], "--cpu", "no CPU"),
    (["run", "echo", "{= $_++ =}", ":::", "a"], "{= $_++ =}", "not there"),
    (["run", "--memory", "off", "--memory-gap", "1G", "echo", ":::", "a"], "--memory-gap", "--memory off"),
    (["run", "--priority", "1" + "0" * 30, "true", ":::", "a"], "--priority", "anybody counts"),
    (["run", "--retries", "9" * 5000, "true", ":::", "a"], "--retries", "whole number"),
    (["run", "-j", "9" * 5000, "true", ":::", "a"], "--jobs", "number of workers"),
    (["run", "--memory", "9" * 400, "true", ":::", "a"], "--memory", "more than any memory"),
    (["run", "--timeout", "9" * 400, "true", ":::", "a"], "--timeout", "more than a century"),
    (["run", "--cpu", "1e300", "true", ":::", "a"], "--cpu", "not possible"),
    (["pause", "nobody"], "nobody", ""),
    (["explain", "x:" + "9" * 5000], "9999", ""),
    (["explain", "--at", "9999-12-31T23:59:59"], "no run", ""),
]


@pytest.mark.parametrize(("words", "what", "hint"), TABLE, ids=[" ".join(row[0])[:80] for row in TABLE])
def test_one_clear_error(program, words, what, hint):
    done = program.call(*words)
    said = done.stderr.decode()
    assert done.returncode == 2, said
    assert done.stdout == b""
    assert what in said
    assert hint in said
    assert "Traceback" not in said
    assert said.startswith("loadkeeper: ")
    assert not program.managers(), "something was started"


def test_without_any_word_there_must_be_commands_on_stdin(program):
    done = program.call("run", stdin=None, timeout=20)
    assert done.returncode == 2
    assert b"run needs a command" in done.stderr
    given = program.call("run", "--quiet", stdin=b"echo a\n")
    assert (given.returncode, given.stdout) == (0, b"a\n")


def test_no_source_on_a_terminal_names_the_three_ways(program):
    done = subprocess.run(
        ["script", "-qec", " ".join(map(str, program.command("run", "true"))), "/dev/null"],
        env=program.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 2
    for way in (b":::", b"stdin", b"--tasks"):
        assert way in done.stdout


def test_a_closed_stdout(program):
    done = subprocess.run(
        ["sh", "-c", '"$@" >&-', "sh", *program.command("run", "echo", ":::", "a")],
        env=program.environment,
        stderr=subprocess.PIPE,
        timeout=20,
        check=False,
    )
    assert done.returncode == 2
    assert b"stdout is closed" in done.stderr


def test_a_runtime_directory_that_is_a_link(program, tmp_path):
    runtime = program.root / "r" / "loadkeeper"
    runtime.symlink_to(tmp_path)
    done = program.call("run", "true", ":::", "a")
    assert done.returncode == 2
    assert b"not safe" in done.stderr
    assert str(runtime).encode() in done.stderr


def test_a_runtime_directory_that_others_may_use(program):
    runtime = program.root / "r" / "loadkeeper"
    runtime.mkdir(mode=0o700)
    runtime.chmod(0o755)
    done = program.call("run", "true", ":::", "a")
    assert done.returncode == 2
    assert b"0700" in done.stderr


def test_a_runtime_path_that_is_too_long(program):
    long = program.root / ("x" * 100)
    long.mkdir(mode=0o700)
    program.environment["XDG_RUNTIME_DIR"] = str(long)
    done = program.call("run", "true", ":::", "a")
    assert done.returncode == 2
    assert b"too long" in done.stderr


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_a_state_directory_that_may_not_be_written(program):
    (program.root / "s").chmod(stat.S_IRUSR)
    done = program.call("run", "true", ":::", "a")
    assert done.returncode == 2
    assert b"XDG_STATE_HOME" in done.stderr


def test_a_state_directory_that_is_a_file(program):
    (program.root / "s" / "loadkeeper").write_text("")
    done = program.call("run", "true", ":::", "a")
    assert done.returncode == 2
    assert b"XDG_STATE_HOME" in done.stderr


def test_a_command_that_vanishes_fails_its_tasks_and_the_rest_goes_on(program, tmp_path):
    done = program.call("run", "{}", ":::", "true", "/no/such/program", "true")
    assert done.returncode == 1
    assert b"2 done, 1 failed" in done.stderr
    assert b"/no/such/program" in done.stderr


def test_a_list_that_cannot_be_read_to_its_end_is_said(program):
    """Reading the start of one's own memory fails with EIO."""
    done = program.call("run", "-a", "/proc/self/mem", "echo")
    assert done.returncode == 2
    assert b"Input/output error" in done.stderr
    assert b"/proc/self/mem" in done.stderr


def test_a_value_that_no_program_can_be_given_fails_its_task_alone(program):
    done = program.call("run", "echo", stdin=b"a\nb\0c\nd\n")
    assert done.returncode == 1
    assert sorted(done.stdout.split()) == [b"a", b"d"]
    assert b"NUL byte" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_value_that_is_too_long_for_the_kernel_fails_its_task_alone(program):
    done = program.call("run", "echo", stdin=b"a\n" + b"x" * 200_000 + b"\nd\n")
    assert done.returncode == 1
    assert sorted(done.stdout.split()) == [b"a", b"d"]
    assert b"too long" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        ["list", "--json"],
        ["config"],
        ["completion", "bash"],
        ["manual"],
        ["run", "--dry-run", "echo", ":::", "a"],
        ["--version"],
        ["run", "--help"],
    ],
    ids=" ".join,
)
def test_a_full_disk_under_the_output(program, words):
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            program.command(*words), env=program.environment, stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 2
    assert done.stderr == b"loadkeeper: stdout cannot be written: No space left on device\n"


@pytest.mark.parametrize(
    "option", [["--memfree", "1G"], ["-X"], ["--nice", "10"], ["--load", "80%"], ["-v"]], ids=" ".join
)
def test_a_word_of_others_is_told_what_to_type_instead(program, option):
    done = program.call("run", *option, "echo", ":::", "a")
    assert done.returncode == 2
    assert f"there is no {option[0]} here; " in done.stderr.decode()


@pytest.mark.parametrize("change", ["memory-per-worker=0", "workers-memory=0%", "memory-need=0", "cpu=0%", "jobs=0"])
def test_what_run_refuses_cannot_be_set(program, change):
    program.start("run", "--name", "n", "sleep", ":::", "20")
    wait_until(lambda: program.status()["runs"], 20, "nothing runs")
    done = program.call("set", change, "n")
    assert done.returncode == 2, done.stdout


def test_a_terminal_that_goes_away(program):
    """The run ends gently by its SIGHUP; one that ignores it (nohup) works on without its terminal."""
    for prefix, code, made in (([], 129, False), (["nohup"], 0, True)):
        made_file = program.root / f"made{made}"
        line = f"sleep 5; touch {made_file}"
        screen = Screen()
        process = subprocess.Popen(
            ["setsid", "--ctty", *prefix, *map(str, program.command("run", "--cpu", "off", line, ":::", "a"))],
            env=program.environment,
            cwd=program.root,
            stdin=screen.tty,
            stdout=screen.tty,
            stderr=screen.tty,
        )
        wait_until(lambda: (runs := program.status()["runs"]) and runs[0]["workers"], 20, "nothing runs")
        screen.close()
        assert process.wait(20) == code
        assert made_file.exists() == made


def test_a_state_directory_whose_name_is_no_text(program):
    program.environment["XDG_STATE_HOME"] = os.fsdecode(b"%s/s\xff" % os.fsencode(program.root))
    done = program.call("run", "true", ":::", "a")
    assert done.returncode == 2
    assert b"is no text; set XDG_STATE_HOME" in done.stderr
    assert b"Traceback" not in done.stderr
