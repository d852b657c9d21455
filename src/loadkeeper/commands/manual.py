"""``manual``: the manual page, from the same words as ``--help``."""

import inspect
import re
from collections.abc import Iterator

import click

from .. import __version__

EXIT = (
    ("0", "All tasks are done."),
    ("1", "Some failed, or were buried."),
    ("2", "Usage or settings, nothing was started; or stdout, the job log or the input broke."),
    ("3", "Gave up: memory stayed below the end line with nothing left to end. Tasks are given back."),
    ("129, 130, 143", "After SIGHUP, SIGINT, SIGTERM or `loadkeeper stop`."),
    ("141", "Whoever read stdout has seen enough."),
)


ENVIRONMENT = (
    (
        "LOADKEEPER_MEMORY, LOADKEEPER_JOBS ...",
        "Options of `run` by their names; `loadkeeper config` shows what counts.",
    ),
    ("XDG_RUNTIME_DIR, LOADKEEPER_RUNTIME_DIR", "Where load managers have their sockets."),
    ("XDG_STATE_HOME, LOADKEEPER_STATE_DIR", "Where runs have their journals, and waiting output."),
    ("PARALLEL_SEQ, PARALLEL_JOBSLOT", "What a worker is told: the task's number and its slot."),
    ("NO_COLOR", "No colours."),
)
FILES = (
    ("loadkeeper.toml", "Settings of runs that begin in this directory."),
    ("~/.config/loadkeeper/loadkeeper.toml", "Settings of this user's runs."),
    ("~/.local/state/loadkeeper/runs", "Journals of runs, for 30 days; 1,000 of them and 1 GiB at most."),
)


@click.command(short_help="Print the manual page.")
def manual() -> int:
    """Print the manual page, as roff.

    \b
    loadkeeper manual > /usr/local/share/man/man1/loadkeeper.1
    loadkeeper manual | man -l -
    """
    program = click.get_current_context().find_root().command
    assert isinstance(program, click.Group)
    click.echo("\n".join(_page(program)))
    return 0


def _page(program: click.Group) -> Iterator[str]:
    context = click.Context(program, info_name="loadkeeper")
    yield f'.TH LOADKEEPER 1 "" "loadkeeper {__version__}" "User Commands"'
    yield from (".SH NAME", "loadkeeper \\- keep a node inside its limits while worker processes do their work")
    yield from (".SH SYNOPSIS", ".B loadkeeper", "VERB [OPTIONS] [ARGUMENT]...")
    yield from (".SH DESCRIPTION", *_text(program.help or ""))
    for name in program.list_commands(context):
        command = program.get_command(context, name)
        assert command is not None
        yield from _verb(name, command, context)
    yield ".SH ENVIRONMENT"
    for name, meaning in ENVIRONMENT:
        yield from (".TP", f".B {name}", _roff(meaning))
    yield ".SH FILES"
    for name, meaning in FILES:
        yield from (".TP", f".B {_roff(name)}", _roff(meaning))
    yield ".SH EXIT STATUS"
    for code, meaning in EXIT:
        yield from (".TP", f".B {code}", _roff(meaning))


def _verb(name: str, command: click.Command, parent: click.Context) -> Iterator[str]:
    context = click.Context(command, info_name=name, parent=parent)
    yield f".SH LOADKEEPER {name.upper()}"
    yield from (".B loadkeeper " + name, _roff(" ".join(command.collect_usage_pieces(context))))
    yield from (".PP", *_text(command.help or ""))
    for parameter in command.get_params(context):
        if (record := parameter.get_help_record(context)) is not None:
            yield from (".TP", f".B {_roff(record[0])}", _roff(record[1]))


def _text(text: str) -> Iterator[str]:
    """Paragraphs; what click is told not to rewrap is an example."""
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if paragraph.startswith("\b"):
            yield from (".PP", ".nf", *(_roff(line) for line in paragraph.splitlines()[1:]), ".fi")
        else:
            yield from (".PP", _roff(re.sub(r"\s+", " ", paragraph)))


def _roff(text: str) -> str:
    """Text in which nothing is taken for roff."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped
