"""Fitting text into a terminal: what a character takes, cutting, wrapping. Control characters never get through."""

from ..masking import masked
from ..units import format_share

LONGEST_NUMBER = 15


def clean(text: str) -> str:
    """``text`` without anything that a terminal would act on, for task values and names are other people's, and without
    passwords in addresses."""
    text = masked(text)
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isprintable() else "?" for c in text)


def saying(progress: float | None, text: str) -> str:
    """``40 %, page 12``: how far a worker is and what it is at, as it says itself."""
    return ", ".join(([] if progress is None else [format_share(progress)]) + ([text] if text else []))


def is_number(text: str) -> bool:
    """A number that a task or worker may have: what is longer is none, and no database takes it."""
    return text.isdecimal() and len(text) <= LONGEST_NUMBER


def cells(text: str) -> int:
    """Columns that it takes on a terminal."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def cut(text: str, width: int) -> str:
    """At most ``width`` columns; what was cut ends with ``..``."""
    if cells(text) <= width:
        return text
    if width <= 2:
        return "." * max(0, width)
    while cells(text) > width - 2:
        text = text[: min(len(text) - 1, width - 2)]
    return text.rstrip() + ".."


def wrap(text: str, width: int, most: int) -> list[str]:
    """At most ``most`` lines of ``width`` columns, broken between words; continued lines are indented by two."""
    lines: list[str] = []
    rest = text
    while rest and len(lines) < most - 1:
        room = width if not lines else width - 2
        if cells(rest) <= room:
            break
        place = rest.rfind(" ", 1, room + 1)
        if place < 1 or cells(rest[:place]) > room:
            break
        lines.append(rest[:place])
        rest = rest[place + 1 :]
    if rest:
        lines.append(rest)
    return [cut(line if i == 0 else "  " + line, width) for i, line in enumerate(lines)]
