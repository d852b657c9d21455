"""``--results``: each task's output in files of its own, laid out as GNU parallel 20221122 lays them out."""

import os
from collections.abc import Sequence

from ..errors import UsageError
from .output import Streams

ESCAPES = ((b"\\", b"\\\\"), (b"\t", b"\\t"), (b"\0", b"\\0"), (b"/", b"\\_"))
LONGEST = 255
"""Bytes in the name of a file (NAME_MAX of all usual file systems)."""


def file_name(value: bytes, number: int) -> bytes:
    """A value as the name of a directory, GNU parallel's way. Where theirs would put two tasks into one place (`.` and
    `..`, values that are alike for longer than a name may be), ours keep apart: by a backslash, by the number."""
    for plain, escaped in ESCAPES:
        value = value.replace(plain, escaped)
    if value in {b".", b".."}:
        return b"\\" + value
    if len(value) > LONGEST:
        mark = b"~%d" % number
        return value[: LONGEST - len(mark)] + mark
    return value


def directory(root: bytes, values: Sequence[bytes], number: int, names: Sequence[bytes] = ()) -> bytes:
    """``ROOT/1/VALUE/2/VALUE/``: the name of each input, or its number where it has none, and the task's value of it.
    Tasks without values have their number."""
    if not values:
        return b"%s/%d/" % (root, number)
    parts: list[bytes] = []
    for place, value in enumerate(values, 1):
        name = names[place - 1] if place <= len(names) else b""
        parts += [file_name(name, number) or b"%d" % place, file_name(value, number)]
    return root + b"/" + b"/".join(parts).rstrip(b"/") + b"/"


def open_files(path: bytes, number: int) -> Streams:
    """New files for a task's stdout and stderr: in ``path`` where it ends in a slash, else ``path`` itself and
    ``path.err``; its number beside them. What an earlier attempt wrote is gone. Raises OSError."""
    out, err, seq = (
        (path + b"stdout", path + b"stderr", path + b"seq")
        if path.endswith(b"/")
        else (path, path + b".err", path + b".seq")
    )
    os.makedirs(os.path.dirname(path) or b".", exist_ok=True)
    with open(seq, "wb") as file:
        file.write(b"%d" % number)
    flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
    stdout = os.open(out, flags, 0o666)
    try:
        return Streams(stdout, os.open(err, flags, 0o666))
    except OSError:
        os.close(stdout)
        raise


def check(name: str) -> None:
    """Raises UsageError when results cannot be kept under ``name``, a directory without placeholders."""
    try:
        os.makedirs(name, exist_ok=True)
        if not os.access(name, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
    except FileExistsError:
        raise UsageError(f"--results {name}: is a file; name a directory, or one that is to be made") from None
    except OSError as error:
        raise UsageError(f"--results {name}: {error.strerror}; name a directory that you may write to") from None
