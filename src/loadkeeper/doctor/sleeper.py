"""Something to try on."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from ..linux.cgroup import Leaf
from ..linux.process import Process
from ..linux.spawn import spawn

MARK_OF_DOCTOR = b"doctor.1"


@contextmanager
def sleeper(leaf: Leaf | None = None) -> Iterator[Process]:
    """A worker that sleeps, started as workers are."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    environment = {b"PATH": os.environb.get(b"PATH", b"/usr/bin:/bin"), b"LOADKEEPER_WORKER": MARK_OF_DOCTOR}
    try:
        pid = spawn([b"sleep", b"60"], environment, stdin=null, stdout=null, stderr=null, leaf=leaf)
    finally:
        os.close(null)
    process = Process.child(pid)
    try:
        yield process
    finally:
        process.kill()
        process.reap()
        process.close()
