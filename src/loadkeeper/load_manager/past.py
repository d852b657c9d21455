"""One moment of the past, as the load manager saw it and as it decided: from the black box."""

from collections.abc import Iterator

from msgspec import Struct

from ..decide import Memory
from .black_box import Entry, Looked, looks


class Look(Struct, frozen=True):
    """One look. ``before``: what was remembered when it began."""

    looked: Looked
    before: Memory

    @property
    def at(self) -> float:
        """Seconds since the epoch."""
        return self.looked.epoch + self.looked.seen.now


class Moment(Struct, frozen=True):
    """The last look at or before the moment. ``since``: by worker, the look at which it was paused or ended."""

    look: Look
    began: float  # seconds since the epoch, the run's first look
    ended: float  # ... and its last one
    since: dict[str, Look]


def moment(entries: Iterator[Entry], run: str, at: float) -> Moment | None:
    """``at``: seconds since the epoch; a moment before the first look that is kept is that look. None: nothing of the
    run is kept."""
    found: Look | None = None
    since: dict[str, Look] = {}
    began = ended = 0.0
    kept: dict[str, Look] = {}
    for looked, before in looks(entries, run):
        look = Look(looked, before)
        ended = look.at
        began = began or look.at
        decision = looked.decision
        since = {id: since.get(id, look) for id in (*decision.paused, *decision.ending)}
        if found is None or look.at <= at:
            found, kept = look, since
    return None if found is None else Moment(found, began, ended, kept)
