"""What exits and sweeps teach about kinds."""

from collections import defaultdict
from math import exp

from msgspec.structs import replace

from ..model import ExitSeen, Outcome, Seen, WorkerState
from .memory import Course, Kind, Memory
from .parameters import Parameters

_CUT_SHORT = (Outcome.GIVEN_BACK, Outcome.BURIED)


def learn(seen: Seen, memory: Memory, p: Parameters) -> Memory:
    """Take in the exits since the last look, and what a new sweep says about the CPU that kinds want."""
    kinds = dict(memory.kinds)
    for exit in seen.exits:
        before = kinds.pop(exit.kind, Kind())  # it is the youngest now
        kinds[exit.kind] = learn_exit(before, exit, memory.workers.get(exit.id, Course()), seen, p)
    if seen.swept is not None and seen.swept != memory.load.swept:
        _learn_cpu(kinds, seen, memory, p)
        memory = replace(memory, load=replace(memory.load, swept=seen.swept))
    for name in list(kinds)[: max(0, len(kinds) - p.kinds)]:
        del kinds[name]
    return replace(memory, kinds=kinds)


def learn_exit(kind: Kind, exit: ExitSeen, course: Course, seen: Seen, p: Parameters) -> Kind:
    """One life more. The kernel's peak counts even where no sweep saw it: it is never too small."""
    peak = max(exit.peak, course.top)
    kind = replace(kind, count=kind.count + 1)
    if exit.killed_by_kernel or exit.outcome in _CUT_SHORT:
        return _lower_bound(kind, peak, p)
    if peak > 0:
        kind = replace(kind, peaks=_changed((*kind.peaks, peak)[-p.samples :], p))
        kind = _learn_fill(kind, peak, _mean(exit, course), p)
    if exit.active > 0 and exit.cpu_seconds > 0:
        weight = max(p.cpu_rate, 1 / kind.count)
        kind = _toward(kind, min(exit.cpu_seconds / exit.active, seen.cpus), weight, _full(seen, p))
    return kind


def _changed(peaks: tuple[int, ...], p: Parameters) -> tuple[int, ...]:
    """Without those from before a change: when the last few are all bigger, or all smaller, than every one before them,
    the program or its input is another one (by chance: once in C(12, 6) = 924 times, with 64 lives in 75 million)."""
    before, last = peaks[: -p.change], peaks[-p.change :]
    if len(before) < p.change or not (min(last) > max(before) or max(last) < min(before)):
        return peaks
    return last


def _lower_bound(kind: Kind, peak: int, p: Parameters) -> Kind:
    """A life that was cut short says only that the peak is no less: a new maximum is news, all else is not."""
    if peak <= max(kind.peaks, default=0):
        return kind
    return replace(kind, peaks=(*kind.peaks, peak)[-p.samples :])


def _mean(exit: ExitSeen, course: Course) -> float | None:
    if exit.mean is not None:
        return exit.mean
    return course.area / course.seconds if course.seconds > 0 else None


def _learn_fill(kind: Kind, peak: int, mean: float | None, p: Parameters) -> Kind:
    if mean is None:
        return kind
    fills = kind.fills + 1
    fill = kind.fill + (mean / peak - kind.fill) * max(p.fill_rate, 1 / (fills + 1))
    return replace(kind, fill=min(1.0, max(p.fill_least, fill)), fills=fills)


def _learn_cpu(kinds: dict[str, Kind], seen: Seen, memory: Memory, p: Parameters) -> None:
    """From all running workers of a kind together, so that bursts even out. A throttled one shows its throttle."""
    before, now = memory.load.swept, seen.swept or 0.0
    seconds = p.cpu_memory if before is None else max(0.0, now - before)
    shares: dict[str, list[float]] = defaultdict(list)
    throttles = memory.load.throttles
    for worker in seen.workers:
        if worker.cpu is None or worker.state is not WorkerState.RUNNING or worker.active < p.cpu_age:
            continue
        if worker.id not in throttles:
            shares[worker.kind].append(worker.cpu)
    weight = 1 - exp(-seconds / p.cpu_memory)
    for name, cores in shares.items():
        kinds[name] = _toward(kinds.get(name, Kind()), _average(cores), weight, _full(seen, p))


def _toward(kind: Kind, cores: float, weight: float, full: bool) -> Kind:
    """On a full node a worker's share says nothing about its want, but that it is no less."""
    if kind.cpu is None:
        return kind if full and cores < 1 else replace(kind, cpu=cores)
    if full and cores <= kind.cpu:
        return kind
    return replace(kind, cpu=kind.cpu + (cores - kind.cpu) * weight)


def _full(seen: Seen, p: Parameters) -> bool:
    return seen.busy is None or seen.busy >= p.full * seen.cpus


def _average(values: list[float]) -> float:
    return sum(values) / len(values)
