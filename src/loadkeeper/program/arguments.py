"""What a program says by keywords: read by the parsers of the command line, all faults at once."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

from ..errors import SettingsError, UsageError
from ..words import Off

T = TypeVar("T")
Words = str | int | float
"""A figure as the command line has it: text with its unit, or the bare number."""
Duration = Words | timedelta


class Faults:
    """All that is wrong with one call, by argument, so that it is said at once."""

    def __init__(self, call: str) -> None:
        self._call = call
        self._told: list[str] = []

    def add(self, argument: str, problem: str) -> None:
        self._told.append(f"{argument}: {problem}")

    @contextmanager
    def of(self, argument: str) -> Iterator[None]:
        """What is raised inside is a fault of this argument."""
        try:
            yield
        except UsageError as error:
            self.add(argument, in_arguments(str(error)))

    def report(self) -> None:
        """Raises SettingsError when there is any."""
        if self._told:
            raise SettingsError("\n".join(f"{self._call}: {told}" for told in self._told))


_OPTION = re.compile(r"(?<![\w-])--([a-z]+(?:-[a-z]+)*)")


@contextmanager
def as_arguments() -> Iterator[None]:
    """Faults that name options name arguments instead: ``--memory-need`` is `memory_need`."""
    try:
        yield
    except UsageError as error:
        raise type(error)(in_arguments(str(error))) from None


def in_arguments(told: str) -> str:
    return _OPTION.sub(lambda found: found[1].replace("-", "_"), told)


def words(value: object) -> str:
    """What the command line would have said. Raises SettingsError for what is neither text nor number."""
    if isinstance(value, str):
        return value
    if isinstance(value, timedelta):
        return f"{value.total_seconds():f}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SettingsError(f"{value!r} is neither text nor a number")
    return str(value) if isinstance(value, int) else f"{value:f}"


def size_words(value: object) -> str:
    """Of bytes: a number below one byte was meant as a share."""
    if isinstance(value, float) and not value.is_integer():
        raise SettingsError(f"{value!r} is no number of bytes; write a share as '10%' and a size as '2G' or in bytes")
    return words(int(value) if isinstance(value, float) else value)


def figure(parse: Callable[[str], T], written: Callable[[object], str] = words) -> Callable[[object], T]:
    """A reader of text and numbers alike."""
    return lambda value: parse(written(value))


def figure_or(
    off: str, parse: Callable[[str], T], written: Callable[[object], str] = words
) -> Callable[[object], T | type[Off]]:
    """The same where a word, or None, switches the limit off."""

    def read(value: object) -> T | type[Off]:
        if value is None or value == off:
            return Off
        try:
            return parse(written(value))
        except SettingsError as error:
            raise SettingsError(f"{error}, or {off}") from None

    return read


def optional(read: Callable[[object], T]) -> Callable[[object], T | None]:
    """None stays None."""
    return lambda value: None if value is None else read(value)


def text(value: object) -> str:
    """Raises SettingsError."""
    if not isinstance(value, str):
        raise SettingsError(f"{value!r} is no text")
    return value


def path(value: object) -> str:
    """Of a file. Raises SettingsError."""
    if not isinstance(value, str | os.PathLike):
        raise SettingsError(f"{value!r} is no path")
    return os.fsdecode(value)


def flag(value: object) -> bool:
    """Raises SettingsError."""
    if not isinstance(value, bool):
        raise SettingsError(f"{value!r} is neither True nor False")
    return value


def shown(value: Any) -> str:
    """For messages."""
    told = repr(value)
    return told if len(told) <= 60 else f"{told[:58]}.."
