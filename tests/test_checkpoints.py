"""Runs whose workers have checkpoints: paused and ended there where they are reached, by signals where they are not."""

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
from support.asked import HEAD
from support.memory_group import memory_group, parent
from support.program import Program, marked, stands, state_of, wait_until

from loadkeeper.model import Want

BLOCKS = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\n"


class Case:
    """A run of one worker's code. What it writes with `say` is in ``said``."""

    def __init__(self, program, tmp_path, code, *options, tasks=1):
        self.program = program
        self.log = tmp_path / "log"
        self.log.touch()
        script = tmp_path / "worker.py"
        script.write_text(HEAD + code)
        program.environment["LOG"] = str(self.log)
        words = ["run", "--cpu", "off", "--name", "r", *options, "--tasks", str(tasks), "--", sys.executable]
        self.run = program.start(*words, str(script))

    def said(self):
        return self.log.read_text().split("\n")[:-1]

    def wait_for(self, word, count=1, seconds=15):
        wait_until(lambda: self.said().count(word) >= count, seconds, f"{word!r} is not said {count} times")

    def workers(self):
        status = self.program.ask()
        return list(status.runs[0].workers) if status and status.runs else []

    def worker(self):
        return wait_until(self.workers, 10, "the load manager knows of no worker")[0]

    def pid(self):
        return self.worker().pid

    def steer(self, want):
        assert self.program.steer(want, "r")

    def end(self, code, seconds=20):
        out, err = self.run.communicate(timeout=seconds)
        assert self.run.returncode == code, err.decode()
        return out.decode(), err.decode()


@pytest.fixture
def case(program, tmp_path):
    def start(code, *options, **more):
        return Case(program, tmp_path, code, *options, **more)

    return start


# -------------------------------------------------------------------------------------------------------------- pausing


def test_a_worker_is_paused_at_its_checkpoint_and_continued(case):
    one = case(
        """
checkpoint.before_pause(lambda: say("before"))
checkpoint.after_pause(lambda: say("after"))
checkpoint()
say("there")
while "end" not in open(os.environ["LOG"]).read():
    checkpoint()
    time.sleep(0.001)
"""
    )
    one.wait_for("there")
    pid = one.pid()
    one.steer(Want.PAUSE)
    one.wait_for("before")
    wait_until(lambda: stands(pid), 5, "it is not stopped besides, so that its other threads run on")
    one.steer(Want.RUN)
    one.wait_for("after")
    with open(one.log, "a") as log:
        log.write("end\n")
    _, err = one.end(0)
    assert "1 done" in err
    assert "1 pause" in err


def test_with_ask_its_other_threads_go_on(case):
    """A heartbeat, for example."""
    one = case(
        """
def beat():
    while True:
        time.sleep(0.005)
        if os.path.exists(os.environ["LOG"] + ".beat"):
            say("beat")

threading.Thread(target=beat, daemon=True).start()
checkpoint.before_pause(lambda: say("before"))
checkpoint()
say("there")
work()
""",
        "--pause",
        "ask",
    )
    one.wait_for("there")
    one.steer(Want.PAUSE)
    one.wait_for("before")
    wait_until(lambda: [w.state for w in one.workers()] == ["paused"], 5, "it is not shown as paused")
    time.sleep(0.3)
    open(f"{one.log}.beat", "w").close()
    one.wait_for("beat", 3)
    assert not stands(one.pid())
    one.steer(Want.STOP)
    one.end(143)


def test_who_does_not_reach_its_checkpoint_in_time_is_stopped_all_the_same(case):
    one = case("checkpoint(); say('there'); time.sleep(60)")
    one.wait_for("there")
    pid = one.pid()
    one.steer(Want.PAUSE)
    began = time.monotonic()
    wait_until(lambda: stands(pid), 12, "it is never stopped")
    assert time.monotonic() - began > 3, "it had its time"
    one.steer(Want.RUN)
    wait_until(lambda: not stands(pid), 5, "it does not go on")
    one.steer(Want.STOP)
    one.end(143)


