"""The settings of a run: one typed tree with its defaults, and what of it can be changed while the run lives."""

import difflib
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from ipaddress import ip_address
from typing import Any, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from .errors import SettingsError
from .model import Limits, PauseMode
from .units import (
    format_cores,
    format_size,
    parse_cpus,
    parse_memory,
    parse_number,
    parse_size,
    parse_some_memory,
    parse_some_size,
)


class When(StrEnum):
    """How a run halts before its tasks are done."""

    SOON = "soon"  # what runs may finish
    NOW = "now"  # what runs is ended


class Halt(Struct, frozen=True):
    """``--halt``: when so many tasks have failed, succeeded, or either. One of ``count`` and ``share`` is given."""

    when: When
    what: str  # `fail`, `success`, `done`
    count: int | None = None
    share: float | None = None  # of all tasks
    text: str = ""  # as the user wrote it


class Payload(StrEnum):
    """How a worker gets the payload of its task."""

    ARGUMENT = "argument"
    STDIN = "stdin"
    FILE = "file"


class Recycle(Struct, frozen=True):
    """When a kept worker is replaced by a fresh one, at the end of a task."""

    tasks: int | None = None  # that it has served
    age: float | None = None  # seconds
    memory: int | None = None  # bytes that its process holds


class QueueSettings(Struct, frozen=True, kw_only=True):
    """Where tasks come from, and how they are served."""

    url: str
    until_empty: bool = False  # the run ends with the queue
    payload: Payload = Payload.ARGUMENT
    kept: bool = False  # a worker serves many tasks
    recycle: Recycle = Recycle()
    idle: float = 60.0  # seconds without a task after which a kept worker leaves
    own: bool = False  # workers fetch for themselves


def is_an_argument(queue: QueueSettings) -> bool:
    """The payload of a task stands in its worker's command."""
    return queue.payload is Payload.ARGUMENT and not (queue.kept or queue.own)


class RunSettings(Struct, frozen=True, kw_only=True):
    """How a run treats its tasks, and what it may do to the node."""

    limits: Limits = Limits()
    jobs: int | None = None  # the most workers alive at once; None: load decides
    tries: int = 1  # attempts before a task has failed for good; what we ended is not counted
    retry_delay: float = 0.25  # seconds before the third try of a task that fails at once, then doubled; 0: none
    timeout: float | None = None  # seconds an attempt may run, pauses not counted
    joblog: str | None = None
    resume: bool = False  # what the job log names is not done again ...
    resume_failed: bool = False  # ... unless it failed
    results: str | None = None  # a directory, or a template of paths, for each task's output
    pause: PauseMode = PauseMode.AUTO
    checkpoint: str | None = None  # ZeroMQ address: workers are asked over the wire of process-load-manager
    sigterm_blocking: bool = False  # workers block SIGTERM: they are ended at their checkpoints, or killed
    grace: float = 10.0  # seconds from TERM to KILL
    priority: int = 0
    name: str = ""
    kind: str = ""
    lm_command: str | None = None  # started instead of our own load manager
    quiet: bool = False
    json: bool = False  # events on stderr, as JSON, instead of progress and last line
    bar: bool = False  # progress stays on the terminal though stdout is a pipe
    keep_order: bool = False  # output in the order of the tasks
    line_buffer: bool = False  # complete lines as they are written
    tag: str | None = None  # template of what stands before each line of output
    delay: float = 0.0  # seconds between two starts, at least
    halt: Halt | None = None
    exit_parallel: bool = False  # GNU parallel's exit codes
    sensors: dict[str, str | None] = {}  # gauges of the user's own: a line for the shell; None: the entry point
    sensor_every: float = 5.0  # seconds between two readings of one
    queue: QueueSettings | None = None

    @property
    def kept(self) -> bool:
        """A worker serves many tasks."""
        return self.queue is not None and self.queue.kept


_WIRE = re.compile(r"zmq://([^][/?#@:\s]+|\[[^]]*\]):([0-9]{1,5})/?", re.ASCII)
_MOST_PORTS = 65535
_EXAMPLE = "for example zmq://127.0.0.1:6268"


