"""The door: finds the verb, loads it alone, and turns our errors into one line and an exit code."""

import errno
import importlib
import os
import sys
from typing import Any, NoReturn

import click

from . import __version__
from .errors import LoadkeeperError
from .masking import IN_ARGUMENTS, masked

VERBS = {
    "run": ("run", "Run a list of commands or a number of workers inside the node's limits."),
    "status": ("status", "Show nodes, runs and their state."),
    "list": ("list:list_", "List runs, pools and workers."),
    "explain": ("explain", "Say in sentences why something starts, waits, is paused or was given back."),
    "pause": ("steer:pause", "Pause runs, pools or workers."),
    "resume": ("steer:resume", "Let what was paused go on."),
    "stop": ("steer:stop", "End runs, pools or workers; their tasks are given back."),
    "wait": ("wait", "Wait until runs are over."),
    "put": ("queue:put", "Put tasks into a queue."),
    "take": ("queue:take", "Take tasks out of a queue and print them."),
    "peek": ("queue:peek", "Show the first tasks of a queue, or those that are buried."),
    "requeue": ("queue:requeue", "Put buried tasks back into their queue."),
    "backlog": ("queue:backlog", "Count the tasks of queues."),
    "serve": ("serve", "Run process managers that are asked for by jobs of a Gearman function."),
    "set": ("set:set_", "Change the limits of living runs."),
    "config": ("config", "Show every setting and where its value comes from."),
    "kinds": ("kinds", "Show or forget what has been learned of tasks."),
    "doctor": ("doctor", "Try what this machine allows, and say what follows."),
    "completion": ("completion", "Print completion for bash, zsh or fish."),
    "manual": ("manual", "Print the manual page."),
    "replay": ("replay", "Play the decisions of a past run again, and name what would be decided otherwise."),
    "simulate": ("simulate", "Play a world file through the load manager's decisions."),
    "demo": ("demo", "Compress 350 MiB of real files inside 1 GiB of memory."),
    "bench": ("bench", "Measure this program beside its peers."),
    "load-manager": ("load_manager", "Run a load manager in the foreground."),
}
ALIASES = {"continue": "resume"}


class Verbs(click.Group):
    """Verbs by name; a module is imported only when its verb is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        name = ALIASES.get(cmd_name, cmd_name)
        if name not in VERBS:
            return None
        module, _, attribute = VERBS[name][0].partition(":")
        command: click.Command = getattr(
            importlib.import_module(f"loadkeeper.commands.{module}"), attribute or module.replace("-", "_")
        )
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not name.startswith("-") and name not in VERBS and name not in ALIASES:
            import difflib  # 6 ms, which nobody waits for who typed it right

            near = difflib.get_close_matches(name, [*VERBS, *ALIASES], 1)
            hint = f"did you mean {near[0]!r}?" if near else "`loadkeeper --help` lists the verbs."
            ctx.fail(f"there is no verb {name!r}; {hint} (A command to run is written after `loadkeeper run`.)")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl([(name, text) for name, (_, text) in VERBS.items()])


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="loadkeeper", message="%(prog)s %(version)s")
def loadkeeper() -> None:
    """Keep this node inside its CPU and memory limits while worker processes do their work.

    \b
    loadkeeper run gzip -9 ::: *.log           a worker for each value, as many at once as fit
    find . -name '*.wav' | loadkeeper run flac {}
    loadkeeper run --tasks 500 -- ./worker     500 workers that find their own work
    """


UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})

NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN})


def _give_up(what: str | None) -> NoReturn:
    """Before anything was started, or after everybody was ended."""
    click.echo(f"loadkeeper: this machine has no room for it: {what}; it has to be there before a run begins", err=True)
    sys.exit(2)


def _leave_stdout() -> None:
    """What the interpreter still holds for it is not tried again at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _hide_passwords() -> None:
    """Those of addresses, from whoever looks at `ps`."""
    if any("://" in word and "@" in word for word in sys.argv):
        from .linux.arguments import hide

        hide(IN_ARGUMENTS)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the program and exit. Our errors are one line on stderr; usage and settings exit with 2."""
    if "_LOADKEEPER_COMPLETE" in os.environ:  # a shell asks: it has our own ways of completing
        importlib.import_module("loadkeeper.commands.completion")
    _hide_passwords()
    try:
        result: Any = loadkeeper.main(arguments, prog_name="loadkeeper", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as exit:
        sys.exit(exit.exit_code)
    except click.Abort:
        sys.exit(130)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(2)
    except click.ClickException as error:
        click.echo(f"loadkeeper: {masked(error.format_message())}", err=True)
        sys.exit(2)
    except LoadkeeperError as error:
        click.echo(f"loadkeeper: {masked(str(error))}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        _leave_stdout()
        sys.exit(141)
    except OSError as error:
        if error.errno in NO_ROOM:
            _give_up(error.strerror)
        if error.errno not in UNWRITABLE:
            raise
        _leave_stdout()
        click.echo(f"loadkeeper: stdout cannot be written: {error.strerror}", err=True)
        sys.exit(2)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "start new thread" not in str(error):
            raise
        _give_up("no memory" if isinstance(error, MemoryError) else "no more threads (ulimit -u, or pids.max)")
    sys.exit(result if isinstance(result, int) else 0)
