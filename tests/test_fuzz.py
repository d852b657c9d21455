"""Hostile messages, settings, worlds and files: an error of ours or something in its ranges, never anything else, and
no memory that grows. In `check` some thousands, in `check long` a million."""

import io
import json
import os
import sqlite3
import subprocess
import tempfile
import tracemalloc
import zlib
from math import isfinite
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from support import fuzz
from support.people import PAUSED, a_run, a_status, a_worker
from support.program import wait_until

from loadkeeper.channel.address import places
from loadkeeper.channel.client import Client
from loadkeeper.channel.messages import (
    Answer,
    AskStatus,
    Change,
    Forget,
    Rejected,
    Steer,
    Steered,
    decode_reply,
    decode_request,
    encode,
)
from loadkeeper.commands import origins
from loadkeeper.commands.moments import parse_moment
from loadkeeper.commands.options import (
    parse_count,
    parse_halt,
    parse_jobs,
    parse_line,
    parse_positive,
    parse_pressure,
    parse_sensor,
)
from loadkeeper.commands.run import run as verb
from loadkeeper.decide import Kind, Memory, decide
from loadkeeper.errors import ChannelError, LoadkeeperError, SettingsError, UsageError
from loadkeeper.linux.process import Process
from loadkeeper.load_manager import answers, black_box, knowledge
from loadkeeper.load_manager.figures import figures, measure
from loadkeeper.load_manager.runs import Run
from loadkeeper.load_manager.seeing import Obedience, Picture, see
from loadkeeper.model import (
    Amount,
    Bye,
    Ending,
    Figures,
    GaugeStatus,
    Hello,
    Limits,
    Lines,
    Outcome,
    PoolReport,
    PoolVerdict,
    Reason,
    Report,
    TaskCounts,
    Verdict,
    Want,
    Welcome,
    Why,
    WorkerExit,
    WorkerReport,
    WorkerState,
)
from loadkeeper.record import boxes
from loadkeeper.record.joblog import HEADER, Logged
from loadkeeper.record.journal import Event, Fate, Header, Journal, Verb
from loadkeeper.record.journal_reader import finished, read_events, read_header, read_outcomes
from loadkeeper.sense.node import NodeSensor
from loadkeeper.sense.own import Own
from loadkeeper.sense.workers import WorkerSensor
from loadkeeper.settings import change
from loadkeeper.show.explain import explain, print_explained
from loadkeeper.show.tables import print_list, print_status
from loadkeeper.simulate.checks import check
from loadkeeper.simulate.world import draw_tasks, read_world
from loadkeeper.status import Status
from loadkeeper.units import (
    LARGEST_SIZE,
    LONGEST_DURATION,
    MOST_CORES,
    MOST_NUMBER,
    parse_cpus,
    parse_duration,
    parse_memory,
    parse_number,
    parse_share,
    parse_size,
)

GROWTH = 8 << 20
"""Bytes that memory may grow by: the allocator's own."""
WORLDS = [json.loads(path.read_text()) for path in sorted(Path(__file__).parent.glob("worlds/*.json"))]

