"""``put``, ``take``, ``peek``, ``requeue``, ``backlog``: queues as a person looks after them."""

import base64
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import click

from ..errors import LoadkeeperError, UsageError
from ..masking import masked
from ..program.queue import BATCH, Queue, Taken
from ..queues.broker import Backlog, Found
from ..show.paper import Cell, Paper, Row
from ..show.text import clean, cut
from ..sources.commands import split
from ..units import format_size
from .options import DURATION, POSITIVE

SHOWN = 60
"""Columns of a payload that a person is shown."""
WORDS = 200
FILE = click.Path(exists=True, dir_okay=False, readable=True)


@click.command(short_help="Put tasks into a queue.")
@click.argument("url")
@click.argument("payloads", nargs=-1, metavar="PAYLOAD...|-")
@click.option("--file", "files", type=FILE, multiple=True, metavar="FILE", help="The content of a file is a payload.")
@click.option("-0", "--null", is_flag=True, help="Payloads on stdin end with NUL, not with a newline.")
@click.option("--key", metavar="KEY", default="", help="The task's own: two of one key are one task (not in RabbitMQ).")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, with the keys.")
def put(  # noqa: PLR0913, PLR0917 - click gives them by name
    url: str, payloads: tuple[str, ...], files: tuple[str, ...], null: bool, key: str, as_json: bool
) -> int:
    """Put each PAYLOAD at the end of a queue; - takes them from stdin, one a line. Ends with 0 once the broker has all
    of them for certain.

    \b
    loadkeeper put spool:work a.wav b.wav
    find . -name '*.wav' | loadkeeper put redis://localhost/sounds -
    """
    if not payloads and not files:
        raise UsageError("put needs payloads: words, - for the lines of stdin, or --file FILE")
    if key and (len(payloads) + len(files) != 1 or payloads == ("-",)):
        raise UsageError("--key names one task, and here are several payloads")
    count, keys = 0, []
    with Queue(url) as queue:
        for batch in _batches(_payloads(payloads, files, b"\0" if null else b"\n")):
            made = queue.put(*batch, keys=[key] if key else ())
            count += len(made)
            keys += made if as_json else []
    if as_json:
        click.echo(json.dumps({"put": count, "keys": keys}))
    else:
        click.echo(f"{_tasks(count)} put", err=True)
    return 0


def _payloads(words: Sequence[str], files: Sequence[str], separator: bytes) -> Iterator[bytes]:
    for word in words:
        if word == "-":
            yield from split(0, separator)
        else:
            yield os.fsencode(word)
    for file in files:
        with open(file, "rb") as content:
            yield content.read()


