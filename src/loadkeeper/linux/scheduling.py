"""What a manager may ask of the scheduler and of memory, so that it is quick when the node is in trouble. Being refused
is normal."""

import ctypes
import os

from .proc import PROC, read

_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4  # mlockall(2)


def lock_memory() -> bool:
    """Keep what this process uses in memory, as it is touched: 15 MiB with ONFAULT, 36 without (measured)."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        return bool(libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) == 0)
    except (OSError, AttributeError):
        return False


def unlock_memory() -> None:
    try:
        ctypes.CDLL(None).munlockall()
    except (OSError, AttributeError):
        pass


def raise_priority(nice: int = -5) -> bool:
    """A nice value for this process, and the same for its session; True when the first was granted.

    Where the kernel groups processes by session, nice values count within one only, so both are set (sched(7). Tried:
    nice 0 against 10 in two sessions gave 125 : 124; the same written to /proc/PID/autogroup gave 226 : 24)."""
    try:
        os.setpriority(os.PRIO_PROCESS, 0, nice)
    except OSError:
        return False
    _weigh_session(nice)
    return True


def realtime_possible() -> bool:
    """Whether SCHED_FIFO is granted; the policy is set back at once."""
    try:
        before, parameter = os.sched_getscheduler(0), os.sched_getparam(0)
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
        os.sched_setscheduler(0, before, parameter)
    except OSError:
        return False
    return True


def priority_possible(nice: int = -5) -> bool:
    """Whether `raise_priority` would be granted; what is set is set back at once."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    try:
        os.setpriority(os.PRIO_PROCESS, 0, nice)
        os.setpriority(os.PRIO_PROCESS, 0, before)
    except OSError:
        return False
    return True


def session_weight(root: str = PROC) -> int | None:
    """The nice value of this session against others; ``None`` where the kernel does not group by session."""
    weight = (read(f"{root}/self/autogroup") or b"").rpartition(b" nice ")[2].strip()
    return int(weight) if weight.lstrip(b"-").isdigit() else None


def session_weight_possible() -> bool:
    """Whether it can be written; it is written as it is."""
    weight = session_weight()
    return weight is not None and _weigh_session(weight)


def _weigh_session(nice: int, root: str = PROC) -> bool:
    try:
        descriptor = os.open(f"{root}/self/autogroup", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.write(descriptor, b"%d" % nice)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
