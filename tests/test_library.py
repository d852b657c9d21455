"""Loadkeeper in somebody else's program: real runs in threads, steered from elsewhere; the program is left alone."""

import asyncio
import dataclasses
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from support.pages import blocks
from support.program import Program, command_of, marked, processes, stands, wait_until

from loadkeeper import (
    Limits,
    LoadManager,
    Member,
    Outcome,
    PlaceError,
    ProcessManager,
    Roster,
    RunFailed,
    UsageError,
    model,
)
from loadkeeper.commands.run import run
from loadkeeper.program import keywords
from loadkeeper.program.arguments import Faults
from loadkeeper.program.outcome import Failure
from loadkeeper.settings import RunSettings

OFF = Limits(cpu="off")
PAGE = Path(__file__).parents[1] / "docs" / "library.md"


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """This very process in directories of its own; its load manager need not come up for each test."""
    made = Program(tmp_path_factory.mktemp("library") / "p")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("LOADKEEPER_")]:
            patch.delenv(name)
        for name in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME"):
            patch.setenv(name, made.environment[name])
        yield made
        made.close()


@pytest.fixture(autouse=True)
def _here(program):
    pass


def in_thread(work) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def running(manager, count: int = 1) -> None:
    """Wait until so many workers of it live, by what it says itself."""
    wait_until(lambda: manager.seen and manager.seen[-1].running >= count, 20, f"{count} workers do not run")


def watched(*command, **more) -> ProcessManager:
    """A manager that keeps in ``seen`` what it showed."""
    seen = []
    manager = ProcessManager(*command, on_progress=seen.append, limits=OFF, **more)
    manager.seen = seen
    return manager


class Taken(list):
    """What tasks wrote, by number."""

    def __call__(self, task, stdout, stderr):
        self.append((task.number, task.value, task.outcome, task.exit_code, stdout, stderr))


# ---------------------------------------------------------------------------------------------------------- a run


def test_values_for_words_that_meet_no_shell():
    taken = Taken()
    values = ["a b", b"\xff", Path("c"), 4, ("x", "$y")]
    outcome = ProcessManager(["printf", "%s|"], values=values, limits=OFF, output=taken, keep_order=True).manage()
    assert [one[4] for one in taken] == [b"a b|", b"\xff|", b"c|", b"4|", b"x|$y|"]
    assert (outcome.done, outcome.error, outcome.exit_code) == (5, False, 0)
    assert outcome.raise_for_failures() is outcome


def test_a_line_for_the_shell_and_placeholders():
    taken = Taken()
    line = "echo {2} {1} {#} >&2; exit {1}"
    outcome = ProcessManager(line, values=[(0, "a b"), (3, "c")], limits=OFF, output=taken, task_id="job-7").manage()
    assert sorted(taken) == [
        (1, "0 a b", "done", 0, b"", b"a b 0 1\n"),
        (2, "3 c", "failed", 3, b"", b"c 3 2\n"),
    ]
    assert (outcome.task_id, outcome.error, outcome.critical, outcome.exit_code) == ("job-7", True, False, 1)
    (failure,) = outcome.failures
    assert (failure.number, failure.value, failure.exit_code, failure.last_words) == (2, "3 c", 3, "c 3 2")
    with pytest.raises(RunFailed, match="1 done, 1 failed") as raised:
        outcome.raise_for_failures()
    assert raised.value.outcome is outcome


def test_so_many_workers_that_find_their_own_work(tmp_path):
    def worker(environment, log):
        return ProcessManager(
            ["sh", "-c", 'echo "$WHO" >> "$0"', str(log)], tasks=4, limits=OFF, environment=environment
        )

    outcome = worker({"WHO": "me", "PATH": os.environ["PATH"]}, tmp_path / "log").manage()
    assert outcome.done == 4
    assert (tmp_path / "log").read_text() == "me\n" * 4
    assert "WHO" not in os.environ


def test_commands_of_both_kinds():
    taken = Taken()
    commands = ["echo a; echo b", ["printf", "%s", "c  $d"], "true", ["sh", "-c", "kill -9 $$"]]
    outcome = ProcessManager(commands=iter(commands), limits=OFF, output=taken, keep_order=True).manage()
    assert [one[4] for one in taken] == [b"a\nb\n", b"c  $d", b"", b""]
    (failure,) = outcome.failures
    assert (failure.number, failure.signal) == (4, signal.SIGKILL)


