"""`loadkeeper run` on lists of values, as a user types it."""

import json
import os
import signal
import subprocess
import time

import pytest
from support.program import wait_until
from support.screen import Screen


def lines(content: bytes) -> list[bytes]:
    return sorted(content.splitlines())


def test_values_on_the_command_line(program):
    done = program.call("run", "echo", ":::", "a", "b c", "d")
    assert done.returncode == 0, done.stderr
    assert lines(done.stdout) == [b"a", b"b c", b"d"]
    assert done.stderr.splitlines()[-1].startswith(b"3 done")


def test_values_from_stdin_one_a_line(program):
    done = program.call("run", "echo", "{}", "{#}", stdin=b"x\ny\n")
    assert lines(done.stdout) == [b"x 1", b"y 2"]


def test_values_from_a_file(program, tmp_path):
    (tmp_path / "list").write_text("x\ny\n")
    done = program.call("run", "-a", str(tmp_path / "list"), "echo", "<{}>")
    assert lines(done.stdout) == [b"<x>", b"<y>"]


def test_so_many_workers_that_find_their_own_work(program):
    done = program.call("run", "--tasks", "5", "--", "echo", "{#}")
    assert lines(done.stdout) == [b"1", b"2", b"3", b"4", b"5"]


def test_a_shell_line_with_values_quoted(program):
    done = program.call("run", "echo {} | tr a-z A-Z", ":::", "it's $HOME")
    assert done.stdout == b"IT'S $HOME\n"


def test_an_empty_stdin_is_no_task(program):
    done = program.call("run", "echo")
    assert done.returncode == 0
    assert done.stdout == b""
    assert b"0 tasks" in done.stderr


def test_some_failed(program):
    done = program.call("run", "exit {}", ":::", "0", "3", "0")
    assert done.returncode == 1
    assert b"2 done, 1 failed" in done.stderr


def test_a_failing_task_is_tried_again(program, tmp_path):
    script = f"echo x >> {tmp_path}/tries; test $(wc -l < {tmp_path}/tries) -ge 3 && echo {{}}"
    done = program.call("run", "--retries", "3", script, ":::", "v")
    assert done.returncode == 0
    assert done.stdout == b"v\n"


def test_a_time_out_ends_the_task_with_all_its_children(program):
    done = program.call("run", "--timeout", "0.3", "sleep 30 & sleep 30; echo {}", ":::", "v", timeout=20)
    assert done.returncode == 1
    assert b"1 failed" in done.stderr


def test_output_is_grouped_and_kept_in_full(program):
    script = "for i in 1 2 3 4 5 6 7 8; do echo {} $i; sleep 0.01; done; head -c 300000 /dev/zero | tr '\\0' {}; echo"
    done = program.call("run", script, ":::", "a", "b", "c", "d")
    groups = [b"".join(b"%c %d\n" % (v, i) for i in range(1, 9)) + bytes([v]) * 300000 + b"\n" for v in b"abcd"]
    assert len(done.stdout) == sum(map(len, groups))
    for group in groups:
        assert group in done.stdout


def test_output_of_a_worker_that_dies_is_printed(program):
    done = program.call("run", "echo out {}; echo err {} >&2; kill -9 $$", ":::", "v")
    assert done.returncode == 1
    assert done.stdout == b"out v\n"
    assert b"err v\n" in done.stderr


def test_stdin_of_a_worker_is_empty_and_its_signals_are_default(program):
    assert program.call("run", "cat; echo {}", ":::", "end", stdin=b"something").stdout == b"end\n"
    done = program.call("run", "grep", "-E", "SigIgn|SigBlk", ":::", "/proc/self/status")
    libc_own = 0x180000000  # 32 and 33: the C library lets nobody touch them
    assert {int(line.split()[1], 16) & ~libc_own for line in done.stdout.splitlines()} == {0}


def test_no_descriptor_but_the_three_reaches_a_worker(program):
    read, write = os.pipe()
    done = program.call("run", "ls /proc/self/fd", ":::", "", pass_fds=[write])
    os.close(read)
    os.close(write)
    assert [int(fd) for fd in done.stdout.split() if fd.isdigit()] == [0, 1, 2, 3]  # 3 is ls's own directory


def test_jobs_is_the_most_at_once(program, tmp_path):
    script = f"mkdir {tmp_path}/lock && sleep 0.05 && rmdir {tmp_path}/lock"
    done = program.call("run", "-j", "1", script + " # {}", ":::", *map(str, range(8)))
    assert done.returncode == 0, done.stderr


