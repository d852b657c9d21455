"""Queues: tasks a second through each broker, beside its own client in a loop, beside Celery and RQ on the same broker;
how soon a task begins; how soon work goes on that load has held back."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from support.gearmand import Gearmand
from support.memory_group import memory_group, parent
from support.program import Program
from support.servers import Rabbit, RedisServer, Server

from loadkeeper import Queue

from .figures import OURS, Measure

if TYPE_CHECKING:
    from .measures import Bench

TASKS = 6000
FEW = 1500
"""Where each takes a process."""
FORKED = 300
"""Of RQ, which forks for each."""
PUTS = 60
CELERY = [
    "celery==5.7.0", "amqp==5.4.2", "billiard==4.3.2", "click==8.5.1", "click-didyoumean==0.3.1",
    "click-plugins==1.1.1.2", "click-repl==0.4.1", "kombu==5.7.0", "prompt_toolkit==3.0.53",
    "python-dateutil==2.9.0.post0", "redis==8.1.0", "six==1.17.0", "tzlocal==5.4.5", "vine==5.1.0", "wcwidth==0.9.4",
]  # fmt: skip
RQ = ["rq==3.0.0", "click==8.5.1", "croniter==7.0.0", "python-dateutil==2.9.0.post0", "redis==8.1.0", "six==1.17.0"]
KEPT = "from loadkeeper.worker import tasks\nfor task in tasks():\n    pass\n"
APP = """
import os
from celery import Celery
app = Celery("bench", broker=os.environ["BROKER"])
app.conf.task_ignore_result = True
@app.task
def nothing():
    pass
"""
FILL = "import sys; from bench_app import nothing\nfor _ in range(int(sys.argv[1])): nothing.delay()\n"
RQ_APP = "def nothing():\n    pass\n"
RQ_FILL = (
    "import sys; from redis import Redis; from rq import Queue; from bench_app import nothing\n"
    "queue = Queue(connection=Redis(port=int(sys.argv[2])))\n"
    "for _ in range(int(sys.argv[1])): queue.enqueue(nothing, result_ttl=0)\n"
)
LOOPS = {
    "redis": """
import sys, redis
client = redis.Redis(port=int(sys.argv[1]), protocol=2)
while found := client.xreadgroup("loop", "me", {sys.argv[2]: ">"}, count=10):
    pipe = client.pipeline(transaction=False)
    for number, _ in found[0][1]:
        pipe.xack(sys.argv[2], "loop", number); pipe.xdel(sys.argv[2], number)
    pipe.execute()
""",
    "amqp": """
import sys, amqp
with amqp.Connection("127.0.0.1:" + sys.argv[1]) as connection:
    channel = connection.channel()
    channel.basic_qos(0, 64, False)
    channel.basic_consume(sys.argv[2], callback=lambda message: channel.basic_ack(message.delivery_tag))
    while True:
        connection.drain_events(timeout=5)
""",
    "gearman": """
import sys
from loadkeeper.queues.gearman_wire import Connection, Kind
line = Connection("127.0.0.1", int(sys.argv[1]), 5)
line.send(Kind.CAN_DO, sys.argv[2].encode())
while True:
    line.send(Kind.GRAB_JOB_UNIQ)
    packet = line.wait(frozenset({Kind.JOB_ASSIGN_UNIQ, Kind.NO_JOB}), 5)
    if packet.kind == Kind.NO_JOB:
        break
    line.send(Kind.WORK_COMPLETE, packet.words(4)[0], b"")
""",
}
"""The broker's own client in one process, which does nothing else. Of Gearman our packets: its own library is C."""
Depth = Callable[[], int]


