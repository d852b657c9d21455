"""Pressure as a share of the last two seconds, from the growth of the kernel's totals (Documentation/accounting)."""

from collections import deque
from collections.abc import Sequence

from ..linux.gauges import Gauge
from ..linux.hierarchy import Level
from . import readings
from .readings import Pressure

RESOURCES = ("cpu", "memory", "io")
STEP = 0.2
WINDOW = 2.0
"""Seconds. The kernel's own shortest average looks back 10 s and shows a stall that began 1 s ago as a tenth of it."""
_ENOUGH = 1.0  # seconds of our own before they are better than the kernel's average


class PressureWindow:
    """One resource's pressure over the last one to two seconds, 0..1."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque()
        self._share: float | None = None

    def add(self, now: float, reading: Pressure | None) -> None:
        if reading is None:
            self._samples.clear()
            self._share = None
            return
        if self._samples and (reading.total < self._samples[-1][1] or now <= self._samples[-1][0]):
            self._samples.clear()  # another file: the control group was made anew
        self._samples.append((now, reading.total))
        while len(self._samples) > 2 and now - self._samples[1][0] >= WINDOW:
            self._samples.popleft()
        first, before = self._samples[0]
        enough = now - first >= _ENOUGH
        self._share = min(1.0, (reading.total - before) / (now - first)) if enough else reading.average

    def read(self) -> float | None:
        """``None``: the kernel does not tell it here."""
        return self._share


class Pressures:
    """The three resources of the node: of the control group that is the node, else of the machine.

    In a container /proc/pressure is the host's. So: the innermost level that has a limit; without any, the topmost
    that can be seen, which is the container's own there and the root elsewhere. A session's scope is not asked: it
    knows only those who wait in it.
    """

    def __init__(self, proc_root: str) -> None:
        self._machine = {resource: Gauge(f"{proc_root}/pressure/{resource}") for resource in RESOURCES}
        self._directory: str | None = None
        self._group: dict[str, Gauge] = {}
        self._windows = {resource: PressureWindow() for resource in RESOURCES}
        self._sampled = float("-inf")

    def read(self, now: float, unified: Sequence[Level], limited: frozenset[str]) -> dict[str, float | None]:
        """``unified``: our levels of version 2, innermost first; ``limited``: the directories that have a limit."""
        if now - self._sampled >= STEP or now < self._sampled:
            self._sampled = now
            self._settle(_node_directory(unified, limited))
            for resource, window in self._windows.items():
                window.add(now, readings.pressure(self._content(resource)))
        return {f"pressure.{resource}": window.read() for resource, window in self._windows.items()}

    def _settle(self, directory: str | None) -> None:
        if directory != self._directory:
            self._directory = directory
            self._group = {name: Gauge(f"{directory}/{name}.pressure") for name in RESOURCES if directory}
            self._windows = {resource: PressureWindow() for resource in RESOURCES}

    def _content(self, resource: str) -> bytes | None:
        group = self._group.get(resource)
        content = group.read() if group else None
        return content if content is not None else self._machine[resource].read()


def _node_directory(unified: Sequence[Level], limited: frozenset[str]) -> str | None:
    for level in unified:
        if level.directory in limited:
            return level.directory
    return unified[-1].directory if unified else None