def test_an_endless_producer_is_streamed(program):
    run = program.start("run", "-j", "2", "echo", stdin=subprocess.PIPE)
    run.stdin.write(b"first\n")
    run.stdin.flush()
    assert run.stdout.readline() == b"first\n"
    run.stdin.write(b"second\n")
    run.stdin.close()
    run.stdin = None
    assert run.stdout.readline() == b"second\n"
    assert run.wait(10) == 0


def test_a_reader_that_leaves_ends_the_run(program):
    run = program.start("run", "-j", "2", "seq 10000; sleep 0.1", ":::", *map(str, range(500)))
    run.stdout.readline()
    run.stdout.close()
    run.stdout = None
    assert run.wait(20) == 141  # as other filters that SIGPIPE ends
    said = run.stderr.read().decode()
    assert said.startswith("2 done, 498 not done") or ", 49" in said
    assert "loadkeeper:" not in said


def test_json_of_the_reading_verbs_without_any_load_manager(program):
    assert json.loads(program.call("status", "--json").stdout) == {"node": None, "nodes": [], "runs": []}
    assert json.loads(program.call("list", "--json").stdout) == []


def test_a_run_shows_in_status(program):
    program.start("run", "--name", "nightly", "sleep", ":::", "30", "30")
    shown = wait_until(lambda: [r for r in program.status()["runs"] if r["workers"]], 10, "no worker shows")[0]
    assert shown["name"] == "nightly"
    assert shown["tasks"]["done"] == 0
    node = program.status()["node"]
    assert node["gauges"]["memory"]["value"] > 0
    assert node["capacity"]["cpus"] > 0


@pytest.mark.parametrize("verb", ["status", "list", "explain", "doctor", "run", "pause", "simulate", "demo"])
def test_every_verb_has_help_with_an_example(program, verb):
    done = program.call(verb, "--help")
    assert done.returncode == 0
    assert b"loadkeeper " + verb.encode() in done.stdout


def test_a_pipe_that_does_not_block_is_read_to_its_end(program):
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    run = program.start("run", "echo", stdin=reading)
    time.sleep(1)
    os.write(writing, b"late\n")
    os.close(writing)
    os.close(reading)
    out, err = run.communicate(timeout=20)
    assert (run.returncode, out) == (0, b"late\n"), err


def test_what_a_worker_left_writes_into_no_other_tasks_output(program, tmp_path):
    """It lives for some milliseconds longer than its task, in a session of its own."""
    script = tmp_path / "left.sh"
    script.write_text(
        "echo begin $1\nif [ $(($1 % 10)) = 1 ]; then setsid sh -c "
        "'i=0; while [ $i -lt 3000 ]; do echo LEFT; i=$((i+1)); done' & fi\necho end $1\n"
    )
    values = [":::", *map(str, range(60))]
    done = program.call("run", "--pause", "stop", "-j", "4", "--cpu", "off", "sh", str(script), *values)
    assert done.returncode == 0, done.stderr
    groups = done.stdout.split(b"begin ")[1:]
    assert len(groups) == 60
    for group in groups:
        number = int(group.split()[0])
        assert b"end %d\n" % number in group
        assert number % 10 == 1 or group == b"%d\nend %d\n" % (number, number)


def test_a_reader_that_never_reads_does_not_hold_a_run_that_is_to_stop(program):
    run = program.start("run", "--quiet", "head -c 300000 /dev/zero; echo {}", ":::", "x", "y")
    time.sleep(2)
    run.send_signal(signal.SIGINT)
    time.sleep(0.5)
    run.send_signal(signal.SIGINT)
    assert run.wait(10) is not None
    assert b"not all printed" in run.stderr.read()


def test_a_name_that_is_no_text(program):
    done = program.call("run", "--name", b"\xff", "--kind", b"\xfe", "echo", ":::", "a")
    assert (done.returncode, done.stdout) == (0, b"a\n"), done.stderr


# ------------------------------------------------------------------------------------------------------- which failed


