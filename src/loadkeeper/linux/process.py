"""A process is a pidfd and its start time, never a bare number: a pid may be somebody else's the next moment.

Where pidfds are refused (Linux before 5.4, a seccomp filter, no descriptor left), the pid is checked against the start
time before each use, behind the same interface. A process that is gone is an outcome, never an error.
"""

import contextlib
import ctypes
import errno
import functools
import os
import resource
import select
import signal
from typing import NamedTuple

from ..errors import LoadkeeperError
from . import proc

_GROUP = 4  # PIDFD_SIGNAL_PROCESS_GROUP, Linux 6.9 (pidfd_send_signal(2))
_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
_PR_GET_CHILD_SUBREAPER = 37
_REFUSED = frozenset({errno.ENOSYS, errno.EPERM, errno.EACCES, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENODEV})
_DEAD = frozenset("ZXx")


class NotOurChildError(LoadkeeperError):
    """A child vanished before anybody waited for it: something in this process reaps children that are not its own."""


class Death(NamedTuple):
    """How a child ended (wait4(2)). ``code`` is -1 and everything else 0 when somebody else reaped it."""

    code: int
    signal: int  # that killed it, else 0
    peak: int  # bytes, ru_maxrss of it and of all it waited for; never less than its parent's own peak at the start
    cpu_seconds: float  # its own and of all it waited for


_children: set[int] = set()  # those of this process that somebody holds as `Process.child` and has not reaped
UNKNOWN_DEATH = Death(-1, 0, 0, 0.0)