def test_values_are_read_as_they_are_needed():
    given = []

    def endless():
        for number in range(10**9):
            given.append(number)
            yield number

    manager = watched("sleep 0.05", values=endless(), jobs=2)
    thread = in_thread(manager.manage)
    wait_until(lambda: manager.seen and manager.seen[-1].done >= 2, 20, "nothing is done")
    manager.stop(now=True)
    thread.join(20)
    assert not thread.is_alive()
    assert len(given) <= manager.outcome.done + 2 + 2 * 32
    assert manager.outcome.left is None


def test_an_iterable_that_fails_ends_the_run_with_an_error(caplog):
    def broken():
        yield "a"
        raise ZeroDivisionError("no more")

    outcome = ProcessManager("true", values=broken(), limits=OFF).manage()
    assert (outcome.done, outcome.error, outcome.exit_code) == (1, True, 2)
    assert "not all tasks could be read" in outcome.message
    assert "Traceback" in caplog.text
    assert "ZeroDivisionError: no more" in caplog.text


def test_output_goes_to_the_programs_own_descriptors_and_nothing_else_does(program):
    done = script(
        program,
        """
        import sys
        from loadkeeper import ProcessManager, Limits
        sys.stdout.write("before\\n")
        ProcessManager("echo out {}; echo err {} >&2", values=[1, 2], jobs=1, limits=Limits(cpu="off")).manage()
        sys.stdout.write("after\\n")
        """,
        stdout=subprocess.PIPE,
    )
    assert done.stdout.split("\n") == ["before", "out 1", "out 2", "after", ""]
    assert done.stderr.split("\n") == ["err 1", "err 2", ""]


def test_output_in_a_file_or_in_results(tmp_path):
    ProcessManager("echo {}", values=["ab", "c"], limits=OFF, output=tmp_path / "log", keep_order=True).manage()
    assert (tmp_path / "log").read_text() == "ab\nc\n"
    with open(tmp_path / "open", "w") as file:
        file.write("before\n")
        ProcessManager("echo {}", values=[1], limits=OFF, output=file).manage()
        file.write("after\n")
    assert (tmp_path / "open").read_text() == "before\n1\nafter\n"
    ProcessManager("echo {}", values=["x"], limits=OFF, results=tmp_path / "results").manage()
    assert (tmp_path / "results/1/x/stdout").read_text() == "x\n"


def test_settings_have_the_meaning_of_their_options(tmp_path):
    log = tmp_path / "joblog"
    one = {"joblog": log, "retries": 2, "retry_delay": 0, "jobs": 1, "limits": OFF, "output": os.devnull}
    outcome = ProcessManager("test {} != b", values=["a", "b"], **one).manage()
    assert (outcome.done, outcome.failed, outcome.failures[0].attempts) == (1, 1, 2)
    assert [line.split("\t")[6] for line in log.read_text().splitlines()[1:]] == ["0", "1"]
    outcome = ProcessManager("test {} != b", values=["a", "b"], resume_failed=True, **one).manage()
    assert (outcome.before, outcome.failed) == (1, 1)
    outcome = ProcessManager("sleep {}", values=[60], timeout=timedelta(seconds=0.3), limits=OFF).manage()
    assert "0.3 s" in outcome.failures[0].why
    outcome = ProcessManager("exit {}", values=[1, 1, 1], halt="soon,fail=1", jobs="1", limits=OFF).manage()
    assert (outcome.failed, outcome.left) == (1, 2)


def test_messages_go_to_the_logger_or_to_whom_is_named(caplog):
    told = []
    ProcessManager("false", tasks=1, limits=OFF).manage()
    assert "loadkeeper: task 1 failed: exit code 1" in caplog.messages
    assert {record.name for record in caplog.records} == {"loadkeeper"}
    caplog.clear()
    ProcessManager("false", tasks=1, limits=OFF, on_message=told.append).manage()
    assert told == ["task 1 failed: exit code 1"]
    assert caplog.messages == []


def test_a_manager_runs_once():
    manager = ProcessManager("true", tasks=1, limits=OFF)
    manager.manage()
    with pytest.raises(UsageError, match="has begun its run already"):
        manager.manage()


# ------------------------------------------------------------------------------------------ threads, and from elsewhere


def test_several_at_once_in_threads_and_a_callback_in_the_thread_that_waits():
    outcomes, callers = {}, {}

    def one(name):
        seen = set()
        manager = ProcessManager(
            "sleep 0.{}",
            values=[1, 2, 3],
            limits=OFF,
            name=name,
            output=lambda *_: seen.add(threading.get_ident()),
            on_progress=lambda _: seen.add(threading.get_ident()),
        )
        outcomes[name] = manager.manage()
        callers[name] = (seen, {threading.get_ident()})

    threads = [in_thread(lambda name=name: one(name)) for name in "abcd"]
    for thread in threads:
        thread.join(30)
    assert {name: (outcome.done, outcome.error) for name, outcome in outcomes.items()} == dict.fromkeys(
        "abcd", (3, False)
    )
    assert all(seen == own for seen, own in callers.values())


