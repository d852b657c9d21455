"""`Executor`: `concurrent.futures` on processes that obey the load manager.

`Executor` is what programs use, `engine` its thread, `hand` one process, `executor_process` what that runs."""

import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from concurrent.futures import Future
from functools import partial
from itertools import islice
from multiprocessing.context import BaseContext
from types import TracebackType
from typing import Any, TypeVar

from .. import executor_process
from ..executor_process import run_chunk
from ..model import Limits as ModelLimits
from ..model import PauseMode
from ..program.limits import Limits, model_of
from ..sense.capacity import capacity
from ..settings import RunSettings, check_limits
from . import leaving
from .calls import Call, ExecutorStopped, WorkerLost
from .engine import Engine
from .plan import Plan

__all__ = ["Executor", "ExecutorStopped", "WorkerLost"]

T = TypeVar("T")


class Executor(futures.Executor):
    """Does calls in processes, as many at once as the node's limits allow; use it as you would a
    `concurrent.futures.ProcessPoolExecutor`.

    ``limits``: what may be done to the node. ``retries``: how often a call whose process died is tried again, before
    its future raises `WorkerLost`; what the load manager ended does not count; 0: no call is ever run twice.
    ``name``, ``kind``, ``priority``, ``grace`` (seconds from TERM to KILL) and ``pause`` are those of `loadkeeper run`.
    ``max_workers`` is the most at once; without it load alone decides. ``mp_context`` is accepted: processes are
    programs of their own whatever it says. ``max_tasks_per_child``: calls after which a process is replaced.

    Nothing is started before the first call. Raises ValueError and TypeError for arguments that cannot be, and
    SettingsError for limits that this node cannot have."""

    def __init__(  # noqa: PLR0913 - those of the standard library's, and ours
        self,
        max_workers: int | None = None,
        mp_context: BaseContext | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        max_tasks_per_child: int | None = None,
        limits: Limits | ModelLimits | None = None,
        retries: int = 2,
        name: str = "",
        kind: str = "",
        priority: int = 0,
        grace: float = 10.0,
        pause: PauseMode | str = PauseMode.AUTO,
    ) -> None:
        _check(max_workers, initializer, max_tasks_per_child, retries, grace)
        model = model_of(limits)
        node = capacity()
        check_limits(model, node.memory, node.cpus, node.bound_by)
        settings = RunSettings(
            limits=model,
            jobs=max_workers,
            tries=retries + 1,
            pause=PauseMode(pause),
            grace=grace,
            priority=priority,
            name=name,
            kind=kind,
        )
        self._plan = Plan(os.urandom(4).hex(), settings, initializer, initargs, max_tasks_per_child, mp_context)
        self._max_workers = max_workers or len(os.sched_getaffinity(0))  # programs look at it, as at the library's
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._shut = False

    @property
    def run(self) -> str:
        """Its identity among the load manager's runs: what `loadkeeper list` shows, and `pause` and `stop` take."""
        return self._plan.run

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> "Future[T]":
        """Raises RuntimeError after `shutdown` (or at the interpreter's end), and BrokenProcessPool when no call can
        be done any more: an initializer failed, or the operator stopped the executor."""
        call = Call(fn, args, kwargs)
        engine = self._engine or self._make()
        engine.submit(call, self._refuse)
        if engine.thread.ident is None:
            self._begin(engine)
        return call.future

    def map(  # type: ignore[override]  # its `fn` may be a name of an argument, which nobody uses
        self,
        fn: Callable[..., T],
        /,
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        **more: Any,
    ) -> Iterator[T]:
        """As the standard library's. A chunk is one call: it is lost, and tried again, as a whole."""
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        if chunksize == 1:
            return super().map(fn, *iterables, timeout=timeout, **more)
        chunks = _chunks(zip(*iterables, strict=False), chunksize)
        results: Iterator[list[T]] = super().map(partial(run_chunk, fn), chunks, timeout=timeout, **more)
        return _flat(results)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; what was submitted is done, but with ``cancel_futures`` what has not begun is not. With
        ``wait`` this returns when all is done and no process is left."""
        with self._lock:
            self._shut = True
            engine = self._engine
        if engine is None or engine.is_copy:
            return
        engine.shut(cancel=cancel_futures)
        if wait and engine.thread.ident is not None and engine.thread is not threading.current_thread():
            engine.thread.join()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        """As the standard library's, but that ^C ends what runs: processes of ours do not hear the terminal's."""
        if kind is not None and issubclass(kind, KeyboardInterrupt) and self._engine is not None:
            self._engine.interrupt()
        self.shutdown(wait=True)
        return None

    def _make(self) -> Engine:
        """What works for it, made once. Its thread begins when there is a call, which it tells the load manager of."""
        if executor_process.preparing:
            raise RuntimeError(
                "an executor was used while the program's main module was being imported in a process of an executor; "
                'put what starts it under `if __name__ == "__main__":`'
            )
        with self._lock:
            if self._engine is None:
                self._refuse()
                self._engine = Engine(self._plan)
            return self._engine

    def _begin(self, engine: Engine) -> None:
        with self._lock:
            if engine.thread.ident is None:
                engine.thread.start()
                leaving.remember(engine)
                weakref.finalize(self, engine.release).atexit = False

    def _refuse(self) -> None:
        if self._shut:
            raise RuntimeError("cannot schedule new futures after shutdown")
        if leaving.ending:
            raise RuntimeError("cannot schedule new futures after interpreter shutdown")


def _check(
    max_workers: int | None,
    initializer: object,
    max_tasks: int | None,
    retries: int,
    grace: float,
) -> None:
    """The words are the standard library's, where it checks the same."""
    if max_workers is not None and max_workers <= 0:
        raise ValueError("max_workers must be greater than 0")
    if initializer is not None and not callable(initializer):
        raise TypeError("initializer must be a callable")
    if max_tasks is not None and not isinstance(max_tasks, int):
        raise TypeError("max_tasks_per_child must be an integer")
    if max_tasks is not None and max_tasks <= 0:
        raise ValueError("max_tasks_per_child must be >= 1")
    if retries < 0:
        raise ValueError(f"retries must be 0 or more, not {retries}")
    if not 0 <= grace < sys.float_info.max:
        raise ValueError(f"grace must be seconds, 0 or more, not {grace}")


def _chunks(rows: Iterator[tuple[Any, ...]], size: int) -> Iterator[list[tuple[Any, ...]]]:
    while chunk := list(islice(rows, size)):
        yield chunk


def _flat(results: Iterator[list[T]]) -> Iterator[T]:
    """One after the other; none is held once it was given."""
    for chunk in results:
        chunk.reverse()
        while chunk:
            yield chunk.pop()
