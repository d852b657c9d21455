"""What is done before anything is started, alike for ``loadkeeper run`` and for programs: faults are found, the run has
a name and a place, and the load manager comes up while the rest of us is loaded."""

import os
import shutil
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from .errors import UsageError
from .launcher import Launcher
from .model import Limits
from .record import joblog, results
from .record.places import state_dir
from .record.pruning import prune_now_and_then
from .settings import QueueSettings, RunSettings
from .sources.template import Template

if TYPE_CHECKING:
    from .process_manager.wire import Wire
    from .sources.base import Source


class Begun(NamedTuple):
    """A run that has a name and a place."""

    id: str
    state_dir: str  # its own directory
    launcher: Launcher
    wire: "Wire | None" = None  # to workers of process-load-manager; closed with the run


def run_of(settings: RunSettings, environment: Mapping[str, str]) -> Begun:
    """A new run; its load manager is on its way where there is none. Raises UsageError, PlaceError and SpawnError."""
    state, run = state_dir(environment), os.urandom(4).hex()
    if settings.joblog is not None:
        joblog.check(settings.joblog)
    wire = _wire(settings)
    try:
        launcher = Launcher(environment, settings.lm_command)
        launcher.launch()
    except BaseException:
        if wire is not None:
            wire.close()
        raise
    prune_now_and_then(f"{state}/runs")
    return Begun(run, f"{state}/runs/{run}", launcher, wire)


def queue_of(queue: QueueSettings, limits: Limits, memory: int) -> "Callable[[Callable[[], None]], Source]":
    """What makes the source. ``memory``: of the node. A broker that says no is found before anything is started, one
    that is not there is tried again later. Raises UsageError and QueueError."""
    from .queues.broker import Unreachable
    from .queues.registry import broker_of

    broker = broker_of(queue.url)
    try:
        broker.connect()
    except Unreachable:
        pass
    finally:
        broker.close()
    if queue.own:
        from .sources.self_fetching import SelfFetching

        return lambda wake: SelfFetching(broker, wake, until_empty=queue.until_empty)
    from .sources.queue import Queue

    capacity = _capacity(limits, memory)
    return lambda wake: Queue(broker, wake, until_empty=queue.until_empty, capacity=capacity)


def _capacity(limits: Limits, memory: int) -> int:
    """Bytes that one task can have at most."""
    most = float(memory)
    if limits.memory is not None:
        most -= limits.memory.of(memory) + limits.memory_gap
    if limits.workers_memory is not None:
        most = min(most, limits.workers_memory.of(memory))
    if limits.memory_per_worker is not None:
        most = min(most, limits.memory_per_worker)
    return int(max(0.0, most))


def _wire(settings: RunSettings) -> "Wire | None":
    """Bound before anything is started, for its port may be taken. Raises UsageError."""
    if settings.checkpoint is None:
        return None
    from .process_manager.wire import Wire

    return Wire(settings.checkpoint, settings.pause, deaf=settings.sigterm_blocking)


def check_places(settings: RunSettings, template: Template) -> None:
    """That results can be kept where they are wanted. Raises UsageError."""
    if settings.results is not None and not template.text_of(os.fsencode(settings.results)).filled:
        results.check(settings.results)


def done_before(settings: RunSettings) -> joblog.Logged | None:
    """What an earlier run has done. Raises UsageError."""
    if not (settings.resume or settings.resume_failed):
        return None
    option = "--resume-failed" if settings.resume_failed else "--resume"
    if settings.joblog is None or settings.joblog == "-":
        raise UsageError(f"{option} needs --joblog FILE: the file says what is done")
    return joblog.Logged(settings.joblog, successful=settings.resume_failed)


def exported_functions(environment: Mapping[bytes, bytes]) -> frozenset[bytes]:
    """Those that bash has exported: `BASH_FUNC_name%%`."""
    names = (
        name[len(b"BASH_FUNC_") : -2] for name in environment if name.startswith(b"BASH_FUNC_") and name[-2:] == b"%%"
    )
    return frozenset(names)


def check_program(template: Template, path: str | None = None) -> None:
    """A command that does not exist is found before the first start. ``path``: instead of our own PATH. Raises
    UsageError."""
    program = template.program
    if program is None:
        return
    name = os.fsdecode(program)
    if shutil.which(name, path=path) is None:
        if "/" in name and os.path.exists(name):
            problem = "is a directory" if os.path.isdir(name) else "may not be executed; try chmod +x"
            raise UsageError(f"command {name!r} {problem}")
        where = "" if "/" in name else " in PATH"
        raise UsageError(f"command {name!r} is not found{where}; nothing was started")
