"""Our readers held against psutil and the kernel's own files while workers grow, shrink, fork and exit: the median
difference is at most 1 %."""

import os
import signal
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
import pytest

from loadkeeper.linux.proc import stat
from loadkeeper.sense.node import NodeSensor
from loadkeeper.sense.workers import WorkerSensor

MIB = 1 << 20
LIMIT = 0.01
EVERY = 0.5  # seconds: as often as the load manager makes a full sweep
PATIENCE = 0.03
"""Seconds to wait for shares to be measured: what is held against the yardstick is the reading, not its delay."""

LOAD = """
import os, random, sys, time
chance = random.Random(int(sys.argv[1]))
several = sys.argv[2] == "several"
blocks = []
print("ready", flush=True)
while True:
    if len(blocks) < 12 and chance.random() < 0.7:
        blocks.append(bytearray(os.urandom(4096)) * 1024)     # 4 MiB
    elif blocks:
        blocks.pop(chance.randrange(len(blocks)))
    if several and chance.random() < 0.5 and os.fork() == 0:  # a child that shares all that, works a while and exits
        own = bytearray(2 << 20)
        until = time.monotonic() + chance.uniform(0.05, 1.0)
        while time.monotonic() < until:
            sum(range(3000))
            time.sleep(0.002)
        os._exit(0)
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
    until = time.monotonic() + 0.03
    while time.monotonic() < until:
        pass
    time.sleep(0.15)
"""


@pytest.fixture
def workers() -> Iterator[list["subprocess.Popen[str]"]]:
    started = [
        subprocess.Popen(
            [sys.executable, "-c", LOAD, str(seed), kind], stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        for seed, kind in enumerate(["lone", "several", "several"])
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    yield started
    for process in started:
        os.killpg(process.pid, 9)
        process.wait()


class Differences:
    """Pairs of (ours, the yardstick's), by what was measured."""

    def __init__(self) -> None:
        self.relative: dict[str, list[float]] = defaultdict(list)

    def note(self, what: str, ours: float, theirs: float, whole: float | None = None) -> None:
        """Relative to the yardstick, or to ``whole`` for what is a share of something."""
        self.relative[what].append(abs(ours - theirs) / (theirs if whole is None else whole))

    def medians(self) -> dict[str, float]:
        return {what: statistics.median(values) for what, values in self.relative.items()}


def family_memory(leader: psutil.Process, *, lone: bool) -> int:
    """Resident size of a worker that never forks; proportional size of the whole family of one that does."""
    if lone:
        return int(leader.memory_info().rss)
    total = 0
    for process in [leader, *leader.children(recursive=True)]:
        try:
            total += process.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return total


def family_cpu(leader: psutil.Process) -> float:
    total = 0.0
    for process in [leader, *leader.children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def compare(processes: list["subprocess.Popen[str]"], seconds: float) -> Differences:
    node, sensor, found = NodeSensor(), WorkerSensor(), Differences()
    leaders = [psutil.Process(process.pid) for process in processes]
    for n, process in enumerate(processes):
        known = stat(process.pid)
        assert known is not None
        sensor.follow(f"r.{n}", process.pid, known.start_time)
    node.read(time.monotonic())
    before = _used(processes, sensor, leaders)
    cpu_began = _cpu(psutil.cpu_times(), node, time.monotonic())
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        now = time.monotonic()
        reading = node.read(now)
        memory = psutil.virtual_memory()
        assert reading.available is not None
        found.note("available", reading.available, memory.available)
        found.note("total", reading.total, memory.total)
        readings = sensor.sweep(time.monotonic(), patience=PATIENCE)
        with standing(processes):
            for n, leader in enumerate(leaders):
                rss = readings[f"r.{n}"].rss
                assert rss is not None
                found.note(f"memory of {n}", rss, family_memory(leader, lone=n == 0))
        time.sleep(max(0.0, now + EVERY - time.monotonic()))
        if time.monotonic() - cpu_began[0] >= 2.0:
            cpu_now = _cpu(psutil.cpu_times(), node, time.monotonic())
            found.note("busy", cpu_now[1] - cpu_began[1], cpu_now[2] - cpu_began[2], whole=reading.cpus * 2)
            cpu_began = cpu_now
    after = _used(processes, sensor, leaders)
    for (ours_before, theirs_before), (ours, theirs) in zip(before, after, strict=True):
        found.note("cpu seconds", ours - ours_before, theirs - theirs_before)
    sensor.close()
    return found


@contextmanager
def standing(processes: list["subprocess.Popen[str]"]) -> Iterator[None]:
    """The yardstick reads many files of one worker: it must not fork or exit in between."""
    for process in processes:
        os.killpg(process.pid, signal.SIGSTOP)
    yield
    for process in processes:
        os.killpg(process.pid, signal.SIGCONT)


def _used(
    processes: list["subprocess.Popen[str]"], sensor: WorkerSensor, leaders: list[psutil.Process]
) -> list[tuple[float, float]]:
    """CPU seconds of each worker by both, read while all stand, so that none goes on in between."""
    with standing(processes):
        deadline = time.monotonic() + 5
        while not all(reading.stopped for reading in sensor.sweep(time.monotonic()).values()):
            assert time.monotonic() < deadline
        return [(sensor.readings[f"r.{n}"].cpu_seconds, family_cpu(leader)) for n, leader in enumerate(leaders)]


def _cpu(theirs: object, node: NodeSensor, now: float) -> tuple[float, float, float]:
    """(when, our busy seconds, the seconds that were not idle by psutil: wall clock less idle and iowait)."""
    reading = node.read(now)
    idle = theirs.idle + theirs.iowait  # type: ignore[attr-defined]
    return now, reading.busy_seconds, now * (psutil.cpu_count() or 1) - idle


def check(found: Differences) -> None:
    medians = found.medians()
    assert {"available", "total", "busy", "cpu seconds", "memory of 0", "memory of 1", "memory of 2"} == medians.keys()
    worst = {what: f"{median:.4f}" for what, median in medians.items() if median > LIMIT}
    assert not worst, (worst, {what: len(values) for what, values in found.relative.items()})


def test_against_psutil_for_eight_seconds(workers: list["subprocess.Popen[str]"]) -> None:
    check(compare(workers, 8.0))


@pytest.mark.long
def test_against_psutil_for_a_minute(workers: list["subprocess.Popen[str]"]) -> None:
    check(compare(workers, 60.0))


def test_a_look_at_the_node_costs_less_than_psutils() -> None:
    """Kept-open files against opening each anew; the same machine and the same moment for both."""
    node, now = NodeSensor(), time.monotonic()
    node.read(now)

    def ours(step: int) -> None:
        node.read(now + step * 0.01)

    def theirs(_: int) -> None:
        psutil.virtual_memory()
        psutil.swap_memory()
        psutil.cpu_times()

    took = {look: _median_seconds(look) for look in (ours, theirs)}
    assert took[ours] < took[theirs]


def _median_seconds(look: Callable[[int], None]) -> float:
    took = []
    for step in range(1, 300):
        began = time.perf_counter()
        look(step)
        took.append(time.perf_counter() - began)
    return statistics.median(took)
