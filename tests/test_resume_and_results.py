"""`--resume` goes on where an earlier run stopped; `--results` keeps output, laid out as GNU parallel does."""

import os
import random
import shutil
import signal
import subprocess

import pytest
from support.program import wait_until

VALUES = [str(number) for number in range(1, 41)]
TRACE = "echo {} >> trace; case {} in 7|17|27) test -e mended;; esac"
"""A task leaves its value in `trace`; three of them fail until something is mended."""
needs_parallel = pytest.mark.skipif(shutil.which("parallel") is None, reason="GNU parallel is not installed")


def words(*more: str) -> list[str]:
    return ["run", "--cpu", "off", "-j", "2", "--joblog", "log", *more, TRACE, ":::", *VALUES]


def traced(folder) -> list[str]:
    return (folder / "trace").read_text().split() if (folder / "trace").exists() else []


def logged(folder) -> list[str]:
    """Numbers in the job log."""
    return [line.split("\t")[0] for line in (folder / "log").read_text().splitlines()[1:]]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_was_stopped_goes_on_where_it_was(program, tmp_path, number):
    (tmp_path / "mended").touch()
    process = program.start(*words("--delay", "0.03"), cwd=tmp_path)
    many = random.randrange(5, 30)
    wait_until(lambda: (tmp_path / "log").exists() and len(logged(tmp_path)) >= many, 30, "nothing is done")
    process.send_signal(number)
    process.communicate(timeout=20)
    before = logged(tmp_path)
    assert len(before) < 40
    again = program.call(*words("--resume"), cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert f"{40 - len(before)} done, {len(before)} by an earlier run".encode() in again.stderr
    assert sorted(map(int, logged(tmp_path))) == list(range(1, 41))
    assert sorted(set(traced(tmp_path)), key=int) == VALUES
    assert len(traced(tmp_path)) <= 42, "more than was in flight is done twice"
    assert b"0 tasks" not in program.call(*words("--resume"), cwd=tmp_path).stderr
    assert len(logged(tmp_path)) == 40


def test_what_failed_is_done_again_only_when_asked(program, tmp_path):
    assert program.call(*words(), cwd=tmp_path).returncode == 1
    assert program.call(*words("--resume"), cwd=tmp_path).returncode == 0
    assert len(traced(tmp_path)) == 40
    (tmp_path / "mended").touch()
    assert program.call(*words("--resume-failed"), cwd=tmp_path).returncode == 0
    assert sorted(traced(tmp_path)[40:], key=int) == ["7", "17", "27"]


def test_with_order_what_was_done_before_holds_up_nobody(program, tmp_path):
    line = ("test {} != c", ":::", "a", "b", "c", "d")
    program.call("run", "--joblog", "log", *line, cwd=tmp_path)
    again = program.call("run", "-k", "--joblog", "log", "--resume-failed", *line, cwd=tmp_path)
    assert again.returncode == 1
    other = program.call("run", "-k", "--joblog", "log", "--resume", *line, "e", cwd=tmp_path)
    assert other.returncode == 0
    assert b"1 done, 4 by an earlier run" in other.stderr


@needs_parallel
def test_a_log_of_gnu_parallel_is_carried_on(program, tmp_path):
    command = ["parallel", "--will-cite", "-j1", "--joblog", "log", "--halt", "now,fail=1", TRACE, ":::", *VALUES]
    subprocess.run(command, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert traced(tmp_path) == VALUES[:7]
    (tmp_path / "mended").touch()
    assert program.call(*words("--resume-failed"), cwd=tmp_path).returncode == 0
    assert sorted(traced(tmp_path)[7:], key=int) == VALUES[6:]


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (["--resume"], "--resume needs --joblog"),
        (["--resume-failed", "--joblog", "-"], "--resume-failed needs --joblog"),
        (["--resume", "--joblog", "other"], "is the log of another run"),
        (["--resume", "--joblog", "text"], "text:2: is not a line of a job log"),
        (["--resume", "--joblog", "."], "Is a directory"),
        (["--results", "text"], "is a file"),
        (["--results", "text/more"], "Not a directory"),
    ],
)
def test_bad_input(program, tmp_path, options, what):
    (tmp_path / "text").write_text("some\ntext\n")
    program.call("run", "--joblog", "other", "echo", ":::", "x", cwd=tmp_path)
    done = program.call("run", *options, "touch", "{}.made", ":::", "a", cwd=tmp_path)
    assert done.returncode == 2
    assert what in done.stderr.decode()
    assert not (tmp_path / "a.made").exists()


# ------------------------------------------------------------------------------------------------------------- results


