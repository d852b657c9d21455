"""The one place where a why becomes a sentence: gauge, reading, line, and what follows, in plain words.

A figure that is not known is left out. Every reading and line that a `model.Why` carries is said.
"""

from collections.abc import Callable, Sequence

from ..model import Reason, Why
from ..units import format_duration, format_size
from .phrases import (
    Said,
    gauge_name,
    goes_on,
    goes_on_below,
    holding,
    joined,
    kept,
    line_of,
    need_of,
    one_more,
    reading,
)


def sentence(why: Why, subject: str = "", kind: str = "") -> str:
    """One sentence with figures. ``kind`` names what one more would be ("a gzip"); without one it is "one more", of
    the pool ``subject`` where that is given."""
    said = _SAID[why.reason](why, one_more(subject, kind))
    return f"{said.so}; {said.follows}" if said.follows else said.so


def end_sentence(why: Why) -> str:
    """Of one that is to end: what the operator wants is a reason for pauses, too."""
    if why.reason is Reason.OPERATOR:
        return "ended because the operator stopped it; its task is given back"
    return sentence(why)


def statement(why: Why, subject: str = "", kind: str = "") -> str:
    """The same without what follows from it: for what is over."""
    return _SAID[why.reason](why, one_more(subject, kind)).so


def present_reason(why: Why | None, paused: Sequence[Why] = (), ending: Sequence[Why] = (), kind: str = "") -> str:
    """Why it does not go faster now, in one line: ends before pauses, pauses before what keeps new workers out.

    ``why`` is the pool's. Empty when nothing holds the run back."""
    for whys in (ending, paused):
        if whys:
            so = _SAID[whys[0].reason](whys[0], "one more").so
            return f"{len(whys)} {so}" if so.startswith(("paused", "ended")) else so
    return "" if why is None or why.reason is Reason.WORK_DONE else sentence(why, kind=kind)


# -------------------------------------------------------------------------------- why no more workers are admitted


def _waits(why: Why, who: str) -> Said:
    head = f"waiting for {gauge_name(why.gauge)}"
    return Said(joined(head, reading(why), need_of(why, who), kept(why), line_of(why)))


def _jobs(why: Why, who: str) -> Said:
    live = "" if why.reading is None else _workers(why.reading)
    line = "" if why.line is None else f"line {why.line:.0f}"
    return Said(joined("--jobs allows no more workers", live, line))


def _workers(count: float) -> str:
    return "1 lives" if round(count) == 1 else f"{count:.0f} live"


def _ramp(why: Why, who: str) -> Said:
    if why.gauge:
        return Said(joined("waiting until what just started shows its load", reading(why), kept(why), line_of(why)))
    most = "" if why.line is None else f"{why.line:.0f} workers for now"
    return Said(joined("starting step by step", most), "the number doubles at most each half second")


def _turn(why: Why, who: str) -> Said:
    if not why.gauge:
        return Said("another pool comes first")
    return Said(joined("another pool comes first", reading(why), need_of(why, "its next worker"), line_of(why)))


def _paused_first(why: Why, who: str) -> Said:
    head = "paused workers go on before new ones start"
    return Said(joined(head, reading(why), need_of(why, "the first of them"), line_of(why)))


def _end_awaited(why: Why, who: str) -> Said:
    return Said(joined("waiting for the memory of a worker that was ended", reading(why), line_of(why)))


def _back_off(why: Why, who: str) -> Said:
    return Said(joined("a worker had to be ended, so nothing starts for some seconds", reading(why), line_of(why)))


def _overdrawn(why: Why, who: str) -> Said:
    return Said(joined("those that run may need more than there is", reading(why), kept(why), line_of(why)))


def _unknown(why: Why, who: str) -> Said:
    return Said(joined(f"nothing starts while {gauge_name(why.gauge)} cannot be read", line_of(why)))


# ----------------------------------------------------------------------------------------------- why a worker is paused


def _paused_for_memory(why: Why, who: str) -> Said:
    return _paused(why, goes_on(why))


def _paused_for_lead(why: Why, who: str) -> Said:
    return _paused(why, goes_on(why), ", so that another worker can finish")


def _paused_for_foreign_cpu(why: Why, who: str) -> Said:
    return _paused(why, goes_on_below(why), " that other programs use", "")


def _paused_for_promise(why: Why, who: str) -> Said:
    return _paused(why, goes_on_below(why), ", for the workers use more than --cpu allows", "")


