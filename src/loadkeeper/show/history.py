"""What happened to tasks and workers before now, from the journals of runs."""

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from ..errors import LoadkeeperError
from ..record.journal import NAME, Event, Fate
from ..status import RunStatus

Record = TypeVar("Record")


class Journals(Protocol):
    """Where `explain` asks what happened. An empty answer: nothing, or nobody knows."""

    def fates(self, run: RunStatus, task: int | None = None) -> Sequence[Fate]:
        """Attempts of a run that are over, in order; of one task, where it is named."""

    def events(self, run: RunStatus, subject: str) -> Sequence[Event]:
        """What was done to a worker, pool or run, in order."""


class Files:
    """The journals in the runs' own directories. One that cannot be read is told of in ``faults``."""

    def __init__(self) -> None:
        self.faults: list[str] = []

    def fates(self, run: RunStatus, task: int | None = None) -> Sequence[Fate]:
        from ..record.journal_reader import read_outcomes

        return self._all(read_outcomes(f"{run.state_dir}/{NAME}", task))

    def events(self, run: RunStatus, subject: str) -> Sequence[Event]:
        from ..record.journal_reader import read_events

        return self._all(read_events(f"{run.state_dir}/{NAME}", subject))

    def _all(self, records: Iterable[Record]) -> list[Record]:
        try:
            return list(records)
        except LoadkeeperError as error:
            self.faults.append(str(error))
            return []
