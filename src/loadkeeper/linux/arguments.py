"""Our own command line, as `ps` shows it to everybody."""

import re

from .proc import PROC, read

_START, _END = 48, 49
"""Fields of /proc/PID/stat: where in our memory the arguments begin and end (proc(5))."""


def hide(pattern: re.Pattern[bytes], root: str = PROC) -> bool:
    """Overwrite what group 1 of the pattern finds in our arguments with as many asterisks. They were to be seen until
    now. False: there was nothing, or the kernel lets nobody write there."""
    try:
        fields = (read(f"{root}/self/stat") or b"").rpartition(b")")[2].split()
        start, end = int(fields[_START - 3]), int(fields[_END - 3])
        with open(f"{root}/self/mem", "r+b", buffering=0) as memory:
            memory.seek(start)
            arguments = memory.read(end - start)
            found = list(pattern.finditer(arguments))
            for one in found:
                memory.seek(start + one.start(1))
                memory.write(b"*" * len(one[1]))
    except (OSError, ValueError, IndexError):
        return False
    return bool(found)