LIMITS = Limits(cpu=Amount(absolute=1.5), memory=Amount(share=0.1), gauges={"gpu": Lines(1.0, 2.0, 3.0)}, swap=None)
WHY = Why(Reason.MEMORY, "memory", 1e9, 2e9, need=1e8)
WORKERS = [
    WorkerReport(n, "main", str(n), 4000 + n, 5000, 1.0, WorkerState.RUNNING, 2.0, 1.5, 0.5, 7, 300.0, "/x/a", "v")
    for n in range(3)
]
EXITS = [WorkerExit(n, n, "main", "sleep", 1 << 20, 1.0, 2.0, Outcome.DONE, 3.0) for n in range(1, 3)]
POOLS = [PoolReport("main", "sleep", 3, 0, 4), PoolReport("other", "k", None)]
A_STATUS = a_status(a_run([a_worker(1), a_worker(2, "paused", PAUSED)]))
SENSORS = {"gpu": 1.5, "disk": None}
REPORT = Report(
    "r1", 3, POOLS, WORKERS, EXITS, TaskCounts(3, 1, 2), wants={"r1.1": Want.PAUSE}, changes={"jobs": "3"},
    sensors=SENSORS,
)  # fmt: skip
REQUESTS = [
    Hello("r1", "name", os.getpid(), 5, LIMITS, 10.0, "true", "/tmp", 1.7e9),
    REPORT,
    REPORT,
    Bye("r1"),
    AskStatus(),
    Steer(Want.STOP, ["r1", "r1.2"]),
    Change({"memory": "2G", "jobs": "4"}, ["r1"]),
    Forget(["sleep"]),
]
REPLIES = [
    Welcome(4000, 5000),
    Verdict(
        "r1", 4, 3, {"main": PoolVerdict(3, WHY)}, {1: WHY}, {2: Ending(WHY)}, throttled={1: 0.5},
        figures=Figures({"memory": GaugeStatus(1e9, 2e9)}, 5, 6),
    ),
    Answer(Status()),
    Steered(["r1"], ["x"]),
    Rejected("no"),
]  # fmt: skip


def sound(value: Any) -> None:
    """No figure that counts nothing."""
    if isinstance(value, float):
        assert isfinite(value), value
    elif isinstance(value, int):
        assert abs(value) <= 1 << 62
    elif isinstance(value, dict):
        for key, one in value.items():
            sound(key)
            sound(one)
    elif isinstance(value, list):
        for one in value:
            sound(one)


def whole(message: Any) -> Any:
    """As plain lists and dicts."""
    return msgspec.msgpack.decode(encode(message), strict=False)


# ------------------------------------------------------------------------------------------------------------- messages


def request(random: Random) -> bool:
    made = fuzz.frame(random, random.choice(REQUESTS))
    try:
        message = decode_request(made)
    except ChannelError:
        return False
    sound(whole(message))
    assert decode_request(encode(message)) == message
    if isinstance(message, Report):
        right(message)
    return True


def right(report: Report) -> None:
    assert len({worker.n for worker in report.workers}) == len(report.workers)
    for worker in report.workers:
        assert worker.n >= 0
        assert 2 <= worker.pid <= 1 << 22
        assert min(worker.start_time, worker.active, worker.paused_for, worker.floor, worker.patience) >= 0
        assert worker.pool in {pool.name for pool in report.pools}
    for name in (report.run, *(pool.name for pool in report.pools)):
        assert name
        assert not set(name) & set("/\0\n\r\x1b")
    assert "." not in report.run
    counts = report.tasks
    assert min(counts.waiting or 0, counts.running, counts.done, counts.failed, counts.given_back, counts.buried) >= 0


def reply(random: Random) -> bool:
    made = fuzz.frame(random, random.choice(REPLIES))
    try:
        message = decode_reply(made)
    except ChannelError:
        return False
    sound(whole(message))
    assert decode_reply(encode(message)) == message
    return True


def shown(random: Random) -> bool:
    """What the reading verbs make of any answer."""
    try:
        message = decode_reply(fuzz.frame(random, Answer(A_STATUS)))
    except ChannelError:
        return False
    if isinstance(message, Answer):
        stream = io.StringIO()
        print_status(message.status, stream)
        print_list(message.status, stream)
        print_explained(explain(message.status), stream)
        assert not set(stream.getvalue()) & set("\0\x1b\r\x07")
    return True


def moment(random: Random) -> bool:
    word = fuzz.text(random, ["+90s", "10:42:50", "2026-11-26T10:42:50", "10:42", "0001-01-01T00:00", "9999-12-31"])
    try:
        return isfinite(parse_moment(word, random.choice((0.0, 1.7e9, 1e11))))
    except UsageError:
        return False


