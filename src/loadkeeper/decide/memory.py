"""What `decide` remembers from one look to the next: values, so that a history can be saved, replayed and compared.

``Memory()`` is fresh. ``Memory.kinds`` may be saved and given to the next load manager; everything else is about
workers that live now.
"""

from msgspec import Struct
from msgspec.structs import replace

from ..model import Bytes, Count, Decision, Positive, Reason, Share

NEVER = -1e9
"""A time before all looks. A number, for JSON has no infinity."""


class Kind(Struct, frozen=True):
    """What was learned of tasks that resemble each other."""

    peaks: tuple[Bytes, ...] = ()  # bytes, of the last lives, oldest first
    fill: Share = 1.0  # mean / peak of a life: how full a worker usually is
    fills: Count = 0  # lives that taught it
    cpu: Positive | None = None  # cores that one worker wants
    count: Count = 0  # exits seen, those without a usable peak included


class Claim(Struct, frozen=True, gc=False, array_like=True):
    """How big a worker will become, in bytes: ``likely`` for its need (pausing, lead), ``expected`` for admission."""

    likely: float
    expected: float


class Course(Struct, frozen=True, gc=False):
    """How a live worker came to where it is."""

    rss: int | None = None  # bytes, at the last sweep that saw any
    top: int = 0  # the most
    area: float = 0.0  # byte seconds, for the mean
    seconds: float = 0.0
    processes: int = 1
    mark_at: float = 0.0  # where the present window of its slope began
    mark_rss: int = 0
    slope: float | None = None  # bytes/s over the last whole window


class Pause(Struct, frozen=True):
    """A worker that must stand because we said so."""

    since: float
    reason: Reason
    gauge: str = "memory"


class End(Struct, frozen=True):
    """An end that was chosen and is awaited."""

    since: float
    reason: Reason
    gauge: str  # which domain (its key), or other gauge, waits for its effect
    recovered: float | None = None  # the reading from which on it is no longer wanted; None: it always is
    bury: bool = False
    kill: bool = False
    pause: Pause | None = None  # it stood before: a dropped end leaves it so


class BackOff(Struct, frozen=True):
    """Admission is held for so many seconds after the last end."""

    ended_at: float
    seconds: float


class Trend(Struct, frozen=True):
    """How available memory moves."""

    at: float | None = None
    available: float | None = None  # the last reading, or dead reckoning
    held: float = 0.0  # what all workers held then
    total: int = 0
    speed: float = 0.0  # bytes/s that available falls, with its sign
    fresh_at: float | None = None  # after a pause: from here on a new baseline
    fresh_available: float | None = None
    swept: float | None = None
    swept_available: int | None = None
    swept_total: int = 0
    left: bool = False  # somebody went since that sweep: the window to the next hides growth
    strange: float = 0.0  # bytes/s that no worker explains, with its sign
    scatter: float = 0.0  # (bytes/s) squared by which single windows differ from that
    doubt: float = 0.0  # bytes/s of it that may be scatter alone
    most: float = 0.0  # the largest available + held of all sweeps: what the node has for us
    obey: float = 0.0  # s that a pause takes to be obeyed here


class Load(Struct, frozen=True):
    """How busy the cores are."""

    at: float | None = None
    busy: float = 0.0  # cores, smoothed
    foreign: float = 0.0  # cores of it that are not ours, smoothed
    swept: float | None = None
    over_since: dict[str, float] = {}  # by run: since when its CPU pause line is crossed
    paused_at: dict[str, float] = {}
    continued_at: float = NEVER
    throttles: dict[str, float] = {}  # by worker: the share of time it may run
    throttled_at: float = NEVER


class Charge(Struct, frozen=True):
    """CPU that a slot granted a moment ago will take."""

    at: float
    cpu: float
    run: str


class Memory(Struct, frozen=True, kw_only=True):
    now: float | None = None
    kinds: dict[str, Kind] = {}
    workers: dict[str, Course] = {}
    paused: dict[str, Pause] = {}
    ending: dict[str, End] = {}
    trend: Trend = Trend()
    load: Load = Load()
    claims: dict[str, Claim] = {}  # by worker, as of the last sweep or exit
    claimed: float | None = None  # the sweep that they rest on
    most: dict[str, float] = {}  # by run: the largest budget seen

    paused_at: float = NEVER  # the last pause for memory
    continued_at: float = NEVER  # the last continue
    settled_at: float = NEVER  # when the last awaited worker was seen to be gone
    back_off: dict[str, BackOff] = {}  # by domain
    refused: frozenset[str] = frozenset()  # workers whose end nobody began: the next one is not asked about again

    gauge_at: dict[str, float] = {}  # by gauge: the last pause, continue or end for it
    gauge_calm: dict[str, float] = {}  # by gauge: since when it is behind its hold line

    slots: dict[str, int] = {}  # by pool: as granted
    ramp_at: float = NEVER  # when slots could last double
    ramp_base: int = 0  # how many there were then
    charges: tuple[Charge, ...] = ()
    critical: dict[str, float] = {}  # by run: since when there is nobody left to end

    last: Decision | None = None  # the answer to `now`


def forgive(memory: Memory, seconds: float) -> Memory:
    """Nobody looked for so long (the load manager stood): no patience is spent by it, and nobody gives up for it."""
    return replace(
        memory,
        paused={id: replace(pause, since=pause.since + seconds) for id, pause in memory.paused.items()},
        ending={id: replace(end, since=end.since + seconds) for id, end in memory.ending.items()},
        critical={run: since + seconds for run, since in memory.critical.items()},
    )
