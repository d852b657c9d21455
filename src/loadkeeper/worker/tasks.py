"""Tasks of a kept worker: one after the other over the line on its stdin, docs/kept-workers.md."""

import os
import sys

TYPE_CHECKING = False  # see `file`
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Any, BinaryIO

TASKS = "LOADKEEPER_WORKER_TASKS"
VERSION = "1"
WORD = b"loadkeeper"


class Task:
    """One task. When the body of the loop is over it is done, unless something else was said. ``with task:`` says of an
    exception that the task has failed, and goes on with the next."""

    def __init__(self, line: "Line | None", number: int, attempt: int, key: str, payload: bytes) -> None:
        self._line = line
        self.number = number
        self.attempt = attempt  # from 1
        self.key = key  # the same each time that the task is given to somebody
        self.payload = payload
        self.answered = False

    def __repr__(self) -> str:
        return f"<Task {self.number} {self.payload[:40]!r}>"

    @property
    def text(self) -> str:
        """The payload as text. Raises UnicodeDecodeError."""
        return self.payload.decode()

    @property
    def body(self) -> "Any":
        """The payload, which is JSON. Raises ValueError."""
        from json import loads

        return loads(self.payload)

    def done(self, result: "bytes | str | Any" = b"") -> None:
        """It is done; ``result`` goes to whoever waits for it: bytes, text, or anything else as JSON."""
        self._answer(b"done", _bytes(result))

    def failed(self, why: "bytes | str" = b"") -> None:
        """It is tried again as often as the run says, then put aside with the reason."""
        self._answer(b"failed", _bytes(why))

    def later(self, seconds: float | None = None) -> None:
        """Not now: it is tried again after a while, which is no failure."""
        self._say(b"later", b"" if seconds is None else b"%.6g" % seconds)

    def progress(self, fraction: float, text: str = "") -> None:
        """How far it is, from 0 to 1, and what it is at: for people and for whoever waits for it. Raises ValueError."""
        if not 0 <= fraction <= 1:
            raise ValueError(f"progress is a share from 0 to 1, not {fraction!r}")
        if self._line is not None and not self.answered:
            words = b"%.6g %s" % (fraction, " ".join(text.split()).encode("utf-8", "replace"))
            self._line.send(b"progress %d %s" % (self.number, words.strip()))

    def _answer(self, verb: bytes, content: bytes) -> None:
        from binascii import b2a_base64

        self._say(verb, b2a_base64(content, newline=False) if content else b"")

    def _say(self, verb: bytes, rest: bytes) -> None:
        if self.answered:
            raise ValueError(f"task {self.number} has been answered already")
        self.answered = True
        _flush()
        if self._line is not None:
            self._line.send(b"%s %d %s" % (verb, self.number, rest))

    def __enter__(self) -> "Task":
        return self

    def __exit__(
        self, kind: "type[BaseException] | None", error: "BaseException | None", trace: "TracebackType | None"
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        from traceback import format_exception, print_exc

        print_exc()
        if not self.answered:
            self.failed(format_exception(error)[-1].strip())
        return True


class Line:
    """Both ways; what children inherit as stdin is /dev/null."""

    def __init__(self) -> None:
        self._descriptor = os.dup(0)  # close-on-exec
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        self._file: BinaryIO = os.fdopen(self._descriptor, "rb")

    def send(self, words: bytes) -> None:
        view = memoryview(WORD + b" " + words.rstrip() + b"\n")
        while view:
            view = view[os.write(self._descriptor, view) :]

    def tasks(self) -> "Iterator[Task]":
        from binascii import a2b_base64

        while line := self._file.readline():
            if not line.endswith(b"\n"):
                return
            words = line.split()
            if len(words) != 6 or words[:2] != [WORD, b"task"]:
                raise ValueError(f"this is no task: {line[:80]!r}")
            key = "" if words[4] == b"-" else words[4].decode("utf-8", "replace")
            yield Task(self, int(words[2]), int(words[3]), key, b"" if words[5] == b"-" else a2b_base64(words[5]))


_line: Line | None = None


def tasks() -> "Iterator[Task]":
    """The tasks of a kept worker (`loadkeeper run --queue URL --kept`), until there are no more for it. Each is done
    when the body of the loop is over, and given back when `Terminated` ends it. Started by hand, a task is each line of
    stdin.

    Raises RuntimeError in a worker that is not kept, or where Loadkeeper speaks another version."""
    global _line  # noqa: PLW0603 - a process has one stdin
    if TASKS not in os.environ:
        yield from _by_hand()
        return
    if os.environ[TASKS] != VERSION:
        raise RuntimeError(f"this Loadkeeper speaks version {os.environ[TASKS]} of the tasks' protocol, not {VERSION}")
    if _line is None:
        _line = Line()
    for task in _line.tasks():
        yield task
        if not task.answered:
            task.done()


def _by_hand() -> "Iterator[Task]":
    if "LOADKEEPER_WORKER" in os.environ:
        raise RuntimeError("this worker is started for one task; run it with --queue URL --kept, and it gets many")
    for number, line in enumerate(sys.stdin.buffer, 1):
        yield Task(None, number, 1, "", line.rstrip(b"\n"))


def _bytes(content: "Any") -> bytes:
    if isinstance(content, (bytes, bytearray, memoryview)):
        return bytes(content)
    if isinstance(content, str):
        return content.encode()
    from json import dumps

    return dumps(content).encode()


def _flush() -> None:
    """What was printed belongs to this task."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            try:
                stream.flush()
            except (OSError, ValueError):
                pass
