"""``python -m faults --rounds N --seed S``: rounds one after the other, what went wrong in them, and a summary."""

import argparse
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from .rounds import Round, play


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="./check faults", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1, help="of the first round; the next ones follow")
    parser.add_argument("--beside", type=int, default=1, metavar="N", help="rounds at once")
    options = parser.parse_args(words)
    done: list[Round] = []
    for round in rounds(options.seed, options.rounds, options.beside):
        done.append(round)
        for problem in round.problems:
            print(f"seed {round.seed} ({', '.join(round.faults)}): {problem}", flush=True)
        if len(done) % 50 == 0 and len(done) < options.rounds:
            print(f"... {len(done)} rounds", file=sys.stderr, flush=True)
    print("\n".join(summary(done)))
    return any(round.problems for round in done)


def rounds(seed: int, count: int, beside: int = 1) -> Iterable[Round]:
    """Played, in order."""
    seeds = range(seed, seed + count)
    with tempfile.TemporaryDirectory(prefix="loadkeeper-faults-") as root, ProcessPoolExecutor(beside) as pool:
        yield from pool.map(partial(_play_below, root), seeds)


def _play_below(root: str, seed: int) -> Round:
    path = Path(root) / f"{os.getpid()}-{seed}"
    path.mkdir()
    return play(seed, path)


def summary(done: Sequence[Round]) -> list[str]:
    """Lines of a table: what was done, and what came of it."""
    targets = Counter(fault.split()[0] for round in done for fault in round.faults)
    recoveries = sorted(round.recovery for round in done)
    return [
        f"{len(done)} rounds, {sum(round.tasks for round in done)} tasks, {sum(targets.values())} faults: "
        + ", ".join(f"{count} {target}" for target, count in sorted(targets.items())),
        f"lost {sum(round.lost for round in done)}, done again though told as done "
        f"{sum(round.twice for round in done)}, done again because they were in flight "
        f"{sum(round.again for round in done)}, orphaned {sum(round.orphaned for round in done)}, "
        f"frozen {sum(round.frozen for round in done)}",
        f"recovery: median {recoveries[len(recoveries) // 2]:.2f} s, longest {recoveries[-1]:.2f} s"
        if recoveries
        else "no rounds",
    ]


if __name__ == "__main__":
    sys.exit(main())