class Desk:
    """What a load manager does with a message that it has taken: nothing that was decoded makes it fail."""

    def __init__(self) -> None:
        self.node = NodeSensor()
        self.workers = WorkerSensor()
        self.memory = Memory()
        self.now = 1000.0
        self.run = self.joined(Hello("r1", "name", os.getpid(), 5, Limits(), 10.0, "true", "/tmp"))

    def joined(self, hello: Hello) -> Run:
        return Run(hello, Process.myself(), b"x", self.now)

    def __call__(self, random: Random) -> bool:
        try:
            message = decode_request(fuzz.frame(random, random.choice(REQUESTS)))
        except ChannelError:
            return False
        self.now += 0.1
        if isinstance(message, Hello):
            self.run = self.joined(message)
            self.run.hear(msgspec.structs.replace(REPORT, run=message.run, wants={}), self.now)
        elif isinstance(message, Report):
            self.run = self.joined(Hello(message.run, "name", os.getpid(), 5, LIMITS, 10.0, "true", "/tmp"))
            self.run.hear(message, self.now)
        elif isinstance(message, Steer):
            answers.steer([self.run], message.want, message.names)
        elif isinstance(message, Change):
            try:
                answers.change([self.run], message.settings, message.names, self.node.last)
            except SettingsError:
                return False
        self.look()
        return True

    def look(self) -> None:
        run = self.run
        node = msgspec.structs.replace(self.node.read(self.now, 0, 0.0), now=self.now)
        self.workers.keep({run.worker_id(w.n): (w.pid, w.start_time, w.leaf) for w in run.workers()})
        picture = Picture(node, self.workers, Own(0.0, None), Obedience(), {}, 0.0, None)
        seen = see([run], picture, 0.5)
        decision, self.memory = decide(seen, self.memory)
        measure(run, node, self.workers.readings)
        verdict = run.answer(decision, self.now, lambda: figures(run, node, decision))
        if verdict is not None:
            assert decode_reply(encode(verdict)) == verdict, "what a load manager says is a message"
        view = answers.View(node, decision, self.memory, self.workers.readings, 1.7e9)
        told = Answer(answers.status(view, [run], 1, 1.7e9))
        assert decode_reply(encode(told)) == told
        entry = black_box.Looked(seen, decision, 0.0)
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(entry), type=black_box.Looked) == entry


# ------------------------------------------------------------------------------------------------------------- settings

RIGHT = {
    parse_size: ["2G", "200M", "1.5GiB", "0"],
    parse_duration: ["30s", "1h30m", "250ms", "1d"],
    parse_share: ["10%", "99.9%"],
    parse_memory: ["10%", "2G"],
    parse_cpus: ["90%", "3.5", "1"],
    parse_number: ["1", "-1", "12"],
    parse_pressure: ["cpu=40%,io=30%", "memory=1%"],
    parse_line: ["gpu=1,2,3", "free=<3,2,1", "gpu=,1"],
    parse_sensor: ["gpu=echo 1", "disk.free=df"],
    parse_halt: ["now,fail=1", "soon,done=30%", "never", "2"],
    parse_jobs: ["8", "50%", "+1", "-1", "0"],
    parse_count: ["0", "5"],
    parse_positive: ["1", "5"],
}
WORDS = [word for words in RIGHT.values() for word in words]
CHANGES = ["cpu", "memory", "memory-gap", "swap", "workers-memory", "workers-cpu", "memory-per-worker", "memory-need"]
CHANGES += ["jobs", "priority", "tasks"]


def setting(random: Random) -> bool:
    parse = random.choice(list(RIGHT))
    word = fuzz.text(random, RIGHT[parse] if random.random() < 0.7 else WORDS)
    try:
        in_range(parse(word))
        if random.random() < 0.3:
            changed = change(Limits(), {random.choice(CHANGES): word})
            msgspec.msgpack.decode(encode(changed.limits), type=Limits)
            in_range(changed.priority)
    except SettingsError:
        return False
    return True


