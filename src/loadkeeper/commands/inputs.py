"""Where the values of a run's tasks come from: `:::` and its like, files, stdin, alone or multiplied."""

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from ..errors import UsageError
from ..sources.base import Source
from ..sources.commands import (
    Row,
    Rows,
    Stream,
    Values,
    at_most,
    columns_by,
    first,
    linked,
    one_each,
    repeated,
    split,
)
from ..sources.count import Count

NO_SOURCE = """run needs tasks; name them in one of three ways:
  loadkeeper run COMMAND {} ::: VALUE...     values on the command line
  ... | loadkeeper run COMMAND {}            values from stdin (or -a FILE), a line each
  loadkeeper run --tasks N -- COMMAND        N workers that find their own work"""
MARKS = (":::", ":::+", "::::", "::::+")
_ESCAPE = re.compile(r"\\(?:([0-7]{1,3})|x([0-9a-fA-F]{1,2})|([ntrfvab\\]))")
_LETTERS = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "a": "\a", "b": "\b", "\\": "\\"}

Wake = Callable[[], None]
MakeSource = Callable[[Wake], Source]
"""Given what its thread is to call when it has more."""


class Input(NamedTuple):
    """Values as they stand on the command line, or a file of them; ``linked``: to the input before it."""

    values: Sequence[bytes] = ()
    path: str | None = None  # `-`: stdin
    linked: bool = False


class Cut(NamedTuple):
    """How a file falls into values, and these into rows: one for each task, before inputs are multiplied."""

    separator: bytes = b"\n"
    rows: Rows = one_each
    max_args: int | None = None
    header: bool = False  # the first row names the columns
    link: bool = False  # all inputs
    without_empty: bool = False

    def filtered(self, values: Iterable[bytes]) -> Iterator[Row]:
        return self.rows(filter(None, values) if self.without_empty else values)


def cut(options: Mapping[str, Any]) -> Cut:
    """From the options of ``run`` by the names of click's parameters. Raises UsageError."""
    null, delimiter, colsep = options["null"], options["delimiter"], options["colsep"]
    max_args, header = options["max_args"], options["header"]
    if null and delimiter is not None:
        raise UsageError("-0 and --delimiter both say what ends a value; give one of them")
    separator = b"\0" if null else b"\n"
    if delimiter is not None:
        separator = os.fsencode(escaped(delimiter))
        if not separator:
            raise UsageError("--delimiter is empty; give the character that ends a value, or -0 for NUL")
    if header not in {None, ":"}:
        raise UsageError(f"--header {header}: only --header : is known here, the first value of each input as its name")
    if max_args is not None and (colsep is not None or header is not None):
        other = "--colsep" if colsep is not None else "--header"
        raise UsageError(f"--max-args takes values from one input without columns; give it or {other}")
    rows = one_each if max_args is None else at_most(max_args)
    try:
        rows = rows if colsep is None else columns_by(os.fsencode(colsep))
    except re.error as error:
        raise UsageError(f"--colsep {colsep!r} is no regular expression: {error}") from None
    return Cut(separator, rows, max_args, header is not None, options["link"], options["no_run_if_empty"])


def escaped(text: str) -> str:
    """What C's escapes in a text stand for: `\\n`, `\\0`, `\\054`, `\\x2c`. A number is a byte, not a character."""

    def one(found: re.Match[str]) -> str:
        octal, hexadecimal, letter = found.groups()
        return (
            _LETTERS[letter] if letter else os.fsdecode(bytes([int(octal, 8) & 255 if octal else int(hexadecimal, 16)]))
        )

    return _ESCAPE.sub(one, text)


def parse(words: Sequence[str]) -> tuple[Sequence[str], list[Input]]:
    """The command before the first `:::`, `::::`, `:::+` or `::::+`, and the inputs that follow. Raises UsageError."""
    places = [place for place, word in enumerate(words) if word in MARKS]
    inputs: list[Input] = []
    for place, end in pairwise([*places, len(words)]):
        mark, given = words[place], words[place + 1 : end]
        if mark.startswith("::::"):
            if not given:
                raise UsageError(f"{mark} needs the name of a file with values, one a line; - is stdin")
            made = [Input(path=path) for path in given]
        else:
            made = [Input([os.fsencode(word) for word in given])]
        for one in made:  # the first of all is linked to nothing, to no `-a` either, as GNU parallel has it
            inputs.append(one._replace(linked=bool(inputs) and mark.endswith("+")))
    return words[: places[0]] if places else words, inputs