def test_who_has_none_is_stopped_at_once(case):
    one = case("say('there'); time.sleep(60)")
    one.wait_for("there")
    pid = one.pid()
    one.steer(Want.PAUSE)
    wait_until(lambda: stands(pid), 3, "it is not stopped at once")
    one.steer(Want.STOP)
    one.end(143)


def test_a_critical_section_is_waited_for(case):
    one = case(
        """
with checkpoint.off():
    say("inside")
    time.sleep(6.5)
    say("leaving")
say("outside")
work()
"""
    )
    one.wait_for("inside")
    one.steer(Want.PAUSE)
    one.wait_for("leaving", seconds=15)
    wait_until(lambda: stands(one.pid()), 5, "it does not stand after it")
    assert "outside" not in one.said()
    one.steer(Want.STOP)
    one.end(143)


def test_suspending_waits_for_no_checkpoint(case):
    """^Z: the run stops itself right after its workers."""
    one = case("checkpoint(); say('there'); time.sleep(60)")
    one.wait_for("there")
    pid = one.pid()
    one.run.send_signal(signal.SIGTSTP)
    wait_until(lambda: stands(pid), 3, "it is not stopped at once")
    wait_until(lambda: state_of(one.run.pid) == "T", 3, "the run does not stand")
    one.run.send_signal(signal.SIGCONT)
    wait_until(lambda: not stands(pid), 5, "it does not go on")
    one.steer(Want.STOP)
    one.end(143)


# --------------------------------------------------------------------------------------------------------------- ending

BUSY = {
    "sqlite": """
import sqlite3
counting = "with n(i) as (select 1 union all select i + 1 from n where i < 300000) select count(*) from n"
database = sqlite3.connect(":memory:")
def step():
    database.execute(counting).fetchone()
""",
    "hashlib": """
import hashlib
def step():
    hashlib.pbkdf2_hmac("sha256", b"password", b"salt", 100_000)
""",
}


@pytest.mark.parametrize("kind", BUSY)
def test_one_that_blocks_every_signal_ends_gracefully(case, kind):
    """Deep in C code most of the time; its task is given back, not failed. Only KILL would have reached it."""
    one = case(
        BLOCKS
        + BUSY[kind]
        + """
try:
    checkpoint()
    say("there")
    while True:
        step()
        checkpoint()
except Terminated as error:
    say("ends", error.grace > 5)
    sys.exit(0 if error.grace > 5 else 1)
""",
        "--sigterm-blocking",
        "--grace",
        "15s",
        tasks=2,
    )
    one.wait_for("there", 2)
    one.run.send_signal(signal.SIGTERM)
    _, err = one.end(143)
    assert one.said().count("ends True") == 2
    assert "2 not done" in err


def test_one_that_blocks_and_hears_nothing_is_killed_after_the_grace(case):
    one = case(BLOCKS + "checkpoint(); say('there'); time.sleep(60)", "--sigterm-blocking", "--grace", "1s")
    one.wait_for("there")
    run = one.program.ask().runs[0].id
    one.run.send_signal(signal.SIGTERM)
    one.end(143, seconds=10)
    assert marked(run) == []


def test_terminated_comes_before_the_signal(case):
    """Its own handler of SIGTERM would have ended it at once."""
    one = case(
        """
import signal
signal.signal(signal.SIGTERM, lambda *_: (say("signal"), os._exit(1)))
try:
    checkpoint()
    say("there")
    work()
except Terminated as error:
    say("ends:", error.reason)
    time.sleep(0.3)
    raise
""",
        "--grace",
        "10s",
    )
    one.wait_for("there")
    one.steer(Want.STOP)
    _, err = one.end(143)
    assert "signal" not in one.said()
    assert one.said()[-1].startswith("ends: "), one.said()
    assert "1 not done" in err


def test_the_signal_comes_when_the_checkpoint_does_not(case):
    one = case(
        """
import signal
signal.signal(signal.SIGTERM, lambda *_: (say("signal"), os._exit(1)))
checkpoint()
say("there")
time.sleep(60)
""",
        "--grace",
        "2s",
    )
    one.wait_for("there")
    one.steer(Want.STOP)
    one.end(143)
    assert one.said()[-1] == "signal"


