"""A small machine to try decisions on: the same `decide` that the load manager runs, in simulated time.

`simulate` runs one world (``docs/worlds.md``) under one policy and is deterministic by its seed.
"""

from collections.abc import Mapping
from math import inf, isfinite
from typing import Any, Protocol

from ..decide import DEFAULT, Memory, Parameters
from .bound import longest, lower_bound
from .checks import check
from .clairvoyant import Clairvoyant
from .counts import Counts
from .keeper import Keeper, Watch
from .machine import Machine
from .peers import PEERS
from .recording import Recording
from .result import Result, TaskResult
from .work import Work
from .world import read_world

__all__ = ["DECIDE", "POLICIES", "Recording", "Result", "TaskResult", "Watch", "simulate"]

DECIDE = "decide"
POLICIES = (DECIDE, *PEERS, "clairvoyant")
"""Ours, what others do, and who knows the future."""

GIVE_UP = 12.0
"""Lower bounds after which a world counts as not finished; of the longest task, where others leave nothing for ever."""


def simulate(  # noqa: PLR0913 - what to play, and who is to look on
    world: Mapping[str, Any],
    seed: int = 1,
    *,
    policy: str = DECIDE,
    most: int | None = None,
    parameters: Parameters = DEFAULT,
    watch: Watch | None = None,
    recording: Recording | None = None,
    memory: Memory | None = None,
) -> Result:
    """Run the world under one of `POLICIES`; ``watch`` sees every look of `decide`, ``recording`` what the machine did.

    ``memory``: what `decide` knows when it begins. ``most``: the number of workers for those that take one; as many as
    cores without. Raises UsageError for what is no world."""
    read = read_world(world)
    check(read)
    machine = Machine(read, seed)
    work = Work(read, machine, seed)
    bound = lower_bound(read, work.tasks)
    number = most or max(1, round(read.node.cpus))
    playing: Playing
    if policy == DECIDE:
        playing = Keeper(machine, work, parameters, watch, memory)
    elif policy in PEERS:
        playing = PEERS[policy](work, number)
    else:
        playing = Clairvoyant(work)
    if recording is not None:
        recording.limits = next(iter(work.limits.values()))
    most_seconds = GIVE_UP * (bound if isfinite(bound) else longest(read, work.tasks))
    while not work.is_done and machine.now < most_seconds:
        machine.advance(machine.now + playing.look())
        if recording is not None:
            recording.look(machine)
    if work.is_done:
        playing.look()  # the last exits are seen, too
    return _result(work, bound, playing.counts, f"fixed {number}" if policy == "fixed" else policy, seed)


class Playing(Protocol):
    """Who decides."""

    counts: Counts

    def look(self) -> float:
        """See, decide, act; seconds until the next look."""


def _result(work: Work, bound: float, counts: Counts, policy: str, seed: int) -> Result:
    world = work.machine.world
    makespan = work.settled_at if work.is_done else work.machine.now
    tasks = [task for pool in world.pools for task in work.tasks[pool.name]]
    return Result(
        world=world.name,
        policy=policy,
        seed=seed,
        finished=work.is_done,
        makespan=makespan,
        lower_bound=bound,
        makespan_ratio=makespan / bound if 0 < bound < inf else 0.0,
        kernel_kills=work.machine.kernel_kills,
        ended=counts.ends,
        pauses=counts.pauses,
        pauses_an_hour=counts.pauses / makespan * 3600 if makespan else 0.0,
        failed=len(work.failed),
        buried=len(work.buried),
        given_back=work.given_back,
        work_lost=work.lost_seconds / bound if 0 < bound < inf else 0.0,
        longest_pause=counts.longest_pause,
        looks=counts.looks,
        ends=counts.reasons,
        tasks=[
            TaskResult(task.seconds, task.memory, task.cpu * task.threads, work.ended_at.get(task.number))
            for task in tasks
        ],
    )
