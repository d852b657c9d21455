"""What a simulation gives. Times are simulated seconds, memory is bytes."""

from msgspec import Struct


class TaskResult(Struct, frozen=True):
    seconds: float  # that it takes on an idle node
    memory: int  # at its peak
    cpu: float  # cores
    ended_at: float | None  # None: it failed, was buried, or was not done in time


class Result(Struct, frozen=True):
    world: str
    policy: str
    seed: int
    finished: bool  # False: given up after 12 lower bounds
    makespan: float
    lower_bound: float
    makespan_ratio: float
    kernel_kills: int  # workers that the kernel killed for memory
    ended: int  # workers that the policy ended
    pauses: int
    failed: int
    buried: int
    given_back: int
    pauses_an_hour: float
    work_lost: float  # seconds of work begun and not finished, a share of the bound
    longest_pause: float
    looks: int
    ends: dict[str, int]  # by reason
    tasks: list[TaskResult]
