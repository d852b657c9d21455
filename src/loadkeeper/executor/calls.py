"""A call, from `submit` until something has come of it."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool, _RemoteTraceback
from functools import partial
from pickle import loads
from typing import Any

from ..errors import LoadkeeperError
from ..executor_process import RESULT, encode, run_chunk
from ..sources.base import Task

Buffer = bytes | bytearray | memoryview


class WorkerLost(LoadkeeperError, BrokenProcessPool):
    """The process of a call died each time that it was tried. The executor works on.

    It is a `BrokenProcessPool`, so that what catches that (of the standard library's executor, whose death of one
    process fails every call) catches this."""


class ExecutorStopped(LoadkeeperError, BrokenProcessPool):
    """The operator has stopped the executor (`loadkeeper stop`), or the node has no room for it any more."""


class Call:
    """``number`` counts from 1. Arguments are kept as they are until a process is free, then as bytes until it has
    answered: a list of a million calls with one big argument holds it once."""

    __slots__ = ("_arguments", "_function", "begun", "future", "number", "payload", "task")

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self.future: Future[Any] = Future()
        self.number = 0
        self.payload: bytes | None = None
        self.begun = False  # its future is running: nobody can cancel it any more
        self.task: Task | None = None  # its past: kept from the first time that its process was lost
        self._function = function
        self._arguments: tuple[tuple[Any, ...], Mapping[str, Any]] | None = (args, kwargs)

    def begin(self) -> bool:
        """False: it was cancelled while it waited."""
        self.begun = self.begun or self.future.set_running_or_notify_cancel()
        return self.begun

    def pack(self, by_value: bool) -> bool:
        """Make it bytes. False: that cannot be done, which its future says."""
        if self.payload is not None:
            return True
        assert self._arguments is not None
        try:
            self.payload = encode((self._function, *self._arguments), by_value)
        except Exception as error:
            self._arguments = None
            self.future.set_exception(error)
            return False
        self._arguments = None
        return True

    def settle(self, kind: int, content: Buffer) -> bool:
        """What came back; True when it was a result."""
        try:
            value, good = (loads(content), True) if kind == RESULT else (raised(content), False)
        except BaseException as error:
            value, good = error, False
        if good:
            self.future.set_result(value)
        else:
            self.future.set_exception(value)
        return good

    def fail(self, error: BaseException) -> None:
        """It is not tried (again). No effect on one that was cancelled."""
        if self.begin():
            self.future.set_exception(error)

    @property
    def name(self) -> str:
        """What is called, for people."""
        function = self._function
        if isinstance(function, partial):
            function = function.args[0] if function.func is run_chunk else function.func
        return str(getattr(function, "__qualname__", None) or type(function).__name__)

    @property
    def past(self) -> Task:
        """What `Judge` counts."""
        if self.task is None:
            self.task = Task(self.number, (self.name.encode("utf-8", "backslashreplace"),))
        return self.task


def raised(content: Buffer) -> BaseException:
    """The exception that a process sent, with its traceback there as the cause."""
    text, pickled = loads(content)
    try:
        error = loads(pickled)
        if not isinstance(error, BaseException):
            raise TypeError(f"it became {type(error).__name__}, which is no exception")
    except BaseException as problem:
        last = str(text).strip().rpartition("\n")[2]
        error = RuntimeError(f"the call raised an exception that cannot be unpickled here ({problem}): {last}")
    error.__cause__ = _RemoteTraceback(f'\n"""\n{text}"""')  # type: ignore[arg-type]
    return error  # type: ignore[no-any-return]
