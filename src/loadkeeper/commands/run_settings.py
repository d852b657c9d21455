"""From the options of ``loadkeeper run`` to the settings of a run."""

import os
from typing import Any

from ..errors import UsageError
from ..model import Lines, PauseMode
from ..settings import Payload, QueueSettings, Recycle, RunSettings
from ..words import Off, limits_of
from .inputs import escaped

TRIES, TRIES_OF_A_QUEUE = 1, 3
RETRY_DELAY, RETRY_DELAY_OF_A_QUEUE = 0.25, 1.0


def settings_of(options: dict[str, Any]) -> RunSettings:
    """By the names of click's parameters. Raises UsageError."""
    given = {name: value for name, value in options.items() if value is not None}
    sensors, lines = _sensors(given)
    queue = queue_settings(given)
    return RunSettings(
        limits=limits_of(given, lines),
        jobs=None if given.get("jobs") is Off else given.get("jobs"),
        tries=given.get("retries", TRIES if queue is None else TRIES_OF_A_QUEUE)
        if queue is None or not queue.own
        else 1,
        retry_delay=given.get("retry_delay", RETRY_DELAY if queue is None else RETRY_DELAY_OF_A_QUEUE),
        timeout=given.get("timeout"),
        joblog=given.get("joblog"),
        pause=PauseMode(given["pause"]) if "pause" in given else PauseMode.ASK if _is_own(queue) else PauseMode.AUTO,
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


def queue_settings(given: dict[str, Any]) -> QueueSettings | None:
    """Raises UsageError."""
    url = given.get("queue")
    named = [name for name in ("until_empty", "kept", "self_fetching", "recycle") if given.get(name)]
    if url is None:
        if named:
            raise UsageError(f"--{named[0].replace('_', '-')} says how a queue is served; name it: --queue URL")
        return None
    settings = QueueSettings(
        url=url,
        until_empty=given["until_empty"],
        payload=Payload(given["payload"]),
        kept=given["kept"],
        recycle=given.get("recycle", Recycle()),
        idle=given["idle"],
        own=given["self_fetching"],
    )
    _check(settings, given)
    return settings


def _check(queue: QueueSettings, given: dict[str, Any]) -> None:
    if queue.kept and queue.own:
        raise UsageError("--kept and --self-fetching are two ways; a worker gets its tasks from us, or fetches them")
    if (queue.kept or queue.own) and queue.payload is not Payload.ARGUMENT:
        raise UsageError(
            f"--payload says how a process for one task gets it; with --{_way(queue)} it is not started for one"
        )
    if queue.recycle != Recycle() and not queue.kept:
        raise UsageError("--recycle is for --kept workers: a process for each task is always fresh")
    if queue.kept and given.get("results") is not None:
        raise UsageError("--results keeps a process's output by task; with --kept it is printed, or sent as the result")
    if queue.kept and given["line_buffer"]:
        raise UsageError("--line-buffer prints lines as they come; with --kept output is printed task by task")
    if queue.payload is Payload.STDIN and given.get("checkpoint") is not None:
        raise UsageError("--checkpoint zmq:// speaks on the workers' stdin; with it give --payload file or argument")
    if given.get("halt") is not None and given["halt"].share is not None:
        raise UsageError("--halt with a share needs to know all tasks, and nobody knows how many a queue will have")


def _way(queue: QueueSettings) -> str:
    return "kept" if queue.kept else "self-fetching"


def _is_own(queue: QueueSettings | None) -> bool:
    return queue is not None and queue.own


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
