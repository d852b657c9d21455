"""Starting a process of an executor, and making it what the program is: its paths, its main module, its initializer.

It is a program of its own by a plain exec, as by `multiprocessing`'s ``spawn``, but not a child of `multiprocessing`:
a daemonic process may have none of those.
"""

import errno
import fcntl
import multiprocessing.context
import multiprocessing.process
import multiprocessing.spawn
import os
import pickle
import socket
import sys
import time
from multiprocessing import resource_tracker
from typing import Any

from ..act.worker import Worker
from ..executor_process import PREPARE, Handed, encode
from ..linux.cgroup import Leaf
from ..linux.members import MARK
from ..linux.process import Process
from ..linux.spawn import MachineFull, spawn
from ..obey.leaves import leaves_base
from .hand import Hand, tracker
from .plan import Plan

ABOVE_STREAMS = 3
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_PROGRAM = f"import sys; sys.path.insert(0, {ROOT!r}); from loadkeeper.executor_process import main; main()"


class Starter:
    """Of one executor. Raises UsageError where ``pause="freeze"`` is not possible."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.base = leaves_base(plan.settings.pause)
        self.by_value = _typed()
        if plan.context is not None:
            resource_tracker.ensure_running()

    def start(self, n: int) -> Hand:
        """A process that prepares itself. Raises SpawnError (MachineFull: it may be possible a moment later), and
        whatever pickling the initializer raises."""
        preparation, descriptors = self._preparation(n)
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            raise MachineFull(f"no socket for a process: {error.strerror}", error.errno or 0) from None
        try:
            hand = self._spawn(n, ours, theirs)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        ours.setblocking(False)
        hand.tracked = bool(descriptors) and preparation["tracker"]
        hand.send(PREPARE, pickle.dumps(preparation), descriptors)
        return hand

    def _spawn(self, n: int, ours: socket.socket, theirs: socket.socket) -> Hand:
        plan, identity = self._plan, f"{self._plan.run}.{n}"
        leaf = Leaf.create(self.base, identity) if self.base is not None else None
        streams = _Streams(theirs)
        try:
            pid = spawn(
                self._command(),
                _environment(identity),
                stdin=streams.stdin,
                stdout=streams.stdout,
                stderr=streams.stderr,
                leaf=leaf,
            )
        except BaseException:
            if leaf is not None:
                leaf.remove()
            raise
        finally:
            streams.close()
        started = time.monotonic()
        worker = Worker(n, plan.run, plan.pool, None, Process.child(pid), leaf=leaf, started=started)
        worker.task = hand = Hand(worker, ours)
        return hand

    def _command(self) -> list[bytes]:
        """The interpreter with the flags that ours was started with."""
        options = [os.fsencode(word) for word in multiprocessing.spawn.get_command_line()[:-3]]
        return [*options, b"-c", os.fsencode(_PROGRAM), b"loadkeeper-executor", os.fsencode(self._plan.name)]

    def _preparation(self, n: int) -> tuple[dict[str, Any], list[int]]:
        """What it is told, and descriptors that go with it; the tracker's is the last."""
        told = multiprocessing.spawn.get_preparation_data(f"LoadkeeperExecutor-{n}")
        initializer, descriptors = self._initializer()
        known = tracker()
        if known is not None:
            descriptors.append(known)
        name, path = _main()
        me = multiprocessing.process.current_process()
        preparation = {
            "path": told["sys_path"],
            "argv": told["sys_argv"],
            "directory": told["dir"],
            "authkey": bytes(told["authkey"]),
            "name": told["name"],
            "parent": os.getpid(),
            "parent_name": me.name,
            "main_name": name,
            "main_path": path,
            "initializer": initializer,
            "descriptors": len(descriptors),
            "tracker": known is not None,
        }
        return preparation, descriptors

    def _initializer(self) -> tuple[bytes | None, list[int]]:
        """Pickled as for a process of `multiprocessing` that starts: its queues, locks and events may be arguments."""
        plan = self._plan
        if plan.initializer is None:
            return None, []
        handing = _Handing()
        multiprocessing.context.set_spawning_popen(handing)  # type: ignore[arg-type]
        try:
            return encode((plan.initializer, plan.initargs), self.by_value), handing.descriptors
        finally:
            multiprocessing.context.set_spawning_popen(None)


class _Handing:
    """What `multiprocessing` asks where a descriptor is to go."""

    def __init__(self) -> None:
        self.descriptors: list[int] = []

    def duplicate_for_child(self, descriptor: int) -> int:
        self.descriptors.append(descriptor)
        return len(self.descriptors) - 1

    DupFd = Handed


class _Streams:
    """The three of a process: the socket as its stdin, the others are the program's own, where it has them."""

    def __init__(self, channel: socket.socket) -> None:
        self._own: list[int] = []
        try:
            self.stdin = self._keep(fcntl.fcntl(channel.fileno(), fcntl.F_DUPFD_CLOEXEC, ABOVE_STREAMS))
            self.stdout, self.stderr = (self._stream(number) for number in (1, 2))
        except OSError as error:
            self.close()
            raise MachineFull(f"no descriptor for a process: {error.strerror}", error.errno or 0) from None

    def _stream(self, number: int) -> int:
        try:
            os.fstat(number)
        except OSError as error:
            if error.errno != errno.EBADF:
                raise
            null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            self._own.append(null)
            return self._keep(fcntl.fcntl(null, fcntl.F_DUPFD_CLOEXEC, ABOVE_STREAMS))
        return number

    def _keep(self, descriptor: int) -> int:
        self._own.append(descriptor)
        return descriptor

    def close(self) -> None:
        for descriptor in self._own:
            os.close(descriptor)
        self._own = []


def _environment(identity: str) -> dict[bytes, bytes]:
    """The program's own, as it is now, with the mark of the worker."""
    kept = {key: value for key, value in os.environb.items() if not (key + b"_").startswith(MARK + b"_")}
    return {**kept, MARK: identity.encode()}


def _main() -> tuple[str | None, str | None]:
    """How a process gets the program's main module: (name, path), one of them, or none: a person types it, or it has
    nothing that calls could mean."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        name = str(spec.name)
        return (None, None) if name.rpartition(".")[2] == "__main__" else (name, None)
    path = getattr(main, "__file__", None)
    if path is None or os.path.splitext(os.path.basename(path))[0] == "ipython":
        return None, None
    path = os.path.join(multiprocessing.process.ORIGINAL_DIR or "", path)  # type: ignore[attr-defined]
    return (None, path) if os.path.exists(path) else (None, None)


def _typed() -> bool:
    """What the main module defines can be had nowhere else: a person types it, or it came by ``-c``."""
    main = sys.modules.get("__main__")
    return _main() == (None, None) and getattr(main, "__spec__", None) is None
