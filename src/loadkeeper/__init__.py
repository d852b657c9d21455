"""Loadkeeper keeps a node from being overloaded by the worker processes that run on it.

Programs have its managers by name: `from loadkeeper import ProcessManager, Limits`. Each is loaded when it is asked
for; importing the package costs nothing."""

TYPE_CHECKING = False  # as `typing` has it, without importing that
if TYPE_CHECKING:
    from .errors import LoadkeeperError as LoadkeeperError
    from .errors import PlaceError as PlaceError
    from .errors import UsageError as UsageError
    from .executor import Executor as Executor
    from .executor import ExecutorStopped as ExecutorStopped
    from .executor import WorkerLost as WorkerLost
    from .member import Member as Member
    from .program.limits import Limits as Limits
    from .program.load_manager import LoadManager as LoadManager
    from .program.manager import ProcessManager as ProcessManager
    from .program.outcome import Outcome as Outcome
    from .program.outcome import RunFailed as RunFailed
    from .program.progress import Progress as Progress
    from .program.queue import Queue as Queue
    from .roster import Roster as Roster

__version__ = "0.1.0"

_HANDED_ON = {
    "Executor": "executor",
    "ExecutorStopped": "executor",
    "Limits": "program.limits",
    "LoadManager": "program.load_manager",
    "LoadkeeperError": "errors",
    "Member": "member",
    "Outcome": "program.outcome",
    "PlaceError": "errors",
    "ProcessManager": "program.manager",
    "Progress": "program.progress",
    "Queue": "program.queue",
    "Roster": "roster",
    "RunFailed": "program.outcome",
    "UsageError": "errors",
    "WorkerLost": "executor",
}
"""Where each name stands."""
__all__ = sorted(_HANDED_ON)  # noqa: PLE0605 - they are made when they are asked for


def __getattr__(name: str) -> object:
    if name not in _HANDED_ON:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found: object = getattr(import_module(f".{_HANDED_ON[name]}", __name__), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_HANDED_ON})