def test_the_signal_waits_for_a_critical_section(case):
    one = case(
        """
import signal
signal.signal(signal.SIGTERM, lambda *_: (say("signal"), os._exit(1)))
with checkpoint.off():
    say("inside")
    time.sleep(2.5)
    say("leaving")
say("outside")
""",
        "--grace",
        "4s",
    )
    one.wait_for("inside")
    one.steer(Want.STOP)
    one.end(143)
    assert one.said() == ["inside", "leaving"], "ended by the checkpoint that follows"


def test_a_timeout_ends_it_at_its_checkpoint_and_it_has_failed(case):
    one = case("checkpoint()\ntry:\n    work()\nexcept Terminated:\n    say('ends')\n    raise\n", "--timeout", "1s")
    _, err = one.end(1)
    assert one.said() == ["ends"]
    assert "1 failed" in err


def test_one_that_is_ended_while_paused_ends_at_its_checkpoint(case):
    one = case("try:\n    checkpoint()\n    say('there')\n    work()\nexcept Terminated:\n    say('ends')\n    raise\n")
    one.wait_for("there")
    pid = one.pid()
    one.steer(Want.PAUSE)
    wait_until(lambda: stands(pid), 5, "it does not stand")
    one.steer(Want.STOP)
    one.end(143)
    assert one.said()[-1] == "ends"


def test_a_task_that_was_given_back_is_done_later(case):
    """The worker ends itself for us, the next attempt does it. (Memory is what we end workers for: a need that was
    declared too low.)"""
    one = case(
        """
import json
first = "ends" not in open(os.environ["LOG"]).read()
try:
    checkpoint()
    say("there")
    work(60 if first else 0.01)
    say("done")
except Terminated:
    say("ends")
    raise
"""
    )
    one.wait_for("there")
    worker = one.worker()
    assert one.program.steer(Want.STOP, worker.id)
    _, err = one.end(0)
    assert one.said() == ["there", "ends", "there", "done"]
    assert "1 done" in err


# ------------------------------------------------------------------------------------------------ what workers say


def test_progress_is_shown(case):
    one = case(
        "progress(0.4, 'page \\x1b[31m12'); memory_need(300 << 20); say('there'); work()",
    )
    one.wait_for("there")
    wait_until(lambda: [w.progress for w in one.workers()] == [0.4], 5, "the status does not show it")
    worker = one.worker()
    assert "page" in worker.saying
    listed = one.program.call("list").stdout.decode()
    assert "40 %, page" in listed
    assert "\x1b[31m" not in listed
    explained = one.program.call("explain", worker.id).stdout.decode()
    assert "it says: 40 %, page" in explained
    told = json.loads(one.program.call("status", "--json").stdout)
    assert told["runs"][0]["workers"][0]["progress"] == 0.4
    one.steer(Want.STOP)
    _, err = one.end(143)
    assert "\x1b[31m" not in err


def test_a_declared_need_is_reserved(case):
    """With 95 % of all memory declared no second worker fits, of which 2 s later one would have started."""
    one = case(
        """
pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
memory_need(int(pages * 0.95))
say("there")
work()
""",
        "--delay",
        "2s",
        tasks=4,
    )
    one.wait_for("there")
    time.sleep(4)
    assert len(one.workers()) == 1
    assert "memory" in one.program.call("explain", "r").stdout.decode()
    one.steer(Want.STOP)
    one.end(143)


PRESSED = """
import base64, select, stat
path = os.environ["MEMORY_PRESSURE_WATCH"]
kind = os.stat(path).st_mode
opened = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
assert stat.S_ISFIFO(kind) and "MEMORY_PRESSURE_WRITE" not in os.environ
poll = select.poll()
poll.register(opened, select.POLLIN)
say("listens")
while poll.poll(20_000):
    os.read(opened, 4096)
    say("pressed")
    break
time.sleep(60)
"""


def test_memory_pressure_is_told_in_systemds_way(program, tmp_path):
    """At the hold line, before anybody is paused: what a program that uses sd-event does."""
    program.environment |= {"MEMORY_PRESSURE_WATCH": "/somebody/elses", "MEMORY_PRESSURE_WRITE": "c29tZQ=="}
    one = Case(program, tmp_path, PRESSED)
    one.wait_for("listens")
    assert "pressed" not in one.said()
    assert program.call("set", "memory=99%").returncode == 0
    one.wait_for("pressed", seconds=10)
    one.steer(Want.STOP)
    one.end(143)


