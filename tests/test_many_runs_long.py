"""Several runs of several users on one node, started and killed at random: the node's limits hold throughout, and every
task is done in the end."""

import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.memory_group import MemoryGroup, memory_group, parent
from support.plain import NOBODY, PlainProgram, possible
from support.program import Program, command_of, state_of, wait_until
from support.rounds import LIMIT, LOAD

from loadkeeper.record.joblog import Logged

pytestmark = pytest.mark.skipif(
    parent() is None or not possible, reason="needs root, setpriv and a memory controller of version 1"
)
USERS = (0, NOBODY, NOBODY - 1)
TASKS = 12
AT_ONCE = 2
"""Runs of one user that live at once."""
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL, signal.SIGKILL)

ENDS = {0, *(128 + number for number in STOPS), *(-number for number in STOPS)}
"""Exit codes: done, stopped, and stopped before it heard signals or killed."""


class User:
    """One user's program, jobs and runs."""

    def __init__(self, number: int, root: Path, group: MemoryGroup, load: str, chance: random.Random) -> None:
        self.program = Program(root, group.prefix) if number == 0 else PlainProgram(root, group.prefix, number)
        self.number = number
        self.load = load
        self.chance = chance
        self.jobs: list[Job] = []
        self.killed = {"runs": 0, "load managers": 0}

    @property
    def living(self) -> "list[Job]":
        return [job for job in self.jobs if job.run is not None]

    def turn(self) -> None:
        """Something happens, or nothing."""
        for job in self.living:
            job.look()
        if len(self.living) < AT_ONCE and self.chance.random() < 0.3:
            self.begin()
        if self.living and self.chance.random() < 0.04:
            self.strike()

    def begin(self) -> None:
        """An interrupted job goes on, or another one begins."""
        broken = [job for job in self.jobs if job.run is None and not job.done]
        if not broken:
            self.jobs.append(Job(self, len(self.jobs)))
        (self.chance.choice(broken) if broken else self.jobs[-1]).begin()

    def strike(self) -> None:
        managers = [pid for pid in self.program.managers() if b"loadkeeper.load_manager" in command_of(pid)]
        if managers and self.chance.random() < 0.2:
            os.kill(managers[0], signal.SIGKILL)
            self.killed["load managers"] += 1
        else:
            self.chance.choice(self.living).stop(self.chance.choice(STOPS))
            self.killed["runs"] += 1


class Job:
    """Tasks with a job log: begun again until all are done."""

    def __init__(self, user: User, number: int) -> None:
        self.user = user
        self.number = number
        chance = user.chance
        shapes = ("ramp", "spike", "flat", "forks")
        self.tasks = [
            f"{chance.choice(shapes)} {chance.randint(20, 140)} {chance.uniform(0.05, 0.4):.2f}" for _ in range(TASKS)
        ]
        self.log = user.program.root / f"log{number}"
        self.run = None
        self.begun = 0
        self.done = False
        self.err = b""

    def begin(self) -> None:
        program = self.user.program
        python = getattr(program, "python", sys.executable)
        words = ["--joblog", str(self.log), "--resume", "--name", f"job{self.number}", "--cpu", "off", "--quiet"]
        output = program.root / f"out{self.number}"
        with output.open("ab") as out:
            self.run = program.start("run", *words, python, self.user.load, ":::", *self.tasks, stdout=out)
        self.begun += 1

    def stop(self, number: int) -> None:
        assert self.run is not None
        self.run.send_signal(number)

    def look(self) -> None:
        """Whether it has ended, and how."""
        assert self.run is not None
        if self.run.poll() is None:
            return
        self.err = self.run.stderr.read()
        assert self.run.returncode in ENDS, self.err.decode()
        self.done = self.run.returncode == 0
        self.run.stderr.close()
        self.user.program.started.remove(self.run)
        self.run = None

    def check(self) -> None:
        """Every task is in the job log, and has printed its last word at least once."""
        assert self.done
        assert all(number in Logged(str(self.log)) for number in range(1, TASKS + 1))
        printed = (self.user.program.root / f"out{self.number}").read_text()
        lost = [task for task in self.tasks if f"done {task}\n" not in printed]
        assert not lost, (lost, printed, self.log.read_text())


@contextmanager
def users(open_path: Path, group: MemoryGroup, seed: int) -> Iterator[list[User]]:
    load = open_path / "load.py"
    load.write_bytes(Path(LOAD).read_bytes())
    load.chmod(0o755)
    made: list[User] = []
    try:
        for number in USERS:
            made.append(User(number, open_path / f"u{number}", group, str(load), random.Random(f"{seed} {number}")))
        yield made
    finally:
        for user in made:
            user.program.close()


def left_in(group: MemoryGroup) -> list[tuple[int, bytes]]:
    pids = [int(pid) for pid in (group.path / "cgroup.procs").read_text().split()]
    return [(pid, command_of(pid)) for pid in pids if state_of(pid) not in ("Z", "X", "")]


def round_of(seconds: float, open_path: Path, seed: int) -> str:
    least = LIMIT
    with memory_group(LIMIT) as group:
        with users(open_path, group, seed) as everybody:
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                for user in everybody:
                    user.turn()
                least = min(least, group.available())
                time.sleep(0.05)
            least = min(least, finish(everybody, group))
            for user in everybody:
                for job in user.jobs:
                    job.check()
            wait_until(lambda: not left_in(group), 10, f"left behind: {left_in(group)}")
        assert group.oom_kills() == 0
        assert least > 0
        hits = group.number("memory.failcnt")
    jobs = [job for user in everybody for job in user.jobs]
    strikes = {what: sum(user.killed[what] for user in everybody) for what in ("runs", "load managers")}
    begun = sum(job.begun for job in jobs)
    return (
        f"{len(jobs)} jobs of 3 users, {begun} runs, {strikes['runs']} of them stopped or killed, "
        f"{strikes['load managers']} load managers killed; {len(jobs) * TASKS} tasks done; 0 kernel kills; "
        f"at least {least >> 20} MiB of {LIMIT >> 20} available; the limit was met {hits} times"
    )


def finish(everybody: list[User], group: MemoryGroup) -> int:
    """Nobody is killed any more, until all is done; the least that was available."""
    least, until = LIMIT, time.monotonic() + 120
    while unfinished := [job for user in everybody for job in user.jobs if not job.done]:
        assert time.monotonic() < until, [(job.user.number, job.number, job.err) for job in unfinished]
        for job in unfinished:
            if job.run is not None:
                job.look()
            elif len(job.user.living) < AT_ONCE:
                job.begin()
        least = min(least, group.available())
        time.sleep(0.05)
    return least


@pytest.mark.timeout(240)
def test_runs_of_three_users_are_started_and_killed(open_path, record_property):
    record_property("measured", round_of(12, open_path, 1))


@pytest.mark.long
@pytest.mark.timeout(900)
def test_ten_minutes_of_it(open_path, record_property):
    record_property("measured", round_of(600, open_path, 2))
