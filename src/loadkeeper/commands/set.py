"""``set``: change the limits of living runs."""

import click

from ..channel.messages import Change
from ..errors import UsageError
from ..model import Limits
from ..settings import CHANGEABLE, change
from .steer import say


@click.command(name="set", short_help="Change the limits of living runs.")
@click.argument("words", nargs=-1, required=True, metavar="NAME=VALUE... [RUN]...")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a sentence.")
def set_(words: tuple[str, ...], as_json: bool) -> int:
    """Change limits of the runs that are named (all of this user without a name), at once, until they end.

    These can be changed, with the values that `loadkeeper run` takes: cpu, memory, memory-gap, swap, workers-memory,
    workers-cpu, memory-per-worker, memory-need, jobs, priority.

    \b
    loadkeeper set cpu=70%
    loadkeeper set workers-memory=4G jobs=8 nightly
    """
    settings, names = _parse(words)
    if not settings:
        raise UsageError(f"set needs NAME=VALUE, for example cpu=70%; these can be changed: {', '.join(CHANGEABLE)}")
    change(Limits(), settings)
    what = ", ".join(f"{name} is {value}" for name, value in settings.items())
    return say(Change(settings, names), what, {"settings": settings}, as_json=as_json)


def _parse(words: tuple[str, ...]) -> tuple[dict[str, str], list[str]]:
    """``NAME=VALUE`` in any order with names of runs; an underscore is as good as a dash."""
    settings: dict[str, str] = {}
    names: list[str] = []
    for word in words:
        name, equals, value = word.partition("=")
        if equals:
            settings[name.removeprefix("--").replace("_", "-")] = value
        else:
            names.append(word)
    return settings, names