def test_stop_from_elsewhere_is_gentle_and_then_at_once(tmp_path):
    script = f"trap 'echo term >> {tmp_path}/log; exit 1' TERM; echo up >> {tmp_path}/log; while :; do sleep 0.05; done"
    manager = watched(script, tasks=5, jobs=2, grace="30s")
    thread = in_thread(manager.manage)
    wait_until(lambda: (tmp_path / "log").exists() and (tmp_path / "log").read_text() == "up\nup\n", 20, "nobody runs")
    manager.stop()
    thread.join(20)
    outcome = manager.outcome
    assert (tmp_path / "log").read_text() == "up\nup\nterm\nterm\n"
    assert (outcome.done, outcome.failed, outcome.given_back, outcome.left) == (0, 0, 2, 5)
    assert (outcome.error, outcome.critical, outcome.exit_code) == (True, False, 143)
    assert outcome.message.endswith("stopped by the program")

    manager = watched("trap '' TERM; while :; do sleep 0.05; done", tasks=1, grace="60s")
    thread = in_thread(manager.manage)
    running(manager)
    manager.stop()
    manager.stop(now=True)
    thread.join(20)
    assert not thread.is_alive()
    assert manager.outcome.given_back == 1


def test_a_stop_before_the_run_does_nothing_then():
    manager = ProcessManager("sleep 60", tasks=2, limits=OFF)
    manager.stop()
    outcome = manager.manage()
    assert (outcome.done, outcome.left, outcome.exit_code) == (0, 2, 143)
    manager.stop()


def test_drain_lets_what_runs_finish():
    manager = watched("sleep 1", tasks=9, jobs=2)
    thread = in_thread(manager.manage)
    running(manager, 2)
    manager.drain()
    thread.join(20)
    assert (manager.outcome.done, manager.outcome.left, manager.outcome.given_back) == (2, 7, 0)


def test_pause_and_resume(program):
    manager = watched("sleep 1.5", tasks=1, name="paused-one")
    thread = in_thread(manager.manage)
    running(manager)
    manager.pause()
    wait_until(lambda: manager.seen[-1].paused == 1, 20, "nobody stands")
    (run,) = [run for run in program.ask().runs if run.name == "paused-one"]
    assert run.state == "paused"
    (leader, *_) = marked(run.id)
    wait_until(lambda: stands(leader), 5, "it does not stand")
    time.sleep(1.6)
    assert thread.is_alive()
    manager.resume()
    thread.join(20)
    assert (manager.outcome.done, manager.outcome.pauses) == (1, 1)
    assert manager.outcome.paused_for > 1.5


def test_progress_by_iterator():
    manager = ProcessManager("sleep 0.4", tasks=3, jobs=1, limits=OFF, name="iterated")
    seen = list(manager.watch())
    assert manager.outcome.done == 3
    assert [one.over for one in seen] == [*[False] * (len(seen) - 1), True]
    assert (seen[-1].done, seen[-1].total, seen[-1].running) == (3, 3, 0)
    assert len(seen) <= 2 + 2 * (manager.outcome.seconds + 0.5)
    assert any("memory" in one.gauges for one in seen)
    assert str(seen[-1]).startswith("iterated: 3 of 3 done; memory ")
    with pytest.raises(AttributeError):
        seen[-1].done = 4


def test_who_leaves_the_loop_stops_the_run():
    manager = ProcessManager("sleep 60", tasks=3, limits=OFF)
    for progress in manager.watch():
        if progress.running:
            break
    assert manager.outcome.left == 3
    assert manager.outcome.exit_code == 143


def test_a_callback_that_fails_stops_nothing_and_is_not_lost(caplog):
    def fails(*_):
        raise ZeroDivisionError("in a callback")

    outcome = ProcessManager("false", tasks=2, limits=OFF, output=fails, on_progress=fails, on_message=fails).manage()
    assert outcome.failed == 2
    for name in ("output", "on_progress", "on_message"):
        assert f"loadkeeper: {name} has failed" in caplog.messages
    assert "ZeroDivisionError: in a callback" in caplog.text


def test_a_callback_may_stop_the_run():
    manager = ProcessManager("sleep 0.1", tasks=50, jobs=1, limits=OFF, output=lambda *_: manager.stop())
    outcome = manager.manage()
    assert 1 <= outcome.done < 50
    assert outcome.exit_code == 143


