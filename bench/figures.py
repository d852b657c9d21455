"""First figures of the program, beside its peers: ``.venv-check/bin/python bench/figures.py [NAME...]``.

rate      jobs a second of ``true``, 2,000 jobs, ours, GNU parallel and xargs in turn; medians and ratios
start     seconds from start to end of one ``true``, with no load manager there
crossing  seconds from available memory crossing the pause line until every worker stands (1 GiB group, needs root)
idle      share of a core that both managers take with 100 idle workers
memory    resident memory of both managers at 1,000 and at 100,000 tasks

Each is measured several times; medians are given with the least and the most.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]
os.environ["PYTHONPATH"] = str(ROOT / "src")

from support.memory_group import MemoryGroup, memory_group, parent  # noqa: E402
from support.program import Program, stands, state_of, wait_until  # noqa: E402

JOBS = 2000
ROUNDS = 5
TICKS = os.sysconf("SC_CLK_TCK")
LIMIT = 1 << 30


@contextmanager
def a_program(prefix: list[str] | None = None) -> Iterator[Program]:
    folder = Path(tempfile.mkdtemp(prefix="loadkeeper-bench-", dir="/var/tmp"))
    program = Program(folder / "p", prefix or [])
    try:
        yield program
    finally:
        program.close()
        shutil.rmtree(folder, ignore_errors=True)


def told(name: str, values: list[float], unit: str) -> float:
    middle = statistics.median(values)
    print(
        f"  {name:<28} {middle:9.4g} {unit}  ({min(values):.4g} to {max(values):.4g}, {len(values)} times)", flush=True
    )
    return middle


def rate() -> None:
    numbers = "\n".join(map(str, range(JOBS))) + "\n"
    peers: dict[str, Callable[[Program], list[str]]] = {
        "loadkeeper": lambda program: [str(word) for word in program.command("run", "--quiet", "true")],
        "parallel": lambda _: ["parallel", "--will-cite", "true"],
        "xargs -P8": lambda _: ["xargs", "-P8", "-n1", "true"],
    }
    seconds: dict[str, list[float]] = {name: [] for name in peers}
    with a_program() as program:
        for _ in range(ROUNDS):
            for name, command in peers.items():
                words = command(program)
                if shutil.which(words[0]) is None:
                    continue
                began = time.monotonic()
                subprocess.run(words, input=numbers, text=True, env=program.environment, check=True)
                seconds[name].append(time.monotonic() - began)
    rates = {name: told(name, [JOBS / s for s in took], "jobs/s") for name, took in seconds.items() if took}
    for name, its in rates.items():
        print(f"  loadkeeper / {name:<15} {rates['loadkeeper'] / its:9.2f}")


def start() -> None:
    took, warm = [], []
    for _ in range(ROUNDS * 2):
        with a_program() as program:
            for times in (took, warm):
                began = time.monotonic()
                assert program.call("run", "--quiet", "true", ":::", "x").returncode == 0
                times.append(time.monotonic() - began)
    told("one true, no load manager", took, "s")
    told("one true, one is there", warm, "s")


GROWER = """
import mmap, sys, time
m = mmap.mmap(-1, 900 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
began = time.monotonic()
for n in range(900):
    m[n << 20 : (n + 1) << 20] = b"\\1" * (1 << 20)
    time.sleep(max(0.0, began + n / 200 - time.monotonic()))
time.sleep(60)
"""


def crossing() -> None:
    if parent() is None:
        print("  needs root and a memory controller of version 1")
        return
    took = []
    for _ in range(ROUNDS * 2):
        with memory_group(LIMIT) as group, a_program(group.prefix) as program:
            run = program.start("run", "--cpu", "off", "-j", "8", "python3", "-c", GROWER, ":::", *"abcdefgh")
            took.append(_until_all_stand(program, group))
            run.kill()
    told("line crossed to all stopped", [seconds * 1000 for seconds in took], "ms")


def _until_all_stand(program: Program, group: MemoryGroup) -> float:
    """Seconds from the first reading below the pause line to the last stop but the lead's, which is to go on; negative
    where they stood before the line was crossed."""
    wait_until(lambda: (s := program.ask()) and s.runs and s.runs[0].workers, 20, "no workers")
    line, pids = 112 << 20, []
    while group.available() > 3 * line:
        status = program.ask()
        pids = [worker.pid for worker in status.runs[0].workers] if status else pids
    crossed = stood = None
    until = time.monotonic() + 10
    while (crossed is None or stood is None) and time.monotonic() < until:
        if crossed is None and group.available() < line:
            crossed = time.monotonic()
        living = [pid for pid in pids if state_of(pid) not in ("", "Z")]
        if stood is None and len(living) > 1 and sum(not stands(pid) for pid in living) <= 1:
            stood = time.monotonic()
    assert crossed is not None
    assert stood is not None, "they do not stand"
    return stood - crossed


def idle() -> None:
    with a_program() as program:
        program.start("run", "--cpu", "off", "sleep", ":::", *["300"] * 100)
        wait_until(lambda: (s := program.ask()) and s.runs and len(s.runs[0].workers) == 100, 30, "not 100 workers")
        time.sleep(3)
        status = program.ask()
        assert status is not None
        assert status.node is not None
        pids = {"process manager": status.runs[0].pid, "load manager": status.node.pid}
        for name, pid in pids.items():
            shares = []
            for _ in range(3):
                before, began = _cpu(pid), time.monotonic()
                time.sleep(10)
                shares.append(100 * (_cpu(pid) - before) / (time.monotonic() - began))
            told(f"{name}, 100 idle workers", shares, "% of a core")


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory() -> None:
    for count in (1_000, 100_000):
        with a_program() as program:
            source = subprocess.Popen(["seq", str(count)], stdout=subprocess.PIPE)
            run = program.start("run", "--quiet", "true", stdin=source.stdout)
            most: dict[str, int] = {"process manager": 0, "load manager": 0}
            while run.poll() is None:
                for name, pid in (("process manager", run.pid), *(("load manager", pid) for pid in program.managers())):
                    most[name] = max(most[name], _resident(pid))
                time.sleep(0.1)
            source.wait()
            for name, size in most.items():
                print(f"  {name}, {count} tasks: {size / 2**20:.1f} MiB resident at most", flush=True)


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


FIGURES = {"rate": rate, "start": start, "crossing": crossing, "idle": idle, "memory": memory}


def main() -> None:
    print(json.dumps({"cpus": os.cpu_count(), "kernel": os.uname().release, "python": sys.version.split()[0]}))
    for name in sys.argv[1:] or FIGURES:
        print(name, flush=True)
        FIGURES[name]()


if __name__ == "__main__":
    main()
