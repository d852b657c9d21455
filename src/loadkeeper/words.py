"""How settings are written: from words to numbers, alike for options of the command line and for programs.

`units` reads single figures; what is put together of several, or looks at the node, is read here."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from .errors import SettingsError, UsageError
from .model import GAUGES, Limits, Lines, PauseMode
from .sense.capacity import capacity
from .settings import Halt, Payload, QueueSettings, Recycle, When
from .units import parse_number, parse_share, parse_some_duration, parse_some_size


class Off:
    """Said instead of a value: the limit is off."""


def parse_pressure(text: str) -> dict[str, Lines]:
    """``cpu=40%,io=30%`` → hold lines of the pressure gauges. Raises SettingsError."""
    lines: dict[str, Lines] = {}
    for part in text.split(","):
        name, equals, share = part.strip().partition("=")
        if not equals or name not in ("cpu", "memory", "io"):
            raise SettingsError(f"{part.strip()!r} is not a pressure line; write it as cpu=40%,io=30%,memory=10%")
        lines[f"pressure.{name}"] = Lines(hold=parse_share(share))
    return lines


_SENSOR = re.compile(r"[a-z][a-z0-9._-]{0,30}")


def parse_sensor(text: str) -> tuple[str, str | None]:
    """``gpu=nvidia-smi ...`` → name and line for the shell; without a line the name is an entry point's. Raises
    SettingsError."""
    name, equals, line = text.partition("=")
    if not _SENSOR.fullmatch(name) or (equals and not line.strip()):
        raise SettingsError(
            f"{text!r} is no sensor; write it as NAME=COMMAND, where COMMAND prints a number and the name is of a-z, "
            "0-9, dots and dashes"
        )
    if name in GAUGES or name.startswith("pressure."):
        raise SettingsError(f"{name!r} is a gauge that is there already; give the sensor another name")
    if equals:
        return name, line
    from .sense.plugin import GROUP, known

    if name not in (plugins := known()):
        there = f"there are {', '.join(sorted(plugins))}" if plugins else "none is installed"
        raise SettingsError(f"{name!r} is no entry point of {GROUP} ({there}); a command is written {name}=COMMAND")
    return name, None


def parse_line(text: str) -> tuple[str, Lines]:
    """``gpu=80,90,95``: the sensor's hold, pause and end lines, any of them empty; ``free=<20,10`` where lower is
    worse. Raises SettingsError."""
    name, _, figures = text.partition("=")
    falling = figures.startswith("<")
    try:
        at = [float(part) if part.strip() else None for part in figures.removeprefix("<").split(",")]
    except ValueError:
        at = []
    given = [line for line in at if line is not None]
    if not given or len(at) > 3 or not all(map(math.isfinite, given)):
        raise SettingsError(
            f"{text!r} are no lines of a sensor; write them as NAME=HOLD,PAUSE,END, for example gpu=80,90,95, and with "
            "a < before them where lower is worse: free=<20,10"
        )
    if given != sorted(given, reverse=falling):
        raise SettingsError(
            f"{text!r}: hold comes before pause, and pause before end" + ("" if falling else "; write < if it falls")
        )
    hold, pause, end = (*at, None, None)[:3]
    return name, Lines(hold, pause, end, falling)


def parse_positive(text: str) -> int:
    """A whole number from 1. Raises SettingsError."""
    return parse_number(text, 1)


def parse_count(text: str) -> int:
    """A whole number from 0. Raises SettingsError."""
    return parse_number(text, 0)


_JOBS = re.compile(r"([+-]?)([0-9]{1,9})(%?)")


def parse_jobs(text: str) -> int | type[Off]:
    """``8``, ``50%`` of the CPUs, one more or less than there are (``+1``, ``-1``; one at least), ``0``: as many as the
    load allows. As GNU parallel has them. Raises SettingsError."""
    found = _JOBS.fullmatch(text)
    if found is None:
        raise SettingsError(f"{text!r} is no number of workers; write it as 8, 50% (of the CPUs), +1, -1 (beside them)")
    sign, number, percent = found.groups()
    if not sign and not int(number):
        return Off
    count = int(number)
    if sign or percent:
        cpus = capacity().cpus
        count = int(cpus * count / 100) if percent else count
        count = {"": count, "+": int(cpus) + count, "-": int(cpus) - count}[sign]
    return max(count, 1)


HALTS = {"1": "soon,fail=1", "2": "now,fail=1", "-1": "soon,success=1", "-2": "now,success=1"}
"""GNU parallel's short forms."""
_HALT = re.compile(r"(soon|now),(fail|success|done)=(?:([0-9]*[1-9][0-9]*)|([0-9.]+%))")
_DIGITS = 12


def parse_halt(text: str) -> Halt | None:
    """``now,fail=1``, ``soon,done=30%``, GNU parallel's short forms; None: never. Raises SettingsError."""
    if text in {"never", "0"}:
        return None
    long = HALTS.get(text, f"soon,fail={text}" if "," not in text else text)
    if (found := _HALT.fullmatch(long)) is None or len(found[3] or "") > _DIGITS:
        raise SettingsError(f"{text!r} is not a way to halt; write it as now,fail=1, soon,fail=30% or never")
    when, what, count, share = found.groups()
    return Halt(When(when), what, int(count) if count else None, parse_share(share) if share else None, text)