def test_an_exception_in_the_waiting_thread_stops_the_run_and_is_raised():
    """As ^C is: first gently, then at once."""

    class Enough(BaseException):
        pass

    def enough(progress):
        if progress.running:
            raise Enough

    manager = ProcessManager("sleep 60", tasks=2, limits=OFF, on_progress=enough)
    with pytest.raises(Enough):
        manager.manage()
    assert manager.outcome.exit_code == 143


def test_interrupt_in_the_main_thread(program):
    done = script(
        program,
        """
        import os, signal, sys, threading
        from loadkeeper import ProcessManager, Limits
        manager = ProcessManager(
            "sleep 60", tasks=2, limits=Limits(cpu="off"),
            on_progress=lambda p: p.running == 2 and not p.ending and os.kill(os.getpid(), signal.SIGINT),
        )
        try:
            manager.manage()
        except KeyboardInterrupt:
            print(manager.outcome.to_json())
        """,
    )
    outcome = Outcome.from_json(done.stdout)
    assert (outcome.left, outcome.given_back, outcome.exit_code) == (2, 2, 143)


# -------------------------------------------------------------------------------------------------------------- asyncio


def test_asyncio_goes_on_meanwhile():
    async def both():
        ticks, threads = 0, set()
        manager = ProcessManager(
            "sleep 0.5; echo {}", values=[1], limits=OFF, output=lambda *_: threads.add(threading.get_ident())
        )
        run = asyncio.create_task(manager.manage_async())
        while not run.done():
            await asyncio.sleep(0.01)
            ticks += 1
        assert asyncio.get_running_loop()._default_executor is None
        return await run, ticks, threads

    outcome, ticks, threads = asyncio.run(both())
    assert outcome.done == 1
    assert ticks > 10
    assert threads == {threading.get_ident()}


def test_a_cancelled_coroutine_stops_its_run_and_waits_for_it():
    async def cancelled():
        manager = watched("trap 'sleep 0.3; exit 1' TERM; sleep 60 & wait", tasks=3, jobs=1, grace=20)
        run = asyncio.create_task(manager.manage_async())
        while not (manager.seen and manager.seen[-1].running):
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        return manager.outcome

    outcome = asyncio.run(cancelled())
    assert (outcome.exit_code, outcome.left, outcome.given_back) == (143, 3, 1)

    async def timed_out():
        manager = ProcessManager("trap '' TERM; while :; do sleep 0.05; done", tasks=1, limits=OFF, grace=0.2)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(manager.manage_async(), 1)
        return manager.outcome

    assert asyncio.run(timed_out()).exit_code == 143


# -------------------------------------------------------------------------------------------- the program is left alone

PRELUDE = """
import ctypes, json, logging, os, resource, signal, subprocess, sys, threading, time
from loadkeeper import ProcessManager, LoadManager, Limits, UsageError
OFF = Limits(cpu="off")
def status(*names):
    lines = open("/proc/self/status").read().splitlines()
    return {line.split(":")[0]: line.split()[1] for line in lines if line.split(":")[0] in names}
def subreaper():
    flag = ctypes.c_int()
    ctypes.CDLL(None).prctl(37, ctypes.byref(flag), 0, 0, 0)
    return flag.value
def state():
    return {
        "handlers": {str(number): str(signal.getsignal(number)) for number in signal.valid_signals()},
        "kernel": status("SigCgt", "SigIgn", "Umask"),
        "mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "wakeup": signal.set_wakeup_fd(-1) if threading.current_thread() is threading.main_thread() else None,
        "environment": dict(os.environ), "directory": os.getcwd(), "subreaper": subreaper(),
        "limits": [resource.getrlimit(getattr(resource, n)) for n in dir(resource) if n.startswith("RLIMIT_")],
        "nice": os.getpriority(os.PRIO_PROCESS, 0), "session": os.getsid(0), "group": os.getpgrp(),
        "logging": [str(logging.getLogger(n).handlers) + str(logging.getLogger(n).level) for n in ("", "loadkeeper")],
        "hooks": [str(sys.excepthook), str(threading.excepthook)],
        "cgroup": open("/proc/self/cgroup").read(),
    }
def differences(one, other):
    return [(name, one.get(name), other[name]) for name in other if one.get(name) != other[name]]
def descriptors():
    here = "/proc/self/fd"
    return {name: os.get_inheritable(int(name)) for name in os.listdir(here) if os.path.lexists(f"{here}/{name}")}
"""


