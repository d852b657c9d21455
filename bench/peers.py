"""The same tasks in a memory group of 1 GiB, by us and by peers: ``.venv-check/bin/python bench/peers.py [NAME...]``.

Peers: one at a time, ``xargs -P2``, ``xargs -P4``, and GNU parallel ``-j4`` with ``--memfree 100M`` or ``--memsuspend
100M``. GNU parallel reads /proc/meminfo, which is the machine's: it gets one that tells the group's truth, in a mount
namespace of its own. A cell is seconds / kernel kills / tasks lost; a peer is ended (*never*) after 8 times what one at
a time took. Needs root and a memory controller of version 1. Prints a table in Markdown.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]
os.environ["PYTHONPATH"] = str(ROOT / "src")

from support.memory_group import MemoryGroup, memory_group  # noqa: E402
from support.program import Program  # noqa: E402
from support.rounds import LIMIT, LOAD, Job, jobs  # noqa: E402

HOG = str(ROOT / "tests" / "support" / "hog.py")
COUNT = 16
PATIENCE = 8
WORKLOADS: dict[str, list[Job]] = {
    "ramps": jobs(1, COUNT, ["ramp"]),
    "late spike, touched": jobs(2, COUNT, ["spike"]),
    "late spike, populated": jobs(3, COUNT, ["populated"]),
    "first wave of an unknown kind": [Job("ramp", 500 + n, 1.0) for n in range(COUNT)],
    "foreign 400 MiB, twice": [Job("ramp", 60 + 24 * n, 0.8) for n in range(COUNT)],
    "big files, dirty pages": jobs(6, COUNT, ["dirty"]),
    "tmpfs": jobs(7, COUNT, ["tmpfs"]),
    "forks that share memory": jobs(8, COUNT, ["forks"]),
    "one that never fits": [*jobs(9, COUNT // 2, ["ramp"]), Job("ramp", 1536, 1.0), *jobs(10, COUNT // 2, ["ramp"])],
    "2,000 times true": [Job("nothing", n, 0) for n in range(2000)],
}
ONE_BY_ONE = "one by one"
PEERS: dict[str, list[str]] = {
    ONE_BY_ONE: ["xargs", "-P1"],
    "xargs -P2": ["xargs", "-P2"],
    "xargs -P4": ["xargs", "-P4"],
    "memfree": ["parallel", "--will-cite", "-j4", "--memfree", "100M"],
    "memsuspend": ["parallel", "--will-cite", "-j4", "--memsuspend", "100M"],
}
OURS = "loadkeeper"


class Truth:
    """A /proc/meminfo that tells what the group has, and the words that put a command behind it."""

    def __init__(self, group: MemoryGroup, path: Path) -> None:
        self._group = group
        self._path = path
        self._over = False
        self._write()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    @property
    def prefix(self) -> list[str]:
        return ["unshare", "-m", "sh", "-c", f'mount --bind {self._path} /proc/meminfo && exec "$@"', "sh"]

    def _write(self) -> None:
        free = max(0, self._group.available()) // 1024
        text = (
            f"MemTotal: {LIMIT // 1024} kB\nMemFree: {free} kB\nMemAvailable: {free} kB\nCached: 0 kB\nBuffers: 0 kB\n"
        )
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT)
        os.pwrite(descriptor, (text + " " * 80)[:200].encode(), 0)
        os.close(descriptor)

    def _follow(self) -> None:
        while not self._over:
            self._write()
            time.sleep(0.02)

    def close(self) -> None:
        self._over = True
        self._thread.join()


def command(name: str, work: Sequence[Job], program: Program, truth: Truth) -> list[str]:
    task = ["true"] if work[0].shape == "nothing" else [sys.executable, LOAD]
    if name == OURS:
        return [str(word) for word in program.command("run", "--quiet", *task)]
    words = PEERS[name]
    if words[0] == "xargs":
        return [*words, "-L1", "sh", "-c", '"$@" || exit 1', "sh", *task]
    return [*truth.prefix, *words, *task, "{}"]


def cell(name: str, work: list[Job], most: float, foreign: bool) -> tuple[str, float]:
    """What is shown, and the seconds that it took."""
    folder = Path(tempfile.mkdtemp(prefix="loadkeeper-peers-", dir="/var/tmp"))
    with memory_group(LIMIT) as group:
        program, truth = Program(folder / "p"), Truth(group, folder / "meminfo")
        hog = group.start(sys.executable, HOG, "400", "1", "4", "0", "2", "3") if foreign else None
        began = time.monotonic()
        process = group.start(
            *command(name, work, program, truth),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=program.environment,
            start_new_session=True,
        )
        try:
            out, _ = process.communicate("".join(f"{job.words}\n" for job in work), timeout=most)
            late = ""
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, _ = process.communicate()
            late = "never, "
        seconds = time.monotonic() - began
        done = len(re.findall("^done", out, re.MULTILINE)) if work[0].shape != "nothing" else len(work)
        kills = group.oom_kills()
        if hog is not None:
            hog.kill()
            hog.wait()
        truth.close()
        program.close()
    shutil.rmtree(folder, ignore_errors=True)
    for left in Path("/dev/shm").glob("loadkeeper-load-*"):
        left.unlink()
    return f"{late}{seconds:.1f}/{kills}/{len(work) - done}", seconds


def main() -> None:
    names = sys.argv[1:] or list(WORKLOADS)
    columns = [ONE_BY_ONE, OURS, *(peer for peer in PEERS if peer != ONE_BY_ONE)]
    print(f"| workload | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}", flush=True)
    for name in names:
        most, told = 300.0, []
        for column in columns:
            shown, seconds = cell(column, WORKLOADS[name], most, name.startswith("foreign"))
            most = PATIENCE * seconds if column == ONE_BY_ONE else most
            told.append(shown)
        print(f"| {name} | {' | '.join(told)} |", flush=True)


if __name__ == "__main__":
    main()
