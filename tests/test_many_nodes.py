"""Three nodes of different sizes share the tasks of one RabbitMQ: each is a control group with a limit of its own, and
so has a load manager of its own."""

import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from support.memory_group import memory_group, parent
from support.program import Program, wait_until

from loadkeeper import Queue

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(parent() is None, reason="needs root and a memory controller of version 1"),
]
MIB = 1 << 20
SIZES = {"small": 320 * MIB, "middle": 640 * MIB, "big": 1024 * MIB}
TASKS = 120
TASK = """
import os, sys, time
held = bytearray(b"x" * (50 << 20))
time.sleep(0.8)
log = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
os.write(log, f"{sys.argv[3]} {sys.argv[2]}\\n".encode())
"""
HOG = str(Path(__file__).parent / "support" / "hog.py")


class Node:
    def __init__(self, name, group, root):
        self.name, self.group = name, group
        self.program = Program(root / name, group.prefix)
        self.process = None

    def begin(self, url, script, log):
        words = ["--cpu", "off", "--memory", "15%", "--pause", "stop", sys.executable, script, str(log), self.name]
        self.process = self.program.start("run", "--name", self.name, "--queue", url, *words)

    def running(self):
        status = self.program.ask()
        return status.runs[0].tasks.running if status and status.runs else 0

    def kill(self):
        """As if somebody had pulled the plug: managers and workers at once."""
        running = self.running()
        for name in (self.group.path / "cgroup.procs").read_text().split():
            try:
                os.kill(int(name), signal.SIGKILL)
            except ProcessLookupError:
                pass
        return running


@pytest.fixture
def nodes(tmp_path):
    with (
        memory_group(SIZES["small"]) as small,
        memory_group(SIZES["middle"]) as middle,
        memory_group(SIZES["big"]) as big,
    ):
        made = [Node(*one, tmp_path) for one in (("small", small), ("middle", middle), ("big", big))]
        yield made
        for node in made:
            node.program.close()


def most(node, seconds):
    """Tasks that ran at once at most within so many seconds."""
    until, found = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        found = max(found, node.running())
        time.sleep(0.05)
    return found


def test_work_goes_where_there_is_room(nodes, rabbit, tmp_path):
    small, middle, big = nodes
    url, log, script = rabbit.url(f"q{os.urandom(4).hex()}"), tmp_path / "log", tmp_path / "task.py"
    log.touch()
    script.write_text(TASK)
    with Queue(url) as queue:
        queue.put(*map(str, range(TASKS)))
        for node in nodes:
            node.begin(url, str(script), log)
        wait_until(lambda: all(node.running() for node in nodes), 30, "not every node has work")
        time.sleep(3)
        before = most(middle, 1.5)
        noise = middle.group.start(sys.executable, HOG, "380", "0.5", "5", "0")
        time.sleep(2.5)
        under_pressure = most(middle, 1.5)
        assert under_pressure < before, "a node under pressure takes as much as before"
        assert noise.wait(20) == 0
        killed = big.kill()
        assert killed > 0
        wait_until(lambda: len(done(log)) == TASKS, 90, "not everything is done")
        wait_until(lambda: queue.backlog().waiting == 0, 10, "something waits still")
        assert queue.backlog().buried == 0
    for node in (small, middle):
        node.process.terminate()
        assert node.process.wait(20) == 143
    assert all(node.group.oom_kills() == 0 for node in nodes)
    counted = done(log)
    assert sum(counted.values()) - TASKS <= killed, "done twice that nobody had to redeliver"
    shares = Counter(line.split()[1] for line in log.read_text().splitlines())
    assert shares["small"] < shares["middle"], shares


def done(log):
    return Counter(line.split()[0] for line in log.read_text().splitlines())
