"""The one place where a why becomes a sentence: gauge, reading, line, and what follows, in plain words.

A figure that is not known is left out. Every reading and line that a `model.Why` carries is said.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..model import Reason, Why
from ..units import format_cores, format_duration, format_share, format_size

CONTINUE_LEAD = 1.5
"""What a worker still needs must be there so many times before it goes on (the decision core's rule)."""
LONGEST_KIND = 24
"""Characters; a longer kind (a shell line) is called "one more"."""

_SIZES = frozenset({"memory", "workers-memory", "memory-per-worker"})
_CORES = frozenset({"cpu", "workers-cpu"})
_NAMES = {"memory": "memory", "cpu": "CPU", "workers-memory": "--workers-memory", "workers-cpu": "--workers-cpu"}


class Said(NamedTuple):
    """What is so, and what follows from it."""

    so: str
    follows: str = ""


def sentence(why: Why, subject: str = "", kind: str = "") -> str:
    """One sentence with figures. ``kind`` names what one more would be ("a gzip"); without one it is "one more", of
    the pool ``subject`` where that is given."""
    said = _SAID[why.reason](why, _one_more(subject, kind))
    return f"{said.so}; {said.follows}" if said.follows else said.so


def statement(why: Why, subject: str = "", kind: str = "") -> str:
    """The same without what follows from it: for what is over."""
    return _SAID[why.reason](why, _one_more(subject, kind)).so


def present_reason(why: Why | None, paused: Sequence[Why] = (), ending: Sequence[Why] = (), kind: str = "") -> str:
    """Why it does not go faster now, in one line: ends before pauses, pauses before what keeps new workers out.

    ``why`` is the pool's. Empty when nothing holds the run back."""
    for whys in (ending, paused):
        if whys:
            so = _SAID[whys[0].reason](whys[0], "one more").so
            return f"{len(whys)} {so}" if so.startswith(("paused", "ended")) else so
    return "" if why is None or why.reason is Reason.WORK_DONE else sentence(why, kind=kind)


def gauge_name(gauge: str) -> str:
    """``memory``, ``CPU``, ``--workers-memory``, ``pressure.io``: as people are told of it."""
    return _NAMES.get(gauge, gauge) or "a gauge"


def figure(gauge: str, value: float) -> str:
    """A reading or line of a gauge with its unit: bytes, cores, a share, or the sensor's own number. CPU in cores."""
    if gauge in _SIZES:
        return format_size(value)
    if gauge in _CORES:
        return format_cores(value)
    if gauge == "swap" or gauge.startswith("pressure."):
        return format_share(value)
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


# -------------------------------------------------------------------------------------------------------------- parts


def _one_more(subject: str, kind: str) -> str:
    if len(kind) <= LONGEST_KIND and kind.split() == [kind] and kind.isprintable():
        return f"{'an' if kind[0].lower() in 'aeioux' else 'a'} {kind}"
    return f"one more of {subject}" if subject else "one more"


def _read(why: Why) -> str:
    """The reading as a clause."""
    if why.reading is None:
        return f"{gauge_name(why.gauge)} cannot be read" if why.gauge else ""
    said = figure(why.gauge, why.reading)
    words = {"memory": "available", "cpu": "busy", "workers-memory": "of it free", "workers-cpu": "of it in use"}
    return f"{said} {words[why.gauge]}" if why.gauge in words else said


def _line(why: Why, name: str = "") -> str:
    if why.line is None:
        return ""
    said = figure(why.gauge, why.line)
    return f"the {name} line is {said}" if name else f"line {said}"


def _need(why: Why, who: str) -> str:
    return f"{who} needs about {figure(why.gauge, why.need)}" if why.need else ""


def _kept(why: Why) -> str:
    """What those that run will take; below 1 MiB or a twentieth of a core nobody wants to know."""
    least = 1 << 20 if why.gauge in _SIZES else 0.05
    if why.expected is None or why.expected < least:
        return ""
    return f"those that run may take {figure(why.gauge, why.expected)} more"


def _with(head: str, *clauses: str) -> str:
    body = ", ".join(clause for clause in clauses if clause)
    return f"{head}: {body}" if body else head


def _holding(why: Why) -> str:
    return f"it held {format_size(why.held)}" if why.held else ""


# -------------------------------------------------------------------------------- why no more workers are admitted


def _waits(why: Why, who: str) -> Said:
    head = f"waiting for {gauge_name(why.gauge)}"
    return Said(_with(head, _read(why), _need(why, who), _kept(why), _line(why)))


def _jobs(why: Why, who: str) -> Said:
    live = "" if why.reading is None else _workers(why.reading)
    line = "" if why.line is None else f"line {why.line:.0f}"
    return Said(_with("--jobs allows no more workers", live, line))


def _workers(count: float) -> str:
    return "1 lives" if round(count) == 1 else f"{count:.0f} live"


def _ramp(why: Why, who: str) -> Said:
    if why.gauge:
        return Said(_with("waiting until what just started shows its load", _read(why), _kept(why), _line(why)))
    most = "" if why.line is None else f"{why.line:.0f} workers for now"
    return Said(_with("starting step by step", most), "the number doubles at most each half second")


def _turn(why: Why, who: str) -> Said:
    if not why.gauge:
        return Said("another pool comes first")
    return Said(_with("another pool comes first", _read(why), _need(why, "its next worker"), _line(why)))


def _paused_first(why: Why, who: str) -> Said:
    head = "paused workers go on before new ones start"
    return Said(_with(head, _read(why), _need(why, "the first of them"), _line(why)))


def _end_awaited(why: Why, who: str) -> Said:
    return Said(_with("waiting for the memory of a worker that was ended", _read(why), _line(why)))


def _back_off(why: Why, who: str) -> Said:
    return Said(_with("a worker had to be ended, so nothing starts for some seconds", _read(why), _line(why)))


def _overdrawn(why: Why, who: str) -> Said:
    return Said(_with("those that run may need more than there is", _read(why), _kept(why), _line(why)))


def _unknown(why: Why, who: str) -> Said:
    return Said(_with(f"nothing starts while {gauge_name(why.gauge)} cannot be read", _line(why)))


# ----------------------------------------------------------------------------------------------- why a worker is paused


def _paused_for_memory(why: Why, who: str) -> Said:
    return _paused(why, _goes_on(why))


def _paused_for_lead(why: Why, who: str) -> Said:
    return _paused(why, _goes_on(why), ", so that another worker can finish")


def _paused_for_foreign_cpu(why: Why, who: str) -> Said:
    return _paused(why, _goes_on_below(why), " that other programs use", "")


def _paused_for_promise(why: Why, who: str) -> Said:
    return _paused(why, _goes_on_below(why), ", for the workers use more than --cpu allows", "")


def _paused_for_cores(why: Why, who: str) -> Said:
    return _paused(why, _goes_on_below(why), "", "")


def _paused_for_gauge(why: Why, who: str) -> Said:
    return _paused(why, "it goes on when the gauge has been below its hold line for 2 s")


def _paused(why: Why, follows: str, because: str = "", line: str = "pause") -> Said:
    return Said(_with(f"paused for {gauge_name(why.gauge)}{because}", _read(why), _line(why, line)), follows)


def _goes_on(why: Why) -> str:
    """Bytes from which it goes on: as decided, or what it needs, 1.5 times, above the pause line."""
    enough = why.recovered
    if enough is None and why.line is not None and why.need is not None:
        enough = why.line + CONTINUE_LEAD * why.need
    if enough is None:
        return "it goes on when there is room for it"
    if why.reading is not None and why.reading >= enough:
        return "it goes on in its turn, one worker at a time"
    free = "of it are free" if why.gauge == "workers-memory" else "are available"
    return f"it goes on when about {figure(why.gauge, enough)} {free}"


def _goes_on_below(why: Why) -> str:
    need = f"the {figure(why.gauge, why.need)} it needs" if why.need else "it"
    return f"it goes on when {need} {'fit' if need.endswith('cores it needs') else 'fits'} below the line"


# ------------------------------------------------------------------------------------------------ why a worker is ended

_BACK = "its task is given back"


def _ended(why: Why, because: str, line: str = "end") -> Said:
    so = _with(f"ended for {gauge_name(why.gauge)}{because}", _read(why), _line(why, line), _holding(why))
    return Said(so, _BACK)


def _never_fits(why: Why, who: str) -> Said:
    so = _with("ended, for it cannot fit here even alone", _holding(why), _read(why), _line(why, "end"))
    return Said(so, "its task is buried")


def _cap(why: Why, who: str) -> Said:
    held = why.held if why.held is not None else why.reading
    holds = "" if held is None else f"it held {format_size(held)}"
    return Said(_with("ended above --memory-per-worker", holds, _line(why)))


def _patience(why: Why, who: str) -> Said:
    longest = "" if why.line is None else f" than {format_duration(why.line)}"
    return Said(f"ended because it was paused for longer{longest or ' than it may be'}", _BACK)


def _timeout(why: Why, who: str) -> Said:
    ran = "" if why.reading is None else f"it ran {format_duration(why.reading)}"
    line = "" if why.line is None else f"line {format_duration(why.line)}"
    return Said(_with("ended for --timeout", ran, line))


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
    Reason.NO_LOAD_MANAGER: _plain("nothing starts without a load manager", "another one is being started"),
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
