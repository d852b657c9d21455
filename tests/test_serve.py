"""``loadkeeper serve``: runs that are asked for by jobs of a Gearman function; and the conveyor as its page has it."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.gearmand import Gearmand
from support.pages import blocks
from support.program import wait_until

from loadkeeper import Queue
from loadkeeper.queues.gearman_wire import Connection, Kind

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/conveyor.md"


@pytest.fixture
def gearmand(tmp_path):
    made = Gearmand(tmp_path / "gearmand")
    yield made
    made.close()


@pytest.fixture
def serve(program, gearmand):
    def start(*command, options=()):
        server = f"127.0.0.1:{gearmand.port}"
        words = ["serve", "--gearman-function", "runs", "--gearman-server", server, *options, "--", *command]
        process = program.start(*words)
        assert b"serves gearman://" in process.stderr.readline()
        return process

    return start


class Client:
    """Submits one job, and waits for what becomes of it."""

    def __init__(self, gearmand, function, payload):
        self.connection = Connection("127.0.0.1", gearmand.port, 5)
        self.connection.send(Kind.SUBMIT_JOB, function.encode(), os.urandom(4).hex().encode(), payload)
        self.connection.wait(frozenset({Kind.JOB_CREATED}), 5)

    def answer(self, seconds=20):
        packet = self.connection.wait(frozenset({Kind.WORK_COMPLETE, Kind.WORK_FAIL}), seconds)
        self.connection.close()
        return json.loads(packet.words(2)[1]) if packet.kind == Kind.WORK_COMPLETE else None


def test_a_job_asks_for_a_run_and_gets_its_outcome(serve, gearmand):
    serve("true")
    outcome = Client(gearmand, "runs", b'{"tasks": 3, "task_id": "nightly"}').answer()
    assert (outcome["done"], outcome["error"], outcome["critical"], outcome["task_id"]) == (3, False, False, "nightly")
    assert Client(gearmand, "runs", b"2").answer()["done"] == 2


def test_what_fails_is_in_the_outcome(serve, gearmand):
    serve("sh", "-c", "exit 3", options=["--retries", "2"])
    outcome = Client(gearmand, "runs", b"2").answer()
    assert (outcome["done"], outcome["failed"], outcome["error"], outcome["exit_code"]) == (0, 2, True, 1)


@pytest.mark.parametrize("payload", [b"", b"many", b'{"tasks": 0}', b'{"tasks": 2, "command": "rm"}', b"\xff", b"[1]"])
def test_a_job_that_asks_for_nothing_that_is_known_is_buried(serve, gearmand, payload):
    serve("true")
    assert Client(gearmand, "runs", payload).answer() is None
    with Queue(gearmand.url("runs")) as queue:
        (found,) = queue.peek(buried=True)
        assert found.payload == payload
        assert "the job asks for" in found.burial.why
    assert Client(gearmand, "runs", b"1").answer()["done"] == 1


def test_a_job_goes_back_when_its_node_is_told_to_end(serve, gearmand):
    first = serve("sleep", "60", options=["--grace", "1s"])
    client = Client(gearmand, "runs", b"2")
    wait_until(lambda: gearmand.jobs("runs") == (1, 1), 10, "it is not taken")
    time.sleep(1)
    first.terminate()
    assert first.wait(20) == 0
    assert gearmand.jobs("runs") == (1, 0)
    serve("true")
    assert client.answer()["done"] == 2


def test_gearmand_may_come_later_and_go(program, gearmand, serve):
    serve("true")
    gearmand.kill()
    time.sleep(0.5)
    gearmand.begin()
    assert Client(gearmand, "runs", b"1").answer(30)["done"] == 1


def test_bad_words(program):
    assert b"--gearman-function" in program.call("serve", "true").stderr
    assert program.call("serve", "--gearman-function", "f", "--tasks", "3", "true").returncode == 2
    assert program.call("serve", "--gearman-function", "f").returncode == 2


@pytest.mark.skipif(shutil.which("php") is None, reason="php is not installed")
def test_the_conveyor_as_it_stands_on_its_page(program, gearmand, tmp_path):
    if "gearman" not in subprocess.run(["php", "-m"], capture_output=True, text=True, check=True).stdout.split():
        pytest.skip("php-gearman is not installed")
    server, log = f"127.0.0.1:{gearmand.port}", tmp_path / "done"
    shutil.copy(ROOT / "clients/share/loadkeeper/loadkeeper.php", tmp_path)
    (tmp_path / "worker.php").write_text(blocks(PAGE, "php")[0].code)
    (tmp_path / "client.py").write_text(blocks(PAGE)[0].code)
    program.environment |= {"GEARMAN": server, "DONE": str(log)}
    words = ["serve", "--gearman-function", "run-workers", "--gearman-server", server, "--", "php", "worker.php"]
    process = program.start(*words, cwd=tmp_path)
    process.stderr.readline()

    def client(*words):
        command = [sys.executable, "client.py", *words]
        done = subprocess.run(
            command, cwd=tmp_path, env=program.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "8 done" in client(*"abcdefgh")
    assert sorted(log.read_text().split()) == list("abcdefgh")
    told = client("i", "broken", "j")
    assert "2 done, 1 failed" in told
    assert "broken is queued again" in told
    assert sorted(log.read_text().split()) == list("abcdefghij")
    assert gearmand.jobs("resize") == (1, 0)
