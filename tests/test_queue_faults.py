"""Brokers that die, hang, fill up, forget or refuse, and process managers that die between take, start and answer."""

import os
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest
from faults.brokers import TASKS, play
from support.program import wait_until
from support.servers import Rabbit, RedisServer

from loadkeeper import Queue

LONG = 1000
BATCH = 100


class Round(NamedTuple):
    """The RabbitMQ that rounds use, as a user of their own: others would mind what is done to all connections."""

    rabbit: Rabbit
    user: str


@pytest.fixture(scope="module")
def place(rabbit):
    user = f"faults{os.getpid()}"
    rabbit.control("add_user", user, user)
    rabbit.control("set_permissions", user, ".*", ".*", ".*")
    return Round(rabbit, user)


def hold(seeds, root, place):
    """Three rounds at once: most of their time they wait."""

    def one(seed):
        path = root / str(seed)
        path.mkdir()
        return play(seed, path, *place)

    with ThreadPoolExecutor(3) as pool:
        rounds = list(pool.map(one, seeds))
    problems = [
        f"seed {one.seed} ({one.kind}, {', '.join(one.faults)}): {one.problems}" for one in rounds if one.problems
    ]
    assert not problems, "\n".join(problems)
    return rounds


def summary(rounds):
    kinds, faults = Counter(one.kind for one in rounds), Counter(fault for one in rounds for fault in one.faults)
    return (
        f"{len(rounds)} rounds ({', '.join(f'{count} {kind}' for kind, count in sorted(kinds.items()))}), "
        f"{TASKS * len(rounds)} tasks, {sum(faults.values())} faults: "
        f"{', '.join(f'{count} {name}' for name, count in sorted(faults.items()))}; "
        f"lost {sum(one.lost for one in rounds)}, done again because they were in flight "
        f"{sum(one.twice for one in rounds)}; longest {max(one.seconds for one in rounds):.1f} s"
    )


