"""From a command template and a task's value to what is executed: an argument vector, or a line for the shell."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .base import Task

_PLACEHOLDER = re.compile(rb"\{(?:(#|%)|(-?[0-9]+)?(\.|//|/\.|/)?)\}")
_PLAIN = re.compile(rb"[-_.+a-zA-Z0-9/]*")
_SHELL_CHARACTERS = re.compile(rb"[\s|&;<>()$`\\\"'*?\[\]#~=%!{}]")
SHELL = b"/bin/sh"
COMMANDS = "commands"
"""What a run is called whose values are the commands."""

_INTERPRETERS = re.compile(rb"(python|perl|ruby|node|php|bash|sh|dash|zsh|lua|Rscript)[0-9.]*")


def quote(value: bytes) -> bytes:
    """A value as one word of a shell line, byte for byte as GNU parallel 20221122 quotes it for Bourne shells."""
    if not value:
        return b"''"
    if _PLAIN.fullmatch(value):
        return value
    quoted = b"'" + value.replace(b"'", b"'\"'\"'") + b"'"
    return quoted.removeprefix(b"''").removesuffix(b"''")


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
Word = tuple[bytes | Placeholder, ...]
"""Text and placeholders in turn: text stands at the even places."""


@dataclass(frozen=True)
class Template:
    """A command with its placeholders found: words of an argument vector, or one line for the shell."""

    words: tuple[Word, ...]
    shell: bool
    verbatim: bool = False  # the values are shell lines themselves: they are not quoted

    @classmethod
    def parse(cls, words: Sequence[bytes], *, valued: bool, shell: bool = False) -> "Template":
        """``valued``: tasks carry values; where no placeholder is, they are appended, as GNU parallel does. No words at
        all: the values are commands.

        One word with a blank or a shell character is a shell line; otherwise it is an argument vector that meets no
        shell. With ``shell`` the words make one line for the shell, as GNU parallel has it."""
        if not words:
            return cls(((b"", Placeholder(b"{}"), b""),), shell=True, verbatim=True)
        if shell:
            words = (b" ".join(words),)
        line = shell or (len(words) == 1 and _SHELL_CHARACTERS.search(_PLACEHOLDER.sub(b"", words[0])) is not None)
        parts = tuple(_parts(word) for word in words)
        if valued and not any(len(word) > 1 for word in parts):
            all_of_them = Placeholder(b"{}")
            last = parts[-1][0]
            assert isinstance(last, bytes)
            parts = (*parts[:-1], (last + b" ", all_of_them, b"")) if line else (*parts, (b"", all_of_them, b""))
        return cls(parts, line)

    @classmethod
    def text_of(cls, text: bytes) -> "Template":
        """A text in which placeholders are filled unquoted: `text` gives it."""
        return cls((_parts(text),), shell=True, verbatim=True)

    @property
    def filled(self) -> bool:
        """Whether anything in it depends on the task."""
        return any(len(word) > 1 for word in self.words)

    @property
    def program(self) -> bytes | None:
        """What is executed first, when it does not depend on the task; ``None`` for shell lines."""
        first = self.words[0]
        return first[0] if isinstance(first[0], bytes) and len(first) == 1 and not self.shell else None

    @property
    def shown(self) -> str:
        """The template as people typed it, for status and list."""
        if self.verbatim:
            return COMMANDS
        words = [_typed(word) for word in self.words]
        line = words[0] if self.shell else b" ".join(word if word == b"{}" else quote(word) for word in words)
        return line.decode("utf-8", "backslashreplace")

    @property
    def kind(self) -> str:
        """What tasks of this command are learned under, unless the user names a kind: the program's name, the script's
        name for an interpreter, the template's text for a shell line."""
        if self.verbatim:
            return COMMANDS
        if self.shell:
            return _typed(self.words[0]).decode("utf-8", "backslashreplace")
        names = [_typed(word).rsplit(b"/", 1)[-1] for word in self.words]
        name = names[0]
        if _INTERPRETERS.fullmatch(name):
            if names[1:2] == [b"-c"] and len(self.words) > 2:
                name = _typed(self.words[2])
            else:
                scripts = [n for n in names[1:] if not n.startswith(b"-")]
                name = scripts[0] if scripts else name
        return name.decode("utf-8", "backslashreplace")

    def arguments(self, task: Task) -> list[bytes]:
        """The argument vector of one task."""
        if self.shell:
            return [SHELL, b"-c", self._line(task)]
        filled: list[bytes] = []
        for word in self.words:
            filled += _fill(word, task)
        return filled

    def text(self, task: Task) -> bytes:
        """The command as one line a shell would take: for the job log and for people."""
        return self._line(task) if self.shell else b" ".join(quote(word) for word in self.arguments(task))

    def _line(self, task: Task) -> bytes:
        made = bytes if self.verbatim else quote
        return b"".join(
            part if isinstance(part, bytes) else b" ".join(map(made, part.values(task))) for part in self.words[0]
        )


def _typed(word: Word) -> bytes:
    return b"".join(part if isinstance(part, bytes) else part.text for part in word)


def _parts(word: bytes) -> Word:
    """``a{}b`` → (a, {}, b): odd places are placeholders."""
    parts: list[bytes | Placeholder] = []
    end = 0
    for match in _PLACEHOLDER.finditer(word):
        number, place, part = match.groups()
        if place is not None and int(place) == 0:
            continue  # no placeholder of GNU parallel's either
        parts += [
            word[end : match.start()],
            Placeholder(match[0], number or b"", int(place) if place else None, part or b""),
        ]
        end = match.end()
    return (*parts, word[end:])


def _fill(word: Word, task: Task) -> list[bytes]:
    """One argument; several where a placeholder stands for several values: `x{}y` of a and b is `xa` and `by`; none
    where it is all there is and stands for none: `{3}` of two."""
    if len(word) == 3 and not (word[0] or word[2]) and isinstance(word[1], Placeholder):
        return list(word[1].values(task))
    filled = [word[0]] if isinstance(word[0], bytes) else [b""]
    for part in word[1:]:
        if isinstance(part, bytes):
            filled[-1] += part
        elif values := part.values(task):
            filled[-1] += values[0]
            filled += values[1:]
    return filled
