"""What `doctor` found, as people read it."""

from collections.abc import Iterable
from typing import Protocol, TextIO

from .paper import Cell, Paper, Row

_STYLES = {"ok": "green", "reduced": "yellow", "missing": "red"}


class Found(Protocol):
    """How one try went."""

    @property
    def tried(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def found(self) -> str: ...
    @property
    def follows(self) -> str: ...


def print_findings(findings: Iterable[Found], stream: TextIO | None = None) -> None:
    """A line for each try, with what follows from it; then how many are not as they could be."""
    findings = list(findings)
    paper = Paper(stream)
    paper.table([_row(finding) for finding in findings], indent=0)
    paper.line()
    counts = [(sum(finding.state == state for finding in findings), state) for state in ("missing", "reduced")]
    told = [f"{count} {state}" for count, state in counts if count]
    paper.line(", ".join(told) if told else "all is well")


def _row(finding: Found) -> Row:
    follows = f"so {finding.follows}" if finding.follows else ""
    note = "; ".join(part for part in (finding.found, follows) if part)
    return Row([Cell(finding.state, _STYLES.get(finding.state, "")), Cell(finding.tried)], note)
