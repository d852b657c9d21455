"""A small machine to try decisions on: the same `decide` that the load manager runs, in simulated time.

`simulate` runs one world (``docs/worlds.md``) under one policy and is deterministic by its seed.
"""

from collections.abc import Mapping
from typing import Any

from ..decide import DEFAULT, Parameters
from .bound import lower_bound
from .fixed import Fixed
from .keeper import Counts, Keeper, Watch
from .machine import Machine
from .result import Result, TaskResult
from .work import Work
from .world import read_world

__all__ = ["Result", "TaskResult", "Watch", "simulate"]

GIVE_UP = 12.0
"""Lower bounds after which a world counts as not finished."""


def simulate(
    world: Mapping[str, Any],
    seed: int = 1,
    *,
    fixed: int | None = None,
    parameters: Parameters = DEFAULT,
    watch: Watch | None = None,
) -> Result:
    """Run the world with `decide`, or with a ``fixed`` number of workers; ``watch`` sees every look of `decide`.

    Raises UsageError for what is no world.
    """
    read = read_world(world)
    machine = Machine(read, seed)
    work = Work(read, machine, seed)
    policy = Keeper(machine, work, parameters, watch) if fixed is None else Fixed(work, fixed)
    bound = lower_bound(read, work.tasks)
    while not work.is_done and machine.now < GIVE_UP * bound:
        machine.advance(machine.now + policy.look())
    counts = policy.counts if isinstance(policy, Keeper) else Counts()
    return _result(work, bound, counts, "decide" if fixed is None else f"fixed {fixed}", seed)


def _result(work: Work, bound: float, counts: Counts, policy: str, seed: int) -> Result:
    world = work.machine.world
    makespan = max(work.ended_at.values(), default=0.0) if work.is_done else work.machine.now
    tasks = [task for pool in world.pools for task in work.tasks[pool.name]]
    return Result(
        world=world.name,
        policy=policy,
        seed=seed,
        finished=work.is_done,
        makespan=makespan,
        lower_bound=bound,
        makespan_ratio=makespan / bound if bound else 0.0,
        kernel_kills=work.machine.kernel_kills,
        ended=counts.ends,
        pauses=counts.pauses,
        failed=len(work.failed),
        buried=len(work.buried),
        given_back=work.given_back,
        work_lost=work.lost_seconds / bound if bound else 0.0,
        longest_pause=counts.longest_pause,
        looks=counts.looks,
        ends=counts.reasons,
        tasks=[
            TaskResult(task.seconds, task.memory, task.cpu * task.threads, work.ended_at.get(task.number))
            for task in tasks
        ],
    )
