"""What happened, in one line, and the exit code that says so."""

from msgspec import Struct

from ..units import format_duration, format_size

MOST_FAILED = 101
"""GNU parallel's exit code for more than 100 failed jobs."""


class Summary(Struct, frozen=True, kw_only=True):
    """A run that is over. Tasks are counted once each, but for ``given_back``; ``None`` was not measured."""

    done: int = 0
    failed: int = 0
    buried: int = 0
    given_back: int = 0  # attempts that we ended
    returned_done: int = 0  # tasks that were given back at least once, and done later
    before: int = 0  # tasks that an earlier run had done
    left: int | None = 0  # tasks that were given back for good or never started; None: nobody knows
    pauses: int = 0
    paused_for: float = 0.0  # seconds, all workers together
    kernel_kills: int = 0  # workers that the kernel killed for memory
    peak_memory: int | None = None  # bytes: the most that was in use ...
    memory: int | None = None  # ... of so many
    memory_of: str = ""  # whose: `node`, `workers`
    seconds: float | None = None  # from start to end
    critical: bool = False  # it gave up
    stopped: int | None = None  # the exit code that a signal, the operator or a fault asked for
    message: str = ""  # why it stopped early, for people
    parallel: bool = False  # exit as GNU parallel does
    halted: int | None = None  # ... with this code, which `--halt` gave

    @property
    def exit_code(self) -> int:
        """0 all done; 1 some failed or were buried (GNU parallel: how many); 3 gave up; what stopped it, where
        something did."""
        if self.critical:
            return 3
        if self.stopped is not None:
            return self.stopped
        if self.parallel:
            return self.halted if self.halted is not None else min(self.failed + self.buried, MOST_FAILED)
        return 1 if self.failed or self.buried else 0


def last_line(summary: Summary) -> str:
    """``500 done, 2 failed, 3 given back and done later; peak memory 7.1 GiB of 8 (node); 41 pauses, 12 min in all``.

    No figure in it that was not measured."""
    parts = [_tasks(summary), _memory(summary), _pauses(summary), _kills(summary), summary.message]
    return "; ".join(part for part in parts if part)


def _tasks(summary: Summary) -> str:
    counts = [
        (summary.done, "done"),
        (summary.failed, "failed"),
        (summary.buried, "buried"),
        (summary.returned_done, "given back and done later"),
        (summary.before, "by an earlier run"),
        (summary.left or 0, "not done"),
    ]
    told = [f"{count} {word}" for count, word in counts if count]
    if summary.left is None:
        told.append("others not done")
    return ", ".join(told) or "0 tasks"


def _memory(summary: Summary) -> str:
    if summary.peak_memory is None:
        return ""
    peak = f"peak memory {format_size(summary.peak_memory)}"
    whose = f" ({summary.memory_of})" if summary.memory_of else ""
    return peak if summary.memory is None else f"{peak} of {_same_unit(summary.memory, peak)}{whose}"


def _same_unit(size: int, beside: str) -> str:
    """``8`` beside ``7.1 GiB``, but ``1.5 TiB`` beside it: the unit is said once."""
    figure, unit = format_size(size).split(" ")
    figure = figure.removesuffix(".0")
    return figure if beside.endswith(f" {unit}") else f"{figure} {unit}"


def _pauses(summary: Summary) -> str:
    if not summary.pauses:
        return ""
    if summary.pauses == 1:
        return f"1 pause of {format_duration(summary.paused_for)}"
    return f"{summary.pauses} pauses, {format_duration(summary.paused_for)} in all"


def _kills(summary: Summary) -> str:
    if not summary.kernel_kills:
        return ""
    workers = "1 worker" if summary.kernel_kills == 1 else f"{summary.kernel_kills} workers"
    return f"{workers} killed by the kernel for memory"
