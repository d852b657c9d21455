"""Loadkeeper in a program of somebody else's: this very process, or a script, in directories of its own."""

import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from typing import Any

from loadkeeper import Limits, ProcessManager

from .program import Program, wait_until

OFF = Limits(cpu="off")


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def watched(*command: Any, **more: Any) -> Any:
    """A manager that keeps in ``seen`` what it showed."""
    seen: list[Any] = []
    manager: Any = ProcessManager(*command, on_progress=seen.append, limits=OFF, **more)
    manager.seen = seen
    return manager


def running(manager: Any, count: int = 1) -> None:
    """Wait until so many workers of it live, by what it says itself."""
    wait_until(lambda: manager.seen and manager.seen[-1].running >= count, 20, f"{count} workers do not run")


PRELUDE = """
import ctypes, json, logging, os, resource, signal, subprocess, sys, threading, time
from loadkeeper import ProcessManager, LoadManager, Limits, UsageError
OFF = Limits(cpu="off")
def status(*names):
    lines = open("/proc/self/status").read().splitlines()
    return {line.split(":")[0]: line.split()[1] for line in lines if line.split(":")[0] in names}
def subreaper():
    flag = ctypes.c_int()
    ctypes.CDLL(None).prctl(37, ctypes.byref(flag), 0, 0, 0)
    return flag.value
def state():
    return {
        "handlers": {str(number): str(signal.getsignal(number)) for number in signal.valid_signals()},
        "kernel": status("SigCgt", "SigIgn", "Umask"),
        "mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "wakeup": signal.set_wakeup_fd(-1) if threading.current_thread() is threading.main_thread() else None,
        "environment": dict(os.environ), "directory": os.getcwd(), "subreaper": subreaper(),
        "limits": [resource.getrlimit(getattr(resource, n)) for n in dir(resource) if n.startswith("RLIMIT_")],
        "nice": os.getpriority(os.PRIO_PROCESS, 0), "session": os.getsid(0), "group": os.getpgrp(),
        "logging": [str(logging.getLogger(n).handlers) + str(logging.getLogger(n).level) for n in ("", "loadkeeper")],
        "hooks": [str(sys.excepthook), str(threading.excepthook)],
        "cgroup": open("/proc/self/cgroup").read(),
    }
def differences(one, other):
    return [(name, one.get(name), other[name]) for name in other if one.get(name) != other[name]]
def descriptors():
    here = "/proc/self/fd"
    return {name: os.get_inheritable(int(name)) for name in os.listdir(here) if os.path.lexists(f"{here}/{name}")}
"""


def script(program: Program, code: str, **more: Any) -> "subprocess.CompletedProcess[str]":
    """A program of a user's own, run to its end."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PRELUDE) + textwrap.dedent(code)],
        env=program.environment,
        text=True,
        timeout=60,
        check=False,
        **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more},
    )
    assert done.returncode == 0, done.stderr
    return done
