"""Faults between a run and the broker that its tasks come from, at random moments; what came of each task."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from support.gearmand import Gearmand
from support.program import Program
from support.proxy import Proxy
from support.servers import Rabbit, RedisServer, Server

from loadkeeper import LoadkeeperError, Queue

TASKS = 20
KINDS = ("spool", "redis", "gearman")
"""Those that a round of its own begins and ends a server for; RabbitMQ is given."""
NETWORK = ("cut", "slow", "held", "refused")
BROKER = {"redis": ("killed", "full"), "gearman": ("killed",), "amqp": ("blocked",), "spool": ("locked",)}
MANAGER = ("pm", "pm-stopped", "lm")
WORKER = """
import os, sys, time
log, seconds = sys.argv[1], float(sys.argv[2])
def work(text):
    time.sleep(seconds * (1 + int(text) % 3))
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, text.encode() + b"\\n")
    os.close(descriptor)
if len(sys.argv) > 3:
    work(sys.argv[3])
else:
    from loadkeeper.worker import tasks
    for task in tasks():
        work(task.text)
"""


@dataclass
class Round:
    seed: int
    kind: str
    kept: bool = False
    tasks: int = TASKS
    faults: list[str] = field(default_factory=list)
    lost: int = 0
    twice: int = 0  # done again: a fault came while they were in flight
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)


def play(seed: int, root: Path, rabbit: Rabbit | None = None, user: str = "guest") -> Round:
    """One round; the same seed gives the same tasks and faults again. ``user``: of RabbitMQ, all of whose connections
    are ended now and then; its password is its name."""
    chance = Random(seed)
    kind = chance.choice([*KINDS, "amqp"] if rabbit is not None else KINDS)
    round = Round(seed, kind, kept=chance.random() < 0.5)
    program = Program(root / "p")
    server = _server(kind, root, rabbit)
    proxy = Proxy(server.port) if server is not None else None
    try:
        _play(round, chance, root, program, server, proxy, user)
    finally:
        program.close()
        if proxy is not None:
            proxy.close()
        if server is not None and server is not rabbit:
            server.close()
    return round


def _server(kind: str, root: Path, rabbit: Rabbit | None) -> Server | None:
    if kind == "redis":
        return RedisServer(root / "redis")
    if kind == "gearman":
        return Gearmand(root / "gearmand", lasting=True)
    return rabbit if kind == "amqp" else None


def _play(  # noqa: PLR0913, PLR0917 - what takes part
    round: Round, chance: Random, root: Path, program: Program, server: Server | None, proxy: Proxy | None, user: str
) -> None:
    name, log = f"q{round.seed}-{os.urandom(3).hex()}", root / "log"
    url = server.url(name) if server is not None else f"spool:{root}/queue"
    through = url.replace(f":{server.port}/", f":{proxy.port}/") if server is not None and proxy is not None else url
    if round.kind == "amqp":
        through = f"{through.replace('guest:guest', f'{user}:{user}')}?heartbeat=2s"
    log.touch()
    worker = root / "w.py"
    worker.write_text(WORKER)
    seconds = chance.uniform(0.0, 0.06)
    with Queue(url) as queue:
        queue.put(*map(str, range(TASKS)))
    words = ["run", "--queue", through, "-j", "3", "--cpu", "off", *(["--kept"] if round.kept else [])]
    words += [sys.executable, str(worker), str(log), str(seconds)]
    process = program.start(*words)
    began = time.monotonic()
    for _ in range(chance.randint(1, 2)):
        names = [*MANAGER, *(NETWORK if proxy is not None else ()), *BROKER[round.kind]]
        fault = chance.choice(names)
        round.faults.append(fault)
        time.sleep(chance.uniform(0.05, 0.8))
        process = _inject(fault, chance, root, program, process, server, proxy, words, user)
    _await(round, program, process, url, log, began)
    round.seconds = time.monotonic() - began
    _judge(round, process, log)


def _inject(  # noqa: PLR0913, PLR0917 - what takes part
    fault: str,
    chance: Random,
    root: Path,
    program: Program,
    process: "subprocess.Popen[bytes]",
    server: Server | None,
    proxy: Proxy | None,
    words: Sequence[str],
    user: str,
) -> "subprocess.Popen[bytes]":
    """The process manager that is at work afterwards."""
    lasts = chance.uniform(0.05, 0.8)
    if fault == "pm":
        process.kill()
        process.communicate()
        return program.start(*words)
    if fault == "pm-stopped":
        process.send_signal(signal.SIGSTOP)
        time.sleep(lasts)
        process.send_signal(signal.SIGCONT)
    elif fault == "lm":
        for pid in program.managers():
            if pid != process.pid:
                _kill(pid)
    elif fault == "locked":
        with sqlite3.connect(root / "queue", isolation_level=None) as database:
            database.execute("BEGIN IMMEDIATE")
            time.sleep(lasts)
            database.execute("ROLLBACK")
    elif fault == "full":
        _redis(server, "CONFIG", "SET", "maxmemory", "1")
        time.sleep(lasts)
        _redis(server, "CONFIG", "SET", "maxmemory", "0")
    elif fault == "killed" and server is not None:
        server.kill()
        time.sleep(lasts)
        server.begin()
    elif fault == "blocked":
        _cut_at_the_server(server, user)
    elif proxy is not None:
        _disturb(proxy, fault, lasts)
    return process


def _disturb(proxy: Proxy, fault: str, lasts: float) -> None:
    if fault == "cut":
        proxy.cut()
    elif fault == "slow":
        proxy.delay = 0.02
        time.sleep(2 * lasts)
        proxy.delay = 0.0
    elif fault == "held":
        proxy.held = True
        time.sleep(2 * lasts)
        proxy.held = False
    else:
        proxy.closed = True
        proxy.cut()
        time.sleep(lasts)
        proxy.closed = False


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _redis(server: Server | None, *words: str) -> None:
    import redis

    assert server is not None
    client = redis.Redis(port=server.port)
    client.execute_command(*words)
    client.close()


def _cut_at_the_server(server: Server | None, user: str) -> None:
    """RabbitMQ closes connections itself, as it does before it goes down."""
    assert isinstance(server, Rabbit)
    server.control("close_all_user_connections", user, "a test")


def _await(  # noqa: PLR0913, PLR0917 - what takes part
    round: Round, program: Program, process: "subprocess.Popen[bytes]", url: str, log: Path, began: float
) -> None:
    """Until every task is done and the queue says that nothing waits."""
    while time.monotonic() < began + 60:
        if process.poll() is not None:
            round.problems.append(f"the run has ended: {process.returncode}")
            return
        if len({*log.read_text().split()}) == TASKS and _is_empty(url):
            break
        time.sleep(0.1)
    process.terminate()
    try:
        process.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        round.problems.append("the run does not end")


def _is_empty(url: str) -> bool:
    try:
        with Queue(url) as queue:
            counted = queue.backlog()
    except LoadkeeperError:
        return False
    return counted.waiting == 0 and not counted.taken


def _judge(round: Round, process: "subprocess.Popen[bytes]", log: Path) -> None:
    done = Counter(log.read_text().split())
    round.lost = TASKS - len(done)
    round.twice = sum(done.values()) - len(done)
    if round.lost:
        round.problems.append(f"lost: {sorted(set(map(str, range(TASKS))) - set(done), key=int)}")
    most = 3 * len(round.faults)  # so many are in flight at once
    if round.twice > most:
        round.problems.append(f"{round.twice} were done again, though {most} were in flight at most")
