"""The black box: everything that each decision rested on, and what it was, so that it can be replayed.

`decide` is pure, so a memory and what was seen since give every decision again: to the byte with the same program, and
with differences that can be named with another.
"""

from collections.abc import Iterator

import msgspec
from msgspec import Struct

from ..decide import Memory, decide
from ..errors import LoadkeeperError
from ..model import Decision, Seen
from ..record import boxes
from ..record.boxes import Box

EVERY = 60.0
"""Seconds between two whole memories: from one of them a replay can begin."""


class Remembered(Struct, frozen=True, tag="memory"):
    """All that `decide` remembers before the next look. ``dropped``: looks that were not kept so far."""

    memory: Memory
    dropped: int = 0


class Looked(Struct, frozen=True, tag="look"):
    """One look. ``epoch``: what turns its times into seconds since the epoch."""

    seen: Seen
    decision: Decision
    epoch: float


Entry = Remembered | Looked
_encode = msgspec.msgpack.Encoder().encode
_decoder: msgspec.msgpack.Decoder[Entry] = msgspec.msgpack.Decoder(Entry)
LENGTH = 4


class BlackBox:
    """Of one load manager. Costs a look 30 to 60 µs with 100 workers; the rest is done by a thread."""

    def __init__(self, directory: str) -> None:
        self._box = Box(directory)
        self._remembered: float | None = None
        self._whole = False  # a memory was kept, and nothing was dropped since

    def note(self, before: Memory, seen: Seen, decision: Decision, epoch: float) -> None:
        """What was remembered before a look, what was seen, and what was decided. Looks at nothing are not kept, but
        the memory that follows is."""
        if not seen.pools and not seen.workers and not seen.exits:
            self._whole = False
            return
        due = self._remembered is None or seen.now >= self._remembered + EVERY
        if due or not self._whole:
            self._whole = self._put(Remembered(before, self._box.dropped))
            self._remembered = seen.now
        self._whole = self._whole and self._put(Looked(seen, decision, epoch))

    def anew(self) -> None:
        """What is remembered has changed between two looks: it is kept whole at the next."""
        self._whole = False

    def _put(self, entry: Entry) -> bool:
        record = _encode(entry)
        return self._box.put(len(record).to_bytes(LENGTH, "big") + record)

    def close(self) -> None:
        self._box.close()


def read(directory: str) -> Iterator[Entry]:
    """All entries, oldest first. Raises LoadkeeperError, for those of another version too."""
    for batch in boxes.read(directory):
        place = 0
        while place + LENGTH <= len(batch):
            end = place + LENGTH + int.from_bytes(batch[place : place + LENGTH], "big")
            try:
                yield _decoder.decode(batch[place + LENGTH : end])
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                raise LoadkeeperError(f"{directory} was written by another version: {error}") from None
            place = end


def looks(entries: Iterator[Entry], run: str) -> Iterator[tuple[Looked, Memory]]:
    """Every look at the run with what was remembered before it; those before the first memory, or behind a gap, are
    left out. Days of other runs are only read: from the memory before it on, decisions are made again."""
    memory: Memory | None = None
    passed: list[Looked] = []  # since that memory
    for entry in entries:
        if isinstance(entry, Remembered):
            memory, passed = entry.memory, []
        elif memory is not None:
            if is_of(run, entry.seen):
                for look in passed:
                    _, memory = decide(look.seen, memory)
                passed = []
                yield entry, memory
            passed.append(entry)


def is_of(run: str, seen: Seen) -> bool:
    return any(pool.run == run for pool in seen.pools)


class Difference(Struct, frozen=True):
    """A look at which today's rules decide otherwise than was decided then."""

    at: float  # seconds since the epoch
    what: str  # for people


class Replay(Struct, frozen=True):
    looks: int
    skipped: int  # looks before the first memory, or behind a gap
    began: float | None  # seconds since the epoch
    ended: float | None
    differences: list[Difference]


def replay(entries: Iterator[Entry], run: str | None = None) -> Replay:
    """Every look of these entries through today's `decide`; only those at which ``run`` has a pool, where it is named.

    After a difference memories part, so what follows is compared from the next memory that was kept."""
    memory: Memory | None = None
    looks = skipped = 0
    began = ended = None
    differences: list[Difference] = []
    for entry in entries:
        if isinstance(entry, Remembered):
            memory = entry.memory
            continue
        if memory is None:
            skipped += 1
            continue
        decision, memory = decide(entry.seen, memory)
        if run is not None and not is_of(run, entry.seen):
            continue
        looks += 1
        ended = entry.epoch + entry.seen.now
        began = ended if began is None else began
        if decision != entry.decision:
            differences.append(Difference(ended, "; ".join(_named(entry.decision, decision))))
            memory = None
    return Replay(looks, skipped, began, ended, differences)


def _named(then: Decision, now: Decision) -> Iterator[str]:
    """What differs, in words."""
    for name, pool in then.pools.items():
        today = now.pools.get(name)
        if today is None or today.slots != pool.slots:
            yield f"pool {name} had {pool.slots} slots, and would have {today.slots if today else 'none'}"
    for what, before, after in (("paused", then.paused, now.paused), ("ended", then.ending, now.ending)):
        for id in before.keys() - after.keys():
            yield f"{id} was {what}, and would not be"
        for id in after.keys() - before.keys():
            yield f"{id} was not {what}, and would be"
    if then.pools.keys() == now.pools.keys() and then.next_look != now.next_look:
        yield f"the next look was {then.next_look:.3f} s later, and would be {now.next_look:.3f} s"