def script(program, code, **more):
    """A program of a user's own, run to its end."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PRELUDE) + textwrap.dedent(code)],
        env=program.environment,
        text=True,
        timeout=60,
        check=False,
        **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more},
    )
    assert done.returncode == 0, done.stderr
    return done


def test_nothing_of_the_program_is_changed_before_during_or_after(apart):
    done = script(
        apart,
        """
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD, signal.SIGTSTP):
            signal.signal(number, lambda *_: None)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        os.umask(0o027)
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        threading.Thread(target=len, args=("",)).start()  # the C library's own signal comes with the first thread
        pipe = os.pipe()
        os.set_inheritable(pipe[1], True)
        before, open_before, stop, seen = state(), descriptors(), threading.Event(), []
        def look():
            while not stop.is_set():
                seen.append({n: v for n, v in state().items() if n != "wakeup"})
                assert os.get_inheritable(pipe[1])
        watching = threading.Thread(target=look)
        watching.start()
        def run():
            manager = ProcessManager("sleep 0.2; ls /proc/self/fd; (sleep 60 &)", tasks=4, limits=OFF, output=took)
            outcomes.append(manager.manage())
        listed, outcomes = [], []
        took = lambda task, out, err: listed.append(out)
        lm = LoadManager()
        managing = threading.Thread(target=lm.manage)
        managing.start()
        runs = [threading.Thread(target=run) for _ in range(3)]
        for one in runs: one.start()
        for one in runs: one.join()
        lm.stop()
        managing.join()
        stop.set()
        watching.join()
        assert [outcome.done for outcome in outcomes] == [4, 4, 4], outcomes
        assert state() == before, differences(state(), before)
        before.pop("wakeup")
        for one in seen:
            assert one == before, differences(one, before)
        assert descriptors() == open_before, (descriptors(), open_before)
        assert set(b"".join(listed).split()) == {b"0", b"1", b"2", b"3"}, listed  # 3 is its own, of the directory
        assert threading.enumerate() == [threading.main_thread()]
        print(len(seen))
        """,
    )
    assert int(done.stdout) > 10


@pytest.mark.parametrize("kind", ["plain", "subreaper"])
def test_the_programs_own_children_are_its_own(program, kind):
    """Their exit status is there for its own wait, whatever session they lead; what workers leave is ended, and reaped
    where it comes back to the program."""
    done = script(
        program,
        f"""
        kind = {kind!r}
        if kind == "subreaper":
            ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
        """
        + """
        mine = [
            subprocess.Popen(["sh", "-c", f"sleep 0.{n}; exit {n}"], start_new_session=n % 2 == 1) for n in range(1, 7)
        ]
        forked = os.fork()
        if not forked:
            os.setsid()
            os._exit(9)
        stays = subprocess.Popen(["sleep", "60"], start_new_session=True)
        told = []
        manager = ProcessManager("(setsid sleep 61 &); sleep 0.4", tasks=6, limits=OFF, on_message=told.append)
        outcome = manager.manage()
        assert outcome.done == 6, outcome
        assert told == [], told
        assert os.waitpid(forked, 0)[1] == 9 << 8
        assert [one.wait() for one in mine] == [1, 2, 3, 4, 5, 6]
        assert stays.poll() is None
        stays.kill()
        stays.wait()
        left = open(f"/proc/self/task/{os.getpid()}/children").read().split()
        names = [open(f"/proc/{pid}/stat").read().split()[1] for pid in left]
        print(*names)
        """,
    )
    assert set(done.stdout.split()) <= {"(python)"}  # load managers, which come to a subreaper, too
    assert not [pid for pid in processes() if command_of(pid) == b"sleep\x0061\x00"]


def test_its_own_signal_handlers_are_called(program):
    done = script(
        program,
        """
        manager = ProcessManager("sleep 60", tasks=2, limits=OFF,
                                 on_progress=lambda p: p.running and not p.ending and os.kill(os.getpid(), 15))
        signal.signal(signal.SIGTERM, lambda *_: manager.stop())
        print(manager.manage().exit_code)
        """,
    )
    assert done.stdout == "143\n"


def test_a_program_that_ignores_its_children_is_told_so(program):
    done = script(
        program,
        """
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        try:
            ProcessManager("true", tasks=1, limits=OFF).manage()
        except UsageError as error:
            print(error)
        assert signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN
        """,
    )
    assert "this program ignores SIGCHLD" in done.stdout
    assert "signal.SIG_DFL" in done.stdout


def test_a_program_that_waits_for_any_child_takes_our_exit_codes_and_is_told_so(program):
    done = script(
        program,
        """
        keeps = subprocess.Popen(["sleep", "60"])
        waiting = threading.Thread(target=lambda: [os.waitpid(-1, 0) for _ in range(9)], daemon=True)
        told = []
        manager = ProcessManager("sleep 1.5", tasks=2, limits=OFF, on_message=told.append,
                                 on_progress=lambda p: p.running == 2 and not waiting.ident and waiting.start())
        outcome = manager.manage()
        keeps.kill()
        print(outcome.failed, outcome.failures[0].why)
        print(*told)
        """,
    )
    failed, said = done.stdout.splitlines()[:2]
    assert failed == "2 something in this program has waited for the worker in our place (os.wait, waitpid(-1))"
    assert "its exit code is unknown: something in this process has waited for any child" in said


def test_a_program_whose_standard_streams_are_closed_is_told_so(program):
    done = script(
        program,
        """
        kept = os.dup(1)
        os.close(1)
        try:
            ProcessManager("true", tasks=1, limits=OFF).manage()
        except UsageError as error:
            os.write(kept, str(error).encode())
        """,
    )
    assert "descriptor 1 (stdout) is closed" in done.stdout


def test_a_low_limit_of_descriptors_is_obeyed_and_not_raised(program):
    done = script(
        program,
        """
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        most = 0
        def count(progress):
            global most
            most = max(most, progress.running)
        outcome = ProcessManager("sleep 1", tasks=40, limits=Limits(cpu="off"), on_progress=count).manage()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 100
        print(outcome.done, most)
        """,
    )
    number, most = map(int, done.stdout.split())
    assert number == 40
    assert 2 <= most <= 33


def test_many_runs_in_one_life_leave_nothing_behind():
    def one():
        assert ProcessManager("true", values=iter([1, 2, 3]), limits=OFF).manage().done == 3

    one()
    before = len(os.listdir("/proc/self/fd")), threading.active_count()
    for _ in range(8):
        one()
    wait_until(
        lambda: (len(os.listdir("/proc/self/fd")), threading.active_count()) == before, 5, "descriptors or threads stay"
    )


# -------------------------------------------------------------------------------------------------------- what is wrong


def test_every_fault_at_once_with_its_argument():
    with pytest.raises(UsageError) as raised:
        ProcessManager(
            ["x"], tasks=-1, timeout="5 parsecs", jbs=3, memory="2G", retries=0, output=3, limits=7, resume=1
        )
    told = str(raised.value).splitlines()
    assert [line.split(": ")[1] for line in told] == [
        "limits", "timeout", "jbs", "memory", "retries", "resume", "tasks", "output",
    ]  # fmt: skip
    assert "did you mean jobs?" in told[2]
    assert "limits=Limits(memory=...)" in told[3]
    assert "write it as 30s, 5m or 1h30m" in told[1]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "command: is needed"),
        ({"command": "x"}, "tasks, values or commands: is needed"),
        ({"command": "x", "tasks": 1, "values": [1]}, "tasks and values: are given"),
        ({"command": "x", "commands": ["y"]}, "command: is given and commands, too"),
        ({"command": "x", "values": "abc"}, "values: 'abc' is one str, not several"),
        ({"command": "x", "values": 3}, "values: 3 is one int"),
        ({"command": "x", "values": ["a", None]}, "values: number 2, None: a NoneType is neither text"),
        ({"command": [], "tasks": 1}, "command: [] is no command"),
        ({"command": " ", "tasks": 1}, "command: is empty"),
        ({"command": ["a", 3.5, True], "tasks": 1}, "command: a bool is neither text"),
        ({"command": "x", "tasks": True}, "tasks: True is neither text nor a number"),
        ({"command": "x", "tasks": 1, "pause": "later"}, "pause: 'later' is not one of auto, never, stop"),
        ({"command": "x", "tasks": 1, "halt": "sometimes"}, "halt: 'sometimes' is not a way to halt"),
        ({"command": "x", "tasks": 1, "name": 3}, "name: 3 is no text"),
        ({"command": "x", "tasks": 1, "results": "r", "output": "o"}, "output: is given and results, too"),
        ({"command": "x", "tasks": 1, "sensors": {"A b": "c"}}, "sensors: 'A b=c' is no sensor"),
        ({"command": "x", "tasks": 1, "limits": Limits(lines={"gpu": "1,2,3"})}, "limits: lines of 'gpu'"),
        ({"command": "x", "tasks": 1, "environment": {"A": 1}}, "environment: must be a mapping"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_begun(arguments, told):
    with pytest.raises(UsageError) as raised:
        ProcessManager(**{"command": None, **arguments} if arguments else {"tasks": 1})
    assert f"ProcessManager: {told}" in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"command": "no-such-thing", "tasks": 1}, "command 'no-such-thing' is not found in PATH"),
        (
            {"command": "true", "tasks": 1, "limits": Limits(memory_need="900T")},
            "memory_need 900 TiB is more than this",
        ),
        ({"command": "true", "tasks": 1, "joblog": "/no/such/file"}, "/no/such/file"),
        ({"command": "true", "tasks": 1, "resume": True}, "resume needs joblog FILE"),
        ({"command": "true", "tasks": 1, "output": "/no/such/file"}, "output: /no/such/file cannot be written"),
    ],
)
def test_what_the_node_or_its_files_refuse_is_raised_by_the_run(arguments, told):
    with pytest.raises(UsageError, match=told):
        ProcessManager(**arguments).manage()


def test_limits_by_text_and_number():
    limits = Limits(cpu=1.5, memory="2G", memory_gap=200 << 20, workers_memory="20%", give_up=None, max_pause="5m")
    assert limits.model == model.Limits(
        cpu=model.Amount(absolute=1.5),
        cpu_promised=True,
        memory=model.Amount(absolute=2.0 * (1 << 30)),
        memory_gap=200 << 20,
        workers_memory=model.Amount(share=0.2),
        give_up=None,
    )
    assert Limits().model == model.Limits()
    assert Limits(cpu=None).model.cpu is None
    assert Limits(cpu="90%").model.cpu_promised
    assert Limits(pressure={"cpu": "40%"}, lines={"gpu": "80,90,95"}).model.gauges == {
        "pressure.cpu": model.Lines(hold=0.4),
        "gpu": model.Lines(80, 90, 95),
    }
    assert Limits(memory="2G") == Limits(memory=2 << 30) != Limits()
    assert repr(Limits(memory="2G", give_up="never")) == "Limits(memory='2G', give_up='never')"
    with pytest.raises(AttributeError):
        limits.memory = "3G"


def test_wrong_limits_are_one_error():
    with pytest.raises(UsageError) as raised:
        Limits(cpu="most", memory=0.1, memory_need=0, give_up=True)
    assert str(raised.value).splitlines() == [
        "Limits: cpu: 'most' is neither a share nor a number of cores; write it as 90% or 3.5, or off",
        "Limits: memory: 0.1 is no number of bytes; write a share as '10%' and a size as '2G' or in bytes, or off",
        "Limits: memory_need: '0' is no memory at all; write it as 200M or 2G",
        "Limits: give_up: True is neither text nor a number, or never",
    ]
    with pytest.raises(UsageError, match="memory_gap is added to what memory keeps available"):
        Limits(memory="off", memory_gap="1G")
    with pytest.raises(TypeError, match="unexpected keyword argument 'memroy'"):
        Limits(memroy="1G")


def test_an_outcome_as_json_and_back():
    outcome = Outcome(message="m", task_id="7", error=True, done=3, failures=(Failure(number=1),))
    told = json.loads(outcome.to_json())
    assert {"message", "task_id", "error", "critical", "done", "failed", "given_back"} <= told.keys()
    assert Outcome.from_json(outcome.to_json()) == outcome
    assert Outcome.from_json(json.dumps({**told, "of a later version": 1})) == outcome
    assert Outcome.from_json(b'{"message": ""}') == Outcome(message="")
    for wrong in ("", "[]", '{"message": 1}', b"\xff", "[" * 100_000):
        with pytest.raises(UsageError, match="no outcome of a run"):
            Outcome.from_json(wrong)


# ----------------------------------------------------------------------------------------------------- the load manager


@pytest.fixture
def apart(tmp_path_factory, monkeypatch):
    """Directories without any load manager."""
    made = Program(tmp_path_factory.mktemp("apart") / "p")
    for name in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, made.environment[name])
    yield made
    made.close()


def test_a_load_manager_in_a_thread_of_the_program(apart):
    manager = LoadManager()
    thread = in_thread(manager.manage)
    try:
        wait_until(lambda: apart.ask() is not None, 10, "it does not answer")
        outcome = ProcessManager("true", tasks=3, limits=OFF).manage()
        assert outcome.done == 3
        assert apart.ask().node.pid == os.getpid()
        with pytest.raises(PlaceError, match=f"has a load manager already, process {os.getpid()}"):
            LoadManager().manage()
    finally:
        manager.stop()
        thread.join(10)
    assert not thread.is_alive()
    assert apart.ask() is None
    with pytest.raises(UsageError, match="has been at work already"):
        manager.manage()


def test_a_program_with_a_load_manager_is_what_a_run_starts(apart):
    own, noted, pids = apart.root / "lm.py", apart.root / "pid", set()
    own.write_text(
        "import os\nfrom loadkeeper import LoadManager\n"
        f"open({str(noted)!r}, 'a').write(f'{{os.getpid()}} ')\nLoadManager().manage()\n"
    )

    def note(_progress):
        if status := apart.ask():
            pids.add(status.node.pid)

    command = f"{sys.executable} {own}"
    manager = ProcessManager("sleep 0.8", tasks=2, limits=OFF, lm_command=command, on_progress=note)
    assert manager.manage().done == 2
    (pid,) = pids
    assert str(pid) in noted.read_text().split()  # on a busy machine a second one comes up, and finds the place taken
    wait_until(lambda: not command_of(pid), 10, "it stays though its last run has left")


def test_a_stop_before_it_begins(apart):
    manager = LoadManager()
    manager.stop()
    manager.manage()
    assert apart.ask() is None


def test_every_option_of_run_is_an_argument():
    """But those that say where values come from, what is printed first, and what this is."""
    inputs = {
        "arg_file", "null", "delimiter", "colsep", "max_args", "header", "link", "no_run_if_empty", "replace", "shell",
        "quote", "dry_run", "will_cite", "words", "tasks",
    }  # fmt: skip
    others = {"exit_as": "exit", "tagstring": "tag", "sensor": "sensors", "line": "lines"}
    options = {others.get(str(one.name), str(one.name)) for one in run.params} - inputs
    limits = {field.name for field in dataclasses.fields(Limits)} - {"model"}
    assert options <= {*keywords.KEYWORDS, *keywords._others(), *limits}
    assert limits <= options
    page = PAGE.read_text()
    for name in [*keywords.KEYWORDS, *limits]:
        assert f"`{name}`" in page or f"{name}=" in page, name


def test_a_setting_of_a_later_version_is_taken_by_its_name_and_type(monkeypatch):
    class Later(RunSettings, frozen=True, kw_only=True):
        sigterm: bool = False
        address: str | None = None

    monkeypatch.setattr(keywords, "RunSettings", Later)
    faults = Faults("here")
    settings = keywords.settings_of(model.Limits(), {"sigterm": True, "address": "tcp://x", "jobs": 2}, faults)
    faults.report()
    assert (settings.sigterm, settings.address, settings.jobs) == (True, "tcp://x", 2)
    keywords.settings_of(model.Limits(), {"sigterm": "yes"}, faults)
    with pytest.raises(UsageError, match="here: sigterm: 'yes': Expected `bool`, got `str`"):
        faults.report()


# ------------------------------------------------------------------------------------------------------------- the page


@pytest.mark.parametrize("block", blocks(PAGE), ids=lambda block: block.name)
def test_what_stands_on_the_page_runs(apart, tmp_path, block):
    for name in ("a.log", "b.log"):
        (tmp_path / name).write_text("something")
    done = subprocess.run(
        [sys.executable, "-c", block.code],
        env=apart.environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    expected = {1: '"task_id":"nightly-7","error":false', 4: "4 not done", 5: "3 done", 6: "6 done, 0 failed"}
    assert expected.get(block.number, "") in done.stdout


# ------------------------------------------------------------------------------------------------ a loop of its own


@pytest.fixture
def builder(program):
    """The program of the page with a loop of its own, its tasks a bit longer."""
    code = blocks(PAGE)[-1].code.replace("sleep 0.{n}", "sleep {n}.5").replace("range(1, 7)", "range(1, 4)")
    assert "sleep {n}.5" in code
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=program.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    yield process
    process.kill()
    process.communicate()


def of_builder(program, count):
    """(its run, leaders of its workers) once so many live."""

    def found():
        status = program.ask()
        runs = [run for run in status.runs if run.name == "my-builder"] if status else []
        return runs[0] if runs and len(runs[0].workers) == count else None

    run = wait_until(found, 20, f"it has not {count} workers")
    return run.id, [worker.pid for worker in run.workers]


def test_a_member_with_a_loop_of_its_own_obeys(program, builder):
    run, leaders = of_builder(program, 3)
    assert program.call("pause", "my-builder").returncode == 0
    wait_until(lambda: all(stands(pid) for pid in leaders), 10, "they do not stand")
    assert b"stand" in program.call("explain", "my-builder").stdout or b"paused" in program.call("list").stdout
    time.sleep(0.3)
    assert program.call("resume", "my-builder").returncode == 0
    out, err = builder.communicate(timeout=30)
    assert (out, err) == ("3 done, 0 failed, 0 given back\n", "")
    assert not marked(run)


def test_what_a_member_leaves_when_it_is_killed_is_ended(program, builder):
    run, leaders = of_builder(program, 3)
    assert len(leaders) == 3
    builder.kill()
    wait_until(lambda: not marked(run), 10, "its workers live on")


def test_a_roster_says_what_cannot_be(program):
    member = Member.open("wrong")
    try:
        with pytest.raises(UsageError, match="there is no worker 7"):
            Roster(member).gone(7, good=True)
    finally:
        member.leave()
