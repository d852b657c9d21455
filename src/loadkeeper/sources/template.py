"""From a command template and a task's value to what is executed: an argument vector, or a line for the shell."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .base import Task

_PLACEHOLDER = re.compile(rb"\{#?\}")
_PLAIN = re.compile(rb"[-_.+a-zA-Z0-9/]*")
_SHELL_CHARACTERS = re.compile(rb"[\s|&;<>()$`\\\"'*?\[\]#~=%!{}]")
SHELL = b"/bin/sh"

_INTERPRETERS = re.compile(rb"(python|perl|ruby|node|php|bash|sh|dash|zsh|lua|Rscript)[0-9.]*")


def quote(value: bytes) -> bytes:
    """A value as one word of a shell line, byte for byte as GNU parallel 20221122 quotes it for Bourne shells."""
    if not value:
        return b"''"
    if _PLAIN.fullmatch(value):
        return value
    quoted = b"'" + value.replace(b"'", b"'\"'\"'") + b"'"
    return quoted.removeprefix(b"''").removesuffix(b"''")


@dataclass(frozen=True)
class Template:
    """A command with its placeholders found. ``words`` are split at placeholders: text, then `{}` or `{#}`, in turn."""

    words: tuple[tuple[bytes, ...], ...]
    shell: bool

    @classmethod
    def parse(cls, words: Sequence[bytes], *, valued: bool) -> "Template":
        """``valued``: tasks carry a value; where no placeholder is, it is appended, as GNU parallel does.

        One word with a blank or a shell character is a shell line; otherwise it is an argument vector that meets no
        shell."""
        shell = len(words) == 1 and _SHELL_CHARACTERS.search(_PLACEHOLDER.sub(b"", words[0])) is not None
        parts = tuple(_parts(word) for word in words)
        if valued and not any(len(word) > 1 for word in parts):
            parts = (*parts[:-1], (parts[-1][0] + b" ", b"{}", b"")) if shell else (*parts, (b"", b"{}", b""))
        return cls(parts, shell)

    @property
    def program(self) -> bytes | None:
        """What is executed first, when it does not depend on the task; ``None`` for shell lines."""
        first = self.words[0]
        return first[0] if len(first) == 1 and not self.shell else None

    @property
    def shown(self) -> str:
        """The template as people typed it, for status and list."""
        words = [b"".join(word) for word in self.words]
        line = words[0] if self.shell else b" ".join(word if word == b"{}" else quote(word) for word in words)
        return line.decode("utf-8", "backslashreplace")

    @property
    def kind(self) -> str:
        """What tasks of this command are learned under, unless the user names a kind: the program's name, the script's
        name for an interpreter, the template's text for a shell line."""
        if self.shell:
            return b"".join(self.words[0]).decode("utf-8", "backslashreplace")
        names = [b"".join(word).rsplit(b"/", 1)[-1] for word in self.words]
        name = names[0]
        if _INTERPRETERS.fullmatch(name):
            if names[1:2] == [b"-c"] and len(self.words) > 2:
                name = b"".join(self.words[2])
            else:
                scripts = [n for n in names[1:] if not n.startswith(b"-")]
                name = scripts[0] if scripts else name
        return name.decode("utf-8", "backslashreplace")

    def arguments(self, task: Task) -> list[bytes]:
        """The argument vector of one task."""
        if self.shell:
            return [SHELL, b"-c", _fill(self.words[0], task, quote(task.value))]
        return [word[0] if len(word) == 1 else _fill(word, task, task.value) for word in self.words]

    def text(self, task: Task) -> bytes:
        """The command as one line a shell would take: for the job log and for people."""
        if self.shell:
            return _fill(self.words[0], task, quote(task.value))
        return b" ".join(quote(word) for word in self.arguments(task))


def _parts(word: bytes) -> tuple[bytes, ...]:
    """``a{}b`` → (a, {}, b): odd places are placeholders."""
    parts: list[bytes] = []
    end = 0
    for match in _PLACEHOLDER.finditer(word):
        parts += [word[end : match.start()], match[0]]
        end = match.end()
    return (*parts, word[end:])


def _fill(parts: tuple[bytes, ...], task: Task, value: bytes) -> bytes:
    if len(parts) == 1:
        return parts[0]
    filled = list(parts)
    for place in range(1, len(parts), 2):
        filled[place] = value if parts[place] == b"{}" else b"%d" % task.number
    return b"".join(filled)