@pytest.mark.timeout(300)
def test_twenty_rounds(tmp_path, place):
    rounds = hold(range(1, 21), tmp_path, place)
    assert sum(len(one.faults) for one in rounds) >= 20, summary(rounds)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("batch", range(LONG // BATCH))
def test_a_thousand_rounds(tmp_path, place, batch, record_property):
    first = 10_000 + batch * BATCH
    record_property("measured", summary(hold(range(first, first + BATCH), tmp_path, place)))


# ----------------------------------------------------------------------------------------------------------- RabbitMQ


@pytest.fixture
def name():
    return f"q{os.urandom(4).hex()}"


def running(program, count):
    wait_until(lambda: (s := program.ask()) and s.runs and s.runs[0].tasks.running == count, 20, f"{count} do not run")


def fault(program):
    """What is told of the run."""
    return program.call("explain").stdout.decode() + program.call("status").stdout.decode()


def test_a_queue_that_is_deleted_loses_nothing_that_we_hold(program, rabbit, name):
    url = rabbit.url(name)
    with Queue(url) as queue:
        queue.put("a", "b")
        process = program.start("run", "--queue", url, "-j", "2", "sh", "-c", "sleep 60; echo {}")
        running(program, 2)
        rabbit.control("delete_queue", name)
        time.sleep(0.5)
        process.terminate()
        process.communicate(timeout=20)
        wait_until(lambda: queue.backlog().waiting == 2, 10, "they are not put back as copies")
        process = program.start("run", "--queue", url, "-j", "2", "sh", "-c", "sleep 3; echo {}")
        running(program, 2)
        rabbit.control("delete_queue", name)
        wait_until(lambda: program.ask().runs[0].tasks.done == 2, 10, "they are not done")
        queue.put("c")
        wait_until(lambda: program.ask().runs[0].tasks.done == 3, 20, "what came later is not done")


def test_credentials_that_are_revoked_and_given_again(program, rabbit, name):
    rabbit.control("add_user", name, "first")
    rabbit.control("set_permissions", name, ".*", ".*", ".*")
    with Queue(rabbit.url(name)) as queue:
        queue.put("a")
        words = [
            "run",
            "--queue",
            rabbit.url(name, f"{name}:first"),
            "-j",
            "1",
            "--json",
            "sh",
            "-c",
            "sleep 1; echo {}",
        ]
        with open(program.root / "err", "wb") as told:
            process = program.start(*words, stderr=told)
        running(program, 1)
        rabbit.control("change_password", name, "second")
        rabbit.control("close_all_user_connections", name, "revoked")
        told = program.root / "err"
        wait_until(lambda: b"ACCESS_REFUSED" in told.read_bytes(), 20, "it is not said")
        assert b"first" not in told.read_bytes()
        rabbit.control("change_password", name, "first")
        queue.put("b")
        wait_until(lambda: program.ask().runs[0].tasks.done >= 2, 30, "it does not go on")
        process.terminate()
        assert process.wait(20) == 143


def test_a_broker_that_is_full_takes_what_is_buried_later(program, tmp_path_factory, name):
    rabbit = Rabbit(tmp_path_factory.mktemp("rabbit"))  # of its own: others would mind
    try:
        full(program, rabbit, name)
    finally:
        rabbit.close()


def full(program, rabbit, name):
    url = rabbit.url(name)
    with Queue(url) as queue:
        queue.put(*map(str, range(4)))
        queue.backlog()
    rabbit.control("set_vm_memory_high_watermark", "0.00001")
    try:
        process = program.start("run", "--retries", "1", "--queue", url, "-j", "1", "sh", "-c", "exit {}")
        wait_until(lambda: (s := program.ask()) and s.runs and s.runs[0].tasks.failed == 3, 30, "three do not fail")
        assert program.ask().runs[0].tasks.done == 1
    finally:
        rabbit.control("set_vm_memory_high_watermark", "absolute", "512MB")
    with Queue(url) as queue:
        wait_until(lambda: queue.backlog().buried == 3, 60, "they are not buried")
        process.terminate()
        process.communicate(timeout=30)
        assert sorted(one.payload for one in queue.peek(buried=True)) == [b"1", b"2", b"3"]
        assert queue.backlog().waiting == 0


def test_a_task_must_be_answered_in_time_so_its_pause_ends(program, rabbit, name):
    """Paused for longer than the broker waits for its answer: it is ended and given back before."""
    url = rabbit.url(name) + "?consumer_timeout=5s"
    with Queue(rabbit.url(name)) as queue:
        queue.put("x")
        program.start("run", "--name", "held", "--grace", "1s", "--queue", url, "sh", "-c", "sleep 3; echo {}")
        running(program, 1)
        program.call("pause", "held")
        began = time.monotonic()
        wait_until(lambda: program.ask().runs[0].tasks.given_back == 1, 10, "it stays paused")
        assert 1 < time.monotonic() - began < 5
        program.call("resume", "held")
        wait_until(lambda: program.ask().runs[0].tasks.done == 1, 20, "it is not done again")


# -------------------------------------------------------------------------------------------------------------- Redis


def test_a_stream_that_is_deleted_is_made_anew(program, tmp_path):
    import redis

    server = RedisServer(tmp_path / "redis")
    try:
        url, client = server.url("s"), redis.Redis(port=server.port)
        process = program.start("run", "--queue", url, "-j", "1", "sh", "-c", "sleep 0.5; echo {}")
        with Queue(url) as queue:
            queue.put("a")
            running(program, 1)
            client.delete("s")
            queue.put("b")
            wait_until(lambda: program.ask().runs[0].tasks.done == 2, 20, "what came later is not done")
        process.terminate()
        assert process.wait(20) == 143
    finally:
        server.close()


def test_what_a_worker_does_while_the_broker_is_away_is_told_later(program, tmp_path):
    server = RedisServer(tmp_path / "redis")
    try:
        url, log = server.url("s"), tmp_path / "log"
        with Queue(url) as queue:
            queue.put("a")
        process = program.start("run", "--queue", url, "-j", "1", "sh", "-c", f"sleep 1; echo {{}} >> {log}")
        running(program, 1)
        server.kill()
        wait_until(lambda: program.ask().runs[0].tasks.done == 1, 10, "it is not done")
        server.begin()
        with Queue(url) as queue:
            wait_until(lambda: tuple(queue.backlog())[:2] == (0, 0), 20, "it is not told")
        time.sleep(3)  # longer than a claim lasts
        process.terminate()
        assert process.wait(20) == 143
        assert log.read_text() == "a\n"
    finally:
        server.close()
