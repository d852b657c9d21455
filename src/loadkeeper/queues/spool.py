"""`spool:PATH`: a queue in one file, for any number of processes on one machine. SQLite in WAL mode, synchronous=FULL:
what was put and what was answered survives the loss of power.

Who holds tasks has a row of its own with a lease; who is gone (by pid and start time on the same boot, else when the
lease has run out) loses what it held. A FIFO beside the file wakes those who wait.
"""

import contextlib
import errno
import os
import sqlite3
import time
import uuid
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import msgspec

from ..errors import SettingsError
from ..linux.proc import boot_id, pid_namespace
from ..linux.process import Process, myself
from .broker import (
    Answer,
    Backlog,
    Broker,
    Burial,
    Delivery,
    Fate,
    Found,
    Message,
    Past,
    QueueError,
    Unreachable,
    chosen,
)
from .url import EXAMPLES

SCHEMA = 1
LEASE = 30.0
"""Seconds without a sign of life after which somebody's tasks are given to others, where nobody can see whether it
lives: it is in another container."""
LOOK = 0.25
"""Seconds between two looks, where no FIFO wakes us."""
LOST = 1.0
"""Seconds between two looks for those that are gone."""
BUSY = 30.0
"""Seconds to wait for another process's transaction."""
WAITING, TAKEN, PUT_ASIDE = 0, 1, 2

_TABLES = (
    """CREATE TABLE task (id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT UNIQUE NOT NULL, payload BLOB NOT NULL,
       put REAL NOT NULL, state INTEGER NOT NULL DEFAULT 0, owner TEXT, deliveries INTEGER NOT NULL DEFAULT 0,
       past TEXT, burial TEXT, said BLOB, result INTEGER NOT NULL DEFAULT 0)""",
    "CREATE INDEX waiting ON task (id) WHERE state = 0",
    "CREATE INDEX taken ON task (owner) WHERE state = 1",
    "CREATE INDEX buried ON task (id) WHERE state = 2",
    "CREATE TABLE owner (name TEXT PRIMARY KEY, pid INTEGER, started INTEGER, place TEXT, boot TEXT, until REAL)",
    "CREATE TABLE result (key TEXT PRIMARY KEY, fate TEXT, result BLOB, at REAL)",
)


