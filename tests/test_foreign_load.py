"""Another program takes and frees half the memory and all the CPU: workers wait or stand, are told why, and go on."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.memory_group import memory_group, parent
from support.program import Program
from support.rounds import LIMIT, LOAD

from loadkeeper.model import Reason, WorkerState
from loadkeeper.record.journal_reader import read_outcomes

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(parent() is None, reason="needs root and a memory controller of version 1"),
]
HOG = str(Path(__file__).parent / "support" / "hog.py")
SAMPLE = 0.2
WITHIN = 0.05
"""Of the total: how far a reading that is told may be from what we read ourselves right before and after."""
WITHOUT_FIGURES = {
    Reason.WORK_DONE,
    Reason.JOBS,
    Reason.RAMP,
    Reason.BACK_OFF,
    Reason.PAUSED_FIRST,
    Reason.END_AWAITED,
    Reason.SILENT,
}
"""Why nothing starts, where that is no gauge, or one whose line is not what holds it."""


class Cpu:
    """How busy the machine is, from /proc/stat alone: cores over the last second, as the load manager smooths it."""

    def __init__(self) -> None:
        self.samples: list[tuple[float, float]] = []

    def add(self) -> None:
        fields = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        self.samples.append((time.monotonic(), (fields[3] + fields[4]) / os.sysconf("SC_CLK_TCK")))

    def steady(self) -> float | None:
        """Cores in use over the last 3 s, when each second of them says the same."""
        seconds = [self._over(back, back + 1) for back in (0, 1, 2)]
        if any(one is None for one in seconds):
            return None
        known = [one for one in seconds if one is not None]
        return sum(known) / 3 if max(known) - min(known) < 0.1 else None

    def _over(self, last: float, first: float) -> float | None:
        now = self.samples[-1][0]
        end = next((s for s in reversed(self.samples) if s[0] <= now - last + 0.01), None)
        begin = next((s for s in reversed(self.samples) if s[0] <= now - first + 0.01), None)
        if end is None or begin is None or end[0] - begin[0] < 0.7:
            return None
        return (os.cpu_count() or 1) - (end[1] - begin[1]) / (end[0] - begin[0])


def has_figures(subject, why, sentence, around, cpu):
    """A sentence with gauge, reading and line, and the reading is the kernel's: ``around`` and ``cpu`` are ours."""
    assert sentence, f"{subject} is told nothing"
    beginning = len(cpu.samples) < 5 and why.reason is Reason.UNKNOWN  # the CPU is known from a difference
    if why.reason in WITHOUT_FIGURES or beginning:
        return False
    assert why.gauge, (subject, why)
    assert why.reading is not None, (subject, why)
    assert why.line is not None, (subject, why)
    if why.gauge == "memory":
        low, high = min(around) - WITHIN * LIMIT, max(around) + WITHIN * LIMIT
        assert low <= why.reading <= high, f"{subject}: {sentence}; we read {around}"
    elif why.gauge == "cpu" and (busy := cpu.steady()) is not None:
        assert abs(why.reading - busy) <= WITHIN * (os.cpu_count() or 1), f"{subject}: {sentence}; we read {busy:.2f}"
    return True


def test_half_the_memory_and_all_the_cpu_come_and_go(tmp_path):
    with memory_group(LIMIT) as group:
        program = Program(tmp_path / "p", group.prefix)
        tasks = [f"ramp {120 + 10 * (n % 9)} 1.0" for n in range(40)]
        run = program.start("run", "--name", "r", sys.executable, LOAD, ":::", *tasks)
        hog = group.start(sys.executable, HOG, "500", "1", "7", "2", "2", "4", stdout=subprocess.DEVNULL)
        told, states, cpu = 0, set(), Cpu()
        while run.poll() is None:
            began = time.monotonic()
            cpu.add()
            before = group.available()
            status = program.ask()
            around = (before, group.available())
            if status is not None and status.runs:
                mine = status.runs[0]
                for worker in mine.workers:
                    states.add(worker.state)
                    if worker.state == WorkerState.PAUSED:
                        told += has_figures(worker.id, worker.reason, worker.why, around, cpu)
                for pool in mine.pools:
                    if mine.tasks.waiting:
                        assert pool.reason is not None, f"{mine.tasks.waiting} wait and nobody says why"
                        told += has_figures(pool.name, pool.reason, pool.why, around, cpu)
            time.sleep(max(0.0, began + SAMPLE - time.monotonic()))
        out, err = run.communicate()
        assert run.returncode == 0, err.decode()
        assert len(out.splitlines()) == len(tasks)
        assert group.oom_kills() == 0
        assert hog.wait(60) == 0, "the other program was left alone"
        assert WorkerState.PAUSED in states, "nobody was ever paused"
        assert told > 30, f"only {told} reasons with figures"
        fates = list(read_outcomes(program.journals()[0]))
        assert max(fate.paused for fate in fates) < 20, "somebody starved"
        program.close()
