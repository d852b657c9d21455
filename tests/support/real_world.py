"""A world played for real: its tasks by `loadkeeper run` in a memory group of its own, on the cores that there are."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from loadkeeper.load_manager.black_box import Looked, looks, read
from loadkeeper.simulate.recorded import Recorder
from loadkeeper.simulate.world import draw_tasks, read_world, size
from support import player
from support.memory_group import memory_group
from support.player import spelled
from support.program import Program, wait_until

MANAGERS = 75 << 20
"""Bytes that both managers hold inside the group: the `base` of such a world."""
START = 0.02
"""Seconds of CPU until a Python program has begun."""
ACTS = {"kill": [0.007, 0.14], "touch": "1G", "start": START, "stop": 0.002}
"""How fast the kernel is, as measured."""


PLAYER = (sys.executable, "-S", player.__file__)
"""As a script: as a module it would import the whole package first."""


class Played(NamedTuple):
    makespan: float  # seconds from the first look to the last exit
    done: int
    given_back: int
    kernel_kills: int


def world(name: str, tasks: int, sort: Mapping[str, Any], memory: str = "1G") -> dict[str, Any]:
    pool = {"name": "main", "kind": name, "tasks": tasks, "mix": [dict(sort)], "exit_after": [0.001, 0.01]}
    node = {"cpus": float(os.cpu_count() or 1), "memory": memory, "base": MANAGERS}
    return {"name": name, "node": node, "pools": [pool], "acts": ACTS, "noise": 0.001}


def play(given: Mapping[str, Any], root: Path, seed: int = 1) -> Played:
    """One pool of it, and no neighbours."""
    read_it = read_world(given)
    tasks = draw_tasks(read_it, seed)[read_it.pools[0].name]
    values = [spelled(task.seconds, task.memory, task.cpu, round(task.threads), task.shape.shares) for task in tasks]
    with memory_group(size(read_it.node.memory)) as group:
        program = Program(root, group.prefix)
        try:
            words = ["--quiet", "--name", read_it.name, "--kind", read_it.name]
            done = program.call("run", *words, *PLAYER, ":::", *values, timeout=300)
            assert done.returncode in (0, 1), done.stderr
            wait_until(lambda: program.ask() is None, 20, "the load manager stays")
            (box,) = (root / "s").rglob("black-box/*")
            entries = list(read(str(box)))
        finally:
            program.close()
        kills = group.oom_kills()
    run = next(pool.run for entry in entries if isinstance(entry, Looked) for pool in entry.seen.pools)
    found = list(looks(iter(entries), run))
    recorder = Recorder(run)
    for look, memory in found:
        recorder.look(look.seen, memory)
    made = recorder.made()
    assert made is not None
    exits = [gone for look, _ in found for gone in look.seen.exits]
    back = sum(gone.outcome == "given-back" for gone in exits)
    return Played(made.makespan, sum(gone.outcome == "done" for gone in exits), back, kills)