def in_range(value: Any) -> None:
    if isinstance(value, Amount):
        assert value.share is None or 0 <= value.share <= 1
        assert value.absolute is None or 0 <= value.absolute <= LARGEST_SIZE
    elif isinstance(value, Lines):
        assert all(line is None or isfinite(line) for line in (value.hold, value.pause, value.end))
    elif isinstance(value, tuple):
        in_range(value[1])
    elif isinstance(value, dict):
        for one in value.values():
            in_range(one)
    elif isinstance(value, int | float):
        assert isfinite(value)
        assert abs(value) <= max(LARGEST_SIZE, LONGEST_DURATION, MOST_NUMBER, MOST_CORES)


TOML = """\
[limits]
memory = "2G"
cpu = 1
memory_gap = "100M"
pressure = "cpu=40%"

[run]
jobs = 3
keep-order = true
timeout = "1h"
retries = 2
tag = "x"
"""


class SettingsFile:
    def __init__(self, directory: Path) -> None:
        self.environment = {"XDG_CONFIG_HOME": str(directory)}
        self.path = directory / "loadkeeper" / origins.FILE
        self.path.parent.mkdir()
        self.options = list(origins.options_of(verb))

    def __call__(self, random: Random) -> bool:
        lines = TOML.splitlines(keepends=True)
        kind = random.random()
        if kind < 0.4:
            place = random.randrange(len(lines))
            value = random.choice((random.choice(fuzz.NASTY), fuzz.text(random, WORDS)))
            shown = json.dumps(value) if isinstance(value, str | int | float | list) else repr(value)
            lines[place] = f"{lines[place].partition('=')[0].strip()} = {shown}\n"
        content = "".join(lines).encode("utf-8", "surrogatepass")
        self.path.write_bytes(fuzz.spoil_bytes(random, content) if kind > 0.6 else content)
        environment = dict(self.environment)
        if random.random() < 0.3:
            environment[f"LOADKEEPER_{random.choice(('MEMORY', 'JOBS', 'GRACE', 'X'))}"] = fuzz.text(random, WORDS)
        try:
            found = origins.find(self.options, environment)
        except SettingsError:
            return False
        for name, one in found.items():
            option = next(option for option in self.options if option.name == name)
            in_range(option.type.convert(one.value, option, None))
        return True


# --------------------------------------------------------------------------------------------------------------- worlds


def world(random: Random) -> bool:
    given = fuzz.spoil(random, random.choice(WORLDS))
    if not isinstance(given, dict):
        return False
    try:
        read = read_world(given)
        check(read)
    except UsageError:
        return False
    sound(whole(msgspec.structs.replace(read, foreign=[])))
    few = [msgspec.structs.replace(pool, tasks=min(pool.tasks, 20)) for pool in read.pools]
    tasks = draw_tasks(msgspec.structs.replace(read, pools=few), 1)
    for task in (task for of_pool in tasks.values() for task in of_pool[:20]):
        assert 0 < task.seconds <= LONGEST_DURATION
        assert 0 <= task.memory <= LARGEST_SIZE
    return True


# ---------------------------------------------------------------------------------------------------------------- files


class Kinds:
    """What was learned, as it lies on disk."""

    def __init__(self, directory: Path) -> None:
        self.path = str(directory / "kinds.json")
        known = {"sleep": knowledge.Known(1.7e9, Kind((1, 2, 3), 0.5, 3, 1.0, 3))}
        self.right = json.loads(msgspec.json.encode(knowledge.Contents(1, known)))

    def __call__(self, random: Random) -> bool:
        tree = fuzz.spoil(random, self.right) if random.random() < 0.7 else self.right
        try:
            content = json.dumps(tree).encode()
        except (RecursionError, TypeError):
            content = b"[" * 5000
        Path(self.path).write_bytes(fuzz.spoil_bytes(random, content) if random.random() < 0.4 else content)
        try:
            known = knowledge.read(self.path)
        except LoadkeeperError:
            return False
        for one in known.values():
            assert isfinite(one.used)
            assert all(0 <= peak <= 1 << 62 for peak in one.kind.peaks)
            assert 0 <= one.kind.fill <= 1
            assert one.kind.cpu is None or (one.kind.cpu >= 0 and isfinite(one.kind.cpu))
            assert min(one.kind.count, one.kind.fills) >= 0
        return True