class Place:
    """A broker, and directories of our own beside it."""

    def __init__(self, bench: "Bench", root: Path, kind: str) -> None:
        self.bench, self.root, self.kind = bench, root, kind
        self.program = Program(root / "p")
        self.program.environment.pop("PYTHONDONTWRITEBYTECODE", None)
        self.server: Server | None = None
        if kind == "redis":
            self.server = RedisServer(root / kind, "--appendfsync", "everysec")
        elif kind == "amqp":
            self.server = Rabbit(root / kind)
        elif kind == "gearman":
            self.server = Gearmand(root / kind)

    def url(self, name: str) -> str:
        return self.server.url(name) if self.server is not None else f"spool:{self.root}/{name}"

    def close(self) -> None:
        self.program.close()
        if self.server is not None:
            self.server.close()

    # -------------------------------------------------------------------------------------------------- who is measured

    def ours(self, count: int, *words: str) -> float:
        """Tasks a second of a run."""
        url = self.url(f"q{os.urandom(4).hex()}")
        with Queue(url) as queue:
            queue.put(*[b"x"] * count)
            process = self._started(self.program.command("run", "--quiet", "--cpu", "off", "--queue", url, *words))
            return _rate(process, count, lambda: queue.backlog().waiting or 0)

    def kept(self) -> float:
        worker = self.root / "kept.py"
        worker.write_text(KEPT)
        return self.ours(TASKS, "--kept", sys.executable, str(worker))

    def loop(self) -> float:
        """The broker's own client."""
        assert self.server is not None
        name = f"q{os.urandom(4).hex()}"
        url = self.url(name)
        with Queue(url) as queue:
            queue.put(*[b"x"] * TASKS)
            if self.kind == "redis":
                import redis

                redis.Redis(port=self.server.port).xgroup_create(name, "loop", id="0")
            words = [sys.executable, "-c", LOOPS[self.kind], str(self.server.port), name]
            process = self._started(words)
            depth = self._length(name) if self.kind == "redis" else (lambda: queue.backlog().waiting or 0)
            return _rate(process, TASKS, depth)

    def celery(self) -> float | None:
        found = self.bench.tools.packages("celery", CELERY)
        if found is None or self.server is None:
            return None
        (self.root / "bench_app.py").write_text(APP)
        broker = f"redis://127.0.0.1:{self.server.port}/3" if self.kind == "redis" else self.server.url("")
        environment = self._environment(found) | {"BROKER": broker}
        subprocess.run([sys.executable, "-c", FILL, str(TASKS)], env=environment, cwd=self.root, check=True)
        words = [
            "-m",
            "celery",
            "-A",
            "bench_app",
            "worker",
            "-c",
            "2",
            "--without-gossip",
            "--without-mingle",
            "-l",
            "ERROR",
        ]
        process = self._started([sys.executable, *words], environment)
        if self.kind == "redis":
            return _rate(process, TASKS, self._length("celery", 3))
        with Queue(self.server.url("celery")) as queue:
            return _rate(process, TASKS, lambda: queue.backlog().waiting or 0)

    def rq(self) -> float | None:
        found = self.bench.tools.packages("rq", RQ)
        if found is None or self.server is None:
            return None
        (self.root / "bench_app.py").write_text(RQ_APP)
        environment = self._environment(found)
        fill = [sys.executable, "-c", RQ_FILL, str(FORKED), str(self.server.port)]
        subprocess.run(fill, env=environment, cwd=self.root, check=True)
        url = f"redis://127.0.0.1:{self.server.port}"
        words = ["-m", "rq.cli", "worker-pool", "-n", "2", "-q", "-u", url]
        return _rate(self._started([sys.executable, *words], environment), FORKED, self._length("rq:queue:default"))

    # ----------------------------------------------------------------------------------------------------------- inside

    def _environment(self, packages: str) -> dict[str, str]:
        paths = [str(self.root), *([packages] if packages else []), *sys.path]
        return self.program.environment | {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}

    def _started(
        self, words: list[str | bytes] | list[str], environment: dict[str, str] | None = None
    ) -> "subprocess.Popen[bytes]":
        with open(self.root / "told", "wb") as told:
            return subprocess.Popen(
                words, cwd=self.root, env=environment or self._environment(""), stdout=told, stderr=told,
                start_new_session=True,
            )  # fmt: skip

    def _length(self, name: str, database: int = 0) -> Depth:
        import redis

        assert self.server is not None
        client = redis.Redis(port=self.server.port, db=database)
        of = client.xlen if client.type(name) == b"stream" else client.llen
        return lambda: int(of(name))