def _paused_for_cores(why: Why, who: str) -> Said:
    return _paused(why, goes_on_below(why), "", "")


def _paused_for_gauge(why: Why, who: str) -> Said:
    return _paused(why, "it goes on when the gauge has been below its hold line for 2 s")


def _paused(why: Why, follows: str, because: str = "", line: str = "pause") -> Said:
    return Said(joined(f"paused for {gauge_name(why.gauge)}{because}", reading(why), line_of(why, line)), follows)


# ------------------------------------------------------------------------------------------------ why a worker is ended

_BACK = "its task is given back"


def _ended(why: Why, because: str, line: str = "end") -> Said:
    so = joined(f"ended for {gauge_name(why.gauge)}{because}", reading(why), line_of(why, line), holding(why))
    return Said(so, _BACK)


def _never_fits(why: Why, who: str) -> Said:
    so = joined("ended, for it cannot fit here even alone", holding(why), reading(why), line_of(why, "end"))
    return Said(so, "its task is buried")


def _cap(why: Why, who: str) -> Said:
    held = why.held if why.held is not None else why.reading
    holds = "" if held is None else f"it held {format_size(held)}"
    return Said(joined("ended above --memory-per-worker", holds, line_of(why)))


def _patience(why: Why, who: str) -> Said:
    longest = "" if why.line is None else f" than {format_duration(why.line)}"
    return Said(f"ended because it was paused for longer{longest or ' than it may be'}", _BACK)


def _timeout(why: Why, who: str) -> Said:
    ran = "" if why.reading is None else f"it ran {format_duration(why.reading)}"
    line = "" if why.line is None else f"line {format_duration(why.line)}"
    return Said(joined("ended for --timeout", ran, line))


def _plain(so: str, follows: str = "") -> Callable[[Why, str], Said]:
    return lambda why, who: Said(so, follows)


_SAID: dict[Reason, Callable[[Why, str], Said]] = {
    Reason.WORK_DONE: _plain("nothing waits to be started"),
    Reason.JOBS: _jobs,
    Reason.MEMORY: _waits,
    Reason.CPU: _waits,
    Reason.GAUGE: _waits,
    Reason.BUDGET: _waits,
    Reason.BUDGET_CPU: _waits,
    Reason.RAMP: _ramp,
    Reason.TURN: _turn,
    Reason.PAUSED_FIRST: _paused_first,
    Reason.END_AWAITED: _end_awaited,
    Reason.BACK_OFF: _back_off,
    Reason.OVERDRAWN: _overdrawn,
    Reason.UNKNOWN: _unknown,
    Reason.NEIGHBOUR: _plain("another user's load manager is on this node, so workers start one at a time"),
    Reason.SILENT: _plain("nothing starts while the run's process manager does not answer"),
    Reason.NO_LOAD_MANAGER: _plain("nothing starts without a load manager", "one is being started"),
    Reason.MEMORY_PAUSE: _paused_for_memory,
    Reason.LEAD: _paused_for_lead,
    Reason.BUDGET_PAUSE: _paused_for_memory,
    Reason.FOREIGN_CPU: _paused_for_foreign_cpu,
    Reason.CPU_PROMISE: _paused_for_promise,
    Reason.BUDGET_CPU_PAUSE: _paused_for_cores,
    Reason.GAUGE_PAUSE: _paused_for_gauge,
    Reason.SUSPENDED: _plain("paused with the whole run by ^Z", "fg continues it"),
    Reason.MEMORY_END: lambda why, who: _ended(why, ""),
    Reason.MEMORY_AHEAD: lambda why, who: _ended(why, " that others take fast"),
    Reason.BUDGET_END: lambda why, who: _ended(why, ""),
    Reason.NEVER_FITS: _never_fits,
    Reason.CAP: _cap,
    Reason.PATIENCE: _patience,
    Reason.STOP_IGNORED: lambda why, who: _ended(why, ", for it ran on after a pause"),
    Reason.GAUGE_END: lambda why, who: _ended(why, ""),
    Reason.TIMEOUT: _timeout,
    Reason.HALT: _plain("ended because the run stops", _BACK),
    Reason.ORPHAN: _plain("ended because its process manager is gone"),
    Reason.OPERATOR: _plain("the operator asked for it", "`loadkeeper resume` lets it go on"),
}
