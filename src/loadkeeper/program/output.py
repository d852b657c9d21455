"""Where a program wants the output of its tasks."""

import os
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from ..errors import SettingsError, UsageError
from ..process_manager.job import Taker
from ..process_manager.records import Ended
from ..settings import RunSettings
from .arguments import Faults, shown
from .callbacks import Callbacks, safely


class Done(NamedTuple):
    """A task that has met its fate, for whoever takes its output."""

    number: int  # from 1
    values: tuple[bytes, ...]
    outcome: str  # `done`, `failed`, `buried`
    exit_code: int
    signal: int  # that killed it, else 0

    @property
    def value(self) -> str:
        """All values, as text."""
        return b" ".join(self.values).decode("utf-8", "backslashreplace")


class File(Protocol):
    def fileno(self) -> int: ...
    def flush(self) -> object: ...


OnOutput = Callable[[Done, bytes, bytes], object]
Given = str | os.PathLike[str] | File | OnOutput | None


class Output:
    """``given``: None, a path, an open file, or what is called with each task's stdout and stderr."""

    def __init__(self, given: Given, settings: RunSettings, faults: Faults) -> None:
        self._call: OnOutput | None = None
        self._path: str | None = None
        self._file: File | None = None
        self._opened: int | None = None
        with faults.of("output"):
            self._understand(given, settings)

    def _understand(self, given: Any, settings: RunSettings) -> None:
        if given is None:
            return
        if settings.results is not None:
            raise SettingsError("is given and results, too; each says where output goes")
        if isinstance(given, str | os.PathLike):
            self._path = os.fsdecode(given)
        elif hasattr(given, "fileno"):
            self._file = given
        elif callable(given):
            self._call = given
            if settings.line_buffer or settings.tag:
                raise SettingsError("is a callable, which gets whole tasks as they are; leave out line_buffer and tag")
        else:
            raise SettingsError(f"{shown(given)} is neither a path, an open file nor a callable")

    def open(self) -> tuple[int, int]:
        """The descriptors for stdout and stderr of tasks. Raises UsageError."""
        try:
            if self._path is not None:
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
                self._opened = os.open(self._path, flags, 0o666)
                return self._opened, self._opened
            if self._file is not None:
                self._file.flush()
                descriptor = self._file.fileno()
                return descriptor, descriptor
        except (OSError, ValueError) as error:
            problem = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise UsageError(f"output: {self._path or shown(self._file)} cannot be written: {problem}") from None
        return 1, 2

    def taker(self, callbacks: Callbacks) -> Taker | None:
        """What the printer calls instead of printing: it waits until the callable has returned."""
        call = self._call
        if call is None:
            return None

        def take(ended: Ended, stdout: bytes, stderr: bytes) -> None:
            task, left = ended.task, ended.left
            done = Done(task.number, task.values, str(ended.outcome), left.code, left.signal)
            callbacks.deliver(lambda: safely(lambda: call(done, stdout, stderr), "output"))

        return take

    def close(self) -> None:
        if self._opened is not None:
            os.close(self._opened)
