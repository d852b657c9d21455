"""Starting programs: two doors, one contract.

Every worker gets a session of its own, default signals, an empty signal mask, and no descriptor but the three it is
given: all of ours are close-on-exec, and those of a program that we are a guest in are closed for each start. The plain
door is `os.posix_spawn`; what it cannot do (another directory, user, group, umask, resource limits) goes by
`subprocess.Popen`, which forks more slowly, and never with ``preexec_fn``, which is ten times slower still and not safe
beside threads.
"""

import contextlib
import errno
import functools
import os
import re
import resource
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from . import proc
from .cgroup import Leaf
from .programs import MachineFull, SpawnError, explain, find, forget, shown, too_long

__all__ = [
    "PLAIN",
    "MachineFull",
    "Setting",
    "SpawnError",
    "check_descriptors",
    "find",
    "helpers",
    "make_room",
    "most_descriptors",
    "open_descriptors",
    "reap_helper",
    "seal",
    "spawn",
    "spawn_daemon",
]

_NOFILE = resource.RLIMIT_NOFILE
_IGNORABLE = [number for number in signal.valid_signals() if number not in (signal.SIGKILL, signal.SIGSTOP)]
_POPENS_OWN = (signal.SIGPIPE, signal.SIGXFSZ)
_DUP2, _CLOSE = os.POSIX_SPAWN_DUP2, os.POSIX_SPAWN_CLOSE
_ENTER = b'echo 0 > "$0" && exec "$@"'
"""The stand-in that puts itself into a leaf and becomes the command: it never forks, so nothing can be left outside.
It costs 0.75 ms for each start (1.37 instead of 0.61, measured), half of it the shell's own exec."""


class Setting(NamedTuple):
    """What only the second door can give. ``limits``: by ``RLIMIT_*``, (soft, hard)."""

    cwd: bytes | str | None = None
    user: int | None = None
    group: int | None = None
    groups: Sequence[int] | None = None
    umask: int = -1
    limits: Mapping[int, tuple[int, int]] = {}


PLAIN = Setting()


def spawn(  # noqa: PLR0913 - the three streams are one thing with three names
    arguments: Sequence[bytes],
    environment: Mapping[bytes, bytes],
    *,
    stdin: int,
    stdout: int,
    stderr: int,
    leaf: Leaf | None = None,
    setting: Setting = PLAIN,
) -> int:
    """Start the program and return its pid; it is the leader of a session and group of its own.

    It is looked up in the PATH of ``environment``. When this returns, its exec has succeeded (with ``leaf``: the exec
    of the stand-in). Raises SpawnError when it can never start so, MachineFull when it may a moment later."""
    _check(stdin, stdout, stderr)
    asked = program = find(arguments[0], environment)
    if leaf is not None:
        program, arguments = b"/bin/sh", _stand_in(leaf, program, arguments, environment)
    descriptors = (stdin, stdout, stderr)
    try:
        if setting is not PLAIN:
            return _particular(program, arguments, environment, descriptors, setting)
        if _original_soft is not None:
            return _plain_with_original_limit(program, arguments, environment, descriptors)
        return _plain(program, arguments, environment, descriptors)
    except OSError as error:
        if error.errno == errno.E2BIG:
            raise too_long(program, arguments, environment) from None
        forget(arguments[0], environment)
        raise explain(program, error) from None
    except ValueError:
        raise SpawnError(
            f"{shown(asked)} cannot be started: an argument holds a NUL byte, which no program can be given",
            errno.EINVAL,
        ) from None


def _plain(
    program: bytes, arguments: Sequence[bytes], environment: Mapping[bytes, bytes], descriptors: tuple[int, int, int]
) -> int:
    put: list[tuple[int, ...]] = [(_DUP2, descriptor, number) for number, descriptor in enumerate(descriptors)]
    return os.posix_spawn(
        program,
        list(arguments),
        environment,
        file_actions=put if _ours else put + [(_CLOSE, descriptor) for descriptor in _inheritable()],
        setsid=True,
        setsigdef=_IGNORABLE,
        setsigmask=(),
    )


