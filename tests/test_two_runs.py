"""Two runs and more on one node: the limits hold for all together, shares are fair, priority is kept."""

import random
import signal
import subprocess
import sys
import time

import pytest
from support.memory_group import memory_group, parent
from support.program import Program, command_of, state_of, wait_until
from support.rounds import LIMIT, LOAD

from loadkeeper.record.journal_reader import read_outcomes

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(parent() is None, reason="needs root and a memory controller of version 1"),
]
TASK = "ramp 110 0.3"
FAIR = 0.15


@pytest.fixture
def node(tmp_path):
    """A node of 1 GiB of its own: the group and the program inside it."""
    with memory_group(LIMIT) as group:
        program = Program(tmp_path / "p", group.prefix)
        yield group, program
        program.close()


def begin(program, name, *options, tasks=None, task=TASK):
    """A run with so many tasks, or with an endless list of them."""
    source = subprocess.Popen(["yes", task], stdout=subprocess.PIPE) if tasks is None else None
    values = [":::", *[task] * tasks] if tasks is not None else []
    run = program.start(
        "run", "--name", name, *options, sys.executable, LOAD, *values,
        **({"stdin": source.stdout} if source else {}), stdout=subprocess.DEVNULL,
    )  # fmt: skip
    if source is not None:
        source.stdout.close()
        program.started.append(source)
    return run


def stop(run):
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=30)
    assert run.returncode == 130


def cpu_by_run(program, since, until):
    """CPU seconds of tasks that ended in a span of time, by the run's name."""
    from loadkeeper.record.journal_reader import read_header

    used = {}
    for path in program.journals():
        fates = [f for f in read_outcomes(path) if f.began is not None and since < f.began + (f.seconds or 0) < until]
        used[read_header(path).name] = sum(fate.cpu or 0.0 for fate in fates)
    return used


def test_equal_runs_get_equal_shares(node):
    group, program = node
    first = begin(program, "first")
    time.sleep(3)  # it has the node to itself
    second = begin(program, "second")
    wait_until(lambda: (s := program.ask()) and len(s.runs) == 2 and all(r.workers for r in s.runs), 10, "no two runs")
    since = time.time() + 2
    time.sleep(22)
    until = time.time()
    stop(first)
    stop(second)
    used = cpu_by_run(program, since, until)
    share = used["first"] / (used["first"] + used["second"])
    assert abs(share - 0.5) <= FAIR / 2, f"{share:.2f}, {used}"
    assert group.oom_kills() == 0


def test_the_more_important_run_comes_first_and_the_other_goes_on_after_it(node):
    group, program = node
    ordinary = begin(program, "ordinary")
    time.sleep(3)
    important = begin(program, "important", "--priority", "5", tasks=30)
    wait_until(lambda: (s := program.ask()) and len(s.runs) == 2 and all(r.tasks.done for r in s.runs), 10, "no tasks")
    since = time.time() + 1
    important.communicate(timeout=60)
    until = time.time()
    assert important.returncode == 0
    done = program.ask().runs[0].tasks.done
    wait_until(lambda: program.ask().runs[0].tasks.done > done + 5, 10, "the ordinary run does not go on")
    stop(ordinary)
    used = cpu_by_run(program, since, until)
    assert used["important"] >= 3 * used["ordinary"], used
    assert group.oom_kills() == 0


def test_twenty_seconds_of_runs_that_come_and_go(node):
    """Nobody is killed by the kernel, nobody is left behind, and each run that ended says what it did."""
    group, program = node
    chance = random.Random(4)
    living, least = [], LIMIT
    until = time.monotonic() + 20
    while time.monotonic() < until:
        if len(living) < 2 or (len(living) < 4 and chance.random() < 0.02):
            shape, size = chance.choice(["ramp", "spike", "flat"]), chance.randint(40, 300)
            task = f"{shape} {size} {chance.uniform(0.1, 0.8):.2f}"
            priority = str(chance.choice([0, 0, 5]))
            living.append(begin(program, f"run{time.monotonic():.1f}", "--priority", priority, task=task))
        if chance.random() < 0.02:
            run = living.pop(chance.randrange(len(living)))
            if chance.random() < 0.5:
                stop(run)
            else:
                run.kill()
                run.communicate(timeout=30)
        least = min(least, group.available())
        time.sleep(0.05)
    for run in living:
        stop(run)
    assert group.oom_kills() == 0
    assert least > 0
    wait_until(lambda: not program.managers(), 10, "a load manager stays")
    wait_until(lambda: not left_in(group), 2, f"somebody is left behind: {left_in(group)}")


def left_in(group):
    """Who lives in the group; who is dead and waits for a foreign process 1 does not."""
    pids = [int(pid) for pid in (group.path / "cgroup.procs").read_text().split()]
    return [(pid, command_of(pid)) for pid in pids if state_of(pid) not in ("Z", "X", "")]