def tree(folder) -> dict[str, bytes]:
    found = {}
    for root, _, names in os.walk(os.fsencode(folder)):
        for name in names:
            path = os.path.join(root, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, os.fsencode(folder)).decode("utf-8", "backslashreplace")] = file.read()
    return found


@needs_parallel
@pytest.mark.parametrize(
    "given",
    [
        ["--results", "kept", "echo {}; echo no >&2", ":::", "a", "b c", "d/e", "back\\slash", "tab\tx", "*", "é"],
        ["--results", "kept", "echo {1} {2}", ":::", "a", "b", ":::", "1", "2"],
        ["--results", "kept", "echo", ":::", ""],
        ["--results", "kept/{1}-{2}", "echo", ":::", "a", "b", ":::", "1"],
        ["--results", "kept/{#}.{1.}/", "echo", ":::", "a.b", "c"],
        ["--results", "kept", "--colsep", ",", "echo {2}", ":::", "a,b"],
        ["--results", "kept", "exit {}", ":::", "3"],
    ],
    ids=" ".join,
)
def test_results_lie_where_gnu_parallel_puts_them(program, tmp_path, given):
    for name in ("theirs", "ours"):
        (tmp_path / name).mkdir()
    command = ["parallel", "--will-cite", "-j1", *given]
    theirs = subprocess.run(
        command, cwd=tmp_path / "theirs", stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    ours = program.call("run", "--quiet", "-j1", *given, cwd=tmp_path / "ours")
    assert tree(tmp_path / "ours") == tree(tmp_path / "theirs")
    assert ours.stdout == theirs.stdout


def test_no_two_tasks_share_a_place(program, tmp_path):
    values = [".", "..", "\\..", "x" * 300 + "1", "x" * 300 + "2", "/", "\\_"]
    done = program.call("run", "--quiet", "--results", "kept", "echo {#}", ":::", *values, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    outputs = [text for path, text in tree(tmp_path / "kept").items() if path.endswith("stdout")]
    assert sorted(outputs) == [b"%d\n" % number for number in range(1, 8)]
    assert len(list(tmp_path.rglob("stdout"))) == 7, "one lies outside"


def test_a_result_holds_the_last_try_alone(program, tmp_path):
    line = ": {}; echo try >> tries; cat tries; test $(wc -l < tries) = 2"
    done = program.call("run", "--quiet", "--retries", "3", "--results", "kept", line, ":::", "a", cwd=tmp_path)
    assert done.returncode == 0
    assert (tmp_path / "kept/1/a/stdout").read_text() == "try\ntry\n"


def test_what_a_killed_run_did_not_print_is_done_again(program, tmp_path):
    log, line = tmp_path / "log", "sleep {}; echo out{#}"
    options = ["run", "-k", "-j3", "--cpu", "off", "--joblog", str(log)]
    first = program.start(*options, line, ":::", "30", "0.1", "0.1", "0.1")
    wait_until(lambda: program.status()["runs"] and program.status()["runs"][0]["tasks"]["done"] == 3, 20, "not done")
    first.kill()
    assert first.communicate()[0] == b""
    second = program.call(*options, "--resume", "sleep 0.{}; echo out{#}", ":::", "30", "0.1", "0.1", "0.1")
    assert second.stdout == b"out1\nout2\nout3\nout4\n", second.stderr


def test_a_slot_in_the_command_does_not_make_it_another_one(program, tmp_path):
    options = ["run", "-k", "-j2", "--joblog", str(tmp_path / "log")]
    program.call(*options, "echo {} {%}", ":::", "a", "b")
    done = program.call(*options, "--resume", "echo {} {%}", ":::", "a", "b", "c")
    assert (done.returncode, done.stdout) == (0, b"c 1\n"), done.stderr


@needs_parallel
@pytest.mark.parametrize(
    "command", [["echo", "{}", "scale=320:240"], ["echo", "{}", "{.}.png"], ["echo", "a b", "{}"], ["echo"]]
)
def test_a_log_of_gnu_parallel_is_known_however_it_quotes(program, tmp_path, command):
    log = str(tmp_path / "log")
    subprocess.run(
        ["parallel", "--will-cite", "--joblog", log, *command, ":::", "a b.svg", "c"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    done = program.call("run", "--joblog", log, "--resume", "--dry-run", *command, ":::", "a b.svg", "c", "d")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 1), done.stderr


def test_a_result_that_can_never_be_kept_fails_its_task_alone(program, tmp_path):
    there = tmp_path / "r"
    (there / "taken").mkdir(parents=True)
    done = program.call("run", "--results", f"{there}/{{}}/o", "echo", stdin=b"nul\0in it\n" + b"x" * 300 + b"\nfine\n")
    assert done.returncode == 1
    assert (there / "fine" / "o").read_bytes() == b"fine\n"
    assert done.stderr.count(b"no file for the results") == 2
