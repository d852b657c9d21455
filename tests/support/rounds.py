"""Rounds in a memory control group of 1 GiB: the same tasks by `loadkeeper run`, by xargs, one at a time."""

import random
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from support.memory_group import MemoryGroup
from support.program import Program

LIMIT = 1 << 30
LOAD = str(Path(__file__).with_name("load.py"))
MIXED = ("ramp", "ramp", "spike", "forks", "cache")


class Job(NamedTuple):
    """One task: its shape, MiB at its peak, seconds of CPU."""

    shape: str
    size: int
    seconds: float

    @property
    def words(self) -> str:
        return f"{self.shape} {self.size} {self.seconds}"


class Round(NamedTuple):
    """What came of a round."""

    seconds: float
    done: int
    kernel_kills: int
    last_line: str = ""
    code: int = 0

    def __str__(self) -> str:
        return f"{self.seconds:.1f} s, {self.done} done, {self.kernel_kills} kernel kills; {self.last_line}"


def jobs(seed: int, count: int = 40, shapes: Sequence[str] = MIXED) -> list[Job]:
    """Of 40 to 700 MiB, as many between 40 and 80 as between 350 and 700, as sizes of files are."""
    chance = random.Random(f"round {seed}")
    sizes = [round(40 * (700 / 40) ** chance.random()) for _ in range(count)]
    return [Job(chance.choice(shapes), size, round(chance.uniform(0.4, 1.2), 2)) for size in sizes]


def mixed(seed: int) -> list[Job]:
    """40 tasks, among them two pairs of big ones that start one after the other: who runs two at once meets them."""
    chance = random.Random(f"pairs {seed}")
    work = jobs(seed, 36)
    for _ in range(2):
        place = chance.randrange(len(work))
        work[place:place] = [Job("flat", chance.randint(560, 700), 1.2) for _ in range(2)]
    return work


def by_xargs(group: MemoryGroup, work: Sequence[Job], workers: int) -> Round:
    """A failing task does not stop the others."""
    script = '"$@" || exit 1'
    command = ["xargs", f"-P{workers}", "-L1", "sh", "-c", script, "sh", sys.executable, LOAD]
    return _measure(group, command, work)


def by_loadkeeper(
    group: MemoryGroup,
    program: Program,
    work: Sequence[Job],
    *options: str,
    python: str = sys.executable,
    load: str = LOAD,
) -> Round:
    command = [str(word) for word in program.command("run", *options, python, load)]
    return _measure(group, command, work, program)


def _measure(group: MemoryGroup, command: list[str], work: Sequence[Job], program: Program | None = None) -> Round:
    kills = group.oom_kills()
    text = "".join(f"{job.words}\n" for job in work)
    began = time.monotonic()
    process = group.start(
        *command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=program.environment if program else None,
    )
    out, err = process.communicate(text, timeout=600)
    seconds = time.monotonic() - began
    last = err.strip().splitlines()[-1] if program and err.strip() else ""
    return Round(
        seconds, len(re.findall("^done", out, re.MULTILINE)), group.oom_kills() - kills, last, process.returncode
    )
