"""Where the values of a run's tasks come from: `:::` and its like, files, stdin, alone or multiplied."""

import os
import re
import stat
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

from ..errors import UsageError
from ..sources.base import Source
from ..sources.commands import Columns, Row, Stream, Values, columns_by, linked, rows, split, whole
from ..sources.count import Count

NO_SOURCE = """run needs tasks; name them in one of three ways:
  loadkeeper run COMMAND {} ::: VALUE...     values on the command line
  ... | loadkeeper run COMMAND {}            values from stdin (or -a FILE), a line each
  loadkeeper run --tasks N -- COMMAND        N workers that find their own work"""
MARKS = (":::", ":::+", "::::", "::::+")
ESCAPES = {"\\n": b"\n", "\\t": b"\t", "\\0": b"\0", "\\r": b"\r", "\\\\": b"\\"}

Wake = Callable[[], None]
MakeSource = Callable[[Wake], Source]
"""Given what its thread is to call when it has more."""


class Input(NamedTuple):
    """Values as they stand on the command line, or a file of them; ``linked``: to the input before it."""

    values: Sequence[bytes] = ()
    path: str | None = None  # `-`: stdin
    linked: bool = False


class Cut(NamedTuple):
    """How a file falls into values, and a value into columns."""

    separator: bytes = b"\n"
    columns: Columns = whole


def cut(*, null: bool, delimiter: str | None, colsep: str | None) -> Cut:
    """From ``-0``, ``--delimiter`` and ``--colsep``. Raises UsageError."""
    if null and delimiter is not None:
        raise UsageError("-0 and --delimiter both say what ends a value; give one of them")
    separator = b"\0" if null else b"\n"
    if delimiter is not None:
        separator = ESCAPES.get(delimiter, os.fsencode(delimiter))
        if not separator:
            raise UsageError("--delimiter is empty; give the character that ends a value, or -0 for NUL")
    if colsep is None:
        return Cut(separator)
    try:
        return Cut(separator, columns_by(os.fsencode(colsep)))
    except re.error as error:
        raise UsageError(f"--colsep {colsep!r} is no regular expression: {error}") from None


def parse(words: Sequence[str]) -> tuple[Sequence[str], list[Input]]:
    """The command before the first `:::`, `::::`, `:::+` or `::::+`, and the inputs that follow. Raises UsageError."""
    places = [place for place, word in enumerate(words) if word in MARKS]
    inputs: list[Input] = []
    for place, end in pairwise([*places, len(words)]):
        mark, given = words[place], words[place + 1 : end]
        if mark.startswith("::::"):
            if not given:
                raise UsageError(f"{mark} needs the name of a file with values, one a line; - is stdin")
            inputs += [Input(path=path, linked=mark.endswith("+")) for path in given]
        else:
            inputs.append(Input([os.fsencode(word) for word in given], linked=mark.endswith("+")))
    return words[: places[0]] if places else words, inputs


def source(inputs: Sequence[Input], tasks: int | None, how: Cut) -> MakeSource:
    """Where tasks come from. A single file or stdin is streamed; what is multiplied or linked is read first.

    Raises UsageError when there is none, when two contradict each other, and for a file that cannot be read."""
    if tasks is not None:
        if inputs:
            other = ":::" if inputs[0].path is None else "-a"
            raise UsageError(f"--tasks and {other} both name tasks; give one of them")
        return lambda _: Count(tasks)
    if not inputs:
        if not waits_on_stdin():
            raise UsageError(NO_SOURCE)
        inputs = [Input(path="-")]
    if len(inputs) == 1 and (path := inputs[0].path) is not None:
        descriptor, name = _open(path), "stdin" if path == "-" else path
        return lambda wake: Stream(descriptor, wake, name, how.separator, how.columns)
    groups = _groups(inputs, how)
    return lambda _: Values(*groups)


def _groups(inputs: Sequence[Input], how: Cut) -> list[list[Row]]:
    """What is linked is one group."""
    groups: list[list[list[Row]]] = []
    for one in inputs:
        found = rows(one.values if one.path is None else _read(one.path, how.separator), how.columns)
        if one.linked and groups:
            groups[-1].append(found)
        else:
            groups.append([found])
    return [group[0] if len(group) == 1 else linked(group) for group in groups]


def _read(path: str, separator: bytes) -> list[bytes]:
    descriptor = _open(path)
    try:
        return list(split(descriptor, separator))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; name a file that can be read") from None
    finally:
        os.close(descriptor)


def _open(path: str) -> int:
    try:
        descriptor = os.dup(0) if path == "-" else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; name a file that can be read, one value a line") from None
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
