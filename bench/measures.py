"""What is measured. Each measure is a function of a `Bench`; its first line is what `loadkeeper bench --list` shows."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from support.memory_group import parent
from support.program import Program, wait_until

from loadkeeper.simulate import simulate

from . import checkpoint as checkpoints
from . import crossing, decisions, executor, queues
from .batches import WORKLOADS, batch
from .figures import OURS, Measure, alternate
from .tools import Toolbox

JOBS = 2000
WIDE = 8
TICKS = os.sysconf("SC_CLK_TCK")
PRINTED = 1024
MIB = 1 << 20


class Bench:
    """What measures share: how often, with which peers, and whom they tell what they do."""

    def __init__(self, rounds: int, tools: Toolbox, tell: Callable[[str], None]) -> None:
        self.rounds, self.tools, self.tell = rounds, tools, tell

    def alternate(self, measure: Measure, sides: dict[str, Callable[[], float | None]]) -> Measure:
        measure.samples = alternate(self.rounds, sides, self.tell)
        return measure

    def peers(self, commands: dict[str, Callable[[str], list[str]]]) -> dict[str, list[str]]:
        """Of those that are there: the command, by what it is called."""
        found = {}
        for name, command in commands.items():
            program = name.split()[0]
            path = self.tools.build(f"{program}.c") if program == "floor" else self.tools.find(program)
            if path is not None:
                found[name] = command(path)
        return found


@contextmanager
def a_program(prefix: list[str] | None = None) -> Iterator[Program]:
    """Loadkeeper with directories of its own; its modules are compiled, as after the first call."""
    folder = Path(tempfile.mkdtemp(prefix="loadkeeper-bench-", dir="/var/tmp"))
    program = Program(folder / "p", prefix or [])
    program.environment.pop("PYTHONDONTWRITEBYTECODE", None)
    try:
        yield program
    finally:
        program.close()
        shutil.rmtree(folder, ignore_errors=True)


def _ours(program: Program, *words: str) -> list[str]:
    return [str(word) for word in program.command("run", "--quiet", *words)]


def _seconds(command: list[str], program: Program, text: str, check: Callable[[Path], None] | None = None) -> float:
    """From start to end; stdout goes to a file that ``check`` may look at."""
    out = program.root / "out"
    with open(out, "wb") as stream:
        began = time.monotonic()
        subprocess.run(command, input=text, text=True, stdout=stream, env=program.environment, check=True)
        took = time.monotonic() - began
    if check is not None:
        check(out)
    return took


def _numbers(count: int) -> str:
    return "\n".join(map(str, range(1, count + 1))) + "\n"


# ----------------------------------------------------------------------------------------------------- jobs a second


def rate(bench: Bench) -> Measure:
    """jobs a second of `true`, 2,000 jobs, start and end included"""
    measure = Measure("rate", f"`true`, {JOBS:,} jobs, start and end included", "jobs/s", True)
    text = _numbers(JOBS)
    with a_program() as program:
        makefile = _makefile(program.root / "Makefile", JOBS)
        tasks = bench.tools.find("tsp")
        peers = bench.peers(
            {
                "parallel": lambda path: [path, "--will-cite", "true"],
                "xargs -P8": lambda path: [path, f"-P{WIDE}", "-n1", "true"],
                "make -j8": lambda path: [path, "-s", f"-j{WIDE}", "-f", str(makefile)],
                "floor 8": lambda path: [path, str(WIDE), str(JOBS), "true"],
                "floor 2": lambda path: [path, "2", str(JOBS), "true"],
            }
        )
        commands = {
            OURS: _ours(program, "true"),
            f"{OURS} --cpu off -j8": _ours(program, "--cpu", "off", "-j", str(WIDE), "true"),
            **peers,
        }
        sides: dict[str, Callable[[], float | None]] = {
            name: lambda command=command: JOBS / _seconds(command, program, text)  # type: ignore[misc]
            for name, command in commands.items()
        }
        if tasks is not None:
            sides["tsp -S8"] = lambda: _spooled(tasks, program, measure)
        return bench.alternate(measure, sides)


def _makefile(path: Path, count: int) -> Path:
    names = [f"t{number}" for number in range(count)]
    rules = "\n".join(f"{name}:\n\t@true {name}" for name in names)
    path.write_text(f"all: {' '.join(names)}\n.PHONY: all {' '.join(names)}\n{rules}\n")
    return path


def _spooled(tsp: str, program: Program, measure: Measure) -> float | None:
    """task-spooler takes a job by a call of its own. Now and then it refuses one: that round has no sample."""
    environment = program.environment | {"TS_SOCKET": str(program.root / "tsp"), "TS_MAXFINISHED": "1"}
    subprocess.run([tsp, "-S", str(WIDE)], env=environment, check=True, stdout=subprocess.DEVNULL)
    began = time.monotonic()
    for number in range(JOBS):
        if subprocess.run(
            [tsp, "-n", "true", str(number)], env=environment, check=False, capture_output=True
        ).returncode:
            measure.notes["tsp -S8"] = f"refused a job in a round: the {number}th"
            break
    subprocess.run([tsp, "-w"], env=environment, check=False, capture_output=True)  # it complains of who is gone
    took = time.monotonic() - began
    subprocess.run([tsp, "-K"], env=environment, check=False, stdout=subprocess.DEVNULL)
    return JOBS / took if number == JOBS - 1 else None


def steady(bench: Bench) -> Measure:
    """jobs a second of `true`, 20,000 jobs: what the start costs hardly counts"""
    count = 10 * JOBS
    measure = Measure("steady", f"`true`, {count:,} jobs", "jobs/s", True)
    text = _numbers(count)
    with a_program() as program:
        peers = bench.peers(
            {
                "xargs -P8": lambda path: [path, f"-P{WIDE}", "-n1", "true"],
                "floor 8": lambda path: [path, str(WIDE), str(count), "true"],
            }
        )
        commands = {
            OURS: _ours(program, "true"),
            f"{OURS} --cpu off -j8": _ours(program, "--cpu", "off", "-j", str(WIDE), "true"),
            **peers,
        }
        return bench.alternate(
            measure,
            {
                name: lambda command=command: count / _seconds(command, program, text)
                for name, command in commands.items()
            },  # type: ignore[misc]
        )


def output(bench: Bench) -> Measure:
    """jobs a second with 1 KiB of output each, 2,000 jobs"""
    measure = Measure("output", f"{PRINTED} bytes of output each, {JOBS:,} jobs", "jobs/s", True)
    text = _numbers(JOBS)
    words = ["printf", f"%0{PRINTED - 1}d\\n"]

    def whole(out: Path) -> None:
        assert out.stat().st_size == JOBS * PRINTED, f"{out.stat().st_size} bytes came"

    with a_program() as program:
        peers = bench.peers(
            {
                "parallel": lambda path: [path, "--will-cite", "-q", *words],
                "xargs -P8": lambda path: [path, f"-P{WIDE}", "-n1", *words],
            }
        )
        commands = {OURS: _ours(program, *words, "{}"), **peers}
        return bench.alternate(
            measure,
            {
                name: lambda command=command: JOBS / _seconds(command, program, text, whole)
                for name, command in commands.items()
            },  # type: ignore[misc]
        )


def records(bench: Bench) -> Measure:
    """jobs a second with --results --joblog -k, 2,000 jobs of `echo`"""
    measure = Measure("records", f"`echo` with --results, --joblog and -k, {JOBS:,} jobs", "jobs/s", True)
    text = _numbers(JOBS)
    with a_program() as program:
        kept = ["--joblog", str(program.root / "log"), "--results", str(program.root / "results"), "-k"]

        def side(command: list[str]) -> float:
            took = _seconds(command, program, text)
            assert len((program.root / "log").read_text().splitlines()) == JOBS + 1
            assert sum(1 for _ in (program.root / "results").rglob("stdout")) == JOBS
            shutil.rmtree(program.root / "results")
            return JOBS / took

        peers = bench.peers({"parallel": lambda path: [path, "--will-cite", *kept, "echo"]})
        commands = {OURS: _ours(program, *kept, "echo"), **peers}
        return bench.alternate(
            measure,
            {name: lambda command=command: side(command) for name, command in commands.items()},  # type: ignore[misc]
        )


# ------------------------------------------------------------------------------------------------------- start to end


def start(bench: Bench) -> Measure:
    """milliseconds from start to end of one `true`"""
    measure = Measure("start", "one `true`, start to end", "ms", False)
    with a_program() as program:
        ours = [str(word) for word in program.command("run", "--quiet", "true", ":::", "x")]
        waits = program.start("run", "--quiet", "true")  # stdin is empty: it compiles what is not compiled yet
        waits.wait()

        def timed(command: list[str]) -> float:
            began = time.monotonic()
            subprocess.run(command, env=program.environment, check=True, stdin=subprocess.DEVNULL)
            return 1000 * (time.monotonic() - began)

        def cold() -> float:
            wait_until(lambda: not program.managers(), 5, "the load manager stays")
            return timed(ours)

        def warm() -> float:
            if not program.managers():
                timed(ours)
            return timed(ours)

        peers = bench.peers(
            {
                "parallel": lambda path: [path, "--will-cite", "true", ":::", "x"],
                "xargs": lambda path: [path, "-n1", "true"],
            }
        )
        sides: dict[str, Callable[[], float | None]] = {
            OURS: cold,
            f"{OURS}, a manager is there": warm,
            **{name: lambda command=command: timed(command) for name, command in peers.items()},  # type: ignore[misc]
        }
        return bench.alternate(measure, sides)


# ------------------------------------------------------------------------------------------------------ what it costs


def idle(bench: Bench) -> Measure:
    """% of a core that the managers take while workers sleep, 100 and 1,000 of them"""
    measure = Measure("idle", "what the managers take while all workers sleep", "% of a core", False)
    for count in (100, 1000):
        _idle(bench, measure, count)
    if (parallel := bench.tools.find("parallel")) is not None:
        with _sleeping([parallel, "--will-cite", "-j0", "sleep", "900", "#"], 100) as pid:
            for _ in range(bench.rounds):
                measure.samples.setdefault("parallel, 100 workers", []).extend(_shares([pid]))
    return measure


def _idle(bench: Bench, measure: Measure, count: int) -> None:
    with a_program() as program:
        run = program.start("run", "--cpu", "off", "--quiet", "sleep", ":::", *["900"] * count)
        wait_until(lambda: (s := program.ask()) and s.runs and len(s.runs[0].workers) == count, 120, "not all there")
        time.sleep(5)  # the ramp is over
        managers = {"load manager": program.managers()[0], "process manager": run.pid}
        for _ in range(bench.rounds):
            for name, share in zip(managers, _shares(list(managers.values())), strict=True):
                measure.samples.setdefault(f"{name}, {count} workers", []).append(share)


@contextmanager
def _sleeping(command: list[str], count: int) -> Iterator[int]:
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert process.stdin is not None
    try:
        process.stdin.write(_numbers(count))
        process.stdin.close()
        time.sleep(15)  # it starts them one by one
        yield process.pid
    finally:
        for line in Path("/proc").glob("[0-9]*/stat"):
            _kill_if_of_session(line, process.pid)
        process.wait()


def _kill_if_of_session(stat: Path, session: int) -> None:
    try:
        fields = stat.read_text(errors="replace").rpartition(")")[2].split()
        if int(fields[3]) == session:
            os.kill(int(stat.parent.name), 9)
    except (OSError, IndexError):
        pass


def _shares(pids: list[int], seconds: float = 10.0) -> list[float]:
    before, began = [_cpu(pid) for pid in pids], time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - began
    return [100 * (_cpu(pid) - was) / took for pid, was in zip(pids, before, strict=True)]


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory(bench: Bench) -> Measure:
    """MiB that the managers hold at most, 1,000 and 100,000 jobs"""
    return _held(bench, "memory", (1_000, 100_000))


def million(bench: Bench) -> Measure:
    """the same for 1,000,000 jobs, and their rate: takes a quarter of an hour"""
    return _held(bench, "million", (1_000_000,))


def _held(bench: Bench, name: str, counts: tuple[int, ...]) -> Measure:
    measure = Measure(name, "what the managers hold at most while a list of jobs streams in", "MiB", False)
    for count in counts:
        with a_program() as program:
            bench.tell(f"{count:,} jobs")
            source = subprocess.Popen(["seq", str(count)], stdout=subprocess.PIPE)
            began = time.monotonic()
            run = program.start("run", "--quiet", "true", stdin=source.stdout)
            most = {"process manager": 0.0, "load manager": 0.0}
            first: float | None = None
            while run.poll() is None:
                for who, pid in (("process manager", run.pid), *(("load manager", pid) for pid in program.managers())):
                    most[who] = max(most[who], _resident(pid))
                if first is None and time.monotonic() - began > 10:
                    first = most["process manager"]
                time.sleep(0.2)
            took = time.monotonic() - began
            source.wait()
            for who, size in most.items():
                side = f"{who}, {count:,} jobs"
                measure.samples[side] = [size]
                measure.notes[side] = f"{count / took:,.0f} jobs/s over {took:.0f} s"
            if first is not None:
                measure.samples[f"process manager, {count:,} jobs, after 10 s"] = [first]
    return measure


def _resident(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MIB
    except (OSError, IndexError):
        return 0.0


# ---------------------------------------------------------------------------------------------------------- reaction


def reaction(bench: Bench) -> Measure:
    """ms from memory crossing the line to the last of 100 workers stopped (or, earlyoom, the first killed)"""
    measure = Measure(
        "reaction",
        "memory crosses the line, until 99 of 100 workers stand (earlyoom: until one is killed)",
        "ms",
        False,
    )
    if parent() is None:
        measure.notes["all"] = "skipped: needs root and a memory controller of version 1"
        return measure
    grow = bench.tools.build("grow.c")
    if grow is None:
        return measure
    sides: dict[str, Callable[[], float | None]] = {OURS: lambda: crossing.by_loadkeeper(grow, measure.notes)}
    parallel, earlyoom = bench.tools.find("parallel"), bench.tools.find("earlyoom")
    if parallel is not None:
        sides["parallel --memsuspend"] = lambda: crossing.by_memsuspend(parallel, grow, measure.notes)
    if earlyoom is not None:
        sides["earlyoom"] = lambda: crossing.by_earlyoom(earlyoom, grow, measure.notes)
    return bench.alternate(measure, sides)


def decide(bench: Bench) -> Measure:
    """ms of one decision with 1 to 10,000 workers; --svg draws how it grows"""
    measure = Measure("decide", "one decision of the load manager", "ms", False)
    for _ in range(bench.rounds):
        for count in decisions.COUNTS:
            for which, seconds in decisions.costs(count).items():
                measure.samples.setdefault(f"{count:,} workers, {which}", []).append(1000 * seconds)
    return measure


def simulator(bench: Bench) -> Measure:
    """simulated seconds in a second of CPU, 10 and 100 workers"""
    measure = Measure("simulator", "a simulated node of 10 and 100 cores, 4 tasks for each", "s/s", True)
    for _ in range(bench.rounds):
        for count in (10, 100):
            began = time.process_time()
            result = simulate(_world(count))
            took = time.process_time() - began
            measure.samples.setdefault(f"{count} workers", []).append(result.makespan / took)
    return measure


def checkpoint(bench: Bench) -> Measure:
    """ns of a checkpoint where nothing is wanted, beside an empty function and a ZeroMQ socket that has nothing"""
    measure = Measure("checkpoint", "a call when nothing is wanted, in a worker's loop", "ns", False)
    for _ in range(bench.rounds):
        for side, cost in checkpoints.costs().items():
            measure.samples.setdefault(side, []).append(cost)
    return measure


def standing(bench: Bench) -> Measure:
    """ms until each of 100 workers stands at its checkpoint, and goes on"""
    measure = Measure("standing", "100 workers, at a checkpoint each 5 ms: asked to stand, to go on", "ms", False)
    for _ in range(bench.rounds):
        for side, took in checkpoints.latencies().items():
            measure.samples.setdefault(side, []).append(took)
    return measure


def importing(bench: Bench) -> Measure:
    """ms and MiB of `from loadkeeper.worker import checkpoint` in a worker"""
    statement = "from loadkeeper.worker import checkpoint; checkpoint()"
    measure = Measure("importing", "the import, and pages of its own with and without it", "", False)
    for _ in range(bench.rounds):
        for side, took in (
            ("loadkeeper.worker, ms", checkpoints.import_time(statement)),
            ("loadkeeper.worker, MiB", checkpoints.held(statement)[0]),
            ("without, MiB", checkpoints.held("")[0]),
        ):
            measure.samples.setdefault(side, []).append(took)
    return measure


def _world(count: int) -> dict[str, Any]:
    """Tasks that rise to a plateau, on a node that they fill."""
    mix = [{"seconds": {"uniform": [30, 90]}, "memory": {"uniform": ["200M", "700M"]}, "shape": "plateau"}]
    pools = [{"name": "a", "tasks": 4 * count, "mix": mix}]
    return {"name": "plateaus", "node": {"cpus": count, "memory": f"{count}G", "base": "300M"}, "pools": pools}


MEASURES: dict[str, Callable[[Bench], Measure]] = {
    **{
        measure.__name__: measure
        for measure in (
            rate,
            steady,
            output,
            records,
            start,
            reaction,
            idle,
            decide,
            simulator,
            checkpoint,
            standing,
            importing,
            memory,
            million,
        )
    },
    "calls": executor.rate,
    "cost": executor.cost,
    "trip": executor.trip,
    "first": executor.first,
    "survive": executor.survive,
    "q-redis": queues.redis,
    "q-rabbitmq": queues.rabbitmq,
    "q-gearman": queues.gearman,
    "q-each": queues.each,
    "q-latency": queues.latency,
    "q-held": queues.held,
    **{name: partial(batch, name) for name in WORKLOADS},
}
EXECUTOR = ("calls", "cost", "trip", "first", "survive")
QUEUES = ("q-redis", "q-rabbitmq", "q-gearman", "q-each", "q-latency", "q-held")
LONG = {"million", *EXECUTOR, *QUEUES, *WORKLOADS}
"""Only where they are named."""
