"""What must hold of a program before a run can be a guest in it."""

import os
import re
import signal
import sys

from ..errors import UsageError
from ..linux.proc import PROC, read

_IGNORED = re.compile(rb"^SigIgn:\s*([0-9a-f]+)", re.MULTILINE)


def check() -> None:
    """Raises UsageError: nothing of the program is changed, so it is the program that must."""
    found = _IGNORED.search(read(f"{PROC}/self/status") or b"")
    if found is not None and int(found[1], 16) >> (signal.SIGCHLD - 1) & 1:
        raise UsageError(
            "this program ignores SIGCHLD, so that nobody can be told how a worker ended; before the run, say "
            "signal.signal(signal.SIGCHLD, signal.SIG_DFL)"
        )
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            raise UsageError(
                f"descriptor {number} ({name}) is closed in this program, and the next file that it opens would take "
                "its place; open /dev/null there"
            ) from None


def flush() -> None:
    """What the program has printed so far comes before what tasks write."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            pass  # there is none, or nobody reads it
