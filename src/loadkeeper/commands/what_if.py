"""``replay --with``: what another node or another limit would have made of a run."""

import json
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from ..errors import UsageError
from ..load_manager.black_box import looks
from ..simulate.recorded import Recorded, Recorder
from ..simulate.what_if import WhatIf, what_if
from ..units import format_duration, format_share
from .moments import Named, read_box

FAR = 0.15
"""Of the real makespan: a play that is further from it is no ground for a forecast."""


def record(boxes: Sequence[str], run: Named) -> Recorded:
    """The run as it was, from whichever black box has it. Raises UsageError."""
    for box in boxes:
        recorder = Recorder(run.id)
        for look, memory in looks(read_box(box), run.id):
            recorder.look(look.seen, memory)
        if (made := recorder.made()) is not None:
            return made
    raise UsageError(f"no task of {run.name} ended in what is kept; the black box holds the last 64 MiB of each node")


def write_world(recorded: Recorded, path: Path) -> None:
    """As `loadkeeper simulate` reads it. Raises UsageError."""
    try:
        path.write_text(json.dumps(recorded.world, indent=1) + "\n")
    except OSError as error:
        raise UsageError(f"--world {path}: {error.strerror}; name a file that can be written") from None


def tell(recorded: Recorded, changes: Sequence[str], *, as_json: bool) -> None:
    told = what_if(recorded, parse_changes(changes))
    if as_json:
        click.echo(msgspec.json.encode(told).decode())
        return
    for line in sentences(recorded, told, changes):
        click.echo(line)


def parse_changes(given: Sequence[str]) -> dict[str, str]:
    """By name. Raises UsageError."""
    made: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not value:
            raise UsageError(f"--with {text}: write it as NAME=VALUE, for example memory=+8G")
        if name in made:
            raise UsageError(f"--with {name} is given twice")
        made[name] = value
    return made


def sentences(recorded: Recorded, told: WhatIf, changes: Sequence[str]) -> list[str]:
    """The answer, what it rests on, and how far it can be trusted."""
    kept = " in what is kept, which begins in its middle" if recorded.late else ""
    tasks = f"{recorded.tasks} task{'' if recorded.tasks == 1 else 's'}"
    lines = [f"it took {format_duration(told.real)} for {tasks}{kept}"]
    change = " and ".join(changes)
    if told.likely is None or told.least is None or told.most is None:
        lines.append(f"with {change} it would not come to an end in twelve times the least that it needs")
    else:
        between = f"{format_duration(told.least)} to {format_duration(told.most)}"
        share = f"{told.likely / told.real:.2f} times"
        lines.append(f"with {change} about {format_duration(told.likely)} ({between}), {share} of that")
    if told.ended != told.ended_as_it_was or told.buried or told.kernel_kills:
        lines.append(
            f"{told.ended} workers would be ended, {told.buried} tasks buried, {told.kernel_kills} killed by the kernel"
        )
    off = f"{format_share(abs(told.error))} {'more' if told.error > 0 else 'less'} than it took"
    lines.append(f"played as it was: {format_duration(told.played)}, {off}")
    if abs(told.error) > FAR:
        lines.append("that is far off, so take the answer for a hint and no more")
    if recorded.cut:
        lines.append(f"{recorded.cut} workers that had not ended are left out")
    return lines
