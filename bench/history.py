"""Runs of the past, a line of JSON each in history.jsonl, and what changed between two of them."""

import datetime
import os
import platform
import subprocess
import sys
from pathlib import Path

import msgspec
from msgspec import Struct

from loadkeeper import __version__
from loadkeeper.errors import UsageError

from . import ROOT
from .figures import OURS, Measure

FILE = ROOT / "bench" / "history.jsonl"


class Machine(Struct, frozen=True):
    cpus: int
    processor: str
    memory: int  # bytes
    kernel: str
    python: str


class Entry(Struct):
    at: str  # iso8601
    version: str
    commit: str
    machine: Machine
    peers: dict[str, str]  # version, or why it was skipped
    rounds: int
    measures: dict[str, Measure]

    @property
    def title(self) -> str:
        return f"{self.at[:16].replace('T', ' ')}, {self.version}, {self.commit or 'no commit'}"


def entry(measures: dict[str, Measure], peers: dict[str, str], rounds: int) -> Entry:
    at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return Entry(at, __version__, _commit(), machine(), peers, rounds, measures)


def machine() -> Machine:
    return Machine(
        cpus=len(os.sched_getaffinity(0)),
        processor=_processor(),
        memory=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        kernel=platform.release(),
        python=sys.version.split()[0],
    )


def append(one: Entry, path: Path = FILE) -> None:
    with open(path, "ab") as file:
        file.write(msgspec.json.encode(one) + b"\n")


def load(path: Path = FILE) -> list[Entry]:
    """Oldest first. Raises UsageError for what is no history."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; `loadkeeper bench --record` writes it") from None
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(msgspec.json.decode(line, type=Entry))
        except msgspec.MsgspecError as error:
            raise UsageError(f"{path}:{number}: is no run of the benchmarks: {error}") from None
    return found


def pick(name: str, entries: list[Entry]) -> Entry:
    """By a file that ``--json`` wrote, the beginning of a commit, or a place counted from the end: -1 is the last.

    Raises UsageError."""
    if Path(name).is_file():
        return load(Path(name))[-1]
    places = [one for one in entries if one.commit.startswith(name) and name]
    if name.lstrip("-").isdigit() and -len(entries) <= int(name) < 0:
        places = [entries[int(name)]]
    if not places:
        raise UsageError(
            f"there is no run {name!r} in {FILE}: give a commit that is there, -1 for the last, or a file of --json"
        )
    return places[-1]


def changes(old: Entry, new: Entry) -> list[str]:
    """A line for each side of each measure that both have. A change counts only where the two do not overlap."""
    lines = []
    if old.machine != new.machine:
        lines.append(f"(another machine: {old.machine} then, {new.machine} now; compare the ratios to peers)")
    for name in [name for name in old.measures if name in new.measures]:
        then, now = old.measures[name], new.measures[name]
        for side in [side for side in then.samples if side in now.samples]:
            lines.append(f"{name:<10} {side:<24} {_change(then, now, side)}")
            if (before := then.times_better(side)) is not None and (after := now.times_better(side)) is not None:
                lines[-1] += f"; {OURS} {before:.2f} x before, {after:.2f} x now"
    return lines


def _change(then: Measure, now: Measure, side: str) -> str:
    before, after = then.median(side), now.median(side)
    apart = then.spread(side)[1] < now.spread(side)[0] or now.spread(side)[1] < then.spread(side)[0]
    better = (after > before) == now.more_is_better
    verdict = ("better" if better else "WORSE") if apart else "within the spread"
    percent = f"{100 * (after / before - 1):+.1f} %" if before else "from nothing"
    return f"{before:.4g} -> {after:.4g} {now.unit} ({percent}, {verdict})"


def _commit() -> str:
    told = subprocess.run(
        ["git", "-C", str(ROOT), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return told.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
