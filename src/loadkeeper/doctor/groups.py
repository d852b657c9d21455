"""Tries of control groups for workers."""

import os
import time
from collections.abc import Iterator

from ..linux.cgroup import Leaf, delegated_base
from ..linux.gauges import read_once
from .finding import OK, REDUCED, Finding
from .sleeper import sleeper


def control_groups() -> Iterator[Finding]:
    tried = "give a worker a control group of its own"
    base = delegated_base()
    leaf = Leaf.create(base, f"doctor-{os.getpid()}") if base is not None else None
    if leaf is None:
        follows = "workers are stopped by SIGSTOP; what leaves session, parent and environment can be lost"
        yield Finding(tried, REDUCED, "none can be made, entered and frozen here by this user", follows)
        return
    try:
        with sleeper(leaf):
            began = time.monotonic()
            frozen = leaf.freeze() and leaf.wait_frozen(1.0)
            took = time.monotonic() - began
            killed = leaf.kill()
        found = f"made below {base}, entered, {'frozen' if frozen else 'NOT frozen'} after {took * 1000:.1f} ms"
        state = OK if frozen and killed else REDUCED
        yield Finding(tried, state, found, "workers are paused by the freezer, and nothing can leave them")
        yield _leaf_memory(leaf)
    finally:
        leaf.thaw()
        _remove(leaf)


def _remove(leaf: Leaf) -> None:
    until = time.monotonic() + 1.0
    while not leaf.remove() and time.monotonic() < until:
        time.sleep(0.005)


def _leaf_memory(leaf: Leaf) -> Finding:
    tried = "let the kernel count a worker's memory"
    if read_once(f"{leaf.path}/memory.current") is None:
        follows = "peaks are learned from looks each 12 to 500 ms and from the exit's own figure"
        return Finding(tried, REDUCED, "the control group has no memory controller", follows)
    return Finding(tried, OK, "counted", "peaks are exact, and files in a worker's own tmpfs count as its")
