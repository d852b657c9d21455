"""Tries of what is done to processes."""

import time
from collections.abc import Iterator

from ..errors import LoadkeeperError
from ..linux.gauges import spare_descriptors
from ..linux.members import mark
from ..linux.process import Process, become_subreaper, is_subreaper
from ..linux.spawn import most_descriptors
from ..process_manager.starting import EACH, SPARE
from ..sense.shares import measure
from .finding import MISSING, OK, REDUCED, Finding
from .sleeper import MARK_OF_DOCTOR, sleeper


def processes() -> Iterator[Finding]:
    try:
        with sleeper() as process:
            yield _descriptor(process)
            yield _stop(process)
            yield _shares(process)
            yield _environment(process)
    except LoadkeeperError as error:
        yield Finding("start a process", MISSING, str(error), "nothing can be started")
        return
    yield _subreaper()
    yield _most_workers()


def _descriptor(process: Process) -> Finding:
    tried = "hold a process by a descriptor (pidfd)"
    if process.fileno() is None:
        follows = "processes are told apart by pid and start time; ends are noticed each 50 ms"
        return Finding(tried, REDUCED, "the kernel refuses it", follows)
    return Finding(tried, OK, "held", "no signal ever reaches a stranger, and ends are noticed at once")


def _stop(process: Process) -> Finding:
    began = time.monotonic()
    process.stop()
    while not process.stands() and time.monotonic() - began < 1.0:
        time.sleep(0.0005)
    took = time.monotonic() - began
    stands = process.stands()
    process.proceed()
    if not stands:
        return Finding("stop a process", MISSING, "it ran on for a second", "no worker can be paused")
    return Finding("stop a process", OK, f"it stood after {took * 1000:.1f} ms", "--pause stop works")


def _shares(process: Process) -> Finding:
    tried = "measure what processes share"
    if measure((process.pid, process.start_time), "/proc") is None:
        follows = "memory that a worker's processes share is guessed: what was forked counts once"
        return Finding(tried, REDUCED, "smaps_rollup cannot be read", follows)
    return Finding(tried, OK, "measured", "shared memory counts once")


def _environment(process: Process) -> Finding:
    tried = "read a worker's environment"
    if mark(process.pid) != MARK_OF_DOCTOR:
        follows = "what leaves its session and its parent is lost where there are no control groups"
        return Finding(tried, REDUCED, "it cannot be read", follows)
    return Finding(tried, OK, "read", "a worker's processes are found though their manager is dead")


def _subreaper() -> Finding:
    tried = "take in orphaned processes"
    if is_subreaper() or (become_subreaper() and is_subreaper()):
        return Finding(tried, OK, "granted", "what a worker leaves behind comes back and is ended")
    return Finding(tried, REDUCED, "refused", "what daemonises goes to process 1; it is found by its environment alone")


def _most_workers() -> Finding:
    most = most_descriptors()
    workers = max(0, most - SPARE) // EACH
    found = f"{most} (ulimit -Hn); {spare_descriptors() * 2} without raising it"
    return Finding("count descriptors", OK, found, f"a run can have {workers} workers at once")
