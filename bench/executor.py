"""`loadkeeper.Executor` beside those that programs use otherwise, each in a program of its own (`bench.calls`)."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.program import Program, below

from . import calls
from .figures import OURS, Measure

if TYPE_CHECKING:
    from .measures import Bench

THEIRS = {"ProcessPoolExecutor forkserver": "forkserver", "ProcessPoolExecutor fork": "fork", "loky": "loky"}
LOKY = ["loky==3.7.0", "cloudpickle==3.1.3"]
SECONDS = 120


def rate(bench: "Bench") -> Measure:
    """calls a second that do nothing, two processes: our Executor, ProcessPoolExecutor, loky"""
    what = f"{calls.CALLS:,} calls that do nothing, {calls.PROCESSES} processes"
    return _compare(bench, Measure("calls", what, "calls/s", True), "rate")


def cost(bench: "Bench") -> Measure:
    """microseconds of CPU for each of them, of the program and its processes together: hardly hurt by a busy machine"""
    measure = Measure("cost", "CPU for each call, of the program and its two processes together", "µs", False)
    return _compare(bench, measure, "cost")


def trip(bench: "Bench") -> Measure:
    """microseconds from a call to its result, of the same"""
    return _compare(bench, Measure("trip", "from a call to its result, one after the other", "µs", False), "trip")


def first(bench: "Bench") -> Measure:
    """milliseconds from the making of an executor to its first result"""
    return _compare(bench, Measure("first", "from the making of an executor to its first result", "ms", False), "first")


def survive(bench: "Bench") -> Measure:
    """calls of 60 that are done while one of four processes is stopped, or killed"""
    measure = Measure("survive", f"of {calls.JOBS} calls those done, one of {calls.SURVIVORS} processes hit", "", True)
    found: dict[str, list[tuple[int, int, int]]] = {}

    def side(name: str, what: str) -> Callable[[], float | None]:
        def take() -> float | None:
            done, failed, frozen = _measured(bench, name, what)
            found.setdefault(label, []).append((done, failed, frozen))
            return float(done)

        label = f"{name}, one {'stopped' if what == 'stop' else 'killed'}"
        return take

    names = [OURS, *_peers(bench)]
    sides = {
        f"{name}, one {word}": side(name, what)
        for what, word in (("stop", "stopped"), ("kill", "killed"))
        for name in names
    }
    bench.alternate(measure, sides)
    for label, rounds in found.items():
        failed, frozen = [one[1] for one in rounds], [one[2] for one in rounds]
        measure.notes[label] = f"failed {_span(failed)}, not done in time {_span(frozen)}"
    return measure


def _span(counts: list[int]) -> str:
    return str(counts[0]) if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"


def _compare(bench: "Bench", measure: Measure, what: str) -> Measure:
    names = [OURS, *_peers(bench)]
    return bench.alternate(measure, {name: lambda name=name: float(_measured(bench, name, what)) for name in names})  # type: ignore[misc]


def _peers(bench: "Bench") -> list[str]:
    return [name for name in THEIRS if name != "loky" or bench.tools.packages("loky", LOKY) is not None]


def _measured(bench: "Bench", name: str, what: str) -> Any:
    """By a program in directories of its own; whatever it leaves (a pool that hangs) is ended."""
    with tempfile.TemporaryDirectory(prefix="loadkeeper-bench-", dir="/var/tmp") as folder:
        program = Program(Path(folder) / "p")
        program.environment.pop("PYTHONDONTWRITEBYTECODE", None)
        paths = list(sys.path)
        if name == "loky":
            paths.append(str(bench.tools.packages("loky", LOKY)))
        program.environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
        command = [sys.executable, calls.__file__, THEIRS.get(name, "loadkeeper"), what]
        said, told = Path(folder) / "said", Path(folder) / "told"  # no pipes: a pool that hangs would hold them open
        with said.open("w") as stdout, told.open("w") as stderr:
            started = subprocess.Popen(command, env=program.environment, stdout=stdout, stderr=stderr)
        try:
            code = started.wait(SECONDS)
        finally:
            for pid in below(program.root):
                os.kill(pid, signal.SIGKILL)
            started.wait()
        if code:
            raise subprocess.CalledProcessError(code, command, stderr=told.read_text())
        return json.loads(said.read_text())
