"""Tries of the node's gauges."""

import time
from collections.abc import Iterator

from ..linux.triggers import open_trigger
from ..sense.node import NodeReading, NodeSensor
from ..units import format_cores, format_size
from .finding import MISSING, OK, REDUCED, Finding

WINDOW = 0.15
"""Seconds between two readings of the CPU: it is known from their difference."""


def gauges() -> Iterator[Finding]:
    sensor = NodeSensor()
    sensor.read(time.monotonic())
    time.sleep(WINDOW)
    reading = sensor.read(time.monotonic())
    yield from (_memory(reading), _cpu(reading))
    yield from (_pressure(reading), _swap(reading))


def _memory(reading: NodeReading) -> Finding:
    tried = "read available memory"
    if reading.available is None:
        return Finding(tried, MISSING, f"{reading.available_bound_by} does not tell it", "nothing is ever started")
    found = f"{format_size(reading.available)} of {format_size(reading.total)}, bound by {reading.available_bound_by}"
    return Finding(tried, OK, found, f"the node's memory is that of {reading.capacity.memory_bound_by}")


def _cpu(reading: NodeReading) -> Finding:
    tried = "read how busy the CPUs are"
    if reading.busy is None:
        follows = "workers are started only where nothing runs, or with --cpu off"
        return Finding(tried, REDUCED, "the kernel does not tell it", follows)
    cores = f"{reading.busy:.1f} of {format_cores(reading.cpus)} in use"
    return Finding(tried, OK, cores, f"the node's CPUs are those of {reading.capacity.cpus_bound_by}")


def _pressure(reading: NodeReading) -> Finding:
    tried = "read pressure"
    known = [name.partition(".")[2] for name, value in reading.gauges.items() if "." in name and value is not None]
    if not known:
        return Finding(tried, REDUCED, "the kernel does not tell it here", "--pressure holds every start")
    return Finding(tried, OK, ", ".join(known), "--pressure can be used")


def _swap(reading: NodeReading) -> Finding:
    if not reading.swap_total:
        return Finding("look for swap", OK, "there is none", "memory alone decides; --swap has no effect")
    found = f"{format_size(reading.swap_free)} of {format_size(reading.swap_total)} free"
    return Finding(
        "look for swap", OK, found, "swap is never counted as memory; pressure.memory above 10 % holds starts"
    )


def trigger() -> Iterator[Finding]:
    problem = open_trigger("memory", 0.15, 2.0)
    follows = "memory is watched by looks of 5 to 100 ms either way"
    yield Finding("open a trigger for memory pressure", REDUCED if problem else OK, problem or "opened", follows)
