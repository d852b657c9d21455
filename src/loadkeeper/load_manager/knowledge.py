"""What load managers have learned of kinds, kept between their lives: one file for each node that this user runs on.

The file is JSON, written whole and put in place by a rename, by a thread of its own: a disk that hangs stalls nobody.
Where it cannot be read it is set aside, and learning begins anew.
"""

import contextlib
import os
import threading
import time
from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from ..decide import Kind
from ..errors import LoadkeeperError
from ..model import Seconds
from ..saying import say

VERSION = 1
EVERY = 2.0
"""Seconds between two writes while something is learned."""
MOST = 1000
"""Kinds that are kept, those that were used last."""
KEPT_FOR = 180 * 86400.0
"""Seconds since a kind was used last."""
BROUGHT = 16
"""Peaks of each kind that a load manager begins with."""
LONGEST = 4096
"""Characters of a name; a longer one (a whole script) is learned anew each time."""


class Known(Struct, frozen=True):
    """One kind. ``used``: seconds since the epoch, when it last taught something."""

    used: Seconds
    kind: Kind


class Contents(Struct, frozen=True):
    version: int
    kinds: dict[str, Known]


def read(path: str) -> dict[str, Known]:
    """What is known; nothing where there is no file. Raises LoadkeeperError for what cannot be read."""
    try:
        with open(path, "rb") as file:
            contents = msgspec.json.decode(file.read(), type=Contents)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise LoadkeeperError(f"{path}: {error.strerror}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise LoadkeeperError(f"{path} is no file of kinds: {error}; remove it, and learning begins anew") from None
    if contents.version != VERSION:
        raise LoadkeeperError(f"{path} is of version {contents.version}, and this program knows version {VERSION}")
    return contents.kinds


def write(path: str, kinds: Mapping[str, Known]) -> None:
    """Whole or not at all, in a directory of this user's own. Raises OSError."""
    os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
    beside = f"{path}.{os.getpid()}"
    try:
        with open(beside, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(msgspec.json.encode(Contents(VERSION, dict(kinds))))
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise


def forget(path: str, names: Iterable[str]) -> list[str]:
    """Take these kinds out of a file, all without names; those that were there. Raises LoadkeeperError and OSError."""
    known = read(path)
    names = list(names)
    gone = [name for name in known if not names or name in names]
    if gone:
        write(path, {name: one for name, one in known.items() if name not in gone})
    return gone


class Knowledge:
    """Of one load manager, which takes `kinds` at its start and offers what it knows at each look. Faults go to
    stderr, once each: a load manager in the background has its log there."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fault = ""
        self._known = self._read()
        self._offered: Mapping[str, Kind] = self.kinds
        self._written: Mapping[str, Kind] = self._offered
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="knowledge", daemon=True)
        self._thread.start()

    @property
    def kinds(self) -> dict[str, Kind]:
        """What earlier load managers learned; it weighs less than what is learned from now on."""
        return {name: _aged(known.kind) for name, known in self._known.items()}

    def offer(self, kinds: Mapping[str, Kind]) -> None:
        """What is known now. Costs nothing: the thread looks at it when it is time."""
        self._offered = kinds

    def close(self, seconds: float = 1.0) -> None:
        """Write what is new; not longer than so many seconds, for a disk may hang."""
        self._closing.set()
        self._thread.join(seconds)

    def _read(self) -> dict[str, Known]:
        try:
            known = read(self._path)
        except LoadkeeperError as error:
            self._say(str(error))
            with contextlib.suppress(OSError):
                os.replace(self._path, f"{self._path}.unreadable")
            return {}
        return {name: one for name, one in known.items() if time.time() - one.used < KEPT_FOR}

    # ------------------------------------------------------------------------------------------------- in the thread

    def _run(self) -> None:
        while not self._closing.wait(EVERY):
            self._write()
        self._write()

    def _write(self) -> None:
        """What was forgotten is gone, what has changed was used now, the oldest of too many are left out."""
        offered = self._offered
        if offered is self._written or offered == self._written:
            return
        now = time.time()
        known = {
            name: Known(now, kind) if kind != self._written.get(name) else self._known.get(name, Known(now, kind))
            for name, kind in offered.items()
            if len(name) <= LONGEST
        }
        newest = sorted(known, key=lambda name: -known[name].used)[:MOST]
        self._known = {name: known[name] for name in newest}
        try:
            write(self._path, self._known)
        except OSError as error:
            self._say(f"{self._path} cannot be written: {error.strerror}")
            return
        self._fault, self._written = "", offered

    def _say(self, fault: str) -> None:
        if fault != self._fault:
            self._fault = fault
            say(fault)


def _aged(kind: Kind) -> Kind:
    """The last peaks and the greatest, so that a program that was changed meanwhile is soon known anew: a kind has 64,
    and would need as many tasks for it."""
    last = kind.peaks[-BROUGHT:]
    if kind.peaks and max(kind.peaks) > max(last):
        last = (max(kind.peaks), *last[1:])
    return replace(kind, peaks=last, fills=min(kind.fills, BROUGHT))