class Spool(Broker):
    """Raises SettingsError for a path that is none."""

    keep_every = LEASE / 3

    def __init__(self, text: str) -> None:
        path = text.partition(":")[2]
        if path.startswith("//"):
            path = path[2:] if path.startswith("///") else path
        if not path or path.endswith("/"):
            raise SettingsError(f"{text!r} names no file; {EXAMPLES}")
        self.shown = text
        self._path = os.path.abspath(path)
        self._name = ""
        self._database: sqlite3.Connection | None = None
        self._wake: int | None = None
        self._wanted = 0
        self._look_at = self._lost_at = 0.0

    # ------------------------------------------------------------------------------------------------- who takes tasks

    def connect(self) -> None:
        self.close()
        with self._faults():
            fresh = not os.path.exists(self._path)
            if fresh:
                with contextlib.suppress(FileExistsError):
                    os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            database = sqlite3.connect(self._path, timeout=BUSY, isolation_level=None)
            try:
                self._prepare(database)
            except BaseException:
                database.close()
                raise
            self._database = database
        self._look_at = 0.0

    def _prepare(self, database: sqlite3.Connection) -> None:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        with _transaction(database):
            found = database.execute("PRAGMA user_version").fetchone()[0]
            if found == 0 and database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                raise QueueError(f"{self.shown}: the file is a database, and no queue of ours; give another path")
            if found == 0:
                for table in _TABLES:
                    database.execute(table)
                database.execute(f"PRAGMA user_version={SCHEMA}")
            elif found != SCHEMA:
                raise QueueError(
                    f"{self.shown}: its tables are of version {found}, this program knows version {SCHEMA}; "
                    "use the Loadkeeper that made it"
                )

    def descriptors(self) -> Collection[int]:
        return () if self._wake is None or not self._wanted else (self._wake,)

    def want(self, count: int) -> None:
        if count > self._wanted:
            self._look_at = 0.0
        self._wanted = count

    def receive(self) -> list[Delivery]:
        now = time.monotonic()
        if not self._wanted or (now < self._look_at and not self._woken()):
            return []
        with self._faults():
            self._announce()
            if now >= self._lost_at:
                self._lost_at = now + LOST
                self._release_lost()
            found = self._take(self._wanted)
        self._wanted -= len(found)
        self._look_at = 0.0 if found else now + LOOK
        return found

    def _take(self, count: int) -> list[Delivery]:
        database = self._opened()
        rows = "SELECT id, key, payload, deliveries, past, result FROM task WHERE state = 0 ORDER BY id LIMIT ?"
        if database.execute("SELECT 1 FROM task WHERE state = 0 LIMIT 1").fetchone() is None:
            return []  # without a lock
        with _transaction(database):
            taken = database.execute(rows, (count,)).fetchall()
            database.executemany(
                "UPDATE task SET state = 1, owner = ?, deliveries = deliveries + 1 WHERE id = ?",
                [(self._name, row[0]) for row in taken],
            )
        return [
            Delivery(payload, key, number, again=deliveries > 0, result=bool(result), past=_past(past))
            for number, key, payload, deliveries, past, result in taken
        ]

    def _announce(self) -> None:
        """Before the first task: who we are, and a FIFO that wakes us."""
        if self._name:
            return
        self._name = uuid.uuid4().hex
        self._sign()
        self._listen()

    def _sign(self) -> None:
        pid, started = myself()
        until = time.clock_gettime(time.CLOCK_BOOTTIME) + LEASE
        row = (self._name, pid, started, pid_namespace(), boot_id(), until)
        self._opened().execute("INSERT OR REPLACE INTO owner VALUES (?, ?, ?, ?, ?, ?)", row)

    def _listen(self) -> None:
        if self._wake is not None:
            return
        with contextlib.suppress(OSError):
            with contextlib.suppress(FileExistsError):
                os.mkfifo(f"{self._path}-wake", 0o600)
            self._wake = os.open(f"{self._path}-wake", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def _woken(self) -> bool:
        if self._wake is None:
            return False
        try:
            return bool(os.read(self._wake, 4096))
        except OSError:
            return False

    def _release_lost(self) -> None:
        """What those held that are gone is given to others."""
        database = self._opened()
        gone = [row[0] for row in database.execute("SELECT * FROM owner").fetchall() if _is_gone(*row[1:])]
        for name in gone:
            with _transaction(database):
                database.execute("UPDATE task SET state = 0, owner = NULL WHERE state = 1 AND owner = ?", (name,))
                database.execute("DELETE FROM owner WHERE name = ?", (name,))

    def settle(self, answers: deque[Answer]) -> None:
        if not answers:
            return
        batch, late = list(answers), 0
        with self._faults(), _transaction(self._opened()) as database:
            for answer in batch:
                late += not self._answer(database, answer)
        for _ in batch:
            answers.popleft()
        self.late += late
        if any(answer.fate is Fate.BACK for answer in batch):
            self._call()

    def _answer(self, database: sqlite3.Connection, answer: Answer) -> bool:
        """False: it is not ours any more."""
        delivery, number = answer.delivery, answer.delivery.token
        mine = (number, self._name)
        if answer.fate is Fate.BACK:
            query = "UPDATE task SET state = 0, owner = NULL, past = ? WHERE id = ? AND state = 1 AND owner = ?"
            return database.execute(query, (_text(delivery.past), *mine)).rowcount == 1
        if answer.fate is Fate.DONE:
            if not database.execute("DELETE FROM task WHERE id = ? AND state = 1 AND owner = ?", mine).rowcount:
                return False
        else:
            burial = answer.burial or Burial("")
            kept = (_text(msgspec.structs.replace(burial, said=b"")), burial.said)
            query = (
                "UPDATE task SET state = 2, owner = NULL, burial = ?, said = ? WHERE id = ? AND state = 1 AND owner = ?"
            )
            if not database.execute(query, (*kept, *mine)).rowcount:
                return False
        if delivery.result:
            row = (delivery.key, answer.fate.value, answer.result, time.time())
            database.execute("INSERT OR REPLACE INTO result VALUES (?, ?, ?, ?)", row)
        return True

    def keep(self, held: Sequence[Delivery]) -> None:
        if self._name:
            with self._faults():
                self._sign()

    def due(self, now: float) -> float:
        return self._look_at if self._wanted else float("inf")

    def close(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            with contextlib.suppress(sqlite3.Error):
                if self._name:
                    database.execute(
                        "DELETE FROM owner WHERE name = ? AND NOT EXISTS (SELECT 1 FROM task WHERE "
                        "state = 1 AND owner = name)",
                        (self._name,),
                    )
            with contextlib.suppress(sqlite3.Error):
                database.close()
        if self._wake is not None:
            os.close(self._wake)
            self._wake = None
        self._wanted = 0

    # ----------------------------------------------------------------------------------------------- who looks after it

    def count(self) -> Backlog:
        with self._faults():
            counted = dict(self._opened().execute("SELECT state, count(*) FROM task GROUP BY state").fetchall())
        return Backlog(counted.get(WAITING, 0), counted.get(TAKEN, 0), counted.get(PUT_ASIDE, 0))

    def put(self, messages: Sequence[Message]) -> list[str]:
        now = time.time()
        keys = [message.key or uuid.uuid4().hex for message in messages]
        rows = [(key, message.payload, now, int(message.result)) for key, message in zip(keys, messages, strict=True)]
        with self._faults(), _transaction(self._opened()) as database:
            database.executemany("INSERT OR IGNORE INTO task (key, payload, put, result) VALUES (?, ?, ?, ?)", rows)
        self._call()
        return keys

    def _call(self) -> None:
        """Wake those who wait."""
        try:
            descriptor = os.open(f"{self._path}-wake", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in (errno.ENXIO, errno.ENOENT):
                return  # nobody waits
            return  # they look by themselves
        with contextlib.suppress(OSError):
            os.write(descriptor, b"\0")
        os.close(descriptor)

    def peek(self, count: int, *, buried: bool = False) -> list[Found]:
        query = "SELECT key, payload, put, burial, said FROM task WHERE state = ? ORDER BY id LIMIT ?"
        with self._faults():
            rows = self._opened().execute(query, (PUT_ASIDE if buried else WAITING, count)).fetchall()
        return [Found(key, payload, put, _burial(burial, said)) for key, payload, put, burial, said in rows]

    def requeue(self, keys: Collection[str] | None = None, fits: int | None = None) -> int:
        moved = 0
        with self._faults(), _transaction(self._opened()) as database:
            rows = database.execute("SELECT id, key, burial FROM task WHERE state = 2 ORDER BY id").fetchall()
            for number, key, burial in rows:
                found = Found(key, b"", None, _burial(burial, b""))
                if not chosen(found, keys, fits):
                    continue
                past = Past(need=(found.burial.need or 0) if found.burial else 0)
                database.execute(
                    "UPDATE task SET id = (SELECT max(id) FROM task) + 1, state = 0, burial = NULL, said = NULL, "
                    "deliveries = 0, past = ? WHERE id = ?",
                    (_text(past), number),
                )
                moved += 1
        if moved:
            self._call()
        return moved

    def result(self, key: str) -> tuple[Fate, bytes] | None:
        """What became of a task whose result was asked for, once; None: it is not done."""
        with self._faults(), _transaction(self._opened()) as database:
            row = database.execute("SELECT fate, result FROM result WHERE key = ?", (key,)).fetchone()
            database.execute("DELETE FROM result WHERE key = ?", (key,))
        return None if row is None else (Fate(row[0]), row[1])

    # ---------------------------------------------------------------------------------------------------------- inside

    def _opened(self) -> sqlite3.Connection:
        if self._database is None:
            raise Unreachable(f"{self.shown}: it is not open")
        return self._database

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        """In our own words, with what is worth another try told from what is not."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise Unreachable(f"{self.shown}: {error}") from error
        except sqlite3.DatabaseError as error:
            raise QueueError(
                f"{self.shown}: {error}; give the path of a queue, or of a file that is not there"
            ) from error
        except FileNotFoundError:
            raise QueueError(
                f"{self.shown}: the directory {os.path.dirname(self._path)} is not there; make it"
            ) from None
        except OSError as error:
            raise QueueError(f"{self.shown}: {error.strerror}; give a path that you may write to") from error


@contextlib.contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """All of it or nothing."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield database
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")


def _is_gone(pid: int, started: int, place: str, boot: str, until: float) -> bool:
    if boot != boot_id():
        return True
    if place == pid_namespace() and place:
        process = Process.open(pid, started)
        if process is None:
            return True
        process.close()
        return False
    return time.clock_gettime(time.CLOCK_BOOTTIME) > until


def _text(one: Any) -> str:
    return msgspec.json.encode(one).decode()


def _past(text: str | None) -> Past:
    return msgspec.json.decode(text, type=Past) if text else Past()


def _burial(text: str | None, said: bytes | None) -> Burial | None:
    return msgspec.structs.replace(msgspec.json.decode(text, type=Burial), said=said or b"") if text else None
