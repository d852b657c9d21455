"""Option types of our units: what cannot be read is a usage error that names the option and says how to write it."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import click

from ..errors import SettingsError
from ..model import Amount, Lines
from ..settings import Halt, Recycle, parse_wire
from ..units import (
    parse_cpus,
    parse_duration,
    parse_memory,
    parse_number,
    parse_size,
    parse_some_duration,
    parse_some_memory,
    parse_some_size,
)
from ..words import (
    Off,
    parse_count,
    parse_halt,
    parse_jobs,
    parse_line,
    parse_positive,
    parse_pressure,
    parse_recycle,
    parse_sensor,
)

T = TypeVar("T")


class Unit(click.ParamType, Generic[T]):  # type: ignore[type-arg, unused-ignore]  # generic from click 8.2 on
    """A value parsed by one of the parsers in `units`; ``off`` (or another word) stands for None."""

    def __init__(self, name: str, parse: Callable[[str], T], off: str | None = None) -> None:
        self.name = name
        self._parse = parse
        self._off = off

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        if self._off is not None and value == self._off:
            return Off
        try:
            return self._parse(value)
        except SettingsError as error:
            self.fail(str(error) if self._off is None else f"{error}, or {self._off}", param, ctx)


CPUS = Unit[Amount]("share|cores", parse_cpus, "off")
MEMORY = Unit[Amount]("share|size", parse_memory, "off")
SOME_MEMORY = Unit[Amount]("share|size", parse_some_memory, "off")
SIZE = Unit[int]("size", parse_size)
SOME_SIZE = Unit[int]("size", parse_some_size)
DURATION = Unit[float]("time", parse_duration)
SOME_DURATION = Unit[float]("time", parse_some_duration)
GIVE_UP = Unit[float]("time", parse_some_duration, "never")
CHECKPOINT = Unit[str]("address", parse_wire)
PRESSURE = Unit[dict[str, Lines]]("lines", parse_pressure)
SENSOR = Unit[tuple[str, str | None]]("sensor", parse_sensor)
LINE = Unit[tuple[str, Lines]]("lines", parse_line)
HALT = Unit[Halt | None]("when", parse_halt)
NUMBER = Unit[int]("number", parse_number)
RECYCLE = Unit[Recycle]("when", parse_recycle)
COUNT = Unit[int]("count", parse_count)
JOBS = Unit[Any]("jobs", parse_jobs)
POSITIVE = Unit[int]("count", parse_positive)