class JobLog:
    def __init__(self, directory: Path) -> None:
        self.path = str(directory / "joblog")
        lines = [b"%d\t:\t1700000000.000\t     0.100\t0\t5\t0\t0\techo %d\n" % (n, n) for n in range(1, 9)]
        self.right = HEADER + b"".join(lines)

    def __call__(self, random: Random) -> bool:
        Path(self.path).write_bytes(fuzz.spoil_bytes(random, self.right))
        try:
            logged = Logged(self.path, successful=random.random() < 0.5)
            logged.check(1, [b"echo 1"])
        except UsageError:
            return False
        assert 0 not in logged
        assert len(logged._bits) < 1 << 29
        return True


class Box:
    """A black box: the file spoiled, or what is in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = str(directory / "box")
        os.mkdir(self.directory)
        desk = Desk()
        self.entries: list[bytes] = []
        for number in range(6):
            desk.run.hear(msgspec.structs.replace(REPORT, number=number), desk.now)
            desk.now += 0.1
            node = msgspec.structs.replace(desk.node.read(desk.now, 0, 0.0), now=desk.now)
            seen = see([desk.run], Picture(node, desk.workers, Own(0.0, None), Obedience(), {}, 0.0, None), 0.5)
            before = desk.memory
            decision, desk.memory = decide(seen, before)
            for entry in (black_box.Remembered(before), black_box.Looked(seen, decision, 0.0)):
                self.entries.append(msgspec.msgpack.encode(entry))

    def __call__(self, random: Random) -> bool:
        records = list(self.entries)
        deep = random.random() < 0.6
        if deep:
            place = random.randrange(len(records))
            records[place] = fuzz.packed(random, fuzz.spoil(random, msgspec.msgpack.decode(records[place])))
        batch = b"".join(len(record).to_bytes(4, "big") + record for record in records)
        body = zlib.compress(batch if deep else fuzz.spoil_bytes(random, batch), 1)
        content = boxes.MAGIC + len(body).to_bytes(4, "big") + body
        if random.random() < 0.3:
            content = fuzz.spoil_bytes(random, content)
        Path(self.directory, "0.box").write_bytes(content)
        try:
            black_box.replay(black_box.read(self.directory))
        except LoadkeeperError:
            return False
        return True


class SpoiledJournal:
    """The file spoiled, or a figure in its tables: SQLite takes any type in any column."""

    def __init__(self, directory: Path) -> None:
        self.path = str(directory / "journal.db")
        journal = Journal.open(self.path, Header("r1", "name", "true", 5, 1.7e9))
        for number in range(1, 6):
            fate = Fate(number, b"v", 1, number, Outcome.DONE, False, 0, 0, 1.7e9, 1.0, peak=5, cpu=1.0, why=WHY)
            journal.outcome(fate)
            journal.event(Event(1.7e9, Verb.PAUSE, "r1.1", number, WHY))
        assert journal.close()
        database = sqlite3.connect(self.path)
        database.execute("PRAGMA journal_mode=DELETE")
        database.close()
        self.right = Path(self.path).read_bytes()
        self.columns = {
            "run": ("id", "name", "command", "pid", "began"),
            "fate": ("task", "value", "attempt", "worker", "outcome", "again", "code", "peak", "cpu", "seconds", "why"),
            "event": ("at", "verb", "subject", "task", "amount", "why"),
        }

    def __call__(self, random: Random) -> bool:
        spoiled = random.random() < 0.5
        Path(self.path).write_bytes(fuzz.spoil_bytes(random, self.right) if spoiled else self.right)
        if not spoiled:
            self.change(random)
        try:
            sound(whole(read_header(self.path)))
            for fate in read_outcomes(self.path):
                sound(whole(fate))
                assert fate.task > 0
                assert isinstance(fate.value, bytes)
            for event in read_events(self.path):
                sound(whole(event))
            assert all(task > 0 for task in finished(self.path))
        except LoadkeeperError:
            return False
        return True

    def change(self, random: Random) -> None:
        table = random.choice(list(self.columns))
        value = random.choice([one for one in fuzz.NASTY if isinstance(one, float | str | bytes | None)])
        if isinstance(value, str):
            value = value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
        database = sqlite3.connect(self.path, isolation_level=None)
        database.execute("PRAGMA synchronous=OFF")
        database.execute(f"UPDATE {table} SET {random.choice(self.columns[table])} = ?", (value,))
        database.close()


# -------------------------------------------------------------------------------------------------------- so many times

CASES = {
    "request": (40_000, 480_000),
    "reply": (15_000, 110_000),
    "shown": (500, 20_000),
    "moment": (5_000, 20_000),
    "desk": (6_000, 20_000),
    "setting": (50_000, 200_000),
    "settings_file": (4_000, 10_000),
    "world": (10_000, 100_000),
    "kinds": (8_000, 20_000),
    "joblog": (5_000, 10_000),
    "box": (1_500, 5_000),
    "journal": (1_500, 5_000),
}
"""In `check`, and in `check long`."""


def maker(name: str, directory: Path) -> Any:
    plain = {"request": request, "reply": reply, "setting": setting, "world": world, "shown": shown, "moment": moment}
    if name in plain:
        return plain[name]
    if name == "desk":
        return Desk()
    made = {"settings_file": SettingsFile, "kinds": Kinds, "joblog": JobLog, "box": Box, "journal": SpoiledJournal}
    return made[name](directory)


def play(name: str, cases: int, directory: Path) -> str:
    accepted, growth = fuzz.many(cases, maker(name, directory), name)
    assert growth < GROWTH, f"{growth >> 20} MiB"
    assert 0 < accepted < cases, "either all was right, or nothing"
    return f"{cases} cases, {accepted} accepted, {growth >> 10} KiB grown"


@pytest.fixture
def quick():
    """A directory in memory: a disk takes 5 ms for a file that is written anew, and reading it 0.1."""
    memory = "/dev/shm"
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as directory:
        yield Path(directory)


@pytest.mark.parametrize("name", CASES)
def test_what_is_spoiled_is_an_error_of_ours_or_in_its_ranges(name, quick):
    play(name, CASES[name][0], quick)


@pytest.mark.long
@pytest.mark.parametrize("name", CASES)
def test_a_million(name, quick, record_property):
    record_property("measured", play(name, CASES[name][1], quick))


def test_they_are_a_million():
    assert sum(long for _, long in CASES.values()) == 1_000_000


# ----------------------------------------------------------------------------------------------------- a living manager


# ----------------------------------------------------------------------------------------------------- a living manager

ONE = WORKERS[0]
NONSENSE: list[dict[str, Any]] = [
    {"number": (1 << 53) - 1},
    {"workers": [msgspec.structs.replace(ONE, started=1e11, active=1e11)]},
    {"workers": [ONE, ONE]},
    *({"workers": [msgspec.structs.replace(ONE, pid=pid)]} for pid in (0, -1, 1, 1 << 31, 1 << 62)),
    {"workers": [msgspec.structs.replace(ONE, active=float("nan"))]},
    {"workers": [msgspec.structs.replace(ONE, started=1e308)]},
    {"workers": [msgspec.structs.replace(ONE, floor=1 << 62, patience=1e11, paused_for=1e11)]},
    {"workers": [msgspec.structs.replace(ONE, leaf="/dev", state=WorkerState.PAUSED, paused_since=1e11)]},
    {"workers": [msgspec.structs.replace(ONE, n=1 << 53, start_time=1 << 62)]},
    {"sensors": {"gpu": 1e308, "disk": -1e308}},
    {"sensors": {"gpu": float("inf")}},
    {"pools": [PoolReport("main", "k", 1 << 53, -(1 << 53), 0)]},
    {"pools": [PoolReport("main", "k", None, 1 << 53)], "workers": []},
    {"pools": []},
    {"exits": [msgspec.structs.replace(EXITS[0], number=n, kind=f"k{n}", peak=1 << 62) for n in range(500)]},
    {"exits": [msgspec.structs.replace(EXITS[0], number=1 << 53, cpu_seconds=1e11, active=0.0)]},
    {"tasks": TaskCounts(-1, -1)},
    {"wants": {"r1": Want.STOP, "other.1": Want.STOP}},
    {"changes": {"jobs": "9" * 5000, "colour": "red"}},
]
"""Of the right types, and nothing that can be."""
CROWD = [msgspec.structs.replace(ONE, n=n, pid=n + 2) for n in range(100_000)]
FRAMES = 4_000


class Hostile:
    """Says that it is run r1, whose process manager sleeps, and then anything."""

    def __init__(self, socket: str) -> None:
        self.manager = subprocess.Popen(["sleep", "120.05"], start_new_session=True)
        known = Process.open(self.manager.pid)
        assert known is not None
        self.hello = msgspec.structs.replace(
            REQUESTS[0], pid=self.manager.pid, start_time=known.start_time, began=1e11, grace=1e11
        )
        self.client = Client(socket)

    def say(self, message: Any) -> None:
        self.client.send(message)

    def hear(self) -> None:
        self.client.receive()

    def spoil(self, random: Random) -> None:
        """A hundred frames of rubbish, then nonsense that is well-formed."""
        for _ in range(100):
            message = random.choice([one for one in REQUESTS if not isinstance(one, Steer | Change | Forget)])
            self.client._socket.send(fuzz.frame(random, message))
        self.say(self.hello)
        for more in NONSENSE:
            self.say(msgspec.structs.replace(REPORT, **more))

    def close(self) -> None:
        self.say(Bye("r1"))
        self.client.close(linger=1.0)
        self.manager.kill()
        self.manager.wait()


def test_a_living_load_manager_hears_it_all_and_its_run_ends_well(program, tmp_path, record_property):
    released = tmp_path / "go"
    line = f"while [ ! -e {released} ]; do sleep 0.05; done; echo {{}}"
    run = program.start("run", "--cpu", "off", "-j", "2", line, ":::", *map(str, range(20)))
    before = wait_until(lambda: (s := program.ask()) and s.runs and s.runs[0].workers and s, 20, "nothing runs")
    hostile = Hostile(places(program.environment)[0].socket)
    hostile.say(hostile.hello)
    hostile.say(msgspec.structs.replace(REPORT, workers=CROWD))
    random, sizes = Random("a living one"), []
    for _ in range(FRAMES // 100):
        hostile.spoil(random)
        told = wait_until(program.ask, 30, "it does not answer")
        hostile.hear()
        assert told.node.pid == before.node.pid
        sizes.append(fuzz.resident(before.node.pid))
    hostile.close()
    wait_until(lambda: [run.name for run in program.ask().runs] == [before.runs[0].name], 20, "r1 does not leave")
    released.touch()
    out, err = run.communicate(timeout=60)
    assert (run.returncode, sorted(map(int, out.split()))) == (0, list(range(20))), err.decode()
    (journal,) = program.journals()
    assert not [event for event in read_events(journal) if event.verb is Verb.LOST], "another had to take over"
    grown = sizes[-1] - sizes[len(sizes) // 2]
    assert grown < GROWTH
    record_property("measured", f"{FRAMES} frames and as many reports of nonsense, {grown >> 10} KiB grown")


def test_a_box_that_would_fill_the_memory_is_no_box(quick, monkeypatch):
    """What is nothing packs into a thousandth. Without a bound it would be unpacked whole."""
    monkeypatch.setattr(boxes, "LARGEST", 1 << 20)
    pack = zlib.compressobj(1)
    body = b"".join(pack.compress(bytes(1 << 20)) for _ in range(64)) + pack.flush()
    for content in (len(body).to_bytes(4, "big") + body, b"\xff\xff\xff\xff" + body):
        (quick / "0.box").write_bytes(boxes.MAGIC + content)
        tracemalloc.start()
        try:
            assert list(boxes.read(str(quick))) == []
            assert tracemalloc.get_traced_memory()[1] < 8 << 20
        finally:
            tracemalloc.stop()