# ------------------------------------------------------------------------------------------------- in other languages

SHELL = """
PATH=$CLIENTS/bin:$PATH
echo there >>"$LOG"
while [ ! -e "$LOG.end" ]; do
    loadkeeper-checkpoint --progress 0.4 "page 12" || { echo ends >>"$LOG"; exit 75; }
done
echo done >>"$LOG"
"""
PHP = """<?php
require getenv('CLIENTS') . '/share/loadkeeper/loadkeeper.php';
function say($word) { file_put_contents(getenv('LOG'), "$word\\n", FILE_APPEND); }
try {
    Loadkeeper\\checkpoint();
    say('there');
    Loadkeeper\\progress(0.4, 'page 12');
    while (!file_exists(getenv('LOG') . '.end')) {
        Loadkeeper\\checkpoint();
        usleep(1000);
        clearstatcache();
    }
    say('done');
} catch (Loadkeeper\\Terminated $error) {
    say('ends');
    exit(75);
}
"""
OTHERS = {"sh": SHELL, "dash": SHELL, "bash": SHELL, "php": PHP}


@pytest.mark.parametrize("interpreter", [name for name in OTHERS if shutil.which(name)])
@pytest.mark.parametrize("ends", [False, True])
def test_workers_in_other_languages(program, tmp_path, interpreter, ends):
    """Paused at their checkpoints, shown with what they say, continued, and done; or ended there."""
    log = tmp_path / "log"
    (tmp_path / "worker").write_text(OTHERS[interpreter])
    program.environment |= {"LOG": str(log), "CLIENTS": str(Path(__file__).parents[1] / "clients")}
    run = program.start("run", "--cpu", "off", "--name", "r", "--tasks", "1", interpreter, str(tmp_path / "worker"))
    wait_until(lambda: log.exists() and "there" in log.read_text(), 15, "it does not begin")
    worker = wait_until(lambda: _one(program, lambda w: w.progress == 0.4), 5, "its progress is not shown")
    assert worker.saying == "page 12"
    assert program.steer(Want.PAUSE, "r")
    wait_until(
        lambda: stands(worker.pid), 3, "it does not stand at its checkpoint, before it is stopped for being late"
    )
    if ends:
        assert program.steer(Want.STOP, "r")
        assert run.wait(15) == 143
        assert "ends" in log.read_text()
        return
    assert program.steer(Want.RUN, "r")
    open(f"{log}.end", "w").close()
    assert run.wait(15) == 0
    assert "done" in log.read_text()


def _one(program, holds):
    status = program.ask()
    found = [worker for run in status.runs for worker in run.workers] if status else []
    return found[0] if len(found) == 1 and holds(found[0]) else None


# -------------------------------------------------------------------------------------------------------- around them


def test_nothing_is_left(case):
    one = case("checkpoint(); say(os.path.dirname(os.environ['LOADKEEPER_WORKER_CHECKPOINT'])); work(0.1)", tasks=3)
    one.end(0)
    assert len(set(one.said())) == 1
    assert not os.path.exists(one.said()[0])


def test_files_that_somebody_removes_are_made_anew(case):
    """`systemd-logind` removes what a user has in /dev/shm when he logs out."""
    one = case(
        """
checkpoint()
print(os.path.exists(os.environ["LOADKEEPER_WORKER_CHECKPOINT"]))
import shutil
shutil.rmtree(os.path.dirname(os.environ["LOADKEEPER_WORKER_CHECKPOINT"]))
say("there")
""",
        "-j",
        "1",
        tasks=3,
    )
    out, err = one.end(0)
    assert out == "True\n" * 3, err


