"""``loadkeeper run``: from words on the command line to a job for the process manager."""

import os
import re
import sys
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..errors import UsageError
from ..model import PauseMode
from ..preparing import check_places, check_program, done_before, exported_functions, queue_of, run_of
from ..record import joblog
from ..sense.capacity import capacity
from ..settings import Payload, QueueSettings, RunSettings, check_limits, is_an_argument
from ..sources.placeholders import Syntax
from ..sources.template import Template
from . import inputs, origins
from .options import (
    CHECKPOINT,
    COUNT,
    CPUS,
    DURATION,
    GIVE_UP,
    HALT,
    JOBS,
    LINE,
    MEMORY,
    NUMBER,
    POSITIVE,
    PRESSURE,
    RECYCLE,
    SENSOR,
    SIZE,
    SOME_DURATION,
    SOME_MEMORY,
    SOME_SIZE,
)
from .run_settings import settings_of

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

F = TypeVar("F", bound=Callable[..., Any])


def files(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """For a shell that completes: names of files, which it finds itself."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


def _option(*names: str, **settings: Any) -> Callable[[F], F]:
    """An option that LOADKEEPER_<NAME> sets as well."""
    long = next(name for name in names if name.startswith("--"))
    variable = "LOADKEEPER_" + long.lstrip("-").upper().replace("-", "_")
    return click.option(*names, envvar=variable, **settings)


_PERL = re.compile(r"\{=.+=\}")


class Run(click.Command):
    """Takes what it was not told on the command line from environment and settings files, checked as a whole."""

    def make_context(self, *arguments: Any, **more: Any) -> click.Context:
        if not more.get("resilient_parsing"):  # a shell that completes words is told of no faults
            found = origins.find(origins.options_of(self), os.environ)
            more.setdefault("default_map", {name: one.value for name, one in found.items()})
        try:
            return super().make_context(*arguments, **more)
        except click.NoSuchOption as error:
            from .foreign import INSTEAD

            if (instead := INSTEAD.get(error.option_name)) is None:
                raise
            raise UsageError(f"there is no {error.option_name} here; {instead} (docs/parallel.md)") from None

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        """Once the command has begun, the options are its own."""
        if ctx.params.get("words"):
            return files(ctx, self.params[0], incomplete)
        return super().shell_complete(ctx, incomplete)


@click.command(
    cls=Run,
    context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False},
    options_metavar="[OPTIONS]",
    short_help="Run a list of commands or a number of workers inside the node's limits.",
)
@_option("--queue", metavar="URL", help="Tasks from a queue: spool:, redis://, amqp:// or gearman://.")
@_option("--until-empty", is_flag=True, help="The run ends when the queue is empty.")
@_option(
    "--payload",
    type=click.Choice([how.value for how in Payload]),
    default="argument",
    help="How a queue's payload comes: as {}, on stdin, or in the file $LOADKEEPER_WORKER_TASK. [argument]",
)
@_option("--kept", is_flag=True, help="A worker serves many tasks of the queue (docs/kept-workers.md).")
@_option("--recycle", type=RECYCLE, metavar="tasks=N,age=TIME,memory=SIZE", help="Replace a kept worker after so much.")
@_option("--idle", type=SOME_DURATION, metavar="TIME", default=60.0, help="A kept worker without a task leaves. [1m]")
@_option("--self-fetching", is_flag=True, help="Workers take from the queue themselves; it says how many to start.")
@click.option("--tasks", type=COUNT, metavar="N", help="So many workers in all; each finds its own work.")
@click.option(
    "-a",
    "--arg-file",
    metavar="FILE",
    multiple=True,
    shell_complete=files,
    help="Values from a file, one a line; - is stdin.",
)
@click.option("-0", "--null", is_flag=True, help="Values in files and stdin end with NUL, not with a newline.")
@click.option("-d", "--delimiter", metavar="CHARACTER", help="... or with this.")
@click.option("-C", "--colsep", metavar="REGEX", help="Split each value into columns: {1}, {2} ...")
@click.option("-N", "-n", "--max-args", type=POSITIVE, metavar="N", help="So many values for each task.")
@click.option("--header", metavar=":", help="The first value of each input is its name: {colour}.")
@click.option("--link", "--xapply", is_flag=True, help="Link all inputs; the shorter ones begin again.")
@click.option("-r", "--no-run-if-empty", is_flag=True, help="No task for an empty value.")
@click.option("-I", "--replace", metavar="TEXT", default="{}", help="This stands for the value, instead of {}.")
@click.option("--shell", is_flag=True, help="Join all words to one line for the shell, as GNU parallel does.")
@click.option("-q", "--quote", is_flag=True, help="No shell, even for one word with a blank.")
@click.option("--dry-run", "--dryrun", is_flag=True, help="Print the commands, start nothing.")
@_option(
    "-j",
    "-P",
    "--jobs",
    "--max-procs",
    type=JOBS,
    metavar="N",
    help="The most workers at once; 50%, +1, -1: of the CPUs.",
)
@_option("--retries", type=POSITIVE, metavar="N", help="Try a failing task N times in all. [1; of a queue 3]")
@_option(
    "--retry-delay",
    type=DURATION,
    metavar="TIME",
    help="Before the third try of a task that fails within a second, then doubled, up to 1m; 0: none. [0.25s] "
    "Of a queue: before every try after a failure. [1s]",
)
@_option("--timeout", type=SOME_DURATION, metavar="TIME", help="End an attempt that runs longer; pauses do not count.")
@_option("--delay", type=DURATION, metavar="TIME", default=0.0, help="Between two starts, at least.")
@_option(
    "--halt", type=HALT, metavar="WHEN,WHY", help="Stop before the end: now or soon, fail=, success= or done=N or N%."
)
@_option("-k", "--keep-order", is_flag=True, help="Output in the order of the values.")
@_option("--tag", is_flag=True, help="The value and a tab before each line of output.")
@_option("--tagstring", metavar="TEXT", help="... or this text, with placeholders.")
@_option(
    "-u",
    "--line-buffer",
    "--linebuffer",
    "--lb",
    "--ungroup",
    is_flag=True,
    help="Print whole lines as they come, not whole tasks.",
)
@_option(
    "--exit", "exit_as", type=click.Choice(["loadkeeper", "parallel"]), default="loadkeeper", help="Whose exit codes."
)
@_option("--joblog", metavar="FILE", shell_complete=files, help="Log each task in GNU parallel's format.")
@_option("--resume", is_flag=True, help="Go on with an earlier run: what --joblog names is not done again.")
@_option("--resume-failed", is_flag=True, help="... unless it failed.")
@_option(
    "--results",
    metavar="DIR|PATH",
    shell_complete=files,
    help="Keep each task's output in files, instead of printing it.",
)
@_option("--bar", "--eta", "--progress", is_flag=True, help="Progress on the terminal though stdout is a pipe.")
@click.option("--will-cite", is_flag=True, help="For scripts that say it.")
@_option(
    "--cpu", type=CPUS, metavar="SHARE|CORES|off", help="Busy CPUs of the node above which nothing is added. [90%]"
)
@_option("--memory", type=MEMORY, metavar="SHARE|SIZE|off", help="Memory of the node to keep available. [10%]")
@_option("--memory-gap", type=SIZE, metavar="SIZE", help="Added to what --memory keeps available.")
@_option("--swap", type=MEMORY, metavar="SHARE|SIZE", help="Swap to keep free: below it nothing is added.")
@_option("--pressure", type=PRESSURE, metavar="cpu=40%,io=30%", help="Pressure above which nothing is added.")
@click.option("--sensor", type=SENSOR, metavar="NAME=COMMAND", multiple=True, help="A gauge: COMMAND prints a number.")
@click.option(
    "--line", type=LINE, metavar="NAME=HOLD,PAUSE,END", multiple=True, help="Lines of a sensor; < if it falls."
)
@_option("--sensor-every", type=SOME_DURATION, metavar="TIME", default=5.0, help="Between two readings of one. [5s]")
@_option(
    "--workers-memory", type=SOME_MEMORY, metavar="SHARE|SIZE", help="What the workers of this run may hold in all."
)
@_option("--workers-cpu", type=CPUS, metavar="SHARE|CORES", help="CPU that all workers of this run may use together.")
@_option("--memory-per-worker", type=SOME_SIZE, metavar="SIZE", help="End a worker that holds more.")
@_option("--memory-need", type=SOME_SIZE, metavar="SIZE", help="Reserve so much for each, instead of what is learned.")
@_option(
    "--pause",
    type=click.Choice([mode.value for mode in PauseMode]),
    help="How to pause. [auto; ask with --self-fetching]",
)
@_option(
    "--checkpoint",
    type=CHECKPOINT,
    metavar="zmq://HOST:PORT",
    help="Workers of process-load-manager: ask them to pause and end over its wire.",
)
@_option(
    "--sigterm-blocking", is_flag=True, help="Workers block SIGTERM: end them at their checkpoints, KILL after --grace."
)
@_option("--grace", type=DURATION, metavar="TIME", default=10.0, help="From TERM to KILL. [10s]")
@_option("--max-pause", type=SOME_DURATION, metavar="TIME", default=300.0, help="All pauses of an attempt. [5m]")
@_option("--give-up", type=GIVE_UP, metavar="TIME|never", default=60.0, help="Critical for so long: give up. [60s]")
@_option("--priority", type=NUMBER, default=0, metavar="N", help="Higher goes first. [0]")
@_option("--name", metavar="NAME", default="", help="The run's name in status and list.")
@_option("--kind", metavar="NAME", default="", help="Tasks of one kind share what is learned. [the program's name]")
@_option("--lm-command", metavar="COMMAND", help="Start this load manager instead of ours.")
@click.option("--json", is_flag=True, help="Events as JSON on stderr, one a line, instead of progress.")
@_option("--quiet", is_flag=True, help="No progress and no last line.")
@click.argument(
    "words", nargs=-1, type=click.UNPROCESSED, shell_complete=files, metavar="[--] COMMAND [ARG]... [::: VALUE...]"
)
def run(words: tuple[str, ...], arg_file: tuple[str, ...], **options: Any) -> int:
    """Run COMMAND once for each value (or --tasks times), as many at once as the node's limits allow.

    {} stands for the value, {.} for it without its extension, {/} for its last name, {//} for its directory, {/.} for
    its last name without extension, {#} for the task's number, {%} for its slot, {1} {2.} ... for the values of each
    input; without any of them the value is appended. One word with a blank or a shell character is a shell line; two
    or more words meet no shell. Without COMMAND the values are commands.

    ::: VALUE... are values, :::: FILE... files of them, a line each. Several of them make every combination; :::+ and
    ::::+ link an input to the one before it.

    \b
    loadkeeper run xz -9 ::: *.tar
    find . -name '*.wav' | loadkeeper run flac {} -o {.}.flac
    loadkeeper run --queue redis://localhost/thumbnails -- ./thumbnail {}
    loadkeeper run --memory 2G --joblog log -- convert {} -resize {2} {1.}-{2}.png ::: *.svg ::: 64 128
    """
    settings = settings_of(options)
    command, named = inputs.parse(words)
    given = [*(inputs.Input(path=path) for path in arg_file), *named]
    queue = settings.queue
    if not command and (options["tasks"] is not None or queue or not (given or inputs.brought_on_stdin())):
        raise UsageError("run needs a command; for example: loadkeeper run gzip -9 ::: *.log")
    node = capacity()
    check_limits(settings.limits, node.memory, node.cpus, node.bound_by)
    _check_stdout()
    if queue is not None:
        _check_alone(options, given)
        values = inputs.Tasks(queue_of(queue, settings.limits, node.memory))
    else:
        values = inputs.tasks(given, options["tasks"], inputs.cut(options), counted=_needs_total(settings))
    template = _template(command, values, options, queue)
    check_program(template)
    check_places(settings, template)
    before = done_before(settings)
    if options["dry_run"]:
        return _show(template, values.source, settings, before)
    return _manage(template, values.source, settings, before)


NOT_WITH_A_QUEUE = ("tasks", "resume", "resume_failed", "header", "link", "max_args", "colsep", "dry_run", "null")


def _check_alone(options: dict[str, Any], given: Sequence[inputs.Input]) -> None:
    """What says where tasks come from stands for itself. Raises UsageError."""
    if given:
        raise UsageError("--queue and values on the command line or in files both name tasks; give one of them")
    for name in NOT_WITH_A_QUEUE:
        if options[name]:
            raise UsageError(f"--{name.replace('_', '-')} says something of a list of values, and --queue has none")


def _needs_total(settings: RunSettings) -> bool:
    """Whether nothing can begin before all tasks are known: `--halt` with a share of them, as GNU parallel has it."""
    return settings.halt is not None and settings.halt.share is not None


def _template(
    command: Sequence[str], values: inputs.Tasks, options: dict[str, Any], queue: QueueSettings | None
) -> Template:
    """Raises UsageError."""
    if options["shell"] and options["quote"]:
        raise UsageError("--shell and --quote contradict each other: a line for the shell, or words that meet none")
    if not options["replace"]:
        raise UsageError("-I is empty; give what stands for the value, for example -I %")
    for word in command:
        if _PERL.search(word):
            raise UsageError(f"{word!r}: {{= perl =}} is not there; cut the value in a line for the shell instead")
    return Template.parse(
        [os.fsencode(word) for word in command],
        valued=options["tasks"] is None and (queue is None or is_an_argument(queue)),
        shell=True if options["shell"] else False if options["quote"] else None,
        syntax=Syntax(os.fsencode(options["replace"]), values.names, exported_functions(os.environb)),
    )


def _show(
    template: Template, make: inputs.MakeSource, settings: RunSettings, before: joblog.Logged | None = None
) -> int:
    """``--dry-run``: each command that would be executed, on a line of its own."""
    more = threading.Event()
    source = make(more.set)
    tag = template.tag(settings.tag)
    while not source.exhausted():
        task = source.take()
        if task is None:
            more.wait()
            more.clear()
            continue
        if before is not None and task.number in before:
            before.check(task.number, template.texts(task))
            continue
        task.slot = 1
        sys.stdout.buffer.write((tag.text(task) if tag else b"") + template.text(task) + b"\n")
    if source.fault is not None:
        raise UsageError(source.fault)
    sys.stdout.flush()
    return 0


def _manage(template: Template, source: inputs.MakeSource, settings: RunSettings, before: joblog.Logged | None) -> int:
    """All words are right. The load manager, where there is none yet, comes up while the rest of us is loaded: that
    takes 0.06 s of the 0.15 that it needs."""
    run = run_of(settings, os.environ)

    from ..linux.wake import Wake
    from ..process_manager import Loop
    from ..process_manager.job import Job

    wake = Wake()
    job = Job(
        run=run.id,
        template=template,
        source=source(wake.set),
        settings=settings,
        state_dir=run.state_dir,
        wake=wake,
        launcher=run.launcher,
        before=before,
        wire=run.wire,
        environment=os.environ,
        standalone=True,
    )
    return Loop(job).manage().exit_code


def _check_stdout() -> None:
    try:
        os.fstat(1)
    except OSError:
        raise UsageError("stdout is closed, so the tasks' output would be lost; send it to /dev/null instead") from None
