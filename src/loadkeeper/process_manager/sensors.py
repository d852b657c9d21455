"""The gauges of the user's own that a run brings: read here, in the user's own environment, told to the load manager
with each report."""

from collections.abc import Callable

from ..linux.members import MARK
from ..sense.sensor import Sensor, command_of
from .job import Job

NAMELESS = "sensor"
"""Where a worker's number stands in the mark of a process: what a sensor left is found and ended with the run."""

TOLD = 10
"""Faults of one sensor that are said."""


class Sensors:
    def __init__(self, job: Job) -> None:
        settings = job.settings
        environment = {**job.environment, MARK.decode(): f"{job.run}.{NAMELESS}"}
        every = settings.sensor_every
        self._sensors = [
            Sensor(name, command_of(name, line, every), every, environment, job.wake.set)
            for name, line in settings.sensors.items()
        ]
        self._lines = settings.limits.gauges
        self._told: dict[str, set[str]] = {name: set() for name in settings.sensors}

    def open(self) -> None:
        for sensor in self._sensors:
            sensor.start()

    def close(self) -> None:
        for sensor in self._sensors:
            sensor.close()

    def readings(self, now: float) -> dict[str, float | None]:
        return {sensor.sensor: sensor.reading(now) for sensor in self._sensors}

    def tell(self, say: Callable[[str], None]) -> None:
        """Each fault once, and of one sensor not without end."""
        for sensor in self._sensors:
            fault, told = sensor.fault, self._told[sensor.sensor]
            if fault and fault not in told and len(told) < TOLD:
                told.add(fault)
                follows = "; nothing starts until it shows a number" if sensor.sensor in self._lines else ""
                say(f"sensor {sensor.sensor}: {fault}{follows}")
