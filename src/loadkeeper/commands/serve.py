"""``serve``: process managers on demand, asked for by jobs of a Gearman function, whose result is the outcome."""

import signal
import sys
import threading
from typing import Any

import click
import msgspec
from msgspec import Struct

from ..errors import LoadkeeperError, SettingsError, UsageError
from ..masking import masked
from ..model import Count
from ..program.manager import ProcessManager
from ..program.outcome import Outcome
from ..program.progress import Progress
from ..program.queue import Queue, Taken
from ..queues.broker import Unreachable
from ..settings import RunSettings
from ..units import format_duration
from .run import run
from .run_settings import settings_of

NOT_HERE = frozenset(
    {
        "tasks", "arg_file", "null", "delimiter", "colsep", "max_args", "header", "link", "no_run_if_empty", "replace",
        "queue", "until_empty", "payload", "kept", "recycle", "idle", "self_fetching", "dry_run", "resume",
        "resume_failed", "joblog", "words", "json", "bar", "will_cite", "shell", "quote",
    }
)  # fmt: skip
"""Options of `run` that say where values come from, or what only one run can have."""
LOOK = 0.5
"""Seconds between two looks at whether we were told to end."""
AGAIN, LONGEST = 0.5, 30.0
MOST = 1_000_000
"""Workers that one job may ask for."""


class Asked(Struct, forbid_unknown_fields=True):
    """What a job asks for."""

    tasks: Count
    task_id: str = ""


def asked(payload: bytes) -> Asked:
    """``{"tasks": 20, "task_id": "nightly"}``, or the bare number. Raises SettingsError."""
    example = 'write {"tasks": 20, "task_id": "nightly"}, or the bare number'
    try:
        found = msgspec.json.decode(payload)
        if isinstance(found, int):
            found = {"tasks": found}
        made = msgspec.convert(found, Asked)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise SettingsError(f"the job asks for nothing that is known here: {error}; {example}") from None
    if not 0 < made.tasks <= MOST:
        raise SettingsError(f"the job asks for {made.tasks} tasks; from 1 to {MOST} can be asked for")
    return made


@click.command(
    context_settings={"allow_interspersed_args": False},
    options_metavar="[OPTIONS]",
    short_help="Run process managers that are asked for by jobs of a Gearman function.",
)
@click.option("--gearman-function", required=True, metavar="NAME", help="Whose jobs ask for runs.")
@click.option(
    "--gearman-server", metavar="HOST[:PORT],...", default="127.0.0.1:4730", help="One or several. [127.0.0.1:4730]"
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, required=True, metavar="[--] COMMAND [ARG]...")
def serve(gearman_function: str, gearman_server: str, words: tuple[str, ...], **options: Any) -> int:
    """Wait for jobs of a Gearman function, and for each start COMMAND as many times as it asks for, as many at once as
    the node allows. The job's payload is {"tasks": N, "task_id": "..."}, or the bare N; the command stands here alone,
    for whoever reaches gearmand may submit a job. Its result is the outcome as JSON, with `error` and `critical`.

    Besides its own options it has those of `run` that say how.

    \b
    loadkeeper serve --gearman-function run-workers --cpu 80% -- php worker.php
    """
    if "%" in gearman_function or not gearman_function:
        raise UsageError(f"--gearman-function {gearman_function!r}: write the function's name")
    defaults = run.make_context("run", [], resilient_parsing=True).params
    settings = settings_of({**defaults, **options})
    settings = msgspec.structs.replace(settings, quiet=True)
    return Server(f"gearman://{gearman_server}/{gearman_function}", list(words), settings).serve()


serve.params[1:1] = [one for one in run.params if one.name not in NOT_HERE]


class Server:
    """One job at a time; other nodes take the others."""

    def __init__(self, url: str, command: list[str], settings: RunSettings) -> None:
        self._url, self._command, self._settings = url, command, settings
        self._over = threading.Event()
        self._manager: ProcessManager | None = None

    def serve(self) -> int:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        wait = AGAIN
        while not self._over.is_set():
            try:
                with Queue(self._url) as queue:
                    queue.backlog()
                    _say(f"serves {queue.broker.shown}")
                    while not self._over.is_set():
                        task = queue.take(LOOK)
                        wait = AGAIN
                        if task is not None:
                            self._work(queue, task)
            except Unreachable as error:
                _say(f"{error}; the next try is in {format_duration(wait)}")
                self._over.wait(wait)
                wait = min(LONGEST, 2 * wait)
        return 0

    def _stop(self, number: int, _frame: object) -> None:
        """The job that is at work goes back, so that another node can have it."""
        again = self._over.is_set()
        self._over.set()
        if self._manager is not None:
            self._manager.stop(now=again)

    def _work(self, queue: Queue, task: Taken) -> None:
        try:
            wish = asked(task.payload)
        except SettingsError as error:
            _say(f"job {task.key}: {error}")
            task.bury(str(error))
            return
        _say(f"job {task.key}: {wish.tasks} tasks{f' ({wish.task_id})' if wish.task_id else ''}")

        def told(progress: Progress) -> None:
            if progress.total:
                task.progress(progress.finished / progress.total)

        self._manager = ProcessManager.of(
            self._command,
            self._settings,
            tasks=wish.tasks,
            task_id=wish.task_id or task.key,
            on_progress=told,
            on_message=lambda text: _say(masked(str(text))),
        )
        try:
            outcome = self._manager.manage()
        except LoadkeeperError as error:
            outcome = Outcome(
                message=str(error), task_id=wish.task_id or task.key, error=True, exit_code=error.exit_code
            )
        finally:
            self._manager = None
        if self._over.is_set() and outcome.left:
            task.give_back()
            _say(f"job {task.key}: given back; {outcome.message}")
        else:
            task.done(outcome.to_json().encode())
            _say(f"job {task.key}: {outcome.message}")


def _say(text: str) -> None:
    print(f"loadkeeper: {text}", file=sys.stderr, flush=True)
