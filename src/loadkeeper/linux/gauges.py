"""Files of the kernel that are read again and again: kept open, read with one ``pread``, opened anew when they vanish.

An open, read and close of /proc/meminfo costs three times one ``pread`` of it. A kept-open limit file shows a changed
limit at the next ``pread``, so nothing that is read here needs to be remembered by whoever reads it.
"""

import ctypes
import os
import resource

SYS = "/sys"
_FIRST_SIZE = 4096


class Gauge:
    """One file that the kernel writes in one piece: meminfo, stat, statm, every file of a cgroup but lists of pids.

    ``lasting``: the path keeps its meaning, so a file that vanished (a cgroup that was made anew) is opened again. Not
    so for files of a process, whose pid may be somebody else's the next time: gone is gone.
    """

    __slots__ = ("_descriptor", "_gone", "_lasting", "_size", "path")

    def __init__(self, path: str, *, lasting: bool = True) -> None:
        self.path = path
        self._lasting = lasting
        self._descriptor = -1
        self._size = _FIRST_SIZE
        self._gone = False

    def read(self) -> bytes | None:
        """What the file says now, or ``None``: it is not there, may not be read, or has no answer (``EOPNOTSUPP``)."""
        if self._descriptor >= 0:
            content = self._pread()
            if content is not None:
                return content
        if self._gone and not self._lasting:
            return None
        try:
            self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        return self._pread()

    def _pread(self) -> bytes | None:
        try:
            content = os.pread(self._descriptor, self._size, 0)
            while len(content) == self._size:  # /proc/stat of a big machine: a longer buffer, from now on
                self._size *= 4
                content = os.pread(self._descriptor, self._size, 0)
            return content
        except OSError:  # ENODEV: the cgroup is gone; ESRCH: the process is gone
            self.close()
            self._gone = True
            return None

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        self.close()


def read_once(path: str) -> bytes | None:
    """A file that is read seldom: open, read to its end, close. ``None`` as ``Gauge.read``.

    Files made of records (mountinfo, smaps) come in parts of up to a page that end where a record ends, however long
    the buffer is; only an empty part is the end.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        parts = []
        while part := os.read(descriptor, 65536):
            parts.append(part)
        return b"".join(parts)
    except OSError:
        return None
    finally:
        os.close(descriptor)


def exists(path: str) -> bool:
    return os.path.exists(path)


def spare_descriptors() -> int:
    """How many descriptors may be kept open for gauges: half of what this process may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 20 if soft == resource.RLIM_INFINITY else soft // 2


_TMPFS = 0x01021994  # statfs(2)


def on_tmpfs(path: str) -> bool:
    """Whether what lies there is held in memory."""
    libc = ctypes.CDLL(None, use_errno=True)
    found = ctypes.create_string_buffer(256)  # struct statfs begins with f_type, a long
    if libc.statfs(os.fsencode(path), found) != 0:
        return False
    return ctypes.c_long.from_buffer(found).value == _TMPFS
