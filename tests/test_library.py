"""Loadkeeper in somebody else's program: real runs in threads, and steered from elsewhere."""

import asyncio
import os
import signal
import subprocess
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from support.guest import OFF, in_thread, running, script, watched
from support.program import marked, stands, wait_until

from loadkeeper import Outcome, ProcessManager, RunFailed, UsageError


@pytest.fixture(autouse=True)
def _here(here):
    pass


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


def test_output_goes_to_the_programs_own_descriptors_and_nothing_else_does(here):
    done = script(
        here,
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


def test_pause_and_resume(here):
    manager = watched("sleep 1.5", tasks=1, name="paused-one")
    thread = in_thread(manager.manage)
    running(manager)
    manager.pause()
    wait_until(lambda: manager.seen[-1].paused == 1, 20, "nobody stands")
    (run,) = [run for run in here.ask().runs if run.name == "paused-one"]
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


def test_interrupt_in_the_main_thread(here):
    done = script(
        here,
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
