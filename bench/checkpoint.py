"""What a checkpoint costs a worker, how fast a hundred of them stand and go on, and what the import takes."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles

from support.asked import Asked

from loadkeeper.act.checkpoint import Checkpoint
from loadkeeper.model import PauseMode, Reason, Why

WORKERS = 100
WHY = Why(Reason.OPERATOR)

_COST = """
import json, timeit
import zmq
from loadkeeper.worker import checkpoint

def empty(): pass

context = zmq.Context()
socket = context.socket(zmq.SUB)
socket.subscribe(b"")
socket.connect("ipc:///tmp/loadkeeper-bench-nobody")

def received():
    try:
        socket.recv(zmq.NOBLOCK)
    except zmq.Again:
        pass

checkpoint()
def cost(function, number):
    return min(timeit.repeat(function, number=number, repeat=5)) / number * 1e9

print(json.dumps([cost(empty, 1_000_000), cost(checkpoint, 1_000_000), cost(received, 20_000)]))
"""

_STANDS = """
import os, time
from loadkeeper.worker import checkpoint

def note(what):
    os.write(1, f"{what} {time.monotonic()}\\n".encode())

checkpoint.before_pause(lambda: note("stands"))
checkpoint.after_pause(lambda: note("goes-on"))
checkpoint()
note("there")
while True:
    checkpoint()
    time.sleep(0.005)
"""

_HELD = """
import os, sys, time
{statement}
def figure(name):
    return next(int(line.split()[1]) for line in open("/proc/self/smaps_rollup") if line.startswith(name)) / 1024
print(figure("Private_Dirty:"), figure("Pss:"))
"""


def costs() -> dict[str, float]:
    """ns of one call, by who is called, in a process that has a checkpoint file."""
    with tempfile.TemporaryDirectory(prefix="loadkeeper-bench-") as place:
        asked = Asked(Path(place))
        try:
            done = subprocess.run(
                [sys.executable, "-c", _COST], env=asked.environment, capture_output=True, text=True, check=True
            )
        finally:
            asked.close()
    empty, ours, received = json.loads(done.stdout)
    return {"loadkeeper": ours, "an empty function": empty, "zmq recv(NOBLOCK)": received}


def latencies() -> dict[str, float]:
    """ms from the wish to each worker's own word, of a hundred that are at a checkpoint each 5 ms."""
    with tempfile.TemporaryDirectory(prefix="loadkeeper-bench-", dir="/dev/shm") as place, _workers(Path(place)) as all:
        asked = []
        for file, _ in all:
            asked.append(time.monotonic())
            assert file.pause(WHY, asked[-1])
        time.sleep(0.5)
        continued = []
        for file, _ in all:
            continued.append(time.monotonic())
            file.go_on()
        time.sleep(0.5)
        stood = [_of(log, "stands") - at for (_, log), at in zip(all, asked, strict=True)]
        went = [_of(log, "goes-on") - at for (_, log), at in zip(all, continued, strict=True)]
    told = {}
    for name, seconds in (("pause", stood), ("continue", went)):
        told[f"{name}, median"] = 1000 * median(seconds)
        told[f"{name}, p99"] = 1000 * quantiles(seconds, n=100)[-1]
    return told


@contextmanager
def _workers(place: Path) -> Iterator[list[tuple[Checkpoint, Path]]]:
    files, processes = [], []
    try:
        for number in range(WORKERS):
            file = Checkpoint(str(place / str(number)), PauseMode.AUTO, lambda why, ending: "")
            file.renew(f"0123abcd.{number}", time.monotonic())
            log = place / f"{number}.log"
            environment = {
                **os.environ,
                "LOADKEEPER_WORKER": f"0123abcd.{number}",
                "LOADKEEPER_WORKER_CHECKPOINT": file.path,
            }
            with log.open("wb") as out:
                processes.append(subprocess.Popen([sys.executable, "-c", _STANDS], env=environment, stdout=out))
            files.append((file, log))
        until = time.monotonic() + 60
        while not all("there" in log.read_text() for _, log in files):
            assert time.monotonic() < until, "not all workers came up within a minute"
            time.sleep(0.05)
        yield files
    finally:
        for process in processes:
            process.kill()
            process.wait()
        for file, _ in files:
            file.remove()


def _of(log: Path, what: str) -> float:
    return next(float(line.split()[1]) for line in log.read_text().splitlines() if line.startswith(what))


def held(statement: str) -> tuple[float, float]:
    """MiB of an idle interpreter after the statement: pages of its own, and its share of all."""
    done = subprocess.run(
        [sys.executable, "-c", _HELD.format(statement=statement)], capture_output=True, text=True, check=True
    )
    private, share = map(float, done.stdout.split())
    return private, share


def import_time(statement: str) -> float:
    """ms of the statement in a fresh interpreter."""
    code = f"import time\nbegan = time.perf_counter()\n{statement}\nprint(time.perf_counter() - began)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return 1000 * float(done.stdout)
