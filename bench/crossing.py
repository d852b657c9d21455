"""Memory crosses a line: how long until the workers stand, by us and by those that do something like it.

100 workers of a hundred KiB each live in a group of 1 GiB. Then all of them begin to take memory: fast until three
times the line is left, and 40 MiB/s together from there on, so that 2.8 s are left below the line. The line is ours,
112 MiB, for everybody: GNU parallel suspends below twice --memsuspend, earlyoom kills below -M.
"""

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from support.memory_group import MemoryGroup, memory_group
from support.program import Program, command_of, stands, state_of, wait_until

from .truth import Truth

LIMIT = 1 << 30
LINE = 112 << 20
WORKERS = 100
FAST, SLOW = 4096, 410
"""KiB a second, each."""
PATIENCE = 30.0


def by_loadkeeper(grow: str, notes: dict[str, str]) -> float | None:
    def command(folder: Path, group: MemoryGroup, rate: str) -> list[str]:
        program = Program(folder / "p", group.prefix)
        words = ["run", "--quiet", "--cpu", "off", grow, rate, "900", ":::", *map(str, range(WORKERS))]
        places = [f"{name}={value}" for name, value in program.environment.items() if name.startswith("XDG_")]
        return ["env", *places, *(str(word) for word in program.command(*words))]

    return _crossing("loadkeeper", command, notes, _all_but_one_stand)


def by_memsuspend(parallel: str, grow: str, notes: dict[str, str]) -> float | None:
    def command(folder: Path, group: MemoryGroup, rate: str) -> list[str]:
        words = [
            parallel,
            "--will-cite",
            f"-j{WORKERS}",
            "--memsuspend",
            str(LINE // 2),
            grow,
            rate,
            "900",
            ":::",
            *map(str, range(WORKERS)),
        ]
        return [*group.prefix, *_told_the_truth(folder), *words]

    return _crossing("parallel --memsuspend", command, notes, _all_but_one_stand)


def by_earlyoom(earlyoom: str, grow: str, notes: dict[str, str]) -> float | None:
    """In a process namespace of its own, where it can kill nobody else."""

    def command(folder: Path, group: MemoryGroup, rate: str) -> list[str]:
        line = f'"$0" -r 0 -M {LINE >> 10} >/dev/null 2>&1 & exec xargs -P{WORKERS} -n1 "$1" "$2" 900 < "$3"'
        numbers = folder / "numbers"
        numbers.write_text("\n".join(map(str, range(WORKERS))))
        return [
            *group.prefix,
            *_told_the_truth(folder, "-pf", "--mount-proc"),
            "sh",
            "-c",
            line,
            earlyoom,
            grow,
            rate,
            str(numbers),
        ]

    return _crossing("earlyoom", command, notes, _one_is_gone)


def _told_the_truth(folder: Path, *options: str) -> list[str]:
    """In a mount namespace whose /proc/meminfo is the group's."""
    return ["unshare", "-m", *options, "sh", "-c", f'mount --bind {folder}/meminfo /proc/meminfo && exec "$@"', "sh"]


def _crossing(
    side: str,
    command: Callable[[Path, MemoryGroup, str], list[str]],
    notes: dict[str, str],
    done: Callable[[list[int]], bool],
) -> float | None:
    """Milliseconds; None, and a note, where it never came to it."""
    folder = Path(tempfile.mkdtemp(prefix="loadkeeper-bench-", dir="/var/tmp"))
    rate = folder / "rate"
    with memory_group(LIMIT) as group:
        truth = Truth(group, LIMIT, folder / "meminfo")
        process = subprocess.Popen(
            command(folder, group, str(rate)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            pids: list[int] = wait_until(lambda: _workers(group), 90, f"{side} does not run {WORKERS} workers")
            time.sleep(2)
            rate.write_text(str(FAST))
            wait_until(lambda: group.available() < 3 * LINE or done(pids), 60, "memory does not go down")
            rate.write_text(str(SLOW))
            found = _timed(group, pids, done)
            kills = group.oom_kills()
        finally:
            process.send_signal(signal.SIGTERM)
            truth.close()
    process.wait(20)
    shutil.rmtree(folder, ignore_errors=True)
    if isinstance(found, str) or kills:
        notes[side] = found if isinstance(found, str) else f"the kernel killed {kills}"
        return None
    return 1000 * found


def _workers(group: MemoryGroup) -> list[int]:
    inside = {int(word) for word in (group.path / "cgroup.procs").read_text().split()}
    found = [pid for pid in inside if command_of(pid).split(b"\0")[0].endswith(b"/grow")]
    return found if len(found) == WORKERS else []


def _timed(group: MemoryGroup, pids: list[int], done: Callable[[list[int]], bool]) -> float | str:
    """Seconds from the first look that finds less than the line available, negative where it was done before."""
    crossed = over = None
    until = time.monotonic() + PATIENCE
    while crossed is None or over is None:
        now = time.monotonic()
        if crossed is None and group.available() < LINE:
            crossed = now
        if over is None and done(pids):
            over = now
            if crossed is None:
                return 0.0  # before it was crossed, and so it never is
        if group.oom_kills():
            return f"the kernel killed first, after {now - (crossed or now):.1f} s below the line"
        if now > until:
            return f"not done {PATIENCE:.0f} s later"
    return over - crossed


def _all_but_one_stand(pids: list[int]) -> bool:
    living = [pid for pid in pids if state_of(pid) not in ("", "Z")]
    return len(living) > 1 and sum(not stands(pid) for pid in living) <= 1


def _one_is_gone(pids: list[int]) -> bool:
    return any(state_of(pid) in ("", "Z") for pid in pids)
