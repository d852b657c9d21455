"""The examples of docs/clients.md do what the page says; what it says of Gearman is so."""

import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.checkpoint_file import CheckpointFile
from support.clients import PHP, ROOT, SHELL, example
from support.gearmand import Gearmand, installed
from support.waiting import until

needs_php = pytest.mark.skipif(shutil.which("php") is None, reason="php is not installed")
has_gearman = (
    installed
    and shutil.which("php") is not None
    and subprocess.run(["php", "-r", 'exit((int) !extension_loaded("gearman"));'], check=False).returncode == 0
)
needs_gearman = pytest.mark.skipif(not has_gearman, reason="gearmand or php-gearman is not installed")


class Workers:
    """Runs programs as workers in a directory of their own; ends what it started."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.checkpoints = CheckpointFile(root / "checkpoint")
        self.environment = {**self.checkpoints.environment, "PATH": f"{SHELL.parent}:{os.environ['PATH']}"}
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, *words: str, inside: bool = True) -> subprocess.Popen[bytes]:
        environment = dict(self.environment)
        if not inside:
            del environment["LOADKEEPER_WORKER_CHECKPOINT"]
        process = subprocess.Popen(
            words,
            cwd=self.root,
            env=environment,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def script(self, name: str) -> str:
        """An example, executable."""
        file = self.root / name
        file.write_text(example(name))
        file.chmod(0o755)
        return str(file)

    def php(self, name: str, code: str | None = None) -> list[str]:
        """The command of an example, or of other code under its name."""
        (self.root / name).write_text(example(name) if code is None else code)
        return ["php", "-d", f"include_path={PHP.parent}", name]

    def close(self) -> None:
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        self.checkpoints.close()


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    made = Workers(tmp_path)
    yield made
    made.close()


@pytest.fixture
def gearmand(tmp_path: Path) -> Iterator[Gearmand]:
    made = Gearmand(tmp_path)
    yield made
    made.close()


# --------------------------------------------------------------------------------------------------------------- shell


def files(root: Path, suffix: str) -> list[str]:
    return sorted(path.name for path in root.glob(f"*{suffix}"))


def test_compress(workers):
    for name in "abc":
        (workers.root / name).write_bytes(os.urandom(1000))
    done = workers.start(workers.script("compress.sh"), "a", "b", "c")
    assert (done.communicate(timeout=20)[1], done.returncode) == (b"", 0)
    assert files(workers.root, ".gz") == ["a.gz", "b.gz", "c.gz"]
    assert (workers.checkpoints.said("share"), workers.checkpoints.said("at")) == ("0.6666", "c")


def test_compress_stands_and_ends(workers):
    for name in "ab":
        (workers.root / name).write_bytes(os.urandom(1000))
    workers.checkpoints.wish("p")
    script = workers.start(workers.script("compress.sh"), "a", "b")
    until(workers.checkpoints.stands)
    assert not files(workers.root, ".gz")
    workers.checkpoints.wish("t")
    assert script.wait(20) == 75
    assert files(workers.root, ".part") == files(workers.root, ".gz") == []


def test_compress_leaves_nothing_behind_when_it_is_told_by_a_signal(workers):
    os.mkfifo(workers.root / "a")
    script = workers.start(workers.script("compress.sh"), "a")
    with (workers.root / "a").open("wb") as pipe:
        pipe.write(os.urandom(100000))
        until(lambda: files(workers.root, ".part"))
        os.killpg(script.pid, signal.SIGTERM)
        assert script.wait(20) == 143
    assert files(workers.root, ".part") == []


def test_wait_does_not_wait(workers):
    slow = "trap '' TERM; echo $$ >child; while :; do sleep 0.1; done"
    script = workers.start(workers.script("wait.sh"), "sh", "-c", slow)
    until(lambda: lines(workers.root / "child"))
    script.send_signal(signal.SIGTERM)
    assert script.wait(20) == 143
    os.kill(int(lines(workers.root / "child")[0]), signal.SIGKILL)


def test_wait_passes_the_exit_code_on(workers):
    script = workers.script("wait.sh")
    assert workers.start(script, "sh", "-c", "exit 3").wait(20) == 3
    assert workers.start(script, "true").wait(20) == 0
    workers.checkpoints.wish("t")
    assert workers.start(script, "true").wait(20) == 75


# ----------------------------------------------------------------------------------------------------------------- php


@needs_php
@pytest.mark.parametrize("inside", [True, False])
def test_pages(workers, inside):
    (workers.root / "text").write_text("line\n" * 120)
    done = workers.start(*workers.php("pages.php"), "text", inside=inside)
    assert (done.communicate(timeout=20)[1], done.returncode) == (b"", 0)
    lines = (workers.root / "text.numbered").read_text().splitlines()
    assert lines == [f"{number} line" for number in range(1, 121)]
    assert workers.checkpoints.said("at") == ("page 2" if inside else "")


@needs_php
def test_pages_holds_no_lock_while_it_stands_and_leaves_nothing_behind(workers):
    (workers.root / "text").write_text("line\n" * 120)
    workers.checkpoints.wish("p")
    program = workers.start(*workers.php("pages.php"), "text")
    until(workers.checkpoints.stands)
    assert subprocess.run(["flock", "-n", workers.root / "text.lock", "true"], check=False).returncode == 0
    workers.checkpoints.wish("t")
    assert (program.communicate(timeout=20)[1], program.returncode) == (b"", 75)
    assert files(workers.root, ".part") == files(workers.root, ".numbered") == []


SUBMIT = """<?php
$client = new GearmanClient();
$client->addServer('127.0.0.1', (int) getenv('GEARMAND_PORT'));
for ($n = 0; $n < 5; $n++) { $client->doBackground('resize', "job$n"); }
"""


def submit(workers: Workers, gearmand: Gearmand) -> None:
    workers.environment["GEARMAND_PORT"] = str(gearmand.port)
    assert workers.start(*workers.php("submit.php", SUBMIT)).wait(20) == 0
    assert gearmand.jobs("resize") == (5, 0)


def telling(stuck: str) -> str:
    """The worker of the page, which also notes each job that it begins, and who is the first to begin this one does not
    come to its end."""
    code, begin = example("gearman-worker.php"), "function resize(GearmanJob $job)\n{\n"
    assert code.count(begin) == 1
    note = f"""
    file_put_contents('begun', $job->workload() . "\\n", FILE_APPEND);
    while ($job->workload() === '{stuck}' && substr_count(file_get_contents('begun'), '{stuck}') === 1) {{
        Loadkeeper\\checkpoint();
        usleep(1000);
    }}