def _check(stdin: int, stdout: int, stderr: int) -> None:
    """The three are put in place one after the other: none may stand where an earlier one goes."""
    if (stdin != 0 and 0 in (stdout, stderr)) or (stdout != 1 and stderr == 1):
        raise ValueError(f"descriptors {stdin, stdout, stderr} of a worker's streams are in the way of each other")


def _particular(
    program: bytes,
    arguments: Sequence[bytes],
    environment: Mapping[bytes, bytes],
    descriptors: tuple[int, int, int],
    setting: Setting,
) -> int:
    before = signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        started = _popen(program, arguments, environment, descriptors, setting)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    for limit, values in setting.limits.items():
        _set_limit(started.pid, limit, values)
    if _original_soft is not None and _NOFILE not in setting.limits:
        _set_limit(started.pid, _NOFILE, (_original_soft, resource.getrlimit(_NOFILE)[1]))
    return started.pid


def _popen(
    program: bytes,
    arguments: Sequence[bytes],
    environment: Mapping[bytes, bytes],
    descriptors: tuple[int, int, int],
    setting: Setting,
) -> "subprocess.Popen[bytes]":
    prefix = _default_signals()
    started = subprocess.Popen(
        [*prefix, *arguments],
        executable=None if prefix else program,
        env=environment,
        stdin=descriptors[0],
        stdout=descriptors[1],
        stderr=descriptors[2],
        cwd=setting.cwd,
        user=setting.user,
        group=setting.group,
        extra_groups=list(setting.groups) if setting.groups is not None else None,
        umask=setting.umask,
        start_new_session=True,
        close_fds=True,
    )
    started.returncode = 0  # whoever holds the pid reaps it: Popen must not
    return started


def _default_signals() -> list[bytes]:
    """What sets signals that we ignore (under `nohup`) back for a child by Popen, which sets back Python's own only:
    `env` of coreutils 8.31 or later; where that is missing they stay as they are."""
    mask = int(re.findall(rb"SigIgn:\s*(\w+)", proc.read("/proc/self/status") or b"SigIgn: 0")[0], 16)
    names = [number.name[3:] for number in signal.Signals if mask >> (number - 1) & 1 and number not in _POPENS_OWN]
    if not names or not _env_sets_signals():
        return []
    return [b"env", b"--default-signal=" + ",".join(names).encode()]


@functools.cache
def _env_sets_signals() -> bool:
    try:
        tried = subprocess.run(["env", "--default-signal=HUP", "true"], stderr=subprocess.DEVNULL, check=False)
    except OSError:
        return False
    return tried.returncode == 0


def _set_limit(pid: int, limit: int, values: tuple[int, int]) -> None:
    try:
        resource.prlimit(pid, limit, values)
    except ProcessLookupError:
        pass  # it has ended already


def _stand_in(
    leaf: Leaf, program: bytes, arguments: Sequence[bytes], environment: Mapping[bytes, bytes]
) -> list[bytes]:
    """Arguments of the stand-in. The shell drops variables whose names are none to it (`BASH_FUNC_module%%`), and sets
    PWD: `env` gives the program exactly what it was to have, where that makes a difference."""
    name = arguments[0] if b"PATH" in environment else program
    exact = [
        key + b"=" + value for key, value in environment.items() if not _is_name(key) or _is_set_by_shells(key, value)
    ]
    extra = [b"/usr/bin/env", *([] if b"PWD" in environment else [b"-u", b"PWD"]), b"--", *exact]
    wrapped = exact or b"PWD" not in environment
    return [b"sh", b"-c", _ENTER, os.fsencode(leaf.procs), *(extra if wrapped else []), name, *arguments[1:]]


def _is_set_by_shells(key: bytes, value: bytes) -> bool:
    return key == b"PWD" and value != _directory()


def _directory() -> bytes:
    try:
        return os.getcwdb()
    except OSError:
        return b""  # it was removed under us


def _is_name(name: bytes) -> bool:
    return name.replace(b"_", b"a").isalnum() and not name[:1].isdigit()


# ------------------------------------------------------------------------------------------- descriptors of our own

_original_soft: int | None = None  # set while ours is raised
_ours = False  # `seal`


