"""The runs of a user that live, one file for each in the runtime directory: written before the first start of a run,
taken away when nothing of it is left. Who comes after both of its managers have died finds there what to look for.
"""

import contextlib
import os
import time

import msgspec
from msgspec import Struct

from ..errors import PlaceError
from ..linux.proc import boot_id, pid_namespace
from ..linux.process import Process
from ..model import Hello, Name, Pid, RunId, Seconds, Ticks
from ..saying import say
from .address import Place, secure

UNFINISHED = 60.0
"""Seconds after which a file that is being written will never be."""
LARGEST = 1 << 16
"""Bytes of a file: a line, and more than that is none of ours."""


class Announced(Struct, frozen=True):
    """A run, and where what it may leave is found."""

    run: RunId
    pid: Pid  # of its process manager, on `machine`
    start_time: Ticks
    grace: Seconds
    place: Name  # directory of its load manager
    machine: Name
    leaves: Name | None = None  # the directory below which control groups of its workers are made

    def alive(self) -> bool:
        """Its process manager lives."""
        process = Process.open(self.pid, self.start_time)
        if process is None:
            return False
        process.close()
        return True


class Register:
    """Of the user whose load managers have their places beside this one. Whatever cannot be written is left: then what
    both managers of a run leave when they die at once is not found, and nothing else is lost."""

    def __init__(self, place: Place) -> None:
        self._place = place.directory
        self._directory = f"{os.path.dirname(place.directory)}/runs"
        self._machine = f"{boot_id()} {pid_namespace()}"

    def announce(self, hello: Hello) -> None:
        """Before its first start; again and again costs nothing, and mends what a tidier of old files took."""
        announced = Announced(
            run=hello.run,
            pid=hello.pid,
            start_time=hello.start_time,
            grace=hello.grace,
            place=self._place,
            machine=self._machine,
            leaves=hello.leaves,
        )
        path = self._path(hello.run)
        fresh = f"{path}.{os.getpid()}"
        with contextlib.suppress(OSError, PlaceError):
            secure(self._directory)
            with open(fresh, "wb", opener=_private) as file:
                file.write(msgspec.json.encode(announced))
            os.rename(fresh, path)

    def withdraw(self, run: str) -> None:
        """Nothing of it is left."""
        with contextlib.suppress(OSError):
            os.unlink(self._path(run))

    def dead(self) -> list[Announced]:
        """Runs on this machine whose process manager is gone. What cannot be read is said and taken away, and
        so is what is of an earlier boot; runs of other pid namespaces that share the directory are left alone."""
        found = []
        for name in self._names():
            try:
                announced = self._read(name)
            except OSError:
                continue  # gone meanwhile, or not to be read at this moment
            if announced is None or announced.machine.split()[:1] != self._machine.split()[:1]:
                self.withdraw(name)
            elif announced.machine == self._machine and not announced.alive():
                found.append(announced)
        return found

    def _names(self) -> list[str]:
        try:
            names = sorted(os.listdir(self._directory))
        except OSError:
            return []
        for name in names:
            if "." in name:
                self._take_away_if_old(f"{self._directory}/{name}")
        return [name for name in names if "." not in name]

    @staticmethod
    def _take_away_if_old(path: str) -> None:
        """What somebody began to write, and was killed."""
        with contextlib.suppress(OSError):
            if time.time() - os.stat(path).st_mtime > UNFINISHED:
                os.unlink(path)

    def _read(self, name: str) -> Announced | None:
        """None: it is none. Raises OSError."""
        path = self._path(name)
        try:
            with open(path, "rb") as file:
                announced = msgspec.json.decode(file.read(LARGEST), type=Announced)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            say(f"{path} cannot be read and is taken away: {error}")
            return None
        return announced if announced.run == name else None

    def _path(self, run: str) -> str:
        return f"{self._directory}/{run}"


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
