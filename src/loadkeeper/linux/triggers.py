"""Pressure triggers: the kernel wakes whoever waits when tasks stall (Documentation/accounting/psi.rst)."""

import os
import select

from .proc import PROC


def open_trigger(resource: str, stall: float, window: float, root: str = PROC) -> str | None:
    """Try to be told when tasks stall for ``stall`` of each ``window`` seconds. ``None``: that works; else why not.

    Without CAP_SYS_RESOURCE only windows of 2 s or multiples are allowed, so triggers are no more than a second ear."""
    path = f"{root}/pressure/{resource}"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return f"{path}: {error.strerror}"
    try:
        os.write(descriptor, b"some %d %d\0" % (round(stall * 1e6), round(window * 1e6)))
        poll = select.poll()
        poll.register(descriptor, select.POLLPRI)
        poll.poll(0)
    except OSError as error:
        return f"{path}: {error.strerror}"
    finally:
        os.close(descriptor)
    return None
