"""What stands for a task's values in a command: `{}`, `{.}`, `{2/}`, `{#}`, names and words of the user's own."""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from .base import Task

_WORDS = re.compile(rb"[^\s|&;<>()$`\\\"']+")


class Placeholder(NamedTuple):
    """``{}`` and its like. ``number``: `#` or `%`; ``place``: from 1, or from the end below 0; None: all values."""

    text: bytes
    number: bytes = b""
    place: int | None = None
    part: bytes = b""  # `.` without the extension, `/` the last name, `//` the directory, `/.` the last name without

    def values(self, task: Task) -> Sequence[bytes]:
        if self.number:
            return (b"%d" % (task.number if self.number == b"#" else task.slot),)
        found: Sequence[bytes] = task.values or (b"",)
        if self.place is not None:
            place = self.place - 1 if self.place > 0 else len(found) + self.place
            found = (found[place],) if 0 <= place < len(found) else ()
        return found if not self.part else [_CUTS[self.part](value) for value in found]


class Syntax(NamedTuple):
    """What is a placeholder, and which names only bash knows."""

    stand_in: bytes = b"{}"  # `-I`: for the value
    names: tuple[bytes, ...] = ()  # `--header`: `{colour}` stands for the value of the input of this name
    functions: frozenset[bytes] = frozenset()  # that bash has exported

    def find(self, word: bytes) -> Iterator[tuple[int, int, Placeholder]]:
        """Placeholders in a word, each with where it begins and ends."""
        for match in _placeholders(self.stand_in, self.names).finditer(word):
            name, place = match["name"], int(match["place"] or 0)
            if place == 0 and match["place"] is not None:
                continue  # `{0}` is no placeholder of GNU parallel's either
            at = place or (self.names.index(name) + 1 if name is not None else None)
            yield match.start(), match.end(), Placeholder(match[0], match["number"] or b"", at, match["part"] or b"")

    def calls_function(self, words: Sequence[bytes], *, line: bool) -> bool:
        """Whether a command needs bash. One that its values bring may call any function."""
        called = _WORDS.findall(words[0]) if line and words else words[:1]
        return bool(self.functions) and (not words or not self.functions.isdisjoint(called))


PLAIN = Syntax()


@lru_cache
def _placeholders(stand_in: bytes, names: tuple[bytes, ...]) -> re.Pattern[bytes]:
    """Another word for the value takes the places' plain form away, `{1}`, as with GNU parallel: it may be awk's."""
    named = rb"|".join(re.escape(name) for name in sorted(filter(None, names), key=len, reverse=True)) or rb"(?!)"
    after_place = rb"" if stand_in == b"{}" else rb"(?=[./])"
    which = rb"(?:(?P<name>%s)|(?P<place>-?[0-9]+)%s)?" % (named, after_place)
    part = rb"(?P<part>\.|//|/\.|/)?"
    return re.compile(rb"%s|\{(?!\})(?:(?P<number>[#%%])|%s%s)\}" % (re.escape(stand_in), which, part))


def _without_extension(value: bytes) -> bytes:
    return _EXTENSION.sub(b"", value)


def _last_name(value: bytes) -> bytes:
    return value.rsplit(b"/", 1)[-1]


def _directory(value: bytes) -> bytes:
    """As Perl's File::Basename has it: of `a/` it is `.`, of `/a` it is `/`."""
    head, slash, _ = value.rstrip(b"/").rpartition(b"/")
    return head.rstrip(b"/") or (b"/" if slash or value.startswith(b"/") else b".")


def _last_name_without_extension(value: bytes) -> bytes:
    return _without_extension(_last_name(value))


_EXTENSION = re.compile(rb"\.[^/.]*\Z")
_CUTS = {
    b".": _without_extension,
    b"/": _last_name,
    b"//": _directory,
    b"/.": _last_name_without_extension,
}
