"""For programs that come from jamset/process-load-manager (PHP): its classes and options by their old names. The page
docs/coming-over.md says what became of each. Nothing of ours is loaded before it is used, for a worker's sake."""

from __future__ import annotations

TYPE_CHECKING = False  # as `typing` has it, without importing that
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from .model import Limits
    from .program.manager import ProcessManager
    from .program.outcome import Outcome

KIB = 1024
DEFAULTS: dict[str, object] = {
    "tasksNumber": None,
    "workerProcessCommand": None,
    "loadManagerProcessCommand": None,  # ours
    "maxSimultaneousProcesses": None,  # as many as the load allows
    "moduleName": None,
    "sigTermBlockingAgent": False,
    "publisherPmSocketAddress": None,
    "cpuUsagePercentageLimit": 100,  # of all cores
    "cpuGapPercentage": 1,
    "memFreeUsagePercentageLimit": 50,  # of what would be available without the workers
    "memFreeUsagePercentageLimitPerProcess": None,
    "standardMemoryGap": 100_000,  # KiB
    "minMemFreeSize": 300_000,  # KiB
    "pauseForbidden": False,
}
"""Options that have their meaning here, with the reference's defaults and units."""
MEANINGLESS = {
    "interMessageInterval": "nobody waits between look and act",
    "pmLmRequestAddress": "the managers find each other",
    "allowedPercentageToSubtractFromReserved": "the workers' share follows what others use",
    "idleZeroValueCheckSizeBeforeAttention": "nothing is ever ended for CPU",
    "uSleepTime": "who stands is woken up, and does not ask",
    "requestPulsarRsSocketAddress": "there is no pulsar",
    "publisherPulsarSocketAddress": "there is no pulsar",
    "pushPulsarSocketAddress": "there is no pulsar",
    "pids": "workers are known from their start on",
}
"""Options that are accepted, and why they do nothing any more."""
NESTED = ("loadManagerDto", "pmLmSocketsParams", "performerSocketsParams", "processManagerDto")
"""Names of objects that hold some of them: mappings here."""


