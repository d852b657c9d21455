"""The same tasks in a memory group of 1 GiB, by us and by peers, seconds each: `loadkeeper bench batches`.

16 tasks of 40 to 700 MiB, CPU-bound, 0.8 s each. Peers: one at a time, ``xargs -P2`` and ``-P4``, GNU parallel ``-j4``
with ``--memfree 100M`` and ``--memsuspend 100M``, behind a /proc/meminfo that tells the group's truth. A side that lost
a task has no sample, and a note; one is ended (*never*) after 8 times what one at a time took.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from support.memory_group import memory_group, parent
from support.program import Program
from support.rounds import LIMIT, LOAD, Job, jobs

from . import ROOT
from .figures import OURS, Measure
from .truth import Truth

if TYPE_CHECKING:
    from .measures import Bench

HOG = str(ROOT / "tests" / "support" / "hog.py")
COUNT = 16
PATIENCE = 8
FIRST_PATIENCE = 300.0
WORKLOADS: dict[str, tuple[str, list[Job]]] = {
    "ramps": ("ramps", jobs(1, COUNT, ["ramp"])),
    "spikes": ("late spikes, touched", jobs(2, COUNT, ["spike"])),
    "populated": ("late spikes, populated at once", jobs(3, COUNT, ["populated"])),
    "wave": ("a first wave of an unknown kind", [Job("ramp", 500 + n, 1.0) for n in range(COUNT)]),
    "foreign": ("beside foreign 400 MiB, twice", [Job("ramp", 60 + 24 * n, 0.8) for n in range(COUNT)]),
    "dirty": ("big files, dirty pages", jobs(6, COUNT, ["dirty"])),
    "tmpfs": ("tmpfs", jobs(7, COUNT, ["tmpfs"])),
    "forks": ("forks that share memory", jobs(8, COUNT, ["forks"])),
    "never": (
        "with one that never fits",
        [*jobs(9, COUNT // 2, ["ramp"]), Job("ramp", 1536, 1.0), *jobs(10, COUNT // 2, ["ramp"])],
    ),
}
ONE_BY_ONE = "xargs -P1"
PEERS: dict[str, tuple[str, ...]] = {
    ONE_BY_ONE: ("xargs", "-P1"),
    "xargs -P2": ("xargs", "-P2"),
    "xargs -P4": ("xargs", "-P4"),
    "parallel --memfree": ("parallel", "--will-cite", "-j4", "--memfree", "100M"),
    "parallel --memsuspend": ("parallel", "--will-cite", "-j4", "--memsuspend", "100M"),
}


def batch(name: str, bench: "Bench") -> Measure:
    what, work = WORKLOADS[name]
    measure = Measure(name, f"16 tasks in 1 GiB: {what}", "s", False)
    if parent() is None:
        measure.notes["all"] = "skipped: needs root and a memory controller of version 1"
        return measure
    most = [FIRST_PATIENCE]

    def side(name: str, words: Sequence[str]) -> float | None:
        seconds, note = _played(name, words, work, most[0], foreign=what.startswith("beside foreign"))
        if note:
            measure.notes[name] = note
        if name == ONE_BY_ONE and seconds is not None:
            most[0] = PATIENCE * seconds
        return seconds

    programs = {name: bench.tools.find(words[0]) for name, words in PEERS.items()}
    sides: dict[str, Callable[[], float | None]] = {
        name: partial(side, name, (programs[name] or "", *words[1:])) for name, words in PEERS.items() if programs[name]
    }
    sides[OURS] = partial(side, OURS, ())
    return bench.alternate(measure, sides)


def _played(
    name: str, words: Sequence[str], work: list[Job], most: float, *, foreign: bool
) -> tuple[float | None, str]:
    """Seconds, where every task that can be done was; and what else happened."""
    folder = Path(tempfile.mkdtemp(prefix="loadkeeper-bench-", dir="/var/tmp"))
    with memory_group(LIMIT) as group:
        program, truth = Program(folder / "p"), Truth(group, LIMIT, folder / "meminfo")
        hog = group.start(sys.executable, HOG, "400", "1", "4", "0", "2", "3") if foreign else None
        began = time.monotonic()
        process = group.start(
            *_command(name, words, program, truth),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=program.environment,
            start_new_session=True,
        )
        try:
            out, _ = process.communicate("".join(f"{job.words}\n" for job in work), timeout=most)
            notes = []
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, _ = process.communicate()
            notes = ["never"]
        seconds = time.monotonic() - began
        kills = group.oom_kills()
        if hog is not None:
            hog.kill()
            hog.wait()
        truth.close()
        program.close()
    shutil.rmtree(folder, ignore_errors=True)
    for left in Path("/dev/shm").glob("loadkeeper-load-*"):
        left.unlink()
    lost = sum(job.size < LIMIT >> 20 for job in work) - len(re.findall("^done", out, re.MULTILINE))
    notes += [f"{kills} killed by the kernel"] * (kills > 0) + [f"{lost} lost"] * (lost > 0)
    return (None if "never" in notes or lost > 0 else seconds), ", ".join(notes)


def _command(name: str, words: Sequence[str], program: Program, truth: Truth) -> list[str]:
    task = [sys.executable, LOAD]
    if name == OURS:
        return [str(word) for word in program.command("run", "--quiet", *task)]
    if name.startswith("xargs"):
        return [*words, "-L1", "sh", "-c", '"$@" || exit 1', "sh", *task]
    return [*truth.prefix, *words, *task, "{}"]
