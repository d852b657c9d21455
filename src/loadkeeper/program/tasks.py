"""What a program gives to do: a count, values for a command, or commands; read lazily from any iterable."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from ..errors import SettingsError
from ..preparing import exported_functions, queue_of
from ..saying import LOGGER
from ..sense.capacity import capacity
from ..settings import QueueSettings, RunSettings, is_an_argument
from ..sources.base import Source
from ..sources.commands import Fed, Row
from ..sources.commands import Values as Known
from ..sources.count import Count
from ..sources.placeholders import PLAIN, Placeholder, Syntax
from ..sources.template import SHELL, Template
from ..words import parse_count
from .arguments import Faults, shown, words

Value = str | bytes | os.PathLike[str] | os.PathLike[bytes] | int | float
"""What stands for `{}`: bytes as they are, text in the file system's encoding."""
Values = Iterable[Value | Sequence[Value]]
Command = str | Sequence[Value]
"""Words that meet no shell, or one string as on the command line."""
AHEAD = 32
"""Values that are read ahead of the workers: an iterable may take what it gives from somewhere."""
MakeSource = Callable[[Callable[[], None]], Source]


class Asked(NamedTuple):
    """What a program gives to do, as it gave it."""

    command: Command | None
    tasks: object
    values: Values | None
    commands: Iterable[Command] | None


class Work(NamedTuple):
    template: Template
    source: MakeSource


def work_of(asked: Asked, settings: RunSettings, faults: Faults) -> Work | None:
    """None: there are faults."""
    command, tasks, values, commands = asked
    named = (("tasks", tasks), ("values", values), ("commands", commands), ("queue", settings.queue))
    given = [name for name, one in named if one is not None]
    if len(given) != 1:
        how = "are given, and each names the tasks; give one of them" if given else "is needed: what is to be done?"
        faults.add(" and ".join(given) or "tasks, values, commands or queue", how)
        return None
    if commands is not None:
        return _of_commands(command, commands, settings, faults)
    template, queue = None, settings.queue
    with faults.of("command"):
        template = template_of(command, valued=tasks is None and (queue is None or is_an_argument(queue)))
    if queue is not None:
        if settings.resume or settings.resume_failed:
            faults.add("resume", "says what a list has done, and a queue knows that itself")
        return Work(template, _from_queue(queue, settings)) if template else None
    with faults.of(given[0]):
        if tasks is not None:
            count = parse_count(words(tasks))
            return Work(template, lambda _: Count(count)) if template else None
        source = _source(values, "values", _row, settings)
        return Work(template, source) if template else None
    return None


def _from_queue(queue: QueueSettings, settings: RunSettings) -> MakeSource:
    """The broker is asked when the run begins. Raises QueueError there."""

    def make(wake: Callable[[], None]) -> Source:
        return queue_of(queue, settings.limits, capacity().memory)(wake)

    return make


def template_of(command: object, *, valued: bool) -> Template:
    """Raises SettingsError."""
    if command is None:
        raise SettingsError("is needed: words such as ['python', 'fetch.py'], or one line for the shell")
    syntax = Syntax(b"{}", (), exported_functions(os.environb))
    if isinstance(command, str | bytes | os.PathLike):
        line = _bytes(command)
        if not line.strip():
            raise SettingsError("is empty; write words such as ['python', 'fetch.py'], or one line for the shell")
        return Template.parse([line], valued=valued, syntax=syntax)
    return Template.parse(_argv(command), valued=valued, shell=False, syntax=syntax)


def _of_commands(
    command: Command | None, commands: Iterable[Command], settings: RunSettings, faults: Faults
) -> Work | None:
    if command is not None:
        faults.add("command", "is given and commands, too; with commands each task has its own")
        return None
    whole = Template(((b"", Placeholder(b"{}"), b""),), shell=False, verbatim=True, syntax=PLAIN)
    with faults.of("commands"):
        return Work(whole, _source(commands, "commands", _command, settings))
    return None


def _source(
    items: Iterable[object] | None, name: str, row: Callable[[object], Row], settings: RunSettings
) -> MakeSource:
    """What is all there is looked at at once; anything else is read as it is needed. Raises SettingsError."""
    if isinstance(items, str | bytes) or not isinstance(items, Iterable):
        raise SettingsError(
            f"{shown(items)} is one {type(items).__name__}, not several; give a list or another iterable"
        )
    if isinstance(items, Sequence) or (settings.halt is not None and settings.halt.share is not None):
        rows = [_checked(place, item, row) for place, item in enumerate(items)]
        return lambda _: Known(rows)
    return lambda wake: Fed(lambda: _read(items, name, row), wake, name, AHEAD)


def _read(items: Iterable[object], name: str, row: Callable[[object], Row]) -> Iterator[Row]:
    """In the source's thread. What the iterable raises ends the run with an error; here it is told whole."""
    try:
        for place, item in enumerate(items):
            yield _checked(place, item, row)
    except SettingsError:
        raise
    except Exception:
        import logging

        logging.getLogger(LOGGER).exception("loadkeeper: the iterable that %s come from has failed", name)
        raise


def _checked(place: int, item: object, row: Callable[[object], Row]) -> Row:
    try:
        return row(item)
    except SettingsError as error:
        raise SettingsError(f"number {place + 1}, {shown(item)}: {error}") from None


def _row(item: object) -> Row:
    """The values of one task: several where they stand in a tuple or list."""
    if isinstance(item, tuple | list):
        return tuple(_bytes(value) for value in item)
    return (_bytes(item),)


def _command(item: object) -> Row:
    """One command as words."""
    if isinstance(item, str | bytes | os.PathLike):
        template = template_of(item, valued=False)
        return (SHELL, b"-c", _bytes(item)) if template.shell else (_bytes(item),)
    return tuple(_argv(item))


def _argv(command: object) -> list[bytes]:
    if not isinstance(command, Sequence) or not command:
        raise SettingsError(f"{shown(command)} is no command; write words such as ['python', 'fetch.py']")
    return [_bytes(word) for word in command]


def _bytes(value: object) -> bytes:
    if isinstance(value, str | bytes | os.PathLike):
        try:
            return os.fsencode(value)
        except UnicodeEncodeError:
            raise SettingsError("it holds a character that is none") from None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value).encode()
    raise SettingsError(f"a {type(value).__name__} is neither text, bytes, a path nor a number")
