"""The same faults for other programs: ``python -m faults.peers [--rounds N] [--seed S]``.

Each round starts four workers, kills their manager with SIGKILL at a random moment, looks 2 s later who is left, and
starts the manager again as its manual says. GNU parallel and Loadkeeper work through a list with a job log, supervisord
and Circus keep workers that take tasks from a directory by renaming them.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from support.program import command_of, parent_of, processes, state_of

TASKS = 16
WORKERS = 4
SECONDS = (0.5, 6.0)
LEFT_AFTER = 2.0
TASK = str(Path(__file__).with_name("peer_task.sh"))
SERVER = str(Path(__file__).with_name("peer_worker.sh"))
PACKAGES = ["supervisor==4.2.5", "circus==0.18.0"]


@dataclass
class Outcome:
    left: int = 0  # processes of workers that live 2 s after their manager was killed
    most: int = 0  # workers at once after the second start
    beside: int = 0  # tasks that began while their first copy was at work
    lost: int = 0  # never done


Start = Callable[[Path, bool], subprocess.Popen[bytes]]
"""In a directory, for the first time or again."""


def gnu_parallel(root: Path, again: bool) -> subprocess.Popen[bytes]:
    words = ["parallel", "--will-cite", f"-j{WORKERS}", "--joblog", str(root / "log"), *(["--resume"] if again else [])]
    return _start([*words, "sh", TASK, str(root), "{1}", "{2}", ":::", *_numbers(root), ":::+", *_seconds(root)], root)


def loadkeeper(root: Path, again: bool) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "loadkeeper", "run", "--quiet", "--cpu", "off", "-j", str(WORKERS)]
    words += ["--joblog", str(root / "log"), *(["--resume"] if again else [])]
    return _start([*words, "sh", TASK, str(root), "{1}", "{2}", ":::", *_numbers(root), ":::+", *_seconds(root)], root)


def supervisord(root: Path, again: bool) -> subprocess.Popen[bytes]:
    del again
    (root / "supervisord.conf").write_text(
        f"[supervisord]\nnodaemon=true\nlogfile={root}/supervisord.log\npidfile={root}/supervisord.pid\n"
        f"[program:worker]\ncommand=sh {SERVER} {root}\nnumprocs={WORKERS}\nprocess_name=%(process_num)d\n"
        "autorestart=true\nstartsecs=0\n"
    )
    return _start([sys.executable, "-m", "supervisor.supervisord", "-c", str(root / "supervisord.conf")], root)


def circus(root: Path, again: bool) -> subprocess.Popen[bytes]:
    del again
    (root / "circus.ini").write_text(
        f"[circus]\nendpoint = ipc://{root}/c\npubsub_endpoint = ipc://{root}/p\nstats_endpoint = ipc://{root}/s\n"
        f"[watcher:worker]\ncmd = sh {SERVER} {root}\nnumprocesses = {WORKERS}\n"
    )
    return _start([sys.executable, "-c", "import circus.circusd as c; c.main()", str(root / "circus.ini")], root)


TOOLS: dict[str, Start] = {
    "loadkeeper": loadkeeper,
    "GNU parallel": gnu_parallel,
    "supervisord": supervisord,
    "Circus": circus,
}


def _start(words: Sequence[str], root: Path) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "XDG_RUNTIME_DIR": str(root / "r"),
        "XDG_STATE_HOME": str(root / "s"),
        "PYTHONPATH": os.pathsep.join([*sys.path, str(root.parent / "packages")]),
    }
    with open(root / "said", "ab") as said:
        return subprocess.Popen(words, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said)


def _numbers(root: Path) -> list[str]:
    return [
        path.name.split()[0] for path in sorted((root / "list").iterdir(), key=lambda path: int(path.name.split()[0]))
    ]


def _seconds(root: Path) -> list[str]:
    return [
        path.name.split()[1] for path in sorted((root / "list").iterdir(), key=lambda path: int(path.name.split()[0]))
    ]


# ------------------------------------------------------------------------------------------------------------ a round


def play(start: Start, seed: int, root: Path) -> Outcome:
    chance = random.Random(f"peers {seed}")
    for name in ("list", "todo", "taken", "done", "pids", "r", "s"):
        (root / name).mkdir(mode=0o700)
    for number in range(1, TASKS + 1):
        for name in ("list", "todo"):
            (root / name / f"{number} {chance.uniform(*SECONDS):.2f}").touch()
    outcome = Outcome()
    manager = start(root, False)
    try:
        time.sleep(chance.uniform(1.0, 3.0))
        manager.kill()
        manager.wait()
        time.sleep(LEFT_AFTER)
        outcome.left = len(_workers(root))
        manager = start(root, True)
        _watch(root, outcome)
    finally:
        manager.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            manager.wait(10)
        manager.kill()
        manager.wait()
        for pid in _workers(root):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    outcome.lost = TASKS - len(list((root / "done").iterdir()))
    beside = root / "beside"
    outcome.beside = len(beside.read_text().split()) if beside.exists() else 0
    return outcome


def _watch(root: Path, outcome: Outcome) -> None:
    """Until all tasks are done, or nothing has been for a while."""
    done, since = -1, time.monotonic()
    while time.monotonic() < since + 12:
        outcome.most = max(outcome.most, len(_workers(root)))
        now = len(list((root / "done").iterdir()))
        if now != done:
            done, since = now, time.monotonic()
        if done == TASKS:
            return
        time.sleep(0.05)


def _workers(root: Path) -> list[int]:
    """Living shells that do tasks of this round, but for those that they fork for a moment."""
    found = []
    for pid in processes():
        words = command_of(pid).split(b"\0")
        if words[0] == b"sh" and words[1] in (TASK.encode(), SERVER.encode()) and os.fsencode(root) in words:
            found.append(pid)
    return [pid for pid in found if state_of(pid) not in ("", "Z") and parent_of(pid) not in found]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m faults.peers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("tools", nargs="*", default=list(TOOLS))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="loadkeeper-peers-") as base:
        packages = [
            "-m",
            "pip",
            "install",
            "-q",
            "--disable-pip-version-check",
            "--target",
            f"{base}/packages",
            *PACKAGES,
        ]
        subprocess.run([sys.executable, *packages], check=True)
        print("| of so many rounds, manager killed | left after 2 s | most at once | second copies | lost |")
        print("|---|---|---|---|---|")
        for name in options.tools:
            outcomes = []
            for seed in range(options.seed, options.seed + options.rounds):
                root = Path(base) / f"{name.replace(' ', '-')}-{seed}"
                root.mkdir()
                outcomes.append(play(TOOLS[name], seed, root))
                shutil.rmtree(root, ignore_errors=True)
            print(_row(name, outcomes), flush=True)
    return 0


def _row(name: str, outcomes: Sequence[Outcome]) -> str:
    return (
        f"| {name}, {len(outcomes)} rounds | in {sum(one.left > 0 for one in outcomes)}, "
        f"{sum(one.left for one in outcomes)} workers | {max(one.most for one in outcomes)} of {WORKERS} | "
        f"{sum(one.beside for one in outcomes)} | {sum(one.lost for one in outcomes)} |"
    )


if __name__ == "__main__":
    sys.exit(main())