def _rate(process: "subprocess.Popen[bytes]", count: int, depth: Depth) -> float:
    """Between a tenth and nine tenths of the tasks: start and end are left out, for everybody alike."""
    began: tuple[float, int] | None = None
    until = time.monotonic() + 120
    try:
        while time.monotonic() < until:
            left, now = depth(), time.monotonic()
            if began is None and left <= 0.9 * count:
                began = now, left
            if began is not None and left <= 0.1 * count:
                return (began[1] - left) / (now - began[0]) if now > began[0] else float("nan")
            if process.poll() is not None and left > 0.1 * count:
                raise subprocess.CalledProcessError(process.returncode, process.args)
            time.sleep(0.005)
        raise subprocess.TimeoutExpired(process.args, 120)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()


@contextmanager
def _place(bench: "Bench", kind: str) -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="loadkeeper-bench-", dir="/var/tmp", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)
        made = Place(bench, Path(folder), kind)
        try:
            yield made
        finally:
            made.close()


def redis(bench: "Bench") -> Measure:
    """tasks a second that do nothing, over Redis: kept workers, Celery, RQ, and Redis' own client in a loop"""
    measure = Measure("q-redis", f"{TASKS:,} tasks that do nothing, Redis, 2 cores", "tasks/s", True)
    with _place(bench, "redis") as place:
        sides = {OURS: place.kept, "Celery prefork -c 2": place.celery, "RQ worker-pool -n 2": place.rq}
        return bench.alternate(measure, {**sides, "redis-py in a loop": place.loop})


def rabbitmq(bench: "Bench") -> Measure:
    """the same over RabbitMQ: kept workers, Celery, and a consumer of py-amqp that only acknowledges"""
    measure = Measure("q-rabbitmq", f"{TASKS:,} tasks that do nothing, RabbitMQ, 2 cores", "tasks/s", True)
    with _place(bench, "amqp") as place:
        return bench.alternate(
            measure, {OURS: place.kept, "Celery prefork -c 2": place.celery, "py-amqp in a loop": place.loop}
        )


def gearman(bench: "Bench") -> Measure:
    """the same over gearmand: kept workers, and one connection in a loop"""
    measure = Measure("q-gearman", f"{TASKS:,} tasks that do nothing, gearmand, 2 cores", "tasks/s", True)
    with _place(bench, "gearman") as place:
        return bench.alternate(measure, {OURS: place.kept, "one connection in a loop": place.loop})


def each(bench: "Bench") -> Measure:
    """tasks a second of `true`, a process for each: a list, and each queue"""
    measure = Measure("q-each", f"`true`, {FEW:,} tasks, a process for each; the first is a list", "tasks/s", True)
    with (
        _place(bench, "spool") as spool,
        _place(bench, "redis") as redis,
        _place(bench, "gearman") as gearman,
        _place(bench, "amqp") as amqp,
    ):
        places = {"spool": spool, "redis": redis, "gearman": gearman, "rabbitmq": amqp}
        sides: dict[str, Callable[[], float | None]] = {OURS: lambda: _listed(spool)}
        for name, place in places.items():
            sides[f"{OURS} {name}"] = lambda place=place: place.ours(FEW, "true")  # type: ignore[misc]
        for name, place in places.items():
            sides[f"{OURS} {name}, kept"] = place.kept
        return bench.alternate(measure, sides)


def _listed(place: Place) -> float:
    began = time.monotonic()
    values = "\n".join("x" * FEW) + "\n"
    command = place.program.command("run", "--quiet", "--cpu", "off", "true")
    subprocess.run(command, input=values, text=True, env=place.program.environment, check=True)  # type: ignore[call-overload]
    return FEW / (time.monotonic() - began - 0.15)  # less what a run of one `true` takes


