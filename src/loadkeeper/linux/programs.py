"""From a command's name to the file that is executed, and what is said when it cannot be."""

import errno
import os
from collections.abc import Mapping, Sequence

from ..errors import LoadkeeperError

_ONE_ARGUMENT = 32
"""Pages (execve(2): MAX_ARG_STRLEN)."""
_POINTER = 8
DEFAULT_PATH = b"/usr/local/bin:/usr/bin:/bin"
_FULL = frozenset(
    {
        errno.EAGAIN,
        errno.EBADF,  # the limit of descriptors was lowered below those that are open
        errno.EDQUOT,
        errno.EINTR,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
        errno.ENOSPC,
        errno.ETXTBSY,
    }
)
"""Reasons that pass."""


class SpawnError(LoadkeeperError):
    """The command cannot be executed. ``errno`` is the kernel's reason."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.errno = number


class MachineFull(SpawnError):
    """The machine has no process, memory or descriptor left for the moment; the command is not to blame."""


_found: dict[tuple[bytes, bytes], bytes] = {}


def find(program: bytes, environment: Mapping[bytes, bytes]) -> bytes:
    """The file that is executed for a program's name: the name itself when it has a slash, else the first executable
    of that name on PATH. Raises SpawnError. What was found is remembered until a start fails."""
    if b"/" in program:
        return program
    path = environment.get(b"PATH", DEFAULT_PATH)
    found = _found.get((program, path))
    if found is None:
        found = _found[program, path] = _search(program, path)
    return found


def forget(program: bytes, environment: Mapping[bytes, bytes]) -> None:
    """A start has failed: look for it anew the next time."""
    _found.pop((program, environment.get(b"PATH", DEFAULT_PATH)), None)


def _search(program: bytes, path: bytes) -> bytes:
    forbidden = None
    for directory in path.split(b":"):
        candidate = (directory or b".") + b"/" + program
        if os.path.isfile(candidate):
            if os.access(candidate, os.X_OK):
                return candidate
            forbidden = candidate
    if forbidden is not None:
        raise explain(forbidden, OSError(errno.EACCES, ""))
    name = shown(program)
    raise SpawnError(f"there is no command {name!r} on PATH ({shown(path)}); check its name, or give its path", 2)


def explain(program: bytes, error: OSError) -> SpawnError:
    """The error in words: what happened, and what to do about it."""
    name, number = shown(program), error.errno or 0
    if number in _FULL:
        return MachineFull(f"{name} cannot be started for the moment: {os.strerror(number)}", number)
    if number == errno.ENOENT:
        if os.path.exists(program):
            return SpawnError(f"{name} cannot be executed: the interpreter in its first line does not exist", number)
        return SpawnError(f"there is no file {name}; check the command's path", number)
    if number == errno.ENOEXEC:
        return SpawnError(
            f"{name} is neither a program nor a script with a #! line; add one, or run it as `sh {name}`", number
        )
    if number == errno.EACCES:
        return SpawnError(f"{name} may not be executed; `chmod +x` makes a file executable", number)
    return SpawnError(f"{name} cannot be started: {os.strerror(number) if number else error}", number)


def too_long(program: bytes, arguments: Sequence[bytes], environment: Mapping[bytes, bytes]) -> SpawnError:
    """The kernel takes no argument that long, or not so many of them: no waiting mends that."""
    longest = max(len(argument) + 1 for argument in arguments)
    all_of_them = sum(len(argument) + 1 + _POINTER for argument in arguments)
    besides = sum(len(name) + len(value) + 2 + _POINTER for name, value in environment.items())
    limit = _ONE_ARGUMENT * os.sysconf("SC_PAGESIZE")
    if longest > limit:
        what = f"an argument of {longest:,} bytes is too long, the kernel takes {limit:,}"
    else:
        most = os.sysconf("SC_ARG_MAX")
        what = (
            f"arguments of {all_of_them:,} bytes and {besides:,} of environment are too long together, "
            f"the kernel takes {most:,}"
        )
    return SpawnError(f"{shown(program)} cannot be started: {what}; give it in a file", errno.E2BIG)


def shown(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")
