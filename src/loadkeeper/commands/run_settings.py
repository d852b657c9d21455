"""From the options of ``loadkeeper run`` to the settings of a run."""

import os
from typing import Any

from ..errors import UsageError
from ..model import Lines, PauseMode
from ..settings import Payload, RunSettings
from ..words import Off, limits_of, pause_of, queue_settings, retry_delay_of, tries_of
from .inputs import escaped


def settings_of(options: dict[str, Any]) -> RunSettings:
    """By the names of click's parameters. Raises UsageError."""
    given = {name: value for name, value in options.items() if value is not None}
    sensors, lines = _sensors(given)
    queue = queue_settings(given | {"payload": Payload(given["payload"])})
    return RunSettings(
        limits=limits_of(given, lines),
        jobs=None if given.get("jobs") is Off else given.get("jobs"),
        tries=tries_of(queue, given.get("retries")),
        retry_delay=retry_delay_of(queue, given.get("retry_delay")),
        timeout=given.get("timeout"),
        joblog=given.get("joblog"),
        pause=pause_of(queue, PauseMode(given["pause"]) if "pause" in given else None),
        checkpoint=given.get("checkpoint"),
        sigterm_blocking=given["sigterm_blocking"],
        grace=given["grace"],
        priority=given["priority"],
        name=_readable(given["name"]),
        kind=_readable(given["kind"]),
        lm_command=given.get("lm_command"),
        quiet=given["quiet"],
        json=given["json"],
        bar=given["bar"],
        resume=given["resume"],
        resume_failed=given["resume_failed"],
        results=given.get("results"),
        keep_order=given["keep_order"],
        line_buffer=given["line_buffer"],
        tag=escaped(given["tagstring"]) if "tagstring" in given else given["replace"] if given["tag"] else None,
        delay=given["delay"],
        halt=given.get("halt"),
        exit_parallel=given["exit_as"] == "parallel",
        sensors=sensors,
        sensor_every=given["sensor_every"],
        queue=queue,
    )


def _sensors(given: dict[str, Any]) -> tuple[dict[str, str | None], dict[str, Lines]]:
    """The user's own gauges and their lines, by name. Raises UsageError."""
    sensors, lines = dict(given["sensor"]), dict(given["line"])
    for option, made in (("sensor", sensors), ("line", lines)):
        if len(made) < len(given[option]):
            names = [name for name, _ in given[option]]
            twice = next(name for name in names if names.count(name) > 1)
            raise UsageError(f"--{option} {twice} is given twice; one sensor has one command and up to three lines")
    for name in lines:
        if name not in sensors:
            raise UsageError(f"--line {name} has no sensor; add --sensor {name}=COMMAND")
    return sensors, lines


def _readable(name: str) -> str:
    """Bytes that are no text are shown as such."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
