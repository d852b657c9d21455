"""Many worlds under many policies, in processes of their own, and what comes out by group."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from os import sched_getaffinity
from typing import Any

from msgspec import Struct

from . import simulate
from .result import Result


class Row(Struct, frozen=True, kw_only=True):
    """One policy over some worlds and seeds."""

    group: str
    policy: str
    runs: int
    makespan_ratio: float  # geometric mean of makespan over the lower bound, of the runs that are whole
    worst_ratio: float  # of these
    unfinished: int  # the other runs: not done after 12 bounds, or tasks failed, killed four times by the kernel
    kernel_kills: float  # a run
    ended: float  # a run
    work_lost: float  # a share of the bound, mean
    pauses_an_hour: float  # mean
    longest_pause: float  # seconds, of all runs


def play_all(
    worlds: Sequence[Mapping[str, Any]], policies: Sequence[str], seeds: Iterable[int]
) -> dict[str, list[tuple[str, Result]]]:
    """By policy: (the world's group, what came out), on as many cores as there are."""
    seeds = list(seeds)
    jobs = [(world, policy, seed) for policy in policies for world in worlds for seed in seeds]
    found: dict[str, list[tuple[str, Result]]] = {policy: [] for policy in policies}
    with ProcessPoolExecutor(len(sched_getaffinity(0))) as pool:
        for (world, policy, _), result in zip(jobs, pool.map(_play, jobs), strict=True):
            found[policy].append((str(world.get("group", "ordinary")), result))
    return found


def _play(job: tuple[Mapping[str, Any], str, int]) -> Result:
    world, policy, seed = job
    return simulate(world, seed, policy=policy)


def rows(found: Mapping[str, Sequence[tuple[str, Result]]]) -> list[Row]:
    """A row for each group and policy, then for all worlds together."""
    groups = list(dict.fromkeys(group for results in found.values() for group, _ in results))
    made = [
        _row(group, policy, [result for of, result in results if of == group])
        for group in groups
        for policy, results in found.items()
    ]
    return [*made, *(_row("all", policy, [result for _, result in results]) for policy, results in found.items())]


def _row(group: str, policy: str, results: Sequence[Result]) -> Row:
    whole = [result for result in results if result.finished and not result.failed]
    ratios = [result.makespan_ratio for result in whole]
    return Row(
        group=group,
        policy=policy,
        runs=len(results),
        makespan_ratio=math.exp(_mean([math.log(max(ratio, 1e-9)) for ratio in ratios])) if ratios else math.inf,
        worst_ratio=max(ratios, default=math.inf),
        unfinished=len(results) - len(whole),
        kernel_kills=_mean([result.kernel_kills for result in results]),
        ended=_mean([result.ended for result in results]),
        work_lost=_mean([result.work_lost for result in results]),
        pauses_an_hour=_mean([result.pauses_an_hour for result in results]),
        longest_pause=max((result.longest_pause for result in results), default=0.0),
    )


def _mean(figures: Sequence[float]) -> float:
    return sum(figures) / len(figures) if figures else 0.0


def table(made: Sequence[Row]) -> str:
    """As Markdown: by group of worlds, then all of them in figures."""
    policies = list(dict.fromkeys(row.policy for row in made))
    groups: dict[str, dict[str, Row]] = {}
    for row in made:
        groups.setdefault(row.group, {})[row.policy] = row
    every = groups.pop("all")
    lines = _head("makespan ÷ bound", policies)
    lines += [_line(group, [_cell(rows[policy]) for policy in policies]) for group, rows in groups.items()]
    lines += ["", *_head("all worlds", policies)]
    for name, figure in _FIGURES.items():
        lines.append(_line(name, [figure(every[policy]) for policy in policies]))
    return "\n".join(lines)


def _head(what: str, policies: Sequence[str]) -> list[str]:
    return [_line(what, policies), "|---" * (len(policies) + 1) + "|"]


def _line(name: str, cells: Sequence[str]) -> str:
    return f"| {' | '.join([name, *cells])} |"


def _cell(row: Row) -> str:
    """``1.21``, and what went wrong: `☠` kernel kills a run, `✗` runs that are not whole."""
    kills = f" ☠{row.kernel_kills:.1f}" if row.kernel_kills else ""
    return f"{_ratio(row.makespan_ratio)}{kills}{f' ✗{row.unfinished}/{row.runs}' if row.unfinished else ''}"


def _ratio(ratio: float) -> str:
    return "never" if math.isinf(ratio) else f"{ratio:.2f}"


_FIGURES: dict[str, Callable[[Row], str]] = {
    "makespan ÷ bound, geometric mean of the whole runs": lambda row: _ratio(row.makespan_ratio),
    "the worst of them": lambda row: _ratio(row.worst_ratio),
    "kernel kills a run": lambda row: f"{row.kernel_kills:.1f}",
    "runs that are not whole": lambda row: f"{row.unfinished} of {row.runs}",
    "ends a run": lambda row: f"{row.ended:.1f}",
    "work lost ÷ bound": lambda row: f"{row.work_lost:.2f}",
    "pauses an hour": lambda row: f"{row.pauses_an_hour:.0f}",
    "longest pause": lambda row: f"{row.longest_pause:.0f} s",
}
