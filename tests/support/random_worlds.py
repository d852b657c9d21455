"""Worlds nobody thought of: drawn from a seed, small enough to run in a second or two."""

from random import Random
from typing import Any

GIB = 1 << 30
MIB = 1 << 20
SHAPES = ("flat", "plateau", "ramp", "spike", "late", "early", "saw")


def random_world(seed: int, most_cpus: int = 8) -> dict[str, Any]:
    """One to three kinds in one to three runs, all shapes, peaks of 0.2 to 2.5 fair shares, other programs, broken
    gauges, limit changes, slow exits and late pauses."""
    random = Random(f"world {seed}")
    cpus = random.choice([c for c in (2, 4, 8, 16, 32, 64) if c <= most_cpus])
    memory = int(random.choice([1, 2, 4, 16, 64]) * GIB)
    world: dict[str, Any] = {
        "name": f"random-{seed}",
        "node": {"cpus": cpus, "memory": memory, "base": int(0.03 * memory), "swap": _swap(random, memory)},
        "noise": random.choice([0.0, 0.0005, 0.001, 0.003]),
        "acts": {
            "stop": random.choice([0.001, 0.005, 0.02]),
            "stop_late": random.choice([(0.0, 0.0), (0.1, 0.5)]),
            "kill": random.choice([(0.007, 0.14), (0.05, 0.5)]),
            "touch": int(random.choice([0.7, 2.5]) * GIB),
            "late_look": random.choice([(0.0, 0.0), (0.02, 0.1)]),
        },
        "pools": [_pool(random, index, memory, cpus) for index in range(random.randint(1, 3))],
    }
    if random.random() < 0.4:
        world["foreign"] = [_foreign(random, memory, cpus)]
    if random.random() < 0.3:
        since = random.uniform(5, 40)
        gauge = random.choice(["memory", "cpu", "workers"])
        world["broken"] = [{"gauge": gauge, "from": since, "until": since + random.uniform(1, 15)}]
    if random.random() < 0.2:
        world["events"] = [{"at": 20, "memory": int(0.7 * memory)}, {"at": 60, "memory": memory}]
    return world


def _swap(random: Random, memory: int) -> int:
    return int(0.5 * memory) if random.random() < 0.15 else 0


def _pool(random: Random, index: int, memory: int, cpus: int) -> dict[str, Any]:
    return {
        "name": f"pool{index}",
        "run": f"run{random.randint(0, index)}",
        "kind": random.choice(["shared", f"kind{index}"]),
        "tasks": random.randint(8, 12 + 3 * cpus),
        "mix": [_sort(random, memory, cpus) for _ in range(random.randint(1, 2))],
        "priority": random.choice([0, 0, 5]),
        "arrive": 0.0 if index == 0 else random.uniform(0, 20),
        "max_workers": random.choice([None, None, None, cpus]),
        "exit_after": random.choice([(0.01, 0.05), (0.05, 0.5), (0.5, 2.0)]),
        "grace": random.choice([2.0, 10.0]),
        "patience": random.choice([300.0, 30.0]),
        "pause": random.choice(["auto"] * 9 + ["never"]),
    }


def _sort(random: Random, memory: int, cpus: int) -> dict[str, Any]:
    peak = min(0.75 * memory, random.uniform(0.2, 2.5) * memory / cpus)
    seconds = random.uniform(2, 12)
    return {
        "share": random.uniform(0.1, 1.0),
        "seconds": {"uniform": [seconds, seconds * random.uniform(1, 2)]},
        "memory": random.choice(
            [{"uniform": [int(peak * 0.6), int(peak)]}, {"pareto": [int(peak * 0.2), 1.5, int(0.75 * memory)]}]
        ),
        "shape": random.choice(SHAPES),
        "cpu": random.choice([1.0, 1.0, 1.0, 0.3]),
        "threads": random.choice([1, 1, 1, 2]),
    }


def _foreign(random: Random, memory: int, cpus: int) -> dict[str, Any]:
    since = random.uniform(2, 40)
    return {
        "from": since,
        "until": since + random.uniform(5, 40),
        "memory": int(random.uniform(0, 0.6) * memory),
        "ramp": random.uniform(0.5, 8),
        "threads": random.choice([0, 0, cpus / 2]),
    }
