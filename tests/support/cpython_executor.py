"""CPython's own tests of executors with ours in the place of its own: ``-m support.cpython_executor METHOD [quick]``.

For any interpreter that has its ``test`` package; METHOD is spawn or forkserver, and further words are
parts of names of tests. What is named in `ABOUT_ITSELF` is
left out: each asserts what the standard library's executor is made of, or that a dead process breaks it.
"""

import contextlib
import importlib
import multiprocessing
import os
import sys
import unittest
from collections.abc import Iterator
from concurrent import futures
from typing import Any

from loadkeeper import Executor
from loadkeeper.executor.engine import Engine
from loadkeeper.model import Limits

MODULES = ("init", "shutdown", "wait", "as_completed", "process_pool", "deadlock")
ONE_PROCESS_DIES = "a process that dies costs its own call alone, and the next one is done"
ERROR_OF_ITS_OWN = "the call gets the error itself, for the executor is not broken by it"
STARTED_BY_ANOTHER = "processes are started by the executor's thread, and only when the load manager allows it"
ABOUT_ITSELF = {
    "test_cancel_futures": "it wants calls that count as begun though there is no process yet; we cancel them all",
    "test_max_tasks_per_child_defaults_to_spawn_context": "we keep no context: the start is always an exec",
    "test_processes_terminate": STARTED_BY_ANOTHER,
    "test_python_finalization_error": "it makes a start of theirs fail, which is not ours",
    "test_saturation": STARTED_BY_ANOTHER,
    "test_killed_child": ONE_PROCESS_DIES,
    "test_error_at_task_unpickle": ERROR_OF_ITS_OWN,
    "test_exit_at_task_unpickle": ERROR_OF_ITS_OWN,
    "test_error_during_result_unpickle_in_result_handler": ERROR_OF_ITS_OWN,
    "test_exit_during_result_unpickle_in_result_handler": ERROR_OF_ITS_OWN,
}
SLEEPING = ("test_map_timeout", "test_max_tasks_per_child", "test_ressources_gced_in_workers")
"""They take longer than all others of their class."""


class Process:
    """One of ours, as far as the tests want one of `multiprocessing`'s."""

    def __init__(self, hand: Any) -> None:
        self._hand = hand

    def join(self) -> None:
        """It is gone when the thread is, which is joined before."""
        assert self._hand.gone

    def terminate(self) -> None:
        self._hand.worker.process.kill()


class Nothing:
    """The queue that we have not."""

    def join_thread(self) -> None:
        pass


class Ours(Executor):
    """With what the tests look at, and no limits: the machine may be busy."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, limits=Limits(cpu=None, memory=None), **named)

    @property
    def _working(self) -> Engine:
        engine = self._engine or self._make()
        assert engine is not None
        return engine

    @property
    def _broken(self) -> bool:
        return self._engine is not None and self._engine.broken is not None

    @property
    def _processes(self) -> dict[int, Process]:
        return {worker.process.pid: Process(worker.task) for worker in self._working._crew.workers.values()}

    @property
    def _executor_manager_thread(self) -> Any:
        return self._working.thread

    @property
    def _call_queue(self) -> Nothing:
        return Nothing()


def modules() -> Iterator[Any]:
    """One file up to 3.11, a folder since."""
    found = importlib.import_module("test.test_concurrent_futures")
    if not hasattr(found, "__path__"):
        yield found
        return
    for name in MODULES:
        yield importlib.import_module(f"test.test_concurrent_futures.test_{name}")


def replace_in(module: Any) -> None:
    """Scripts of theirs import theirs."""
    if not hasattr(module, "assert_python_ok"):
        return
    real = module.assert_python_ok

    def ours(*words: str, **environment: str) -> Any:
        theirs = f"from concurrent.futures import {Ours.__name__}"
        words = tuple(word.replace(theirs, f"from loadkeeper import Executor as {Ours.__name__}") for word in words)
        return real(*words, __isolated=False, PYTHONPATH=os.environ["PYTHONPATH"], **environment)

    module.assert_python_ok = ours


def suite(method: str) -> unittest.TestSuite:
    tests = unittest.TestSuite()
    prefix = f"ProcessPool{method.capitalize()}"  # ProcessPoolSpawn..., ProcessPoolForkserver...
    for module in modules():
        replace_in(module)
        for name, case in sorted(vars(module).items()):
            if isinstance(case, type) and issubclass(case, unittest.TestCase) and name.startswith(prefix):
                case.executor_type = Ours  # type: ignore[attr-defined]
                tests.addTests(_of(case))
    return tests


def _of(case: type[unittest.TestCase]) -> Iterator[unittest.TestCase]:
    for name in unittest.defaultTestLoader.getTestCaseNames(case):
        if name not in ABOUT_ITSELF:
            yield case(name)


def main() -> int:
    method, *words = sys.argv[1:]
    left_out = {name for word in words if word == "quick" for name in SLEEPING}
    names = [word for word in words if word != "quick"]
    chosen = unittest.TestSuite(
        test
        for test in suite(method)
        if all(name in test.id() for name in names) and test.id().rpartition(".")[2] not in left_out
    )
    multiprocessing.set_start_method(method, force=True)
    futures.ProcessPoolExecutor = Ours  # type: ignore[misc,assignment]
    with contextlib.suppress(BrokenPipeError):
        print(f"{chosen.countTestCases()} tests of CPython {sys.version.split()[0]}, {method}", flush=True)
    result = unittest.TextTestRunner(sys.stdout, verbosity=2).run(chosen)
    return 0 if result.wasSuccessful() and result.testsRun else 1


if __name__ == "__main__":
    sys.exit(main())
