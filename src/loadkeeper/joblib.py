"""joblib on processes that obey the load manager: ``import loadkeeper.joblib`` registers the backend ``loadkeeper``.

``with joblib.parallel_config("loadkeeper", n_jobs=-1): ...``; with -1 load alone decides how many run. What else
`parallel_config` is given (``limits``, ``retries`` ...) goes to the `Executor`. scikit-learn uses it as any other.
"""

import os
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from joblib import register_parallel_backend
from joblib.parallel import AutoBatchingMixin, FallbackToBackend, ParallelBackendBase, SequentialBackend

from .executor import Executor


class Backend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]  # joblib has no types
    """One executor for each `joblib.Parallel`, or each ``with`` of one."""

    supports_retrieve_callback = True
    _executor: Executor | None = None

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Processes that joblib should reckon with."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None:
            return 1
        return n_jobs if n_jobs > 0 else max(1, len(os.sched_getaffinity(0)) + 1 + n_jobs)

    def configure(self, n_jobs: int = 1, parallel: Any = None, **_theirs: Any) -> int:
        count = self.effective_n_jobs(n_jobs)
        if count == 1 and n_jobs != -1:
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        self.parallel = parallel
        self._n_jobs = n_jobs
        self._begin()
        return count

    def _begin(self) -> None:
        most = None if self._n_jobs == -1 else self.effective_n_jobs(self._n_jobs)
        self._executor = Executor(most, **self.backend_kwargs)

    def submit(self, func: Callable[[], Any], callback: Callable[[Future[Any]], object] | None = None) -> Future[Any]:
        assert self._executor is not None
        future = self._executor.submit(func)
        if callback is not None:
            future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, out: Future[Any]) -> Any:
        return out.result()

    def terminate(self) -> None:
        if self._executor is not None:
            self._executor.shutdown()
            self._executor = None

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """A task has failed: those that wait are not done."""
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None
        if ensure_ready:
            self._begin()


register_parallel_backend("loadkeeper", Backend)
