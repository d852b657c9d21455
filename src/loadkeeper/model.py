"""The nouns of Loadkeeper. All are frozen; they are also the messages between process managers and load manager.

Numbers are bytes, seconds, cores and shares (0..1) everywhere; units appear in a name only where they differ.
``None`` means *unknown* (or, for a limit, *off*) and never zero. Times are seconds of ``CLOCK_MONOTONIC``, which all
processes of a machine share, unless a name says otherwise.
"""

import sys
from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

PROTOCOL = 1
"""Version of the messages. It is part of the load manager's address, so two versions never meet."""


# ---------------------------------------------------------------------------------------------------------- figures
#
# What may arrive: checked where a message or a file is decoded, and never again. No figure is NaN or infinite.

_MOST = sys.float_info.max
Count = Annotated[int, Meta(ge=0, le=1 << 53)]
Bytes = Annotated[int, Meta(ge=0, le=1 << 62)]
Rank = Annotated[int, Meta(ge=-(1 << 53), le=1 << 53)]
Pid = Annotated[int, Meta(ge=1, le=1 << 22)]  # the most that pid_max may be, proc(5)
Ticks = Annotated[int, Meta(ge=0, le=1 << 62)]
Seconds = Annotated[float, Meta(ge=0, le=1e11)]  # with the epoch they are before the year 9999, as dates must be
Share = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[float, Meta(ge=0, le=_MOST)]
Figure = Annotated[float, Meta(ge=-_MOST, le=_MOST)]
RunId = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_-]{1,64}\Z")]
PoolName = Annotated[str, Meta(pattern=r"\A[^/\x00-\x1f\x7f]{1,200}\Z")]
SensorName = Annotated[str, Meta(pattern=r"\A[a-z][a-z0-9._-]{0,30}\Z")]
Name = Annotated[str, Meta(max_length=1 << 24)]  # of the user's own, for people: a command may have 2 MiB, quoted 8


# ---------------------------------------------------------------------------------------------------------- limits


class Amount(Struct, frozen=True, omit_defaults=True):
    """A share of a whole, or an absolute figure: ``10%`` or ``2G``, ``90%`` or ``3.5`` cores. Exactly one is set."""

    share: Share | None = None
    absolute: Positive | None = None

    def __post_init__(self) -> None:
        if (self.share is None) == (self.absolute is None):
            raise ValueError("an amount is either a share or an absolute figure")

    def of(self, whole: float) -> float:
        """The figure itself, where ``whole`` is what 100 % would be."""
        return self.share * whole if self.share is not None else float(self.absolute or 0.0)


GAUGES = ("memory", "cpu", "swap", "workers-memory", "workers-cpu", "memory-per-worker")
"""Names that no sensor can have; those that begin with ``pressure.`` neither."""


class Lines(Struct, frozen=True, omit_defaults=True):
    """Where a gauge's three lines lie; ``None`` where it has none. For memory these are bytes *available*, so lower is
    worse; for every other gauge higher is worse, but for a sensor of which the user says that it falls."""

    hold: Figure | None = None
    pause: Figure | None = None
    end: Figure | None = None
    falling: bool = False  # of a sensor: lower is worse


