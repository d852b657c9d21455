"""Where settings come from besides the command line: `LOADKEEPER_*` and two files, checked as a whole.

The command line comes first, then the environment, then ``loadkeeper.toml`` in the working directory, then the user's
own (``$XDG_CONFIG_HOME/loadkeeper/loadkeeper.toml``), then the defaults.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import click

from ..errors import SettingsError

FILE = "loadkeeper.toml"
PREFIX = "LOADKEEPER_"
OTHERS = (
    "LOADKEEPER_LAUNCHED",
    "LOADKEEPER_RUNTIME_DIR",
    "LOADKEEPER_STATE_DIR",
    "LOADKEEPER_WORKER",
    "LOADKEEPER_WORKER_CHECKPOINT",
    "LOADKEEPER_WORKER_TASKS",
    "LOADKEEPER_WORKER_TASK",
    "LOADKEEPER_WORKER_KEY",
    "LOADKEEPER_WORKER_ATTEMPT",
)
"""Variables that are no settings of a run; those of a WORKER a run has that is itself one of another."""
LIMITS = (
    "cpu",
    "memory",
    "memory-gap",
    "swap",
    "pressure",
    "workers-memory",
    "workers-cpu",
    "memory-per-worker",
    "memory-need",
    "max-pause",
    "give-up",
)
RUN = (
    "jobs",
    "retries",
    "retry-delay",
    "timeout",
    "delay",
    "halt",
    "keep-order",
    "tag",
    "line-buffer",
    "exit",
    "pause",
    "checkpoint",
    "sigterm-blocking",
    "grace",
    "priority",
    "kind",
    "quiet",
)
"""What a file may say: how a run behaves, never what it does, so that a file in somebody's directory starts nothing."""
TABLES = {"limits": LIMITS, "run": RUN}


class Found(NamedTuple):
    """A setting that a file or the environment makes."""

    value: str | bool
    origin: str  # `FILE:LINE`, or the variable


class Faults:
    """All that is wrong, so that it is said at once."""

    def __init__(self) -> None:
        self._told: list[str] = []

    def add(self, place: str, problem: str) -> None:
        self._told.append(f"{place}: {problem}")

    def report(self) -> None:
        """Raises SettingsError when there is any."""
        if self._told:
            raise SettingsError("\nloadkeeper: ".join(self._told))


def find(options: Iterable[click.Option], environment: Mapping[str, str]) -> dict[str, Found]:
    """What environment and files set, by the names of click's parameters. Raises SettingsError with every fault."""
    faults = Faults()
    by_name = {long_name(option): option for option in options}
    found: dict[str, Found] = {}
    for path in files(environment):
        found = _from_file(path, by_name, faults) | found
    found |= _from_environment(by_name, environment, faults)
    faults.report()
    return found


def long_name(option: click.Option) -> str:
    """``memory-gap`` of ``--memory-gap``."""
    return next(name for name in option.opts if name.startswith("--")).removeprefix("--")


def files(environment: Mapping[str, str]) -> list[str]:
    """Settings files that are there, the strongest first."""
    config = environment.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return [path for path in (FILE, f"{config}/loadkeeper/{FILE}") if os.path.lexists(path)]


# -------------------------------------------------------------------------------------------------------- environment


def _from_environment(
    by_name: Mapping[str, click.Option], environment: Mapping[str, str], faults: Faults
) -> dict[str, Found]:
    variables = {str(option.envvar): option for option in by_name.values() if option.envvar}
    found: dict[str, Found] = {}
    for name, text in environment.items():
        if not name.startswith(PREFIX) or name in OTHERS:
            continue
        option = variables.get(name)
        if option is None:
            faults.add(name, f"is no setting, unset it{_nearest(name, [*variables, *OTHERS])}")
        elif text and (problem := _problem(option, text)):
            faults.add(name, problem)
        elif text:
            found[str(option.name)] = Found(text, name)
    return found


# --------------------------------------------------------------------------------------------------------------- files


def _from_file(path: str, by_name: Mapping[str, click.Option], faults: Faults) -> dict[str, Found]:
    text, tables = _read(path, faults)
    found: dict[str, Found] = {}
    for table, values in tables.items():
        if table not in TABLES:
            faults.add(_place(path, text, None, table), f"there is no table [{table}]{_nearest(table, TABLES)}")
        elif not isinstance(values, dict):
            faults.add(_place(path, text, None, table), f"{table} is a table; write [{table}] and settings below it")
        else:
            for key, value in values.items():
                place = _place(path, text, table, key)
                if (made := _setting(table, key, value, by_name, faults, place)) is not None:
                    found[str(by_name[key.replace("_", "-")].name)] = Found(made, place)
    return found


def _setting(  # noqa: PLR0913, PLR0917 - one key with all that is needed to judge it
    table: str, key: str, value: Any, by_name: Mapping[str, click.Option], faults: Faults, place: str
) -> str | bool | None:
    """The value as the command line would have it, None when it is wrong."""
    name = key.replace("_", "-")
    if name not in TABLES[table]:
        elsewhere = next((other for other, names in TABLES.items() if name in names), None)
        hint = f"; it belongs into [{elsewhere}]" if elsewhere else _nearest(name, TABLES[table])
        faults.add(place, f"[{table}] has no setting {key}{hint}")
        return None
    option = by_name[name]
    if isinstance(option.type, click.types.BoolParamType):
        if not isinstance(value, bool):
            faults.add(place, f"{key} is true or false")
            return None
        return value
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        faults.add(place, f'{key} needs a text or a number, as on the command line: {key} = "..."')
        return None
    if problem := _problem(option, str(value)):
        faults.add(place, f"{key}: {problem}")
        return None
    return str(value)


def _read(path: str, faults: Faults) -> tuple[str, dict[str, Any]]:
    try:
        with open(path, "rb") as file:
            text = file.read().decode()
        return text, tomllib.loads(text)
    except OSError as error:
        faults.add(path, f"{error.strerror}; make it readable, or remove it")
    except UnicodeDecodeError:
        faults.add(path, "is not UTF-8 text")
    except tomllib.TOMLDecodeError as error:
        faults.add(path, f"is not TOML: {error}")
    except RecursionError:
        faults.add(path, "is not TOML that anybody needs: it is nested too deeply")
    return "", {}


def _place(path: str, text: str, table: str | None, key: str) -> str:
    """``FILE:LINE`` of a key, as well as it can be found: tomllib does not tell."""
    within = table is None
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[\s*([^\]]+?)\s*\]", line)
        if header:
            within = table is None or header[1].strip("'\"") == table
            if table is None and header[1].split(".")[0].strip("'\" ") == key:
                return f"{path}:{number}"
        elif within and re.match(rf"\s*['\"]?{re.escape(key)}['\"]?\s*[.=]", line):
            return f"{path}:{number}"
    return path


def _problem(option: click.Option, text: str) -> str:
    """What is wrong with this value of an option, '' when nothing is."""
    try:
        option.type.convert(text, option, None)
    except click.BadParameter as error:
        return error.message
    return ""


def _nearest(name: str, known: Iterable[str]) -> str:
    known = list(known)
    near = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {near[0]}?" if near else f"; known are {', '.join(known)}"


def options_of(command: click.Command) -> Iterator[click.Option]:
    """The options of a command that the environment can set."""
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.envvar:
            yield parameter
