"""The process manager's journal: the fate of every task, and every change of what was wanted, with its why.

SQLite in WAL mode with synchronous=FULL, written by a thread of its own, at most one commit each 100 ms: a commit takes
up to 21 ms beside two ``dd`` (measured), and nobody waits for it. After kill -9 what was committed is there. Anybody of
the same user may read while it is written.
"""

import os
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from ..model import Outcome, Why
from .places import sync_directory
from .writer import Refused, Writer

if TYPE_CHECKING:
    import sqlite3

SCHEMA = 1
"""Version of the tables, kept in the file's user_version. Who makes a new one teaches `journal_reader` to read the old
one too, and saves some of it in tests/journals: journals load for ever."""
COMMIT = 0.1
"""Seconds between two commits."""
NAME = "journal.db"
"""Its name in the run's own directory."""

_TABLES = (
    "CREATE TABLE run (id TEXT, name TEXT, command TEXT, pid INTEGER, began REAL)",
    """CREATE TABLE fate (number INTEGER PRIMARY KEY, task INTEGER, value BLOB, attempt INTEGER, worker INTEGER,
       outcome TEXT, again INTEGER, code INTEGER, signal INTEGER, began REAL, seconds REAL, paused REAL, peak INTEGER,
       cpu REAL, why TEXT)""",
    """CREATE TABLE event (number INTEGER PRIMARY KEY, at REAL, verb TEXT, subject TEXT, task INTEGER, amount REAL,
       why TEXT)""",
)
_SAID = "CREATE TABLE IF NOT EXISTS said (number INTEGER PRIMARY KEY, text BLOB)"
"""By the fate's number. A table of its own, which journals of before have not."""
_FATE = "INSERT OR IGNORE INTO fate VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_WORDS = "INSERT OR IGNORE INTO said VALUES (?, ?)"
_EVENT = "INSERT OR IGNORE INTO event VALUES (?, ?, ?, ?, ?, ?, ?)"


class Header(Struct, frozen=True):
    """Whose journal it is. ``began``: seconds since the epoch."""

    run: str
    name: str
    command: str
    pid: int
    began: float


class Fate(Struct, frozen=True):
    """How one attempt at a task ended. ``None``: not known, or not measured."""

    task: int  # its number in the run, from 1
    value: bytes
    attempt: int  # from 1, those that were given back counted
    worker: int
    outcome: Outcome
    again: bool  # the task is tried again
    code: int | None = None
    signal: int | None = None
    began: float | None = None  # seconds since the epoch
    seconds: float | None = None  # from start to exit, pauses counted
    paused: float = 0.0  # seconds of them
    peak: int | None = None  # bytes
    cpu: float | None = None  # seconds
    why: Why | None = None  # why we ended it
    said: bytes = b""  # the end of what it wrote, of a task that has failed for good


class Verb(StrEnum):
    """What was done to a subject."""

    START = "start"
    PAUSE = "pause"
    CONTINUE = "continue"
    END = "end"
    KILL = "kill"
    GIVE_BACK = "give-back"
    BURY = "bury"
    SLOTS = "slots"  # a pool may have ``amount`` workers
    CRITICAL = "critical"
    WANT = "want"  # the operator's word
    LOST = "lost"  # the load manager is gone
    FOUND = "found"  # another one is there


class Event(Struct, frozen=True):
    """One change of what was wanted."""

    at: float  # seconds since the epoch
    verb: Verb
    subject: str  # a worker's id, a pool's, the run's
    task: int | None = None
    why: Why | None = None
    amount: float | None = None


class Journal:
    """Takes records without waiting: about 1 µs a call.

    A disk that refuses ends nothing: ``fault`` says so, records are kept and tried again each second. While ``full``,
    more waits than should: start nothing new.
    """

    def __init__(self, path: str, header: Header) -> None:
        self._writer: Writer[Fate | Event] = Writer("journal", _Sink(path, header), _weigh, COMMIT)

    @classmethod
    def open(cls, path: str, header: Header) -> "Journal":
        """A journal in the file ``path``, made by a thread of its own; one that is there is carried on."""
        return cls(path, header)

    @property
    def fault(self) -> str | None:
        return self._writer.fault

    @property
    def full(self) -> bool:
        return self._writer.full

    def outcome(self, fate: Fate) -> None:
        self._writer.put(fate)

    def event(self, event: Event) -> None:
        self._writer.put(event)

    def flush(self, seconds: float = 10.0) -> bool:
        """Wait until all is on disk; False when that took longer than ``seconds``."""
        return self._writer.flush(seconds)

    def close(self, seconds: float = 10.0) -> bool:
        """Write what is left; False when the disk did not take it within ``seconds``."""
        return self._writer.close(seconds)