@pytest.mark.skipif(parent() is None, reason="needs root and a memory controller of version 1")
def test_growing_workers_that_are_asked_keep_the_node_alive(tmp_path):
    """Those that are to stand grow on until their checkpoint; the kernel kills nobody all the same."""
    grows = """
size = int(sys.argv[1]) << 20
held = []
while size > 0:
    checkpoint()
    held.append(bytearray(b"x" * (4 << 20)))
    size -= 4 << 20
    time.sleep(0.004)
time.sleep(0.3)
say("done")
"""
    with memory_group(1 << 30) as group:
        program = Program(tmp_path / "p", group.prefix)
        try:
            program.environment["LOG"] = str(tmp_path / "log")
            (tmp_path / "worker.py").write_text(HEAD + grows)
            sizes = ("500", "300", "450", "380", "550", "320", "420", "280")
            words = ("run", "--cpu", "off", sys.executable, str(tmp_path / "worker.py"), ":::", *sizes)
            done = program.call(*words, timeout=100)
            assert done.returncode == 0, done.stderr
            assert group.oom_kills() == 0
            assert b"8 done" in done.stderr
        finally:
            program.close()


def test_a_worker_that_scribbles_over_its_file_harms_nobody(case):
    one = case(
        """
import random
path = os.environ["LOADKEEPER_WORKER_CHECKPOINT"]
checkpoint()
say("there")
until = time.monotonic() + 3
while time.monotonic() < until:
    with open(path, "r+b") as file:
        file.seek(random.randrange(1300))
        file.write(random.randbytes(40))
    if random.random() < 0.01:
        os.truncate(path, random.randrange(5000))
    time.sleep(0.001)
say("done")
""",
        "--retries",
        "1",
        tasks=2,
    )
    one.wait_for("there", 2)
    for _ in range(3):
        one.steer(Want.PAUSE)
        time.sleep(0.2)
        one.steer(Want.RUN)
        time.sleep(0.2)
    _, err = one.run.communicate(timeout=40)
    assert one.run.returncode in (0, 1), err
    assert b"Traceback" not in err


def test_workers_inside_workers_have_files_of_their_own(case):
    one = case(
        """
import subprocess
mine = os.environ["LOADKEEPER_WORKER_CHECKPOINT"]
checkpoint()
done = subprocess.run([sys.executable, "-m", "loadkeeper", "run", "--cpu", "off", "--",
    "echo $LOADKEEPER_WORKER_CHECKPOINT {}", ":::", "1"], capture_output=True, text=True)
say("apart" if done.stdout.split()[:1] not in ([], [mine]) and os.path.exists(mine) else done)
"""
    )
    one.end(0, seconds=40)
    assert one.said() == ["apart"]


@pytest.mark.parametrize("seed", range(2))
def test_pauses_and_ends_at_any_moment(case, seed):
    """Whatever the operator wants and when: nobody stays paused, every task is done, every section is whole."""
    import random

    chance = random.Random(f"checkpoints {seed}")
    one = case(
        """
import random
chance = random.Random(os.getpid())
try:
    for _ in range(150):
        checkpoint()
        with checkpoint.off():
            say("enter", os.getpid())
            time.sleep(chance.uniform(0, 0.004))
            say("leave", os.getpid())
        time.sleep(chance.uniform(0, 0.004))
    say("done")
except Terminated:
    say("ends")
    raise
""",
        "-j",
        "3",
        tasks=6,
    )
    one.wait_for("done" if chance.random() < 0.2 else _first_word(one))
    ended = 0
    for _ in range(12):
        what = chance.choice([Want.PAUSE, Want.RUN, Want.PAUSE, Want.RUN, Want.STOP])
        workers = one.workers()
        if not workers:
            break
        if what is Want.STOP:
            ended += bool(one.program.steer(Want.STOP, chance.choice(workers).id))
        else:
            one.program.steer(what, chance.choice(["r", chance.choice(workers).id]))
        time.sleep(chance.uniform(0, 0.3))
    one.program.steer(Want.RUN, "r")
    _, err = one.end(0, seconds=60)
    assert one.said().count("done") == 6, err
    sections = [line for line in one.said() if line.startswith(("enter", "leave"))]
    for pid in {line.split()[1] for line in sections}:
        assert [line.split()[0] for line in sections if line.endswith(f" {pid}")][-1] == "leave"


def _first_word(one):
    wait_until(one.said, 15, "nobody says anything")
    return one.said()[0]
