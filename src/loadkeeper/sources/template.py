"""From a command template and a task's value to what is executed: an argument vector, or a line for the shell."""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..masking import masked
from .base import Task
from .placeholders import PLAIN, Placeholder, Syntax

_PLAIN = re.compile(rb"[-_.+a-zA-Z0-9/]*")
_SHELL_CHARACTERS = re.compile(rb"[\s|&;<>()$`\\\"'*?\[\]#~=%!{}]")
SHELL = b"/bin/sh"
BASH = b"bash"
CALL = b'"$0" "$@"'
"""A line for bash that calls a function by its name; its arguments are not read as shell."""
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


Word = tuple[bytes | Placeholder, ...]
"""Text and placeholders in turn: text stands at the even places."""


@dataclass(frozen=True)
class Template:
    """A command with its placeholders found: words of an argument vector, or one line for the shell."""

    words: tuple[Word, ...]
    shell: bool
    verbatim: bool = False  # the values are shell lines themselves: they are not quoted
    syntax: Syntax = PLAIN
    bash: bool = False  # it calls a function

    @classmethod
    def parse(
        cls, words: Sequence[bytes], *, valued: bool, shell: bool | None = None, syntax: Syntax = PLAIN
    ) -> "Template":
        """``valued``: tasks carry values; where no placeholder is, they are appended, as GNU parallel does. No words at
        all: the values are commands.

        One word with a blank or a shell character is a shell line; otherwise it is an argument vector that meets no
        shell. ``shell``: the words make one line for the shell, as GNU parallel has it; False: never a line."""
        if not words or (words == [b"{}"] and valued):
            bash = syntax.calls_function((), line=True)
            return cls(((b"", Placeholder(b"{}"), b""),), shell=True, verbatim=True, syntax=syntax, bash=bash)
        if shell:
            words = (b" ".join(words),)
        parts = tuple(_parts(word, syntax) for word in words)
        if (line := shell) is None:
            line = len(words) == 1 and any(_SHELL_CHARACTERS.search(_literal(part)) for part in parts[0])
        if valued and not any(len(word) > 1 for word in parts):
            all_of_them = Placeholder(b"{}")
            last = parts[-1][0]
            assert isinstance(last, bytes)
            parts = (*parts[:-1], (last + b" ", all_of_them, b"")) if line else (*parts, (b"", all_of_them, b""))
        return cls(parts, line, syntax=syntax, bash=syntax.calls_function(words, line=line))

    def text_of(self, text: bytes) -> "Template":
        """A text of the same run in which placeholders are filled unquoted: `text` gives it."""
        return Template((_parts(text, self.syntax),), shell=True, verbatim=True, syntax=self.syntax)

    def tag(self, text: str | None) -> "Template | None":
        """What stands before each line of output; None: nothing."""
        return self.text_of(os.fsencode(text) + b"\t") if text else None

    @property
    def filled(self) -> bool:
        """Whether anything in it depends on the task."""
        return any(len(word) > 1 for word in self.words)

    @property
    def program(self) -> bytes | None:
        """The file that is executed, when it does not depend on the task; ``None`` for shell lines and functions."""
        first = self.words[0]
        return first[0] if isinstance(first[0], bytes) and len(first) == 1 and not (self.shell or self.bash) else None

    @property
    def shown(self) -> str:
        """The template as people typed it, for status and list."""
        if self.verbatim:
            return COMMANDS
        words = [_typed(word) for word in self.words]
        line = words[0] if self.shell else b" ".join(word if word == b"{}" else quote(word) for word in words)
        return masked(line.decode("utf-8", "backslashreplace"))

    @property
    def kind(self) -> str:
        """What tasks of this command are learned under, unless the user names a kind: the program's name, the script's
        name for an interpreter, the template's text for a shell line."""
        if self.verbatim:
            return COMMANDS
        if self.shell:
            return masked(_typed(self.words[0]).decode("utf-8", "backslashreplace"))
        names = [_typed(word).rsplit(b"/", 1)[-1] for word in self.words]
        name = names[0]
        if _INTERPRETERS.fullmatch(name):
            if names[1:2] == [b"-c"] and len(self.words) > 2:
                name = _typed(self.words[2])
            else:
                scripts = [n for n in names[1:] if not n.startswith(b"-")]
                name = scripts[0] if scripts else name
        return masked(name.decode("utf-8", "backslashreplace"))

    def arguments(self, task: Task) -> list[bytes]:
        """The argument vector of one task."""
        if self.shell:
            return [BASH if self.bash else SHELL, b"-c", self._line(task)]
        words = self._words(task)
        return [BASH, b"-c", CALL, *words] if self.bash else words

    def _words(self, task: Task) -> list[bytes]:
        filled: list[bytes] = []
        for word in self.words:
            filled += _fill(word, task)
        return filled

    def text(self, task: Task) -> bytes:
        """The command as one line a shell would take: for the job log and for people."""
        return self._line(task) if self.shell else b" ".join(quote(word) for word in self._words(task))

    def texts(self, task: Task) -> tuple[bytes, ...]:
        """As a job log may have it, ours or GNU parallel's, which quotes values alone; none where it depends on more
        than the task."""
        if any(isinstance(part, Placeholder) and part.number == b"%" for word in self.words for part in word):
            return ()
        ours = self.text(task)
        return (ours,) if self.shell else (ours, b" ".join(self._filled(word, task, quote) for word in self.words))

    def _line(self, task: Task) -> bytes:
        return self._filled(self.words[0], task, bytes if self.verbatim else quote)

    @staticmethod
    def _filled(word: Word, task: Task, made: Callable[[bytes], bytes]) -> bytes:
        return b"".join(part if isinstance(part, bytes) else b" ".join(map(made, part.values(task))) for part in word)


def _typed(word: Word) -> bytes:
    return b"".join(part if isinstance(part, bytes) else part.text for part in word)


def _literal(part: bytes | Placeholder) -> bytes:
    return part if isinstance(part, bytes) else b""


def _parts(word: bytes, syntax: Syntax) -> Word:
    """``a{}b`` → (a, {}, b): odd places are placeholders."""
    parts: list[bytes | Placeholder] = []
    done = 0
    for begin, end, placeholder in syntax.find(word):
        parts += [word[done:begin], placeholder]
        done = end
    return (*parts, word[done:])


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
