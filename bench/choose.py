"""How figures of `decide.parameters` do: on one half of the worlds to choose by, on the other half to report.

``python -m bench.choose [--report] [--seeds N] NAME=VALUE...`` plays each setting, and the one that is, on the half to
choose by: every other world of tests/worlds, by name, and random worlds of even seeds. ``--report``: the other half.
Figures: makespan ÷ bound (geometric mean), kernel kills, ends, work lost, pauses an hour, of named | random worlds.
"""

import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from math import exp, log
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from support.random_worlds import random_world

from loadkeeper.decide import DEFAULT, Parameters
from loadkeeper.simulate import Result, simulate

WORLDS = Path(__file__).parent.parent / "tests" / "worlds"
NAMED_SEEDS = (1, 2)
RANDOM = 60
MOST_CPUS = 8


def half(*, report: bool, count: int = RANDOM) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """(Named, random) as (file or '', seed)."""
    names = sorted(str(path) for path in WORLDS.glob("*.json"))[int(report) :: 2]
    return (
        [(name, seed) for name in names for seed in NAMED_SEEDS],
        [("", 20_000 + 2 * place + int(report)) for place in range(count)],
    )


def play(job: tuple[str, int, Parameters]) -> Result:
    file, seed, parameters = job
    world: dict[str, Any] = json.loads(Path(file).read_text()) if file else random_world(seed, MOST_CPUS)
    return simulate(world, seed, parameters=parameters)


def figures(results: Sequence[Result]) -> str:
    """A row."""
    ratio = exp(sum(log(max(result.makespan_ratio, 1e-3)) for result in results) / len(results))
    kills, ends = sum(r.kernel_kills for r in results), sum(r.ended for r in results)
    lost = sum(r.work_lost for r in results) / len(results)
    hour = 3600 * sum(r.pauses for r in results) / sum(r.makespan for r in results)
    unfinished = sum(not r.finished for r in results)
    told = f"{ratio:.4f} {kills:4d} ☠ {ends:4d} ends {lost:.3f} lost {hour:4.0f}/h"
    return f"{told} {unfinished} unfinished" if unfinished else told


def main(words: Sequence[str]) -> None:
    report = "--report" in words
    changes = [word for word in words if "=" in word]
    named, random = half(report=report)
    print("to report" if report else "to choose by", f"{len(named)} named, {len(random)} random plays")
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for change in ["", *changes]:
            settings = dict(part.split("=") for part in change.split(",") if part)
            made = replace(DEFAULT, **{name: type(getattr(DEFAULT, name))(value) for name, value in settings.items()})
            results = list(pool.map(play, [(file, seed, made) for file, seed in [*named, *random]], chunksize=2))
            row = f"{figures(results[: len(named)])} | {figures(results[len(named) :])}"
            print(f"{change or 'as it is':<24} {row}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