def _weigh(record: Fate | Event) -> int:
    """Bytes that a record holds while it waits, about."""
    return 600 + len(record.value) + len(record.said) if type(record) is Fate else 400


class _Sink:
    """The database, opened by the thread that writes, and opened anew after a fault.

    Records are numbered here, so that one whose commit failed only halfway is not there twice."""

    def __init__(self, path: str, header: Header) -> None:
        self._path = path
        self._header = header
        self._database: sqlite3.Connection | None = None
        self._next: int | None = None

    def write(self, batch: Sequence[Fate | Event]) -> None:
        import sqlite3

        try:
            if self._database is None:
                self._database = self._open()
            if batch:
                self._commit(self._database, batch)
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise Refused(f"the journal {self._path} cannot be written: {error}") from error

    def close(self) -> None:
        import sqlite3

        if self._database is not None:
            try:
                self._database.close()
            except sqlite3.Error:
                pass  # what was committed stays in the write-ahead log
            self._database = None

    def _open(self) -> "sqlite3.Connection":
        import sqlite3

        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        database = sqlite3.connect(self._path, isolation_level=None)
        try:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=FULL")
            if self._make_tables(database):
                sync_directory(os.path.dirname(os.path.dirname(os.path.abspath(self._path))))
            if self._next is None:
                self._next = _highest(database) + 1
        except BaseException:
            database.close()
            raise
        return database

    def _make_tables(self, database: "sqlite3.Connection") -> bool:
        """True: they were not there."""
        found = version(database)
        if found == SCHEMA:
            database.execute(_SAID)
            return False
        if found != 0:
            raise OSError(f"its tables are of version {found}, this program writes version {SCHEMA}")
        with _transaction(database):
            for table in _TABLES:
                database.execute(table)
            database.execute(_SAID)
            database.execute("INSERT INTO run VALUES (?, ?, ?, ?, ?)", msgspec.structs.astuple(self._header))
            database.execute(f"PRAGMA user_version={SCHEMA}")
        return True

    def _commit(self, database: "sqlite3.Connection", batch: Sequence[Fate | Event]) -> None:
        first = self._next or 1
        fates: list[tuple[Any, ...]] = []
        events: list[tuple[Any, ...]] = []
        words: list[tuple[int, bytes]] = []
        for number, record in enumerate(batch, first):
            if type(record) is Fate:
                fates.append(_fate_row(number, record))
                words += [(number, record.said)] if record.said else []
            elif type(record) is Event:
                events.append(_event_row(number, record))
        with _transaction(database):
            database.executemany(_FATE, fates)
            database.executemany(_EVENT, events)
            database.executemany(_WORDS, words)
        self._next = first + len(batch)


class _transaction:
    """All of it or nothing, without sqlite3's own idea of when one begins."""

    def __init__(self, database: "sqlite3.Connection") -> None:
        self._database = database

    def __enter__(self) -> None:
        self._database.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._database.execute("COMMIT")
        elif self._database.in_transaction:
            self._database.execute("ROLLBACK")


def _fate_row(number: int, fate: Fate) -> tuple[Any, ...]:
    return (
        number,
        fate.task,
        fate.value,
        fate.attempt,
        fate.worker,
        fate.outcome.value,
        fate.again,
        fate.code,
        fate.signal,
        fate.began,
        fate.seconds,
        fate.paused,
        fate.peak,
        fate.cpu,
        _text(fate.why),
    )


def _event_row(number: int, event: Event) -> tuple[Any, ...]:
    return (number, event.at, event.verb.value, event.subject, event.task, event.amount, _text(event.why))


def _text(why: Why | None) -> str | None:
    return None if why is None else msgspec.json.encode(why).decode()


def version(database: "sqlite3.Connection") -> int:
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def _highest(database: "sqlite3.Connection") -> int:
    rows = database.execute("SELECT max(number) FROM fate UNION ALL SELECT max(number) FROM event")
    return max(row[0] or 0 for row in rows)
