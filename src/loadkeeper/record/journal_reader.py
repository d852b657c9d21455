"""Reading a journal, a living one too: of that what is committed."""

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from urllib.parse import quote

import msgspec
from msgspec import Meta, Struct

from ..errors import LoadkeeperError
from ..model import Bytes, Count, Figure, Outcome, Pid, Rank, RunId, Seconds, Why
from .journal import SCHEMA, Event, Fate, Header, Verb, version

if TYPE_CHECKING:
    import sqlite3

_UNMADE = "SQLITE_READONLY_ROLLBACK"
"""The power went in the few milliseconds in which the file was made, before anything was recorded."""


class OtherVersion(LoadkeeperError):
    """A newer Loadkeeper wrote it."""

    exit_code = 2


TaskNumber = Annotated[int, Meta(ge=1, le=1 << 53)]
Read = TypeVar("Read")
Row = TypeVar("Row")


def read_header(path: str) -> Header:
    """Whose journal it is. Raises LoadkeeperError when it cannot be read."""
    for header in _rows(path, "SELECT * FROM run", _header, order=""):
        return header
    raise LoadkeeperError(f"the journal {path} names no run; it was cut off before its first record")


def read_outcomes(path: str, task: int | None = None) -> Iterator[Fate]:
    """Every attempt that ended (of one task, where it is named), in order; of a living journal what is committed.

    Raises LoadkeeperError when it cannot be read, or its tables are of another version."""
    made = partial(_fate, words=_words(path))
    yield from _rows(path, "SELECT * FROM fate", made, ("task", task))


def read_events(path: str, subject: str | None = None) -> Iterator[Event]:
    """Every change of what was wanted (of one subject, where it is named), in order. Raises LoadkeeperError."""
    return _rows(path, "SELECT * FROM event", _event, ("subject", subject))


def finished(path: str) -> set[int]:
    """Numbers of the tasks that are done. Raises LoadkeeperError."""
    return set(_rows(path, "SELECT task FROM fate", _number, ("outcome", Outcome.DONE.value), order=""))


def _words(path: str) -> dict[int, bytes]:
    """Last words by the number of their fate; none in a journal of before they were kept."""
    tables = _rows(path, "SELECT name FROM sqlite_master", str, ("name", "said"), order="")
    return dict(_rows(path, "SELECT number, text FROM said", _said)) if any(tables) else {}


def _rows(
    path: str,
    select: str,
    read: Callable[[tuple[Any, ...]], Read],
    where: tuple[str, Any] = ("", None),
    order: str = " ORDER BY number",
) -> Iterator[Read]:
    import sqlite3

    column, wanted = where
    condition = "" if wanted is None else f" WHERE {column} = ?"
    try:
        with _reader(path) as database:
            if version(database) == 0:
                return  # made a moment ago: its first commit is still to come
            for row in database.execute(select + condition + order, () if wanted is None else (wanted,)):
                yield read(row)
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorname", "") == _UNMADE:
            return
        raise LoadkeeperError(f"the journal {path} cannot be read: {error}") from error
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise OtherVersion(
            f"the journal {path} has a record that this program does not know ({error}); "
            "read it with the Loadkeeper that wrote it"
        ) from error


class _reader:
    """A connection that only reads, closed at the end."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> "sqlite3.Connection":
        import sqlite3

        self._database = sqlite3.connect(f"file:{quote(os.fsencode(self._path))}?mode=ro", uri=True, timeout=2.0)
        found = version(self._database)
        if found not in (0, SCHEMA):
            self._database.close()
            raise OtherVersion(
                f"the journal {self._path} has tables of version {found}, this program reads version {SCHEMA}; "
                "read it with the Loadkeeper that wrote it"
            )
        return self._database

    def __exit__(self, *_: object) -> None:
        self._database.close()


def _said(row: tuple[Any, ...]) -> tuple[int, bytes]:
    number, said = msgspec.convert(row, tuple[Count, bytes], builtin_types=(bytes,))
    return number, said


class _HeaderRow(Struct, array_like=True):
    run: RunId
    name: str
    command: str
    pid: Pid
    began: Seconds


class _FateRow(Struct, array_like=True):
    number: Count
    task: TaskNumber
    value: bytes
    attempt: Count
    worker: Count
    outcome: Outcome
    again: Annotated[int, Meta(ge=0, le=1)]
    code: Rank | None
    signal: Count | None
    began: Seconds | None
    seconds: Figure | None
    paused: Figure
    peak: Bytes | None
    cpu: Figure | None
    why: str | None


class _EventRow(Struct, array_like=True):
    number: Count
    at: Seconds
    verb: Verb
    subject: str
    task: Count | None
    amount: Figure | None
    why: str | None


_decode_why: Callable[[str], Why] = msgspec.json.Decoder(Why).decode


def _why(text: str | None) -> Why | None:
    return None if text is None else _decode_why(text)


def _as(kind: type[Row], row: tuple[Any, ...]) -> Row:
    """SQLite keeps any type in any column."""
    return msgspec.convert(row, kind, builtin_types=(bytes,))


def _header(row: tuple[Any, ...]) -> Header:
    one = _as(_HeaderRow, row)
    return Header(one.run, one.name, one.command, one.pid, one.began)


def _fate(row: tuple[Any, ...], words: Mapping[int, bytes]) -> Fate:
    one = _as(_FateRow, row)
    figures = (one.code, one.signal, one.began, one.seconds, one.paused, one.peak, one.cpu, _why(one.why))
    return Fate(
        one.task, one.value, one.attempt, one.worker, one.outcome, bool(one.again), *figures, words.get(row[0], b"")
    )


def _event(row: tuple[Any, ...]) -> Event:
    one = _as(_EventRow, row)
    return Event(one.at, one.verb, one.subject, one.task, _why(one.why), one.amount)


def _number(row: tuple[Any, ...]) -> int:
    number: int = msgspec.convert(row[0], TaskNumber)
    return number
