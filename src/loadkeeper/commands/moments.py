"""Which run of now or before is meant, and which moment of it."""

import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from glob import escape, glob
from typing import NamedTuple

from ..errors import LoadkeeperError, SettingsError, UsageError
from ..load_manager.black_box import Entry, read
from ..record.places import state_dir
from ..show.bygone import bygone_runs, check_versions
from ..units import parse_duration
from .reading import read_status


class Named(NamedTuple):
    """A run. ``began``: seconds since the epoch."""

    id: str
    name: str
    began: float


def black_boxes() -> list[str]:
    """Of every node that this user has kept something of."""
    return sorted(glob(f"{escape(state_dir(os.environ))}/black-box/*/"))


def read_box(directory: str) -> Iterator[Entry]:
    """What one of them has kept, oldest first. Raises UsageError: what cannot be read is no difference."""
    try:
        yield from read(directory)
    except LoadkeeperError as error:
        raise UsageError(f"{error}; what an older version decided cannot be played again, remove it") from None


def identify(name: str | None) -> Named:
    """The run of that id or name, the latest of that name; without one the last run. Raises UsageError."""
    status = read_status()
    for living in reversed(status.runs):
        if name in (living.id, living.name, None):
            return Named(living.id, living.name or living.id, _epoch(living.began))
    for bygone in bygone_runs(state_dir(os.environ), {run.id for run in status.runs}):
        header = bygone.header
        if name in (header.run, header.name, None):
            return Named(header.run, header.name or header.run, header.began)
    check_versions(state_dir(os.environ))
    if name is None:
        raise UsageError("no run is remembered; `loadkeeper run` makes one")
    raise UsageError(f"there is no run {name}; `loadkeeper explain` without a name tells of the last one")


def _epoch(iso: str) -> float:
    """Raises UsageError for what no load manager of ours tells."""
    try:
        return datetime.fromisoformat(iso).timestamp()
    except (ValueError, OverflowError):
        raise UsageError(
            f"the load manager tells {iso[:40]!r} for a time; end its runs, and another comes up"
        ) from None


def parse_moment(text: str, began: float) -> float:
    """``+90s`` after the beginning, ``10:42:50`` of its day or the next, ``2026-11-26T10:42:50``: seconds since the
    epoch. Raises UsageError."""
    try:
        if text.startswith("+"):
            return began + parse_duration(text[1:])
        if "-" in text:
            return datetime.fromisoformat(text).timestamp()
        day = datetime.fromtimestamp(began)
        at = datetime.combine(day.date(), datetime.strptime(_with_seconds(text), "%H:%M:%S.%f").time())
        return (at if at >= day.replace(microsecond=0) else at + timedelta(days=1)).timestamp()
    except (ValueError, OverflowError, OSError, SettingsError):
        raise UsageError(
            f"--at {text}: write it as 10:42:50 or 2026-11-26T10:42:50, or as +90s from the run's beginning"
        ) from None


def _with_seconds(text: str) -> str:
    """``10:42`` and ``10:42:50`` as ``10:42:50.0``."""
    text = f"{text}:00" if text.count(":") == 1 else text
    return text if "." in text else f"{text}.0"
