"""Tries of the places that a run needs: where managers meet, and where output and journal lie."""

import os
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress

from ..channel.address import LONGEST, Place, place
from ..channel.client import Client
from ..channel.messages import Answer, AskStatus
from ..channel.server import Lock
from ..errors import ChannelError, LoadkeeperError
from ..linux.gauges import on_tmpfs
from ..record.places import state_dir
from ..sense.capacity import binding_cgroup
from .finding import MISSING, OK, REDUCED, Finding


def runtime() -> Iterator[Finding]:
    try:
        here = place(os.environ, binding_cgroup())
    except LoadkeeperError as error:
        yield Finding("make the runtime directory", MISSING, str(error), "no run can reach a load manager")
        return
    yield Finding("make the runtime directory", OK, here.directory, "managers meet there, and nobody else may enter")
    yield _lock(here)
    yield _socket(here)
    yield _load_manager(here)


def _lock(here: Place) -> Finding:
    path = f"{here.directory}/try.lock"
    try:
        first = Lock(path)
    except LoadkeeperError as error:
        return Finding("take a lock", MISSING, str(error), "two load managers could not tell each other apart")
    try:
        second = Lock(path)
    except LoadkeeperError:
        return Finding("take a lock", OK, "taken, and refused to a second one", "a node has one load manager")
    else:
        second.release()
        found = f"{path} was given out twice"
        return Finding("take a lock", MISSING, found, "set XDG_RUNTIME_DIR to a directory of a local file system")
    finally:
        first.release()
        with suppress(OSError):
            os.unlink(path)


def _socket(here: Place) -> Finding:
    tried, path = "listen on a socket", f"{here.directory}/try.sock"
    with suppress(OSError):
        os.unlink(path)
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        try:
            server.bind(path)
            server.listen()
            client.connect(path)
        except OSError as error:
            return Finding(tried, MISSING, f"{path}: {error.strerror or error}", "set XDG_RUNTIME_DIR to another place")
        finally:
            with suppress(OSError):
                os.unlink(path)
    return Finding(tried, OK, f"reached by a path of {len(os.fsencode(path))} bytes, {LONGEST} are possible", "")


def _load_manager(here: Place) -> Finding:
    tried = "ask the node's load manager"
    if not os.path.exists(here.socket):
        return Finding(tried, OK, "none runs", "the first run starts one")
    client = Client(here.socket)
    try:
        reply = client.ask(AskStatus(), 1.0)
    except ChannelError as error:
        return Finding(tried, OK, str(error), "the next run starts one")
    finally:
        client.close()
    pid = reply.status.node.pid if isinstance(reply, Answer) and reply.status.node else 0
    return Finding(tried, OK, f"process {pid} answers", "runs join it")


def state() -> Iterator[Finding]:
    tried = "write to the state directory"
    try:
        path = state_dir(os.environ)
        with tempfile.TemporaryFile(dir=path) as file:
            file.write(b"x" * 4096)
            file.flush()
            began = time.monotonic()
            os.fsync(file.fileno())
            took = time.monotonic() - began
    except (LoadkeeperError, OSError) as error:
        yield Finding(tried, MISSING, str(error), "set XDG_STATE_HOME to a directory that you may write to")
        return
    if on_tmpfs(path):
        follows = "the tasks' output counts as memory until it is printed; set XDG_STATE_HOME to a disk"
        yield Finding(tried, REDUCED, f"{path} lies in memory (tmpfs)", follows)
    else:
        yield Finding(
            tried, OK, f"{path}, a write is on disk after {took * 1000:.1f} ms", "output and journal lie there"
        )
    yield _journal(path)


def _journal(path: str) -> Finding:
    import sqlite3

    tried = "keep a journal (SQLite, write-ahead)"
    try:
        with tempfile.TemporaryDirectory(dir=path) as folder:
            database = sqlite3.connect(f"{folder}/try.db")
            mode = database.execute("PRAGMA journal_mode=WAL").fetchone()[0]
            database.execute("CREATE TABLE t (x)")
            database.commit()
            database.close()
    except (sqlite3.Error, OSError) as error:
        return Finding(tried, MISSING, str(error), "set XDG_STATE_HOME to a directory of a local file system")
    if mode != "wal":
        follows = "`explain` may have to wait for a run that writes"
        return Finding(tried, REDUCED, f"the file system allows mode {mode} only", follows)
    return Finding(tried, OK, "made and committed", "`explain` can tell what happened to each task")
