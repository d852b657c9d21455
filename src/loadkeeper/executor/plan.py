"""What an executor is told once, when it is made."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from typing import Any

from ..settings import RunSettings


@dataclass(frozen=True)
class Plan:
    """``run``: the identity of what it does as a run of the load manager's."""

    run: str
    settings: RunSettings
    initializer: Callable[..., Any] | None = None
    initargs: tuple[Any, ...] = ()
    max_tasks: int | None = None  # calls that a process does before another one takes its place
    context: BaseContext | None = None

    @property
    def name(self) -> str:
        return text(self.settings.name or program_name())

    @property
    def kind(self) -> str:
        return text(self.settings.kind) or self.name

    @property
    def pool(self) -> str:
        """An executor has one pool."""
        return "main"

    @property
    def at_most_once(self) -> bool:
        """A second run of a call does harm."""
        return self.settings.tries == 1


def text(name: str) -> str:
    """As messages take it: a file's name may be no text."""
    return name.encode("utf-8", "backslashreplace").decode()


def program_name() -> str:
    """Of the script or package that runs; the interpreter's where a person types."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name:
        return str(spec.name.removesuffix(".__main__"))
    path = getattr(main, "__file__", None)
    return os.path.basename(path or sys.executable or "python")