def latency(bench: "Bench") -> Measure:
    """milliseconds from put to the first line of a kept worker that waits, median; the note has p99"""
    measure = Measure("q-latency", f"from put to the worker's own code, {PUTS} puts", "ms", False)
    with (
        _place(bench, "spool") as spool,
        _place(bench, "redis") as redis,
        _place(bench, "gearman") as gearman,
        _place(bench, "amqp") as amqp,
    ):
        sides: dict[str, Callable[[], float | None]] = {}
        for name, place in (("spool", spool), ("redis", redis), ("gearman", gearman), ("rabbitmq", amqp)):
            for kept in (True, False):
                label = f"{OURS} {name}, {'kept' if kept else 'a process'}"
                sides[label] = lambda place=place, kept=kept, label=label: _latency(  # type: ignore[misc]
                    place, kept, label, measure
                )
        return bench.alternate(measure, sides)


def _latency(place: Place, kept: bool, label: str, measure: Measure) -> float:
    url, worker = place.url(f"q{os.urandom(4).hex()}"), place.root / "late.py"
    print_it = "import time; print(time.monotonic_ns(), flush=True)"
    worker.write_text(f"from loadkeeper.worker import tasks\nfor task in tasks():\n    {print_it}\n")
    said = place.root / "said"
    words = ["--kept", sys.executable, str(worker)] if kept else ["--payload", "stdin", "--", "sh", "-c", "date +%s%N"]
    command = place.program.command("run", "--quiet", "--cpu", "off", "-j", "1", "--queue", url, *words)
    took: list[float] = []
    with open(said, "wb") as out, Queue(url) as queue:
        process = subprocess.Popen(command, env=place._environment(""), stdout=out, stderr=subprocess.DEVNULL)
        try:
            clock = time.monotonic_ns if kept else time.time_ns
            for number in range(PUTS + 3):
                began = clock()
                queue.put(b"x")
                until = time.monotonic() + 20
                while len(lines := said.read_text().split()) <= number:
                    if time.monotonic() > until:
                        raise subprocess.TimeoutExpired(command, 20)
                    time.sleep(0.001)
                took.append((int(lines[number]) - began) / 1e6)
                time.sleep(0.02)
        finally:
            process.terminate()
            process.wait(20)
    took = sorted(took[3:])
    measure.notes[label] = f"p99 {took[int(0.99 * (len(took) - 1))]:.1f} ms"
    return statistics.median(took)


def held(bench: "Bench") -> Measure:
    """seconds from the end of somebody else's load until work goes on that it has held back, in 1 GiB"""
    measure = Measure("q-held", "from the end of foreign load to the next start, 1 GiB", "s", False)
    if parent() is None:
        measure.notes[OURS] = "skipped: needs root and a memory controller of version 1"
        return measure
    return bench.alternate(measure, {OURS: lambda: _held(measure)})


def _held(measure: Measure) -> float:
    hog = Path(__file__).parents[1] / "tests/support/hog.py"
    with (
        tempfile.TemporaryDirectory(prefix="loadkeeper-bench-", dir="/var/tmp") as folder,
        memory_group(1 << 30) as group,
    ):
        program, url, log = Program(Path(folder) / "p", group.prefix), f"spool:{folder}/q", Path(folder) / "log"
        log.touch()
        noise = group.start(sys.executable, str(hog), "900", "0.5", "4", "0")
        try:
            time.sleep(1.5)
            with Queue(url) as queue:
                queue.put(*map(str, range(50)))
            line = f"date +%s%N >> {log}; sleep 0.2; : {{}}"
            process = program.start("run", "--quiet", "--memory", "15%", "--queue", url, line)
            noise.wait()
            over = time.time_ns()
            begun = len(log.read_text().split())
            until = time.monotonic() + 20
            while len(lines := log.read_text().split()) < begun + 2 and time.monotonic() < until:
                time.sleep(0.002)
            measure.notes[OURS] = f"{begun} of 50 begun while the load was there"
            process.terminate()
            process.wait(20)
            return (int(lines[begun + 1]) - over) / 1e9
        finally:
            program.close()