def _batches(payloads: Iterable[bytes]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    for payload in payloads:
        batch.append(payload)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


@click.command(short_help="Take tasks out of a queue and print them.")
@click.argument("url")
@click.option("-n", "--count", type=POSITIVE, metavar="N", default=1, help="So many. [1]")
@click.option("--timeout", type=DURATION, metavar="TIME", default=0.0, help="Wait so long for the next one. [0]")
@click.option("-0", "--null", is_flag=True, help="End each payload with NUL, not with a newline.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object for each, one a line.")
def take(url: str, count: int, timeout: float, null: bool, as_json: bool) -> int:
    """Take tasks and print their payloads, one a line. A task is done once it is printed; if that fails, it goes back.
    Ends with 1 when there was none.

    \b
    loadkeeper take spool:work
    loadkeeper take --json -n 10 --timeout 5s amqp://localhost/work
    """
    taken = 0
    with Queue(url) as queue:
        while taken < count and (task := queue.take(max(timeout, 0.3))) is not None:
            with task:
                _print(task, as_json, b"\0" if null else b"\n")
            taken += 1
    return 0 if taken else 1


def _print(task: Taken, as_json: bool, end: bytes) -> None:
    if as_json:
        line = json.dumps({"key": task.key, **_payload(task.payload), "again": task.again}).encode() + b"\n"
    else:
        line = task.payload + end
    sys.stdout.buffer.write(line)
    sys.stdout.flush()


def _payload(payload: bytes) -> dict[str, str]:
    try:
        return {"payload": payload.decode()}
    except UnicodeDecodeError:
        return {"payload64": base64.b64encode(payload).decode()}


@click.command(short_help="Show the first tasks of a queue, or those that are buried.")
@click.argument("url")
@click.option("-n", "--count", type=POSITIVE, metavar="N", default=10, help="So many. [10]")
@click.option("--buried", is_flag=True, help="Those that were put aside, with the reason and what they said last.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array.")
def peek(url: str, count: int, buried: bool, as_json: bool) -> int:
    """Show tasks, which stay where they are. RabbitMQ and gearmand show nothing that they do not give out: there the
    tasks are taken for a moment, and count as delivered once more.

    \b
    loadkeeper peek spool:work
    loadkeeper peek --buried redis://localhost/sounds
    """
    with Queue(url) as queue:
        found = queue.peek(count, buried=buried)
    if as_json:
        click.echo(json.dumps([_as_json(one) for one in found]))
        return 0
    if not found:
        click.echo("No task is buried." if buried else "No task waits.")
        return 0
    paper = Paper()
    rows = [Row([Cell(head, "dim") for head in ("KEY", "PUT", "PAYLOAD")])]
    paper.table([*rows, *map(_row, found)], indent=0)
    return 0


def _as_json(found: Found) -> dict[str, Any]:
    told: dict[str, Any] = {"key": found.key, **_payload(found.payload), "put": _time(found.put)}
    if found.burial is not None:
        burial = found.burial
        told["buried"] = {
            "why": burial.why,
            "said": burial.said.decode("utf-8", "backslashreplace"),
            "attempts": burial.attempts,
            "need": burial.need,
            "node": burial.node,
            "at": _time(burial.at or None),
        }
    return told


def _time(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at).astimezone().isoformat(timespec="seconds")


def _row(found: Found) -> Row:
    payload = masked(found.payload.decode("utf-8", "backslashreplace"))
    if len(found.payload) > SHOWN:
        payload = f"{payload[:SHOWN]}... ({format_size(len(found.payload))})"
    return Row([Cell(cut(clean(found.key), 40)), Cell(_time(found.put) or "-"), Cell(clean(payload))], _reason(found))


def _reason(found: Found) -> str:
    burial = found.burial
    if burial is None:
        return ""
    said = burial.said.decode("utf-8", "backslashreplace").strip().splitlines()
    told = clean(f"{burial.why}; it said last: {said[-1][:WORDS]}" if said else burial.why)
    return f"{told} ({burial.node})" if burial.node else told


@click.command(short_help="Put buried tasks back into their queue.")
@click.argument("url")
@click.argument("keys", nargs=-1, metavar="[KEY]...")
@click.option("--all", "every", is_flag=True, help="All of them.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def requeue(url: str, keys: tuple[str, ...], every: bool, as_json: bool) -> int:
    """Put buried tasks back at the end of their queue, as new: those of these keys, or --all. Ends with 1 when there
    was none.

    \b
    loadkeeper peek --buried spool:work
    loadkeeper requeue spool:work --all
    """
    if bool(keys) is every:
        raise UsageError("requeue needs the keys that `loadkeeper peek --buried` shows, or --all")
    with Queue(url) as queue:
        moved = queue.requeue(None if every else keys)
    click.echo(json.dumps({"requeued": moved}) if as_json else f"{_tasks(moved)} put back")
    return 0 if moved else 1


@click.command(short_help="Count the tasks of queues.")
@click.argument("urls", nargs=-1, required=True, metavar="URL...")
@click.option("--json", "as_json", is_flag=True, help="One JSON array.")
def backlog(urls: tuple[str, ...], as_json: bool) -> int:
    """Count the tasks that wait in queues, that somebody has, and that are buried; - where the broker does not say.

    \b
    loadkeeper backlog spool:work redis://localhost/sounds
    """
    counted: list[tuple[str, Backlog | None, str]] = []
    for url in urls:
        try:
            with Queue(url) as queue:
                counted.append((queue.broker.shown, queue.backlog(), ""))
        except UsageError:
            raise
        except LoadkeeperError as error:
            counted.append((masked(url), None, masked(str(error))))
    if as_json:
        click.echo(json.dumps([_counted(*one) for one in counted]))
    else:
        heads = [Cell("QUEUE", "dim"), *(Cell(head, "dim", right=True) for head in ("WAITING", "TAKEN", "BURIED"))]
        Paper().table([Row(heads), *(_count_row(*one) for one in counted)], indent=0)
    return 2 if any(fault for *_, fault in counted) else 0


def _counted(name: str, found: Backlog | None, fault: str) -> dict[str, Any]:
    told: dict[str, Any] = {"queue": name, **(found._asdict() if found else {})}
    return {**told, "error": fault} if fault else told


def _count_row(name: str, found: Backlog | None, fault: str) -> Row:
    figures = found or Backlog(None)
    return Row([Cell(name), *(Cell("-" if one is None else str(one), right=True) for one in figures)], fault)


def _tasks(count: int) -> str:
    return "1 task" if count == 1 else f"{count} tasks"
