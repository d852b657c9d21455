"""Load managers that died, as a run bears it and people are told."""

import os
from collections.abc import Callable

from ..errors import PlaceError
from ..member import Member
from ..obey.acting import Act, Actor
from ..record.journal import Verb
from .records import Records

WORDS = 1000
"""Bytes of a load manager's log in which its last line is looked for."""
LOST = 20.0
"""Seconds without a load manager after which a run that never had one cannot work, and in any other one who stands goes
on alone."""
MISSED = 3.0
"""Seconds after the death of a load manager until it is said that no other one comes."""


class Losses:
    def __init__(self, member: Member, actor: Actor, records: Records, say: Callable[[str], None]) -> None:
        self._member, self._actor, self._records, self._say = member, actor, records, say
        self._told = self._missed = 0  # of how many it was said that another one came, and that none did

    def turn(self, began: float, now: float) -> list[Act]:
        """Whom it made us continue. Raises PlaceError when since ``began``, the run's beginning, none came up."""
        member = self._member
        if member.losses > self._told and member.connected:
            self._told = member.losses
            self._records.happened(Verb.FOUND, amount=float(member.losses))
            self._say("the load manager died; another one has taken over")
            self._actor.take_over(now)
        if not member.connected and member.losses == 0 and now - began > LOST:
            raise PlaceError(
                f"no load manager came up within {LOST:.0f} s; its log is {member.log}{_end_of(member.log)}"
            )
        if member.lost_at is None:
            return []
        if now - member.lost_at >= MISSED and self._missed < member.losses:
            self._missed = member.losses
            why = f": {member.fault}" if member.fault else ""
            self._say(
                f"the load manager died and no other one comes up{why}; nothing new is started until one does; "
                f"its log is {member.log}"
            )
        if now - member.lost_at >= LOST:
            self._actor.take_over(now)
        return self._actor.go_on_alone(now) if now - member.lost_at >= LOST else []


def _end_of(log: str) -> str:
    """What a load manager that cannot start has said last."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - WORDS))
            lines = file.read().decode("utf-8", "replace").split("\n")
    except OSError:
        return ""
    last = next((line for line in reversed(lines) if line.strip()), "")
    return f", which ends with: {last.strip()}" if last else ""
