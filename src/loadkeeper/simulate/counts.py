"""What a policy did, for the result."""

from msgspec import Struct

from .machine import Machine


class Counts(Struct):
    looks: int = 0
    pauses: int = 0
    ends: int = 0
    longest_pause: float = 0.0  # seconds
    reasons: dict[str, int] = {}  # of ends

    def note_pauses(self, machine: Machine) -> None:
        """How long those that stand have stood."""
        for worker in machine.workers.values():
            if worker.paused_since is not None:
                self.longest_pause = max(self.longest_pause, machine.now - worker.paused_since)
