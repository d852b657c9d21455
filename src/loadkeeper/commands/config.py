"""``config``: every setting of a run, and where its value comes from."""

import json
import os
import re
from typing import NamedTuple

import click

from . import origins
from .run import run


class Value(NamedTuple):
    """One setting as people and scripts read it."""

    name: str
    value: str | bool | None  # None: not set
    origin: str  # `default`, the variable, or `FILE:LINE`


@click.command(short_help="Show every setting and where its value comes from.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, by the names of the options.")
def config(as_json: bool) -> int:
    """Show the settings that `loadkeeper run` would have in this directory without any option, and their origins: the
    environment (LOADKEEPER_MEMORY and so on), loadkeeper.toml here, the user's loadkeeper.toml, the defaults.

    \b
    loadkeeper config
    LOADKEEPER_MEMORY=4G loadkeeper config --json | jq .memory
    """
    values = _values()
    if as_json:
        told = {value.name: {"value": value.value, "origin": value.origin} for value in values}
        click.echo(json.dumps(told, indent=2))
        return 0
    names, texts = max(len(value.name) for value in values), [_shown(value.value) for value in values]
    width = max(map(len, texts))
    for value, text in zip(values, texts, strict=True):
        click.echo(f"{value.name:{names}}  {text:{width}}  {value.origin}")
    return 0


def _values() -> list[Value]:
    options = list(origins.options_of(run))
    found = origins.find(options, os.environ)
    values = []
    for option in options:
        made = found.get(str(option.name))
        name = origins.long_name(option)
        values.append(Value(name, made.value, made.origin) if made else Value(name, _default(option), "default"))
    return values


def _default(option: click.Option) -> str | bool | None:
    """As the option's help has it in brackets, which is how people write it."""
    told = re.search(r"\[([^\]]+)\]$", option.help or "")
    if told:
        return told[1]
    if option.is_flag:
        return option.default is True
    return str(option.default) if isinstance(option.default, int | float | str) and option.default != "" else None


def _shown(value: str | bool | None) -> str:
    if value is None:
        return "-"
    return str(value).lower() if isinstance(value, bool) else value