class Limits(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a run may do to its node. The defaults are the product's defaults."""

    cpu: Amount | None = Amount(share=0.9)  # of all CPUs, everything on the node counted
    cpu_promised: bool = False  # the user set `cpu` himself: own excess over it is paused, not only held
    memory: Amount | None = Amount(share=0.1)  # kept available: the hold line
    memory_gap: Bytes = 0  # bytes added to the hold line
    memory_pause: Amount | None = None  # instead of 0.6 of the knob
    memory_end: Amount | None = None  # instead of 0.3 of the knob
    swap: Amount | None = None  # kept free of swap: the hold line of gauge `swap`
    gauges: dict[str, Lines] = {}  # lines of any other gauge: `pressure.cpu`, `pressure.io`, a sensor of the user's own
    workers_memory: Amount | None = None  # a share is of what would be available without the workers
    workers_cpu: Amount | None = None
    memory_per_worker: Bytes | None = None  # a cap: ended above it
    memory_need: Bytes | None = None  # reserved for each worker, instead of what is learned
    max_pause: Seconds = 300.0  # all pauses of one attempt together, then it is given back
    give_up: Seconds | None = 60.0  # critical for so long: the run gives up; None: never


# --------------------------------------------------------------------------------------------------------- reasons


class Reason(StrEnum):
    """Why something was decided. `record.sentences` has a sentence for each; a test holds the two together."""

    # why no more workers are admitted
    WORK_DONE = "work-done"  # nothing waits
    JOBS = "jobs"  # at the user's --jobs
    MEMORY = "memory"  # one more would not fit above the hold line
    CPU = "cpu"  # one more would cross the CPU line
    GAUGE = "gauge"  # another gauge is over its hold line
    BUDGET = "budget"  # one more would not fit into --workers-memory
    BUDGET_CPU = "budget-cpu"  # ... --workers-cpu
    RAMP = "ramp"  # slots double at most each 0.5 s
    TURN = "turn"  # another pool comes first
    PAUSED_FIRST = "paused-first"  # paused workers go on before new ones start
    END_AWAITED = "end-awaited"  # the memory of an ended worker is not back yet
    BACK_OFF = "back-off"  # a worker had to be ended a moment ago
    OVERDRAWN = "overdrawn"  # those that run will need more than there is
    UNKNOWN = "unknown"  # a gauge cannot be read
    NEIGHBOUR = "neighbour"  # another user's load manager is on this node: one admission at a time
    SILENT = "silent"  # the run's process manager does not answer
    NO_LOAD_MANAGER = "no-load-manager"  # the process manager has lost it and waits for the next

    # why a worker is paused
    MEMORY_PAUSE = "memory-pause"  # available fell (or is about to fall) to the pause line
    LEAD = "lead"  # what the worker nearest to its peak still needs is kept free (inside --workers-memory, too)
    BUDGET_PAUSE = "budget-pause"  # as memory-pause, inside --workers-memory
    FOREIGN_CPU = "foreign-cpu"  # somebody else's load on the CPUs
    CPU_PROMISE = "cpu-promise"  # our own load above a --cpu that the user set
    BUDGET_CPU_PAUSE = "budget-cpu-pause"
    GAUGE_PAUSE = "gauge-pause"
    SUSPENDED = "suspended"  # the run itself was stopped by ^Z

    # why a worker is ended
    MEMORY_END = "memory-end"  # available fell to the end line
    MEMORY_AHEAD = "memory-ahead"  # somebody else's growth is about to take it there
    BUDGET_END = "budget-end"  # the end line inside --workers-memory
    NEVER_FITS = "never-fits"  # it cannot fit even alone
    CAP = "cap"  # above --memory-per-worker
    PATIENCE = "patience"  # paused for longer than it may be
    STOP_IGNORED = "stop-ignored"  # it ran on after a pause, near the line
    GAUGE_END = "gauge-end"
    TIMEOUT = "timeout"  # the user's --timeout
    HALT = "halt"  # ^C, SIGTERM, SIGHUP, or the run gave up
    ORPHAN = "orphan"  # its process manager is dead

    OPERATOR = "operator"  # the operator asked for it: pause, resume, stop, drain


PAUSES_FOR_MEMORY = frozenset({Reason.MEMORY_PAUSE, Reason.LEAD, Reason.BUDGET_PAUSE})


class Why(Struct, frozen=True, omit_defaults=True):
    """The reason for one thing wanted, with its figures: gauge, reading, line. Data; sentences are made elsewhere."""

    reason: Reason
    gauge: str = ""  # `memory`, `cpu`, `workers-memory`, `workers-cpu`, `swap`, `pressure.*`, a sensor's name
    reading: Figure | None = None  # the gauge now
    line: Figure | None = None  # the line it is held against
    need: Figure | None = None  # bytes or cores that one more (or this one, to go on) is expected to need
    held: Figure | None = None  # bytes the worker holds
    expected: Figure | None = None  # what those that run are expected to take beyond the reading, kept free for them
    recovered: Figure | None = None  # bytes available from which an end for memory is no longer wanted


# ------------------------------------------------------------------------------------- what process managers report


class WorkerState(StrEnum):
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    ENDING = "ending"


class PauseMode(StrEnum):
    AUTO = "auto"
    NEVER = "never"
    STOP = "stop"
    FREEZE = "freeze"
    ASK = "ask"


class Outcome(StrEnum):
    """How an attempt ended."""

    DONE = "done"
    FAILED = "failed"
    GIVEN_BACK = "given-back"
    BURIED = "buried"


class Want(StrEnum):
    """What the operator wants of a run, pool or worker."""

    RUN = "run"
    PAUSE = "pause"
    DRAIN = "drain"  # start nothing more, let what runs finish
    STOP = "stop"  # end now, give the tasks back


class WorkerReport(Struct, frozen=True, array_like=True):
    """A live worker as its process manager knows it. A worker's identity is ``<run>.<n>``."""

    n: Count
    pool: str
    task: Name  # what `list` shows: the sequence number
    pid: Pid
    start_time: Ticks  # clock ticks after boot, field 22 of /proc/PID/stat: with the pid, the process
    started: Seconds
    state: WorkerState
    active: Seconds  # seconds it has run, pauses not counted
    paused_since: Seconds | None = None
    paused_for: Seconds = 0.0  # finished pauses of this attempt, seconds
    floor: Bytes = 0  # 1.5 x what this task held when it was last ended
    patience: Seconds = 300.0  # seconds that its pauses together may last
    leaf: Name | None = None  # path of its cgroup, where it has one of its own
    value: Name = ""  # the start of what it works on, for people
    trouble: Name = ""  # what is wrong with it, for people: it cannot be killed, it has stopped itself
    asked: bool = False  # it was asked to stand at its checkpoint and has not come there; no signal was sent
    stands: bool = False  # it stands at its checkpoint, by its own word; no signal holds it
    progress: Share | None = None  # how far it is, as it says itself, ...
    saying: Name = ""  # ... what it is at ...
    need: Bytes | None = None  # ... and how many bytes it will hold at its peak


class PoolReport(Struct, frozen=True):
    name: PoolName
    kind: Name
    waiting: Count | None  # None: unknown, treated as many
    priority: Rank = 0
    max_workers: Count | None = None
    pause: PauseMode = PauseMode.AUTO


class TaskCounts(Struct, frozen=True):
    waiting: Count | None = None
    running: Count = 0
    done: Count = 0
    failed: Count = 0
    given_back: Count = 0
    buried: Count = 0


class WorkerExit(Struct, frozen=True, array_like=True):
    """One exit, numbered by the run: told again until the load manager has confirmed it."""

    number: Count
    n: Count
    pool: PoolName
    kind: Name
    peak: (
        Bytes  # bytes: ru_maxrss or memory.peak; an upper bound for children smaller than the process manager; 0: none
    )
    cpu_seconds: Seconds
    active: Seconds  # seconds it ran, pauses not counted
    outcome: Outcome
    at: Seconds
    peak_is_bound: bool = False  # `peak` is not above the process manager's own: the child's may be anything below
    killed_by_kernel: bool = False


class RunState(StrEnum):
    RUNNING = "running"
    DRAINING = "draining"
    PAUSED = "paused"
    CRITICAL = "critical"


class Report(Struct, frozen=True, tag="report"):
    """A run's whole state, sent after changes and once a second. ``number`` grows with each."""

    run: RunId
    number: Count
    pools: list[PoolReport]
    workers: list[WorkerReport]
    exits: list[WorkerExit]
    tasks: TaskCounts
    state: RunState = RunState.RUNNING
    confirmed: Count = 0  # the last verdict that the process manager has made true
    wants: dict[Name, Want] = {}  # the operator's wants as last heard, so that the next load manager knows them
    changes: dict[Name, Name] = {}  # ... and what he changed of the settings, by option
    sensors: dict[SensorName, Figure | None] = {}  # the run's own gauges


class Hello(Struct, frozen=True, tag="hello"):
    """First message of a process manager: who it is, before it starts anything."""

    run: RunId
    name: Name
    pid: Pid
    start_time: Ticks
    limits: Limits
    grace: Seconds
    command: Name  # for people
    state_dir: Name  # where its journal lies
    leaves: Name | None = None  # the directory below which control groups of its workers are made
    began: Seconds = 0.0  # seconds since the epoch
    protocol: Count = PROTOCOL
    guest: bool = False  # in somebody else's program: children of that process that no report names are the program's


class Bye(Struct, frozen=True, tag="bye"):
    """The run is over and nothing of it is left."""

    run: RunId


# ----------------------------------------------------------------------------------- what the load manager answers


class Ending(Struct, frozen=True):
    """A worker that must end. ``kill``: at once, the grace is over. ``bury``: its task can never fit here. ``asked``:
    the load manager has sent the signal itself, for nobody did."""

    why: Why
    kill: bool = False
    bury: bool = False
    asked: bool = False


class PoolVerdict(Struct, frozen=True):
    slots: Count
    why: Why | None = None  # why not more


class GaugeStatus(Struct, frozen=True):
    """A gauge as people are shown it, CPU as a share of all CPUs, with the strictest of the lines that count."""

    value: Figure | None
    hold: Figure | None = None
    pause: Figure | None = None
    end: Figure | None = None
    state: str = "unknown"  # open | hold | pause | end | unknown


class Figures(Struct, frozen=True):
    """What a run shows of its node. Of its own memory where it has a budget, else of the node's."""

    gauges: dict[str, GaugeStatus]
    peak_memory: Bytes | None  # bytes: the most that was in use since the run began ...
    memory: Bytes  # ... of so many


class Verdict(Struct, frozen=True, tag="verdict"):
    """The whole wanted state of one run. Numbered; a later one replaces an earlier one."""

    run: RunId
    number: Count
    heard: Count  # the last report that it rests on; exits up to there are confirmed
    pools: dict[str, PoolVerdict]
    paused: dict[Count, Why]  # by the worker's n; who is in it must not run
    ending: dict[Count, Ending]
    want: Want = Want.RUN
    wants: dict[str, Want] = {}
    changes: dict[str, str] = {}
    critical: bool = False  # give the tasks back and give up
    exits_heard: Count = 0  # the last exit number that was taken in
    urgent: bool = False  # an ask at a checkpoint becomes a stop at once
    throttled: dict[Count, Positive] = {}  # by the worker's n: the share of each 200 ms that it may run
    figures: Figures | None = None


class Welcome(Struct, frozen=True, tag="welcome"):
    """Answer to Hello: the process to watch."""

    pid: Pid
    start_time: Ticks
    protocol: Count = PROTOCOL


# ----------------------------------------------------------------------------------------- what `decide` is shown


class WorkerSeen(Struct, frozen=True, kw_only=True):
    """A live worker with what the last sweep measured of all its members together."""

    id: str  # <run>.<n>
    pool: str  # the PoolSeen's id
    kind: str
    state: WorkerState  # what is so: PAUSED when the kernel shows it stopped or frozen
    started: Figure
    active: Seconds = 0.0
    paused_since: Figure | None = None
    paused_for: Seconds = 0.0
    patience: Seconds = 300.0
    floor: Bytes = 0
    rss: Bytes | None = None  # bytes held, None until swept
    processes: Count = 1
    cpu: Figure | None = None  # cores in use, over the last sweeps
    cpu_seconds: Figure = 0.0
    exiting: bool = False  # it shows no memory any more and is not gone yet
    obeyed: Seconds | None = None  # seconds from the last pause signal until it stood; grows while it does not
    need: Bytes | None = None  # bytes that it has declared to hold at its peak


class PoolSeen(Struct, frozen=True, kw_only=True):
    """A pool of a run. Pools of equal priority share alike, whichever run they are of."""

    id: str  # <run>/<name>
    run: str
    kind: str
    waiting: Count | None = None
    priority: Rank = 0
    max_workers: Count | None = None
    pausable: bool = True
    limits: Limits = Limits()
    want: Want = Want.RUN
    silent: bool = False  # its process manager does not answer: give it nothing


class ExitSeen(Struct, frozen=True, kw_only=True):
    """A worker that is gone since the last look."""

    id: str
    pool: str
    kind: str
    peak: Bytes = 0  # bytes
    mean: Bytes | None = None  # bytes over its life, None if no sweep saw it
    cpu_seconds: Seconds = 0.0
    active: Seconds = 0.0
    outcome: Outcome = Outcome.DONE
    killed_by_kernel: bool = False


class Seen(Struct, frozen=True, kw_only=True):
    """Everything that one decision rests on. The same `Seen` and memory give the same verdict."""

    now: Figure
    total: Bytes  # bytes: the memory limit that binds
    cpus: Positive  # cores: the CPU limit that binds
    available: Rank | None  # bytes that can still be taken before reclaim fails
    busy: Figure | None  # cores in use on the node since the last reading
    own: Figure = 0.0  # cores of it that are ours: workers, exits, process and load managers
    gauges: dict[
        str, Figure | None
    ] = {}  # every other gauge of the node: `swap`, `pressure.cpu`, `pressure.memory`, `pressure.io`
    sensors: dict[str, dict[str, Figure | None]] = {}  # by run: gauges of the user's own
    dirty: Bytes = 0  # bytes dirty or in writeback
    swap_total: Bytes = 0  # bytes; gauge `swap` is the share of it in use
    swept: Figure | None = None  # when the workers' memory was last read, and ...
    swept_available: Rank | None = None  # ... what was available then
    workers: tuple[WorkerSeen, ...] = ()
    pools: tuple[PoolSeen, ...] = ()
    exits: tuple[ExitSeen, ...] = ()
    wants: dict[str, Want] = {}  # the operator's, by worker id
    neighbours: Count = 0  # load managers of other users on this node
    jitter: Share = 0.0  # 0..1, drawn by the load manager


class Decision(Struct, frozen=True, kw_only=True):
    """What is wanted of all runs together, and when to look again."""

    pools: dict[str, PoolVerdict]  # by PoolSeen.id
    paused: dict[str, Why]  # by worker id: the whole set that must stand, each with the reading of this look
    ending: dict[str, Ending]
    critical: dict[str, Why] = {}  # by run: gives up now
    next_look: float = 0.1  # seconds
    next_sweep: float = 0.5  # seconds between two sweeps of the workers' memory
    lines: dict[str, dict[str, Lines]] = {}  # by run, by gauge: in the gauge's own unit (cpu and workers-cpu: cores)
    urgent: tuple[str, ...] = ()  # runs whose room is gone: an ask at a checkpoint becomes a stop at once
    throttled: dict[str, float] = {}  # by worker id: the share of each 200 ms (or of a core quota) that it may run
