"""Where the reading verbs write: columns that fit, lines that fold, a few colours. Through a pipe nothing folds.

Written here and not with rich: `status` is there 25 ms sooner, and columns must go, not shrink, where it is narrow."""

import os
import shutil
import sys
from collections.abc import Sequence
from typing import NamedTuple, TextIO

from .text import cells, clean, cut, wrap

GAP = 2
MOST = 6
"""Lines that one sentence may take."""

_CODES = {"yellow": "33", "red": "31", "magenta": "35", "green": "32", "bold": "1", "dim": "2"}


class Cell(NamedTuple):
    text: str
    style: str = ""
    right: bool = False


class Row(NamedTuple):
    """Columns, and a sentence that belongs to them: below it on a terminal, behind it through a pipe."""

    cells: Sequence[Cell]
    note: str = ""


class Paper:
    """Lines for ``stream``, as wide as its terminal. Raises BrokenPipeError when nobody reads."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        terminal = self._stream.isatty()
        self.width = shutil.get_terminal_size().columns if terminal else None
        self._coloured = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def line(self, text: str = "", indent: int = 0) -> None:
        """One line; on a terminal folded between words."""
        text = clean(text)
        folded = [text] if self.width is None else wrap(text, max(20, self.width - indent), MOST) or [""]
        for part in folded:
            print(" " * indent + part if part else "", file=self._stream)

    def heading(self, before: str, word: Cell, after: str) -> None:
        """A line with one coloured word in it, cut where the terminal ends."""
        before, after = clean(before), clean(after)
        if self.width is not None:
            after = cut(after, max(0, self.width - cells(before) - cells(word.text)))
        print(before + self._paint(word.text, word.style) + after, file=self._stream)

    def table(self, rows: Sequence[Row], indent: int = 2, drop: Sequence[int] = ()) -> None:
        """Aligned columns. ``drop`` names those that go, in turn, while the terminal is too narrow."""
        kept = self._kept(rows, indent, drop)
        widths = _widths(rows, kept)
        for row in rows:
            told = (" " * GAP).join(self._cell(row.cells[i], widths[i]) for i in kept)
            note = clean(row.note)
            if self.width is None and note:
                told += " " * GAP + note
            print((" " * indent + told).rstrip(), file=self._stream)
            if self.width is not None and note:
                self.line(note, indent + 2)

    def _kept(self, rows: Sequence[Row], indent: int, drop: Sequence[int]) -> list[int]:
        """Columns that somebody has something in and that fit."""
        places = range(len(rows[0].cells)) if rows else range(0)
        kept = [i for i in places if any(row.cells[i].text for row in rows[_headed(rows) :])]
        for place in drop:
            widths = _widths(rows, kept)
            if self.width is None or indent + sum(widths[i] + GAP for i in kept) - GAP <= self.width:
                break
            kept = [i for i in kept if i != place]
        return kept

    def _cell(self, cell: Cell, width: int) -> str:
        text = clean(cell.text)
        pad = " " * (width - cells(text))
        return pad + self._paint(text, cell.style) if cell.right else self._paint(text, cell.style) + pad

    def _paint(self, text: str, style: str) -> str:
        if not self._coloured or style not in _CODES or not text:
            return text
        return f"\x1b[{_CODES[style]}m{text}\x1b[0m"


def _headed(rows: Sequence[Row]) -> int:
    """1 where the first row is a heading, which does not make a column worth showing."""
    return 1 if rows and all(cell.style == "dim" for cell in rows[0].cells) else 0


def _widths(rows: Sequence[Row], kept: Sequence[int]) -> dict[int, int]:
    return {i: max(cells(clean(row.cells[i].text)) for row in rows) for i in kept}
