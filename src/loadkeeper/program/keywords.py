"""The settings of a run as keyword arguments: each has the name, the meaning and the parser of its option on the
command line; a setting that has no option of another form is taken by its name in `RunSettings`."""

import difflib
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from ..errors import SettingsError
from ..model import Limits, PauseMode
from ..settings import Halt, Payload, QueueSettings, Recycle, RunSettings, parse_wire
from ..units import parse_duration, parse_number, parse_some_duration
from ..words import (
    parse_halt,
    parse_jobs,
    parse_positive,
    parse_recycle,
    parse_sensor,
    pause_of,
    queue_settings,
    retry_delay_of,
    tries_of,
)
from .arguments import Faults, figure, flag, optional, path, shown, text, words
from .limits import Limits as Words


class Keyword(NamedTuple):
    field: str  # of RunSettings
    read: Callable[[object], Any]  # raises SettingsError


def _jobs(value: object) -> int | None:
    jobs = figure(parse_jobs)(value)
    return jobs if isinstance(jobs, int) else None


def _halt(value: object) -> Halt | None:
    return value if isinstance(value, Halt) else parse_halt(text(value))


def _tag(value: object) -> str | None:
    """As ``--tag``, or the text of ``--tagstring``."""
    return ("{}" if value else None) if isinstance(value, bool) else text(value)


def _one_of(*known: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if value not in known:
            raise SettingsError(f"{shown(value)} is not one of {', '.join(known)}")
        return str(value)

    return read


def _pause(value: object) -> PauseMode:
    return PauseMode(_one_of(*PauseMode)(value))


def _wire(value: object) -> str:
    return parse_wire(text(value))


def _name(value: object) -> str:
    """Bytes that are no text are shown as such."""
    return os.fsencode(text(value)).decode("utf-8", "backslashreplace")


def _sensors(value: object) -> dict[str, str | None]:
    """A line for the shell by name; None: the entry point of that name."""
    if not isinstance(value, Mapping):
        raise SettingsError(f"{shown(value)} is no mapping; write {{'gpu': 'COMMAND'}}")
    return dict(parse_sensor(name if line is None else f"{name}={text(line)}") for name, line in value.items())


def _recycle(value: object) -> Recycle:
    """``"tasks=1000,age=1h"``, or a mapping of the same."""
    if isinstance(value, Mapping):
        return parse_recycle(",".join(f"{name}={words(one)}" for name, one in value.items()))
    return parse_recycle(text(value))


def _nothing_for_none(value: object) -> str:
    return "" if value is None else _name(value)


KEYWORDS = {
    "jobs": Keyword("jobs", optional(_jobs)),
    "retries": Keyword("tries", figure(parse_positive)),
    "retry_delay": Keyword("retry_delay", figure(parse_duration)),
    "timeout": Keyword("timeout", optional(figure(parse_some_duration))),
    "delay": Keyword("delay", figure(parse_duration)),
    "halt": Keyword("halt", optional(_halt)),
    "keep_order": Keyword("keep_order", flag),
    "tag": Keyword("tag", optional(_tag)),
    "line_buffer": Keyword("line_buffer", flag),
    "exit": Keyword("exit_parallel", lambda value: _one_of("loadkeeper", "parallel")(value) == "parallel"),
    "joblog": Keyword("joblog", optional(path)),
    "resume": Keyword("resume", flag),
    "resume_failed": Keyword("resume_failed", flag),
    "results": Keyword("results", optional(path)),
    "pause": Keyword("pause", _pause),
    "checkpoint": Keyword("checkpoint", optional(_wire)),
    "grace": Keyword("grace", figure(parse_duration)),
    "priority": Keyword("priority", figure(parse_number)),
    "name": Keyword("name", _nothing_for_none),
    "kind": Keyword("kind", _nothing_for_none),
    "lm_command": Keyword("lm_command", optional(text)),
    "sensors": Keyword("sensors", _sensors),
    "sensor_every": Keyword("sensor_every", figure(parse_some_duration)),
    "quiet": Keyword("quiet", flag),
    "bar": Keyword("bar", flag),
    "json": Keyword("json", flag),
}
"""What is read by a parser of its own."""
QUEUE: dict[str, Callable[[object], Any]] = {
    "queue": text,
    "until_empty": flag,
    "payload": lambda value: Payload(_one_of(*(how.value for how in Payload))(value)),
    "kept": flag,
    "recycle": _recycle,
    "idle": figure(parse_some_duration),
    "self_fetching": flag,
}
"""How a queue is served, by the names of the command line."""


def _others() -> dict[str, Keyword]:
    """Every other setting, by its type."""
    taken = {keyword.field for keyword in KEYWORDS.values()} | {"limits", "queue"}
    return {
        field.name: Keyword(field.name, _by_type(field.type))
        for field in msgspec.structs.fields(RunSettings)
        if field.name not in taken
    }


def _by_type(kind: Any) -> Callable[[object], Any]:
    def read(value: object) -> Any:
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            raise SettingsError(f"{shown(value)}: {error}") from None

    return read


def _of_a_queue(given: Mapping[str, Any], faults: Faults) -> dict[str, QueueSettings | None]:
    read: dict[str, Any] = {name: given[name] for name in ("results", "line_buffer", "checkpoint") if given.get(name)}
    for name, reader in QUEUE.items():
        if given.get(name) is not None:
            with faults.of(name):
                read[name] = reader(given[name])
    with faults.of("queue"):
        return {"queue": queue_settings(read)}
    return {"queue": None}


def settings_of(limits: Limits, given: Mapping[str, Any], faults: Faults) -> RunSettings:
    """What cannot be read is added to the faults. Quiet unless something else is said: a library prints no progress."""
    known = {**KEYWORDS, **_others()}
    read: dict[str, Any] = {"quiet": True, **_of_a_queue(given, faults)}
    for name, value in given.items():
        if name in QUEUE:
            continue
        keyword = known.get(name)
        if keyword is None:
            faults.add(name, f"is no argument; {_instead(name, known)}")
            continue
        with faults.of(name):
            read[keyword.field] = keyword.read(value)
    queue = read["queue"]
    read["tries"] = tries_of(queue, read.get("tries"))
    read["retry_delay"] = retry_delay_of(queue, read.get("retry_delay"))
    read["pause"] = pause_of(queue, read.get("pause"))
    settings = RunSettings(limits=limits, **read)
    for name in limits.gauges.keys() - settings.sensors.keys():
        if not name.startswith("pressure."):
            faults.add("limits", f"lines of {name!r}, which is no sensor; add sensors={{{name!r}: 'COMMAND'}}")
    return settings


def _instead(name: str, known: Mapping[str, Keyword]) -> str:
    if name in Words.__dataclass_fields__ and name != "model":
        return f"it is a limit: limits=Limits({name}=...)"
    near = difflib.get_close_matches(name, [*known, "tasks", "values", "commands", "output", "limits", "task_id"], 1)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
