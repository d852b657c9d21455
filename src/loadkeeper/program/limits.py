"""What a program's run may do to its node: the words of the command line as one frozen object."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any

from ..errors import SettingsError
from ..model import Limits as Model
from ..model import Lines
from ..units import (
    parse_cpus,
    parse_memory,
    parse_size,
    parse_some_duration,
    parse_some_memory,
    parse_some_size,
)
from ..words import limits_of, parse_line, parse_pressure
from .arguments import Duration, Faults, Words, figure, figure_or, optional, shown, size_words


class Default(Enum):
    """Nothing was said."""

    DEFAULT = "the default"

    def __repr__(self) -> str:
        return "DEFAULT"


DEFAULT = Default.DEFAULT


@dataclass(frozen=True, kw_only=True, repr=False)
class Limits:
    """Limits of a run, each written as its option is on the command line, or as the bare number: bytes, cores, seconds.

    ``None`` and ``"off"`` switch one off. Raises SettingsError, which is a UsageError, with everything that is wrong:
    argument, value, and what is right. ``model`` is what the managers understand; limits are equal when these are."""

    cpu: Words | Default | None = field(default=DEFAULT, compare=False)  # "90%" of all CPUs, 3.5 cores
    memory: Words | Default | None = field(default=DEFAULT, compare=False)  # kept available: "10%", "2G"
    memory_gap: Words = field(default=0, compare=False)  # added to it
    swap: Words | None = field(default=None, compare=False)  # kept free
    pressure: str | Mapping[str, str] = field(default="", compare=False)  # "cpu=40%,io=30%"
    lines: Mapping[str, str] = field(default_factory=dict, compare=False)  # of sensors: {"gpu": "80,90,95"}
    workers_memory: Words | None = field(default=None, compare=False)  # all workers of the run together
    workers_cpu: Words | None = field(default=None, compare=False)
    memory_per_worker: Words | None = field(default=None, compare=False)  # a cap
    memory_need: Words | None = field(default=None, compare=False)  # reserved for each, instead of what is learned
    max_pause: Duration = field(default=300.0, compare=False)  # all pauses of an attempt
    give_up: Duration | None = field(default=60.0, compare=False)  # critical for so long; "never"
    model: Model = field(init=False)

    def __post_init__(self) -> None:
        faults, given = Faults("Limits"), self._given()
        read: dict[str, Any] = {}
        for name, value in given.items():
            with faults.of(name):
                read[name] = _READ[name](value)
        lines = read.pop("lines", {})
        if not given.keys() - read.keys() - {"lines"}:  # what can be read may still contradict itself
            with faults.of("memory_gap"):
                object.__setattr__(self, "model", limits_of(read, lines))
        faults.report()

    def _given(self) -> dict[str, Any]:
        """What is not as it is by default."""
        told = {one.name: (getattr(self, one.name), one.default) for one in fields(self) if one.init}
        return {name: value for name, (value, default) in told.items() if not _is_default(value, default)}

    def __repr__(self) -> str:
        return f"Limits({', '.join(f'{name}={value!r}' for name, value in self._given().items())})"


def model_of(limits: object) -> Model:
    """What the managers understand, of either kind; None: the defaults. Raises SettingsError."""
    if limits is None:
        return Model()
    if isinstance(limits, Limits):
        return limits.model
    if isinstance(limits, Model):
        return limits
    raise SettingsError(f"{shown(limits)} are no limits; write Limits(cpu='90%', memory='2G')")


def _is_default(value: object, default: object) -> bool:
    return value is default or value == {} or (type(value) is type(default) and value == default)


def _pressure(value: object) -> dict[str, Lines]:
    if isinstance(value, Mapping):
        value = ",".join(f"{name}={share}" for name, share in value.items())
    return parse_pressure(str(value))


def _lines(value: object) -> dict[str, Lines]:
    if not isinstance(value, Mapping):
        raise SettingsError(f"{shown(value)} is no mapping; write {{'gpu': '80,90,95'}}")
    return dict(parse_line(f"{name}={line}") for name, line in value.items())


_READ = {
    "cpu": figure_or("off", parse_cpus),
    "memory": figure_or("off", parse_memory, size_words),
    "memory_gap": figure(parse_size, size_words),
    "swap": figure_or("off", parse_memory, size_words),
    "pressure": _pressure,
    "lines": _lines,
    "workers_memory": figure_or("off", parse_some_memory, size_words),
    "workers_cpu": figure_or("off", parse_cpus),
    "memory_per_worker": optional(figure(parse_some_size, size_words)),
    "memory_need": optional(figure(parse_some_size, size_words)),
    "max_pause": figure(parse_some_duration),
    "give_up": figure_or("never", parse_some_duration),
}