class Process:
    """One process that was there when this was made. `close` it, or leave that to the collector."""

    __slots__ = ("_child", "_descriptor", "_reaped", "_start_time", "pid")

    def __init__(self, pid: int, descriptor: int | None, start_time: int | None, child: bool) -> None:
        """Use `open` or `child`."""
        self.pid = pid
        self._descriptor = descriptor
        self._start_time = start_time
        self._child = child
        self._reaped = False

    @classmethod
    def open(cls, pid: int, start_time: int | None = None) -> "Process | None":
        """The process with this pid, or ``None``: it is gone (a zombie is gone too), or it started at another time.

        The descriptor is opened before the start time is compared, so that both belong to the same process."""
        try:
            descriptor = _pidfd(pid)
        except ProcessLookupError:
            return None
        found = proc.stat(pid)
        process = cls(pid, descriptor, found.start_time if found else None, False)
        if found is None or start_time not in (None, found.start_time) or not process.alive():
            process.close()
            return None
        return process

    @classmethod
    def child(cls, pid: int) -> "Process":
        """A child of this process that was just started: nobody has reaped it, so its pid is its own until `reap`.

        Raises NotOurChildError when it is gone already."""
        try:
            process = cls(pid, _pidfd(pid), None, True)
            _children.add(pid)
            return process
        except ProcessLookupError:
            raise NotOurChildError(
                f"process {pid} vanished at its start: SIGCHLD is ignored in this process, or something in it waits "
                "for any child; set SIGCHLD to its default before workers are started"
            ) from None

    @classmethod
    def myself(cls) -> "Process":
        """The calling process."""
        found = proc.stat(os.getpid())
        return cls(os.getpid(), _pidfd(os.getpid()), found.start_time if found else None, False)

    @property
    def start_time(self) -> int:
        """Clock ticks after boot; 0 for a child that could not be looked at before it was reaped."""
        if self._start_time is None:
            found = None if self._reaped else proc.stat(self.pid)
            self._start_time = found.start_time if found else 0
        return self._start_time

    def fileno(self) -> int | None:
        """A descriptor that becomes readable when the process ends; ``None`` where pidfds are refused."""
        return self._descriptor

    def send(self, signum: int) -> bool:
        """Signal the process. False: it is gone, or not ours to signal (it took on another user)."""
        try:
            if self._descriptor is not None:
                signal.pidfd_send_signal(self._descriptor, signum)
            elif self._same():
                os.kill(self.pid, signum)
            else:
                return False
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def send_group(self, signum: int) -> bool:
        """Signal the process group that the process leads, in one step that no fork slips through.

        False: nobody is left in it, or (of a child) it was reaped, so that the number may be somebody else's."""
        try:
            if self._child:
                if self._reaped:
                    return False
                os.killpg(self.pid, signum)
            elif not self._send_group_by_descriptor(signum):
                if not self.alive():
                    return False
                os.killpg(self.pid, signum)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def _send_group_by_descriptor(self, signum: int) -> bool:
        if self._descriptor is None:
            return False
        try:
            signal.pidfd_send_signal(self._descriptor, signum, None, _GROUP)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            return False
        return True

    def stop(self) -> None:
        """Stop it until somebody continues it; of the calling process: this returns after that."""
        self.send(signal.SIGSTOP)

    def proceed(self) -> None:
        """Continue it."""
        self.send(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once."""
        self.send(signal.SIGKILL)

    def alive(self) -> bool:
        """It has not ended yet; a zombie has."""
        if self._reaped:
            return False
        if self._descriptor is None:
            return self._same()
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        return not poll.poll(0)

    def state(self) -> str | None:
        """The kernel's letter (``R S D T t Z``, proc(5)), or ``None``: gone."""
        found = None if self._reaped else proc.stat(self.pid)
        return found.state if found is not None and found.start_time == self.start_time else None

    def stands(self) -> bool:
        """It runs no code: stopped with all its threads, ended, or held by a vfork.

        Of a child the kernel is asked whether the stop is complete; /proc shows the first thread alone."""
        if self._reaped:
            return True
        if self._child and self._waitid(os.WSTOPPED):
            return True
        return proc.stands(self.pid)

    def stopped(self) -> bool:
        """This child is stopped with all its threads; /proc is not looked at."""
        return not self._reaped and not self.exited() and self._waitid(os.WSTOPPED)

    def exited(self) -> bool:
        """Whether it has ended. A child stays as it is: unreaped, its pid, group and session still its own."""
        return self._waitid(os.WEXITED) if self._child else not self.alive()

    def _waitid(self, what: int) -> bool:
        """Whether there is something to wait for, which stays. True too when somebody else has waited for all."""
        kind, number = (os.P_PIDFD, self._descriptor) if self._descriptor is not None else (os.P_PID, self.pid)
        try:
            return os.waitid(kind, number, what | os.WNOWAIT | os.WNOHANG) is not None
        except ChildProcessError:
            return True

    def reap(self) -> Death:
        """Wait for this child and let go of its pid. It must have exited, else this waits until it does."""
        _children.discard(self.pid)
        try:
            _, status, usage = os.wait4(self.pid, 0)
        except ChildProcessError:
            self._reaped = True
            return UNKNOWN_DEATH
        self._reaped = True
        number = status & 0x7F
        return Death(0 if number else status >> 8, number, usage.ru_maxrss * 1024, usage.ru_utime + usage.ru_stime)

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _same(self) -> bool:
        """The pid still means this process, and it has not ended."""
        if self._child and self._start_time is None:
            found = proc.stat(self.pid)
            return not self._reaped and found is not None and not ended(found)
        found = proc.stat(self.pid)
        return found is not None and found.start_time == self._start_time and not ended(found)

    def __del__(self) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Process({self.pid})"


def ended(stat: proc.Stat) -> bool:
    """A zombie. One whose first thread alone has left (its others run on) looks like one and is none."""
    return stat.state in _DEAD and stat.threads < 2


def _pidfd(pid: int) -> int | None:
    """Raises ProcessLookupError; ``None`` where the kernel refuses pidfds."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        raise
    except OSError as error:
        if error.errno in _REFUSED:
            return None
        if error.errno in (errno.EINVAL, errno.ENOENT):  # no such number, or a thread's
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH)) from None
        raise
    except AttributeError:  # a C library without it
        return None


def is_own_child(pid: int) -> bool:
    """Started by this process, held as `Process.child`, and not reaped yet."""
    return pid in _children


def adopted() -> list[proc.Stat]:
    """Children of this process that it did not start: orphans that came to it as their subreaper, or as process 1.

    Those in our own session are left out: they are a `subprocess.Popen` of somebody else in this program, for what a
    worker leaves has the worker's session or one of its own."""
    me, session = os.getpid(), os.getsid(0)
    found = (proc.stat(pid) for pid in proc.children(me) if pid not in _children)
    return [stat for stat in found if stat is not None and stat.ppid == me and stat.session != session]


def reap_adopted(stat: proc.Stat) -> None:
    """Let go of an adopted child that has ended."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(stat.pid, os.WNOHANG)


def become_subreaper() -> bool:
    """Orphaned descendants come back to this process instead of init (prctl(2)), so what daemonises stays in sight."""
    _is_subreaper.cache_clear()
    return _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def is_subreaper() -> bool:
    """Orphaned descendants become our children: asked of the kernel, or we are process 1 of our namespace."""
    return _is_subreaper(os.getpid())


@functools.cache
def _is_subreaper(me: int) -> bool:
    """Asked once: 20 µs. A fork does not inherit it, and has another pid."""
    flag = ctypes.c_int(0)
    return me == 1 or (_prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(flag)) and flag.value == 1)


def _prctl(option: int, argument: object) -> bool:
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        value = ctypes.c_ulong(argument) if isinstance(argument, int) else argument
        return bool(libc.prctl(option, value, ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)) == 0)
    except (OSError, AttributeError):
        return False


def own_peak() -> int:
    """Bytes: the most that this process has held. A child's ``ru_maxrss`` is never below it (the child borrows our
    memory until its exec), so a figure that is not above it is only an upper bound."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def myself() -> tuple[int, int]:
    """(pid, start time) of this process."""
    found = proc.stat(os.getpid())
    return os.getpid(), found.start_time if found else 0
