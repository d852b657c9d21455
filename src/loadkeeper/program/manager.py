"""`ProcessManager`: a run in somebody else's program, in any thread of it, several at once."""

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import LoadkeeperError, UsageError
from ..linux.wake import Wake
from ..model import Limits as ModelLimits
from ..preparing import check_places, check_program, done_before, run_of
from ..process_manager import Loop
from ..process_manager.job import Job
from ..process_manager.wake import Order, Orders
from ..record.joblog import Logged
from ..sense.capacity import capacity
from ..settings import RunSettings, check_limits
from . import guest
from .arguments import Faults, as_arguments
from .callbacks import Call, Callbacks, safely
from .keywords import settings_of
from .limits import Limits, model_of
from .listening import Listener, OnMessage
from .outcome import Outcome, outcome_of
from .output import Given, Output
from .progress import Progress, last_progress
from .tasks import Asked, Command, Values, Work, work_of

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")
OnProgress = Callable[[Progress], object]


class ProcessManager:
    """A command, what it is to be done for, and limits; `manage` does it.

    One of ``tasks`` (so many workers, each of which finds its own work), ``values`` (a worker for each: text, bytes,
    paths, numbers; tuples for `{1}` `{2}`), ``commands`` and ``queue`` (a URL) says what is to be done. A command is a
    list of words, which meets no shell, or one string as on the command line.

    Every other keyword is an option of `loadkeeper run`: ``jobs``, ``retries``, ``timeout``, ``halt``, ``joblog`` and
    so on, text or number; the limits stand in ``limits``. Raises UsageError with everything that is wrong."""

    def __init__(  # noqa: PLR0913 - they are the product's, and have names
        self,
        command: Command | None = None,
        *,
        tasks: int | str | None = None,
        values: Values | None = None,
        commands: Iterable[Command] | None = None,
        limits: Limits | ModelLimits | None = None,
        output: Given = None,
        environment: Mapping[str, str] | None = None,
        task_id: str = "",
        on_progress: OnProgress | None = None,
        on_message: OnMessage | None = None,
        **settings: Any,
    ) -> None:
        """``output``: where tasks' output goes: None, our stdout and stderr, each task's whole; a path; an open file;
        or a callable (task, stdout, stderr). ``environment``: of the workers, instead of the program's own.
        ``on_progress`` and ``on_message`` are called in the thread that waits for the run; without the second,
        messages go to the logger `loadkeeper`. ``task_id``: the caller's own name for all this, for the outcome."""
        faults = Faults("ProcessManager")
        understood = ModelLimits()
        with faults.of("limits"):
            understood = model_of(limits)
        self._settings = settings_of(understood, settings, faults)
        self._work = work_of(Asked(command, tasks, values, commands), self._settings, faults)
        self._output = Output(output, self._settings, faults)
        self._environment = _checked(environment, faults)
        faults.report()
        self._task_id = str(task_id)
        self._on_progress, self._on_message = on_progress, on_message
        self._callbacks = Callbacks()
        self._wake: Wake | None = None  # of a run that is at work
        self._orders = Orders(self._wake_up)
        self._begun = threading.Lock()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self.outcome: Outcome | None = None
        """What came of the run; None until it is over."""

    @classmethod
    def of(cls, command: Command, settings: RunSettings, **arguments: Any) -> "ProcessManager":
        """One whose settings are understood already, as those of the command line are."""
        made = cls(command, **arguments)
        made._settings = settings
        return made

    # ------------------------------------------------------------------------------------------------------- to run it

    def manage(self) -> Outcome:
        """Do it, and return when it is over. An exception in this thread meanwhile (^C) stops the run as `stop` does, a
        second one at once; then it is raised on.

        Raises PlaceError when no load manager comes up or no directory can be used, UsageError for what cannot be."""
        self._begin()
        _to_the_end(self._pump, self.stop)
        return self._end()

    def watch(self) -> Iterator[Progress]:
        """The same, with progress as it comes, at most twice a second, and once at the end; then `outcome` is there.
        Whoever leaves the loop before stops the run."""
        self._begin()
        try:
            while not self._callbacks.over:
                taken = self._callbacks.take()
                if isinstance(taken, Progress):
                    self._show(taken)
                    yield taken
                elif taken is not None:
                    taken()
        except BaseException:
            self.stop()
            _to_the_end(self._pump, lambda **_: self.stop(now=True))
            raise
        self._end()

    async def manage_async(self) -> Outcome:
        """The same for asyncio. Cancelled, it stops the run as `stop` does, cancelled once more at once, and waits for
        its end. Callbacks are called in the event loop."""
        import asyncio  # 40 ms, which only those pay who have it already

        loop = asyncio.get_running_loop()
        over = loop.create_future()

        def pump() -> None:
            try:
                while (taken := self._callbacks.take(wait=False)) is not None:
                    self._make(taken)
            except BaseException:  # ^C: the event loop ends its tasks, and this one sees its run out
                loop.call_soon(pump)
                raise
            if self._callbacks.over and not over.done():
                over.set_result(None)

        self._callbacks.notify = lambda: self._soon(loop, pump)
        self._begin()
        cancelled: asyncio.CancelledError | None = None
        while not over.done():
            try:
                await asyncio.shield(over)
            except asyncio.CancelledError as error:
                self.stop(now=cancelled is not None)
                cancelled = cancelled or error
        if cancelled is not None:
            raise cancelled
        return self._end()

    # -------------------------------------------------------------------------------------------- from any other thread

    def stop(self, *, now: bool = False) -> None:
        """Start nothing more, ask what runs to end, and end it after the grace; ``now``: at once. Tasks are given back.
        Before the run, it does nothing then; after it, this has no effect."""
        self._orders.give(Order.STOP_NOW if now else Order.STOP)

    def drain(self) -> None:
        """Start nothing more; what runs may finish."""
        self._orders.give(Order.DRAIN)

    def pause(self) -> None:
        """Everything stands until `resume`, as by `loadkeeper pause`."""
        self._orders.give(Order.PAUSE)

    def resume(self) -> None:
        """Go on, after `pause` or `drain`."""
        self._orders.give(Order.RESUME)

    def _wake_up(self) -> None:
        """No lock: a signal handler of the program may call this at any moment."""
        wake = self._wake
        if wake is not None:
            wake.set()

    # ------------------------------------------------------------------------------------------ the thread that waits

    def _begin(self) -> None:
        if not self._begun.acquire(blocking=False):
            raise UsageError("this ProcessManager has begun its run already; make another one for another run")
        guest.flush()
        self._thread = threading.Thread(target=self._run, name="loadkeeper")
        _with_threads(self._thread.start)

    def _end(self) -> Outcome:
        assert self._thread is not None
        self._thread.join()
        if self._error is not None:
            raise self._error
        assert self.outcome is not None
        return self.outcome

    def _pump(self) -> None:
        while not self._callbacks.over:
            taken = self._callbacks.take()
            if taken is not None:
                self._make(taken)

    def _make(self, taken: Call | Progress) -> None:
        if isinstance(taken, Progress):
            self._show(taken)
        else:
            taken()

    def _show(self, progress: Progress) -> None:
        if self._on_progress is not None:
            told = self._on_progress
            safely(lambda: told(progress), "on_progress")

    def _soon(self, loop: "asyncio.AbstractEventLoop", pump: Call) -> None:
        try:
            loop.call_soon_threadsafe(pump)
        except RuntimeError:  # the loop was closed under us: nobody waits any more
            self._callbacks.abandon()
            self.stop()

    # --------------------------------------------------------------------------------------------- the run's own thread

    def _run(self) -> None:
        try:
            self._work_it()
        except BaseException as error:
            self._error = error
        finally:
            self._callbacks.end()

    def _work_it(self) -> None:
        guest.check()
        work, self._work = self._work, None
        assert work is not None
        before = self._check(work)
        stdout, stderr = self._output.open()
        run = None
        try:
            run = run_of(self._settings, os.environ)
            wake = self._wake = Wake()
            listener = Listener(self._callbacks, self._on_message)
            job = Job(
                run=run.id,
                template=work.template,
                source=work.source(wake.set),
                settings=self._settings,
                state_dir=run.state_dir,
                wake=wake,
                launcher=run.launcher,
                wire=run.wire,
                before=before,
                environment=dict(os.environ) if self._environment is None else self._environment,
                stdout=stdout,
                stderr=stderr,
                orders=self._orders,
                audience=listener,
                taker=self._output.taker(self._callbacks),
            )
            summary = _with_threads(lambda: Loop(job).manage())
        finally:
            self._wake = None
            self._output.close()
            if run is not None and run.wire is not None:
                run.wire.close()  # a run that could not begin has not done so, and its port is held as long as we live
        self._callbacks.show(last_progress(job.name, summary, listener.gauges))
        self.outcome = outcome_of(summary, tuple(listener.failures), self._task_id)

    def _check(self, work: Work) -> Logged | None:
        """What depends on the node and its files, right before it begins; what an earlier run has done. Raises
        UsageError."""
        node = capacity()
        with as_arguments():
            check_limits(self._settings.limits, node.memory, node.cpus, node.bound_by)
            check_program(
                work.template, None if self._environment is None else self._environment.get("PATH", os.defpath)
            )
            check_places(self._settings, work.template)
            return done_before(self._settings)


def _to_the_end(pump: Call, stop: Callable[..., None]) -> None:
    """Wait for the end of the run, whatever is raised in this thread meanwhile: the first time it is asked to stop,
    then at once. What came first is raised on."""
    first: BaseException | None = None
    while True:
        try:
            pump()
        except BaseException as error:
            if first is None:
                first = error
                stop()
            else:
                stop(now=True)
            continue
        if first is not None:
            raise first
        return


def _with_threads(work: Callable[[], T]) -> T:
    """Raises LoadkeeperError where the machine makes no more threads."""
    try:
        return work()
    except RuntimeError as error:
        if "start new thread" not in str(error):
            raise
        raise LoadkeeperError("this machine makes no more threads (ulimit -u, or pids.max); a run needs six") from None


def _checked(environment: Mapping[str, str] | None, faults: Faults) -> dict[str, str] | None:
    if environment is None:
        return None
    if not isinstance(environment, Mapping) or not all(
        isinstance(name, str) and isinstance(value, str) for name, value in environment.items()
    ):
        faults.add("environment", "must be a mapping of text to text")
        return None
    return dict(environment)