def parse_wire(text: str) -> str:
    """``tcp://127.0.0.1:6268`` for ``zmq://127.0.0.1:6268``; port 0 takes a free one. Raises SettingsError."""
    found = _WIRE.fullmatch(text)
    if found is None or int(found[2]) > _MOST_PORTS:
        raise SettingsError(f"{text!r} is no address; it is zmq://HOST:PORT, {_EXAMPLE}")
    host = found[1].strip("[]")
    try:
        address = ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        raise SettingsError(f"{host!r} is no address of this machine; {_EXAMPLE}") from None
    if not address.is_loopback:
        raise SettingsError(
            f"whoever reaches {host} could listen to the workers' publisher, which knows no passwords; "
            f"only addresses of this machine are taken, {_EXAMPLE}"
        )
    if address.version != 4:
        raise SettingsError(f"clients of process-load-manager do not reach {host}; give an IPv4 address, {_EXAMPLE}")
    return f"tcp://{address}:{int(found[2]) or '*'}"


# --------------------------------------------------------------------------------------------- while the run lives


class Changed(NamedTuple):
    """What holds for a run after its operator's changes; ``jobs`` and ``priority``: None, as the run has them."""

    limits: Limits
    jobs: int | None = None
    priority: int | None = None


_LIMITS: dict[str, tuple[Callable[[str], Any], bool]] = {  # parser, and whether it can be `off`
    "cpu": (parse_cpus, True),
    "memory": (parse_memory, True),
    "memory-gap": (parse_size, False),
    "swap": (parse_memory, True),
    "workers-memory": (parse_some_memory, True),
    "workers-cpu": (parse_cpus, True),
    "memory-per-worker": (parse_some_size, True),
    "memory-need": (parse_some_size, True),
}
CHANGEABLE = (*_LIMITS, "jobs", "priority")


def change(limits: Limits, changes: Mapping[str, str]) -> Changed:
    """The changes, by the names of their options, over the limits that a run began with. Raises SettingsError."""
    changed = Changed(limits)
    for name, text in changes.items():
        if name == "jobs":
            changed = changed._replace(jobs=parse_number(text, 1))
        elif name == "priority":
            changed = changed._replace(priority=parse_number(text))
        elif name in _LIMITS:
            changed = changed._replace(limits=_limit(changed.limits, name, text))
        else:
            near = difflib.get_close_matches(name, CHANGEABLE, 1)
            hint = f"did you mean {near[0]}?" if near else f"these can be changed: {', '.join(CHANGEABLE)}"
            raise SettingsError(f"{name!r} cannot be set while a run lives; {hint}")
    return changed


def check_limits(limits: Limits, memory: int, cpus: float, bound_by: str) -> None:
    """A limit above what the node has is a mistake, not a wish. Raises SettingsError."""
    sizes = [
        ("--memory", limits.memory.of(memory) if limits.memory else None),
        ("--workers-memory", limits.workers_memory.of(memory) if limits.workers_memory else None),
        ("--memory-per-worker", limits.memory_per_worker),
        ("--memory-need", limits.memory_need),
    ]
    for name, size in sizes:
        if size is not None and size > memory:
            raise SettingsError(
                f"{name} {format_size(size)} is more than this node has ({format_size(memory)}, bound by {bound_by})"
            )
    for name, amount in (("--cpu", limits.cpu), ("--workers-cpu", limits.workers_cpu)):
        if amount is not None and amount.of(cpus) > cpus:
            raise SettingsError(
                f"{name} {format_cores(amount.of(cpus))} is more than this node has ({format_cores(cpus)})"
            )


def _limit(limits: Limits, name: str, text: str) -> Limits:
    parse, may_be_off = _LIMITS[name]
    value = None if may_be_off and text == "off" else parse(text)
    changed = replace(limits, **{name.replace("-", "_"): value})
    return replace(changed, cpu_promised=value is not None) if name == "cpu" else changed