def make_room(descriptors: int) -> bool:
    """Raise this process's soft limit of open descriptors, if need be, so that it may have so many; what is started
    keeps the original. False: the hard limit is in the way, or the process is not ours (`seal`).

    The limit is left alone until it is in the way, for programs that `select` break above 1,024."""
    global _original_soft  # noqa: PLW0603 - the limit is the process's own, too
    soft, hard = resource.getrlimit(_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= descriptors:
        return True
    if not _ours or (hard != resource.RLIM_INFINITY and hard < descriptors):
        return False
    resource.setrlimit(_NOFILE, (descriptors, hard))
    if _original_soft is None:
        _original_soft = soft
    return True


def open_descriptors() -> int:
    """How many this process has open, about. Raises OSError."""
    return len(os.listdir("/proc/self/fd"))


def check_descriptors(count: int) -> None:
    """Raises OSError where so many more cannot be opened, before a library is begun with that aborts the process
    then."""
    opened: list[int] = []
    try:
        for _ in range(count):
            opened.append(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))
    finally:
        for descriptor in opened:
            os.close(descriptor)


def most_descriptors() -> int:
    """How many descriptors this process may have at most, its soft limit raised."""
    hard = resource.getrlimit(_NOFILE)[1]
    return 1 << 30 if hard == resource.RLIM_INFINITY else hard


def seal() -> None:
    """This process is a manager's own and nobody else's, its descriptors and their limit are ours: every one above 2
    is made close-on-exec, those too that whoever started us left open, so that no worker gets one."""
    global _ours  # noqa: PLW0603 - of the process, too
    _ours = True
    for descriptor in _inheritable():
        with contextlib.suppress(OSError):
            os.set_inheritable(descriptor, False)


def _inheritable() -> list[int]:
    """Descriptors above 2 that an exec would leave open. One that another thread closes meanwhile is no fault, here
    and in a start: the C library passes over it."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if int(name) > 2 and os.get_inheritable(int(name)):
                found.append(int(name))
    return found


def _plain_with_original_limit(
    program: bytes, arguments: Sequence[bytes], environment: Mapping[bytes, bytes], descriptors: tuple[int, int, int]
) -> int:
    """The child inherits the limit that stands at its start, so ours is set back for the moment of the start: setting
    the child's afterwards comes too late for one that asks at once. The C library takes no descriptor above the limit;
    there only the second way is left."""
    assert _original_soft is not None
    soft, hard = resource.getrlimit(_NOFILE)
    if max(descriptors) >= _original_soft:
        pid = _plain(program, arguments, environment, descriptors)
        _set_limit(pid, _NOFILE, (_original_soft, hard))
        return pid
    lowered = _original_soft if hard == resource.RLIM_INFINITY else min(_original_soft, hard)  # it may have changed
    resource.setrlimit(_NOFILE, (lowered, hard))
    try:
        return _plain(program, arguments, environment, descriptors)
    finally:
        resource.setrlimit(_NOFILE, (soft, hard))


# --------------------------------------------------------------------------------------------------------- a daemon

_DAEMON = '"$@" &'
_helpers: dict[int, "subprocess.Popen[bytes]"] = {}


def spawn_daemon(command: Sequence[str], environment: Mapping[str, str], log: str, directory: str = "/") -> int:
    """Start a program that outlives us and holds nothing of ours: a session that it does not lead, ``directory``,
    standard output and error to the end of ``log``, no other descriptor (else `ssh host loadkeeper run` never returns).

    The pid is that of the helper that starts it and ends at once: `reap_helper` it. Raises SpawnError."""
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SpawnError(f"the log {log} cannot be written: {error.strerror}", error.errno or 0) from None
    find(os.fsencode(command[0]), {os.fsencode(k): os.fsencode(v) for k, v in environment.items()})
    try:
        helper = subprocess.Popen(
            ["/bin/sh", "-c", _DAEMON, "sh", *command],
            env=environment,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
            close_fds=True,
        )
    except OSError as error:
        raise explain(os.fsencode(command[0]), error) from None
    finally:
        os.close(descriptor)
    _helpers[helper.pid] = helper
    return helper.pid


def reap_helper(pid: int) -> bool:
    """Whether the helper has ended and is reaped."""
    helper = _helpers.get(pid)
    if helper is not None and helper.poll() is None:
        return False
    _helpers.pop(pid, None)
    return True


def helpers() -> set[int]:
    """Pids of helpers that are not reaped yet."""
    return set(_helpers)