"""
    return code.replace(begin, begin + note)


def lines(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


@needs_gearman
def test_no_job_is_lost_when_a_gearman_worker_is_ended(workers, gearmand):
    submit(workers, gearmand)
    begun, done = workers.root / "begun", workers.root / "done"
    first = workers.start(*workers.php("worker.php", telling("job1")))
    until(lambda: len(lines(begun)) == 2)
    first.send_signal(signal.SIGTERM)  # it blocks that, where php has pcntl
    workers.checkpoints.wish("t", why="memory is short")
    assert (first.communicate(timeout=20)[1], first.returncode) == (b"", 75)
    assert (lines(begun), lines(done)) == (["job0", "job1"], ["job0"]), "in the middle of the second"
    assert gearmand.jobs("resize") == (4, 0)
    workers.checkpoints.go_on()
    workers.start(*workers.php("worker.php", telling("job1")))
    until(lambda: gearmand.jobs("resize") == (0, 0), 20)
    assert sorted(lines(done)) == [f"job{n}" for n in range(5)], "each is done once"
    assert sorted(lines(begun)) == ["job0", "job1", "job1", "job2", "job3", "job4"], "one was begun once more"


@needs_gearman
def test_an_idle_gearman_worker_stands_and_ends(workers, gearmand):
    workers.environment["GEARMAND_PORT"] = str(gearmand.port)
    worker = workers.start(*workers.php("worker.php", example("gearman-worker.php")))
    until(lambda: workers.checkpoints.states() == "r")
    workers.checkpoints.wish("p")
    until(workers.checkpoints.stands)
    workers.checkpoints.wish("t")
    assert worker.wait(20) == 75


@needs_gearman
def test_a_job_that_terminated_leaves_is_lost(workers, gearmand):
    """Why the page says what it says of setReturn."""
    caught = "catch (Loadkeeper\\Terminated $end)"
    code = telling("job0")
    assert code.count(caught) == 1
    submit(workers, gearmand)
    workers.checkpoints.wish("?")
    worker = workers.start(*workers.php("worker.php", code.replace(caught, "catch (NoSuchThing $end)")))
    until(lambda: len(lines(workers.root / "begun")) == 1)
    workers.checkpoints.wish("t")
    assert worker.wait(20) == 75
    until(lambda: gearmand.jobs("resize") == (4, 0))
    assert lines(workers.root / "done") == []


# ----------------------------------------------------------------------------------------------------------- the wheel


def test_the_wheel_installs_both_clients(tmp_path):
    build = "import sys; from flit_core.buildapi import build_wheel; print(build_wheel(sys.argv[1]))"
    built = subprocess.run(
        [sys.executable, "-c", build, tmp_path], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    names = zipfile.ZipFile(tmp_path / built).namelist()
    assert sum(name.endswith("data/bin/loadkeeper-checkpoint") for name in names) == 1
    pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", "--no-index"]
    subprocess.run([*pip, "-I", "--prefix", tmp_path / "prefix", tmp_path / built], check=True)
    script = tmp_path / "prefix/bin/loadkeeper-checkpoint"
    assert script.read_bytes() == SHELL.read_bytes()
    assert (tmp_path / "prefix/share/loadkeeper/loadkeeper.php").read_bytes() == PHP.read_bytes()
    said = subprocess.run([script, "--help"], capture_output=True, text=True, check=True).stdout
    assert said.startswith("Usage: loadkeeper-checkpoint")