class Pm:
    """The process manager of the reference: options by their old names, as keywords, as a mapping (also nested, as its
    objects were), or by setters (``setTasksNumber(5)``); then `manage`.

    Raises UsageError for an option that there never was, with the nearest name."""

    def __init__(self, options: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        self._given: dict[str, Any] = {}
        self._manager: ProcessManager | None = None
        for name, value in (*(options or {}).items(), *more.items()):
            self.set(name, value)

    def set(self, name: str, value: Any) -> None:
        """One option, or a mapping of them by the name of the object that held them. Raises UsageError."""
        if name in NESTED:
            for inner, one in value.items():
                if not (name == "loadManagerDto" and inner == "moduleName"):  # of its log
                    self.set(inner, one)
        elif name in DEFAULTS or name in MEANINGLESS:
            self._given[name] = value
        else:
            raise _unknown(name)

    def get(self, name: str) -> Any:
        """What was set, or the reference's default. Raises UsageError."""
        if name not in DEFAULTS and name not in MEANINGLESS:
            raise _unknown(name)
        return self._given.get(name, DEFAULTS.get(name))

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """``setTasksNumber``, ``getTasksNumber``, ``isPauseForbidden``."""
        for prefix, method in (("set", self.set), ("get", self.get), ("is", self.get)):
            rest = name.removeprefix(prefix)
            if rest != name and rest[:1].isupper():
                option = rest[0].lower() + rest[1:]
                return lambda *value: method(option, *value)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def keywords(self) -> dict[str, Any]:
        """The same for `loadkeeper.ProcessManager`: from here on the old names are not needed. Raises UsageError."""
        made = {
            "command": self.get("workerProcessCommand"),
            "tasks": _whole("tasksNumber", self.get("tasksNumber")),
            "limits": self._limits(),
            "jobs": _whole("maxSimultaneousProcesses", self.get("maxSimultaneousProcesses")),
            "name": self.get("moduleName"),
            "lm_command": self.get("loadManagerProcessCommand"),
            "pause": "never" if self.get("pauseForbidden") else None,
            "sigterm_blocking": bool(self.get("sigTermBlockingAgent")) or None,
            "checkpoint": _checkpoint(self.get("publisherPmSocketAddress")),
        }
        return {name: value for name, value in made.items() if value is not None}

    def manage(self, **more: Any) -> Outcome:
        """Do it; ``more`` are arguments of ours, such as ``task_id`` and ``on_message``. Raises UsageError and
        PlaceError."""
        from .program.manager import ProcessManager

        self._say_what_means_nothing(more.get("on_message"))
        self._manager = ProcessManager(**{**self.keywords(), **more})
        return self._manager.manage()

    def stop(self, *, now: bool = False) -> None:
        """From any other thread, once `manage` has begun."""
        if self._manager is not None:
            self._manager.stop(now=now)

    @property
    def outcome(self) -> Outcome | None:
        """What the reference calls its ExecutionDto; None until `manage` is over."""
        return self._manager.outcome if self._manager is not None else None

    def _limits(self) -> Limits:
        from msgspec.structs import replace

        from .model import Amount
        from .program.limits import Limits

        cpu = _percent("cpuUsagePercentageLimit", self.get("cpuUsagePercentageLimit"))
        gap = _percent("cpuGapPercentage", self.get("cpuGapPercentage") or 1)
        if gap >= cpu:
            raise _wrong("cpuGapPercentage", gap, f"it must be below cpuUsagePercentageLimit, which is {cpu:g}")
        share = _percent("memFreeUsagePercentageLimit", self.get("memFreeUsagePercentageLimit"))
        limits = Limits(
            cpu=f"{cpu - gap:f}%",
            memory_gap=KIB * (_whole("standardMemoryGap", self.get("standardMemoryGap")) or 0),
            workers_memory=f"{share:f}%",
            memory_per_worker=_each(self.get("memFreeUsagePercentageLimitPerProcess")),
        )
        least = KIB * (_whole("minMemFreeSize", self.get("minMemFreeSize")) or 0)
        return replace(limits.model, memory_end=Amount(absolute=float(least)))

    def _say_what_means_nothing(self, on_message: Callable[[str], object] | None) -> None:
        told = "; ".join(f"{name} ({MEANINGLESS[name]})" for name in self._given if name in MEANINGLESS)
        if not told:
            return
        text = f"these options of process-load-manager mean nothing here: {told}"
        if on_message is not None:
            on_message(text)
        else:
            from .saying import say

            say(text)


class TerminatorPauseStander:
    """What stands in a worker's code, in many places: it pauses there, and ends there by an exception. Without a
    manager it does nothing."""

    def __init__(self, *_dto: object) -> None:
        """What the reference's constructor took is not needed."""
        self.check_pm_command: Callable[[], object] = _worker().checkpoint
        """Pauses here, or raises `TerminatorPauseStanderException`: in `except Exception` it is not caught."""
        self.checkPmCommand = self.check_pm_command

    def setPublisherPmSocketAddress(self, address: str) -> None:
        """Not needed: the process manager says where."""

    def setUSleepTime(self, microseconds: int) -> None:
        """Not needed: who stands is woken up."""


def __getattr__(name: str) -> object:
    if name == "Lm":
        from .program.load_manager import LoadManager

        return LoadManager
    if name == "TerminatorPauseStanderException":
        return _worker().Terminated
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _worker() -> Any:
    from importlib import import_module

    return import_module(".worker", __package__)


# ------------------------------------------------------------------------------------------------------- the figures


def _wrong(name: str, value: object, how: str) -> Exception:
    from .errors import UsageError

    return UsageError(f"{name}: {value!r}: {how}")


def _unknown(name: str) -> Exception:
    import difflib

    from .errors import UsageError

    near = difflib.get_close_matches(name, [*DEFAULTS, *MEANINGLESS, *NESTED], 1)
    return UsageError(f"{name} is no option of process-load-manager" + (f"; did you mean {near[0]}?" if near else ""))


def _whole(name: str, value: object) -> int | None:
    """Raises UsageError."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _wrong(name, value, "it must be a whole number from 0")
    return value


def _percent(name: str, value: object) -> float:
    """Raises UsageError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 100:
        raise _wrong(name, value, "it must be per cent, above 0 and to 100")
    return float(value)


def _each(percent: object) -> int | None:
    """A worker's cap in bytes: per cent of what is available now. Raises UsageError."""
    if percent is None:
        return None
    share = _percent("memFreeUsagePercentageLimitPerProcess", percent) / 100
    import time

    from .sense.node import NodeSensor

    available = NodeSensor().read(time.monotonic()).available
    if available is None:
        raise _wrong("memFreeUsagePercentageLimitPerProcess", percent, "what is available here cannot be read")
    return max(1, int(share * available))


def _checkpoint(address: object) -> str | None:
    """``tcp://127.0.0.1:6268`` is `zmq://127.0.0.1:6268` here. Raises UsageError."""
    if address is None:
        return None
    if not isinstance(address, str) or not address.startswith("tcp://"):
        raise _wrong("publisherPmSocketAddress", address, "write it as tcp://127.0.0.1:6268")
    return "zmq://" + address.removeprefix("tcp://")
