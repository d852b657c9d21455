"""Reading a journal, a living one too: of that what is committed."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import msgspec

from ..errors import LoadkeeperError
from ..model import Outcome, Why
from .journal import SCHEMA, Event, Fate, Header, Verb, version

if TYPE_CHECKING:
    import sqlite3

Made = TypeVar("Made")
_UNMADE = "SQLITE_READONLY_ROLLBACK"
"""The power went in the few milliseconds in which the file was made, before anything was recorded."""


class OtherVersion(LoadkeeperError):
    """A newer Loadkeeper wrote it."""

    exit_code = 2


def read_header(path: str) -> Header:
    """Whose journal it is. Raises LoadkeeperError when it cannot be read."""
    for row in _rows(path, "SELECT * FROM run", order=""):
        return Header(*row)
    raise LoadkeeperError(f"the journal {path} names no run; it was cut off before its first record")


def read_outcomes(path: str, task: int | None = None) -> Iterator[Fate]:
    """Every attempt that ended (of one task, where it is named), in order; of a living journal what is committed.

    Raises LoadkeeperError when it cannot be read, or its tables are of another version."""
    made = partial(_fate, words=_words(path))
    yield from _known(path, made, _rows(path, "SELECT * FROM fate", ("task", task)))


def read_events(path: str, subject: str | None = None) -> Iterator[Event]:
    """Every change of what was wanted (of one subject, where it is named), in order. Raises LoadkeeperError."""
    return _known(path, _event, _rows(path, "SELECT * FROM event", ("subject", subject)))


def finished(path: str) -> set[int]:
    """Numbers of the tasks that are done. Raises LoadkeeperError."""
    rows = _rows(path, "SELECT task FROM fate", ("outcome", Outcome.DONE.value), order="")
    return {row[0] for row in rows}


def _words(path: str) -> dict[int, bytes]:
    """Last words by the number of their fate; none in a journal of before they were kept."""
    tables = _rows(path, "SELECT name FROM sqlite_master", ("name", "said"), order="")
    return dict(_rows(path, "SELECT number, text FROM said")) if any(tables) else {}


def _rows(
    path: str, select: str, where: tuple[str, Any] = ("", None), order: str = " ORDER BY number"
) -> Iterator[Any]:
    import sqlite3

    column, wanted = where
    condition = "" if wanted is None else f" WHERE {column} = ?"
    try:
        with _reader(path) as database:
            if version(database) == 0:
                return  # made a moment ago: its first commit is still to come
            yield from database.execute(select + condition + order, () if wanted is None else (wanted,))
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorname", "") == _UNMADE:
            return
        raise LoadkeeperError(f"the journal {path} cannot be read: {error}") from error


def _known(path: str, make: Callable[[tuple[Any, ...]], Made], rows: Iterator[Any]) -> Iterator[Made]:
    """What a newer version adds to the words, it may do so without other tables."""
    for row in rows:
        try:
            made = make(row)
        except (ValueError, msgspec.MsgspecError) as error:
            raise OtherVersion(
                f"the journal {path} says what this program does not know ({error}); "
                "read it with the Loadkeeper that wrote it"
            ) from None
        yield made


class _reader:
    """A connection that only reads, closed at the end."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> "sqlite3.Connection":
        import sqlite3

        self._database = sqlite3.connect(f"file:{quote(self._path)}?mode=ro", uri=True, timeout=2.0)
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


_decode_why: Callable[[str], Why] = msgspec.json.Decoder(Why).decode


def _why(text: str | None) -> Why | None:
    return None if text is None else _decode_why(text)


def _fate(row: tuple[Any, ...], words: Mapping[int, bytes]) -> Fate:
    number, task, value, attempt, worker, outcome, again, *figures, why = row
    code, signal, began, seconds, paused, peak, cpu = figures
    kept = (code, signal, began, seconds, paused, peak, cpu, _why(why))
    return Fate(task, value, attempt, worker, Outcome(outcome), bool(again), *kept, said=words.get(number, b""))


def _event(row: tuple[Any, ...]) -> Event:
    return Event(row[1], Verb(row[2]), row[3], row[4], _why(row[6]), row[5])