def limits_of(given: Mapping[str, Any], lines: Mapping[str, Lines]) -> Limits:
    """The limits of a run from what was given of them, read already, by their names; `Off`: switched off. ``lines`` are
    those of the user's own sensors. Raises UsageError."""

    def amount(name: str, default: Any = None) -> Any:
        value = given.get(name, default)
        return None if value is Off else value

    if given.get("memory") is Off and given.get("memory_gap"):
        raise UsageError(
            "--memory-gap is added to what --memory keeps available, and with --memory off nothing is kept"
        )
    defaults = Limits()
    return Limits(
        cpu=amount("cpu", defaults.cpu),
        cpu_promised="cpu" in given and given["cpu"] is not Off,
        memory=amount("memory", defaults.memory),
        memory_gap=given.get("memory_gap", 0),
        swap=amount("swap"),
        gauges={**given.get("pressure", {}), **lines},
        workers_memory=amount("workers_memory"),
        workers_cpu=amount("workers_cpu"),
        memory_per_worker=given.get("memory_per_worker"),
        memory_need=given.get("memory_need"),
        max_pause=given.get("max_pause", defaults.max_pause),
        give_up=amount("give_up", defaults.give_up),
    )


def parse_recycle(text: str) -> Recycle:
    """``tasks=1000,age=1h,memory=1G``, any of them. Raises SettingsError."""
    readers: dict[str, Callable[[str], Any]] = {
        "tasks": parse_positive,
        "age": parse_some_duration,
        "memory": parse_some_size,
    }
    found: dict[str, Any] = {}
    for part in text.split(","):
        name, equals, value = part.strip().partition("=")
        if not equals or name not in readers or name in found:
            raise SettingsError(f"{part.strip()!r} says no end of a worker; write tasks=1000,age=1h,memory=1G")
        found[name] = readers[name](value)
    return Recycle(**found)


# ------------------------------------------------------------------------------------------------------------- queues


TRIES, TRIES_OF_A_QUEUE = 1, 3
RETRY_DELAY, RETRY_DELAY_OF_A_QUEUE = 0.25, 1.0


def tries_of(queue: QueueSettings | None, given: int | None) -> int:
    """Attempts before a task has failed for good. A worker that fetches for itself is started anew by its backlog."""
    if queue is not None and queue.own:
        return 1
    return given or (TRIES if queue is None else TRIES_OF_A_QUEUE)


def retry_delay_of(queue: QueueSettings | None, given: float | None) -> float:
    """Seconds."""
    if given is not None:
        return given
    return RETRY_DELAY if queue is None else RETRY_DELAY_OF_A_QUEUE


def pause_of(queue: QueueSettings | None, given: PauseMode | None) -> PauseMode:
    """Whoever fetches for itself is only asked: a signal would stop its heartbeats to the broker."""
    if given is not None:
        return given
    return PauseMode.ASK if queue is not None and queue.own else PauseMode.AUTO


def queue_settings(given: Mapping[str, Any]) -> QueueSettings | None:
    """Raises UsageError."""
    url = given.get("queue")
    named = [name for name in ("until_empty", "kept", "self_fetching", "recycle") if given.get(name)]
    if url is None:
        if named:
            raise UsageError(f"--{named[0].replace('_', '-')} says how a queue is served; name it: --queue URL")
        return None
    fields = {"self_fetching": "own"}
    names = ("until_empty", "payload", "kept", "recycle", "idle", "self_fetching")
    settings = QueueSettings(url=url, **{fields.get(name, name): given[name] for name in names if name in given})
    _check_queue(settings, given)
    return settings


def _check_queue(queue: QueueSettings, given: Mapping[str, Any]) -> None:
    if queue.kept and queue.own:
        raise UsageError("--kept and --self-fetching are two ways; a worker gets its tasks from us, or fetches them")
    if (queue.kept or queue.own) and queue.payload is not Payload.ARGUMENT:
        raise UsageError(
            f"--payload says how a process for one task gets it; with --{_way(queue)} it is not started for one"
        )
    if queue.recycle != Recycle() and not queue.kept:
        raise UsageError("--recycle is for --kept workers: a process for each task is always fresh")
    if queue.kept and given.get("results") is not None:
        raise UsageError("--results keeps a process's output by task; with --kept it is printed, or sent as the result")
    if queue.kept and given.get("line_buffer"):
        raise UsageError("--line-buffer prints lines as they come; with --kept output is printed task by task")
    if queue.payload is Payload.STDIN and given.get("checkpoint") is not None:
        raise UsageError("--checkpoint zmq:// speaks on the workers' stdin; with it give --payload file or argument")
    if given.get("halt") is not None and given["halt"].share is not None:
        raise UsageError("--halt with a share needs to know all tasks, and nobody knows how many a queue will have")


def _way(queue: QueueSettings) -> str:
    return "kept" if queue.kept else "self-fetching"