class Tasks(NamedTuple):
    """Where the tasks of a run come from, and what their values are called."""

    source: MakeSource
    names: Row = ()  # `--header`: of each value of a task


def tasks(inputs: Sequence[Input], count: int | None, how: Cut, *, counted: bool = False) -> Tasks:
    """A single file or stdin is streamed; what is multiplied, linked, or must be ``counted`` is read first.

    Raises UsageError when there is none, when two contradict each other, and for a file that cannot be read."""
    if count is not None:
        if inputs:
            other = ":::" if inputs[0].path is None else "-a"
            raise UsageError(f"--tasks and {other} both name tasks; give one of them")
        return Tasks(lambda _: Count(count))
    if not inputs:
        if not waits_on_stdin():
            raise UsageError(NO_SOURCE)
        inputs = [Input(path="-")]
    if how.max_args is not None and len(inputs) > 1:
        raise UsageError(f"--max-args takes values from one input, and here are {len(inputs)}")
    if len(inputs) == 1 and (path := inputs[0].path) is not None and not counted:
        return _streamed(path, how)
    found = [list(how.filtered(one.values if one.path is None else _read(one.path, how.separator))) for one in inputs]
    names = tuple(name for rows in found for name in rows.pop(0)) if how.header and all(found) else ()
    groups = _groups([one.linked for one in inputs], found, all_linked=how.link)
    return Tasks(lambda _: Values(*groups), names)


def _streamed(path: str, how: Cut) -> Tasks:
    descriptor, name = _open(path), "stdin" if path == "-" else path
    names = next(how.rows([_first(descriptor, how.separator, name)]), ()) if how.header else ()
    return Tasks(lambda wake: Stream(descriptor, wake, name, how.separator, how.filtered), names)


def _groups(marked: Sequence[bool], found: Sequence[list[Row]], *, all_linked: bool) -> list[Sequence[Row]]:
    """What is linked is one group: ``marked`` with the input before it, or all of them, the shorter ones repeated."""
    if all_linked:
        longest = max(map(len, found))
        return [linked([repeated(rows, longest) for rows in found])]
    groups: list[list[list[Row]]] = []
    for to_the_one_before, rows in zip(marked, found, strict=True):
        if to_the_one_before and groups:
            groups[-1].append(rows)
        else:
            groups.append([rows])
    return [group[0] if len(group) == 1 else linked(group) for group in groups]


def _read(path: str, separator: bytes) -> list[bytes]:
    descriptor = _open(path)
    try:
        return list(split(descriptor, separator))
    except OSError as error:
        raise UsageError(_unreadable(path, error)) from None
    finally:
        os.close(descriptor)


def _first(descriptor: int, separator: bytes, name: str) -> bytes:
    try:
        return first(descriptor, separator)
    except OSError as error:
        raise UsageError(_unreadable(name, error)) from None


def _unreadable(name: str, error: OSError) -> str:
    return f"{name}: {error.strerror}; name a file that can be read, one value a line"


def _open(path: str) -> int:
    try:
        descriptor = os.dup(0) if path == "-" else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(_unreadable(path, error)) from None
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UsageError(f"{path}: is a directory; name a file that can be read, one value a line")
    return descriptor


def brought_on_stdin() -> bool:
    """Whether stdin is a file or a pipe: commands without any word are taken from nothing else."""
    try:
        kind = os.fstat(0).st_mode
    except OSError:
        return False
    return stat.S_ISREG(kind) or stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind)


def waits_on_stdin() -> bool:
    """Whether stdin is a file, a pipe or the like: no terminal, not closed."""
    try:
        return not os.isatty(0) and bool(stat.S_IFMT(os.fstat(0).st_mode))
    except OSError:
        return False