def test_who_failed_is_said_with_how_and_not_without_end(program):
    done = program.call("run", "--cpu", "off", "-j1", "exit {}", ":::", "0", "3", "0")
    assert b"loadkeeper: task 2 (3) failed: exit code 3\n" in done.stderr
    killed = program.call("run", "--cpu", "off", "kill -9 $$; {}", ":::", "a")
    assert b"loadkeeper: task 1 (a) failed: killed by SIGKILL\n" in killed.stderr
    late = program.call("run", "--cpu", "off", "--timeout", "0.2", "sleep", ":::", "30")
    assert b"loadkeeper: task 1 (30) failed: " in late.stderr
    many = program.call("run", "--cpu", "off", "exit 1; {}", ":::", *map(str, range(30)))
    assert many.stderr.count(b" failed: exit code 1") == 10
    assert b"more tasks than these 10 have failed; --joblog FILE lists them all" in many.stderr


def test_a_value_that_the_kernel_does_not_take_is_buried_with_its_size_and_the_limit(program):
    values = b"short\n" + b"x" * 200_000 + b"\nlast\n"
    done = program.call("run", "--cpu", "off", "-k", "printf '%s\\n' {} | wc -c", stdin=values)
    assert done.stdout.split() == [b"6", b"5"]
    assert b"an argument of 200" in done.stderr
    assert b"bytes is too long, the kernel takes 131,072; give it in a file" in done.stderr
    assert b"2 done, 1 buried" in done.stderr
    assert done.returncode == 1


def test_a_hundred_kilobytes_arrive(program):
    done = program.call("run", "--cpu", "off", "wc", "-c", stdin=b"", timeout=30)
    assert done.returncode == 0
    long = b"y" * 100_000
    assert program.call("run", "--cpu", "off", "printf", "%s", stdin=long).stdout == long


@pytest.mark.parametrize("options", [[], ["-k"], ["--tag"], ["--line-buffer"]])
def test_a_stdout_that_cannot_be_written_is_never_a_success(program, options):
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            program.command("run", *options, "echo", ":::", "a"),
            env=program.environment,
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=30,
            check=False,
        )
    assert done.returncode == 2
    assert b"stdout cannot be written: No space left on device" in done.stderr


def test_a_job_log_that_cannot_be_written_is_never_a_success(program):
    done = program.call("run", "--joblog", "/dev/full", "echo", ":::", "a")
    assert (done.returncode, done.stdout) == (2, b"a\n")
    assert b"the job log is not complete" in done.stderr


def test_output_that_a_signal_leaves_unprinted_is_never_a_success(program, tmp_path):
    log = tmp_path / "log"
    run = program.start("run", "--joblog", str(log), "head -c 300000 /dev/zero; echo {}", ":::", *"abcd")
    wait_until(lambda: log.exists() and log.read_bytes(), 20, "no job log")
    time.sleep(2)
    run.send_signal(signal.SIGTERM)
    assert run.wait(10) == 143
    assert b"not all printed" in run.stderr.read()
    assert len(log.read_bytes().splitlines()) == 1, "a task is logged whose output is lost"


def test_a_wrong_log_is_said_without_a_last_line(program, tmp_path):
    log = tmp_path / "log"
    log.write_text("Seq\tHost\n1\t:\t1.0\t0.1\t0\t0\t0\t0\techo x\n")
    done = program.call("run", "--joblog", str(log), "--resume", "echo", ":::", "a")
    assert done.returncode == 2
    assert done.stderr.decode().startswith("loadkeeper: --joblog")
    assert len(done.stderr.splitlines()) == 1


def test_after_a_halt_nothing_more_is_started(program):
    done = program.call("run", "--halt", "now,fail=1", "echo", stdin=b"a\0b\nc\nd\n")
    assert (done.returncode, done.stdout) == (1, b"")


def test_a_share_of_a_stream_halts_a_run(program):
    run = program.start("run", "-j1", "--halt", "now,fail=10%", "echo {}; exit 1;", stdin=subprocess.PIPE)
    for number in range(10):
        run.stdin.write(b"%d\n" % number)
        run.stdin.flush()
        time.sleep(0.02)
    run.stdin.close()
    assert run.wait(20) == 1
    assert run.stdout.read() == b"0\n"


@pytest.mark.parametrize(("options", "shown"), [([], False), (["--bar"], True)])
def test_a_pipe_from_a_terminal_has_no_block_unless_it_is_wanted(program, options, shown):
    screen = Screen()
    run = program.start("run", "-j1", *options, "sleep 2; echo", ":::", "a", stderr=screen.tty)
    wait_until(lambda: program.status()["runs"] and program.status()["runs"][0]["workers"], 20, "nothing runs")
    time.sleep(1)
    drawn = screen.read()
    assert ("0 of 1 done, 1 running" in drawn) == shown, drawn
    run.wait(20)
    screen.close()
