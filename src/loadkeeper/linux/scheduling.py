"""What a manager may ask of the scheduler and of memory, so that it is quick when the node is in trouble. Being refused
is normal."""

import ctypes
import os

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
    """A nice value for this process; True when it was granted. Not for its children: they are started elsewhere."""
    try:
        os.setpriority(os.PRIO_PROCESS, 0, nice)
    except OSError:
        return False
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
