"""Progress on stderr: a block that stays at the bottom of a terminal, or a line now and then elsewhere.

It never waits for a terminal (^S, a slow line) and never fails by one that is gone: managers must go on deciding.
"""

import errno
import os
import select
import threading

from .progress import Progress, line, render
from .text import cells, clean

REDRAW = 0.2
"""Seconds between two blocks."""
FIRST = 0.3
"""Seconds until the first block: a run of a moment shows none."""
LINES = 10.0
"""Seconds between two lines where there is no terminal."""
KEPT = 1 << 16
"""Bytes that are kept for a terminal that does not take them."""
PIPE = 4096
"""Bytes that a pipe takes whole, or poll does not call it writable (POSIX: PIPE_BUF)."""

_UP, _CLEAR_BELOW, _CLEAR_RIGHT = "\x1b[%dA", "\x1b[J", "\x1b[K"


class ProgressWriter:
    """Shows the progress of one run on ``descriptor``. ``now`` is monotonic, in seconds.

    `update` is for the manager's loop; `hide` and `show` are for whoever prints to the same terminal, in any thread."""

    def __init__(self, descriptor: int, now: float, *, block: bool = True) -> None:
        """``block``: on a terminal; without, lines there too."""
        self._descriptor = descriptor
        self.terminal = block and _is_terminal(descriptor)
        self._own = _own_terminal(descriptor) if self.terminal else None
        self._lock = threading.Lock()
        self._drawn: list[str] = []
        self._latest: Progress | None = None
        self._hidden = 0
        self._moved = False  # somebody wrote since the block was last drawn: the cursor may be anywhere in a line
        self._rest = b""
        self.dead = False
        self.due = now + (FIRST if self.terminal else LINES)
        """When the next `update` shows something; before, it need not be called."""

    def update(self, progress: Progress, now: float) -> None:
        """Show this, if it is time for it."""
        if now < self.due or self.dead:
            return
        with self._lock:
            self.due = now + (REDRAW if self.terminal else LINES)
            self._latest = progress
            if not self.terminal:
                self._send((line(progress) + "\n").encode("utf-8", "replace"))
            elif not self._hidden:
                self._draw()

    def hide(self) -> None:
        """Make room: what is printed until `show` goes where the block was."""
        with self._lock:
            self._hidden += 1
            self._erase()

    def show(self) -> None:
        """The block may come back, below what was printed."""
        with self._lock:
            self._hidden -= 1
            self._moved = True
            if not self._hidden and self._latest is not None and self.terminal:
                self._draw()

    def say(self, text: str) -> None:
        """A message of its own line or lines, above the block."""
        with self._lock:
            self._erase()
            self._send("".join(f"{clean(part)}\n" for part in text.splitlines()).encode("utf-8", "replace"))
            if self.terminal and self._latest is not None and not self._hidden:
                self._draw()

    def clear(self) -> None:
        """Take the block away, until the next `update`."""
        with self._lock:
            self._erase()

    def close(self, last: str = "") -> None:
        """Take the block away for good and leave ``last`` as the last line. This one waits for the terminal."""
        with self._lock:
            self._erase()
            self._latest = None
            text = self._rest + (f"{clean(last)}\n".encode("utf-8", "replace") if last else b"")
            self._rest = b""
            self.due = float("inf")
            if self._own is not None:
                os.close(self._own)
                self._own = None
            try:
                while text and not self.dead:
                    text = text[os.write(self._descriptor, text) :]
            except OSError:
                self.dead = True

    # --------------------------------------------------------------------------------------------------- drawing

    def _draw(self) -> None:
        """The block anew where it stands, in one write: what changed is written over, what is left over is cleared."""
        if self._latest is None or not self._foreground() or (self._rest and not self._send(b"")):
            return
        width, height = self._size()
        block = render(self._latest, width, height)
        start = " " * width + "\r" if self._moved else self._home(width)
        body = "\r\n".join(text + _CLEAR_RIGHT for text in block)
        self._moved = False
        self._drawn = block
        self._send((start + body + _CLEAR_BELOW).encode("utf-8", "replace"))

    def _erase(self) -> None:
        if self._drawn:
            self._send((self._home(self._size()[0]) + _CLEAR_BELOW).encode())
            self._drawn = []

    def _home(self, width: int) -> str:
        """To the block's first column. After a terminal became narrower its lines take more rows than were drawn."""
        rows = sum(max(1, -(-cells(text) // width)) for text in self._drawn)
        return "\r" + (_UP % (rows - 1) if rows > 1 else "")

    def _foreground(self) -> bool:
        """A job in the background leaves the terminal to others; with ``stty tostop`` writing would stop it."""
        try:
            return os.tcgetpgrp(self._descriptor) == os.getpgrp()
        except OSError:
            return True  # not our controlling terminal: somebody gave it to us to write on

    def _size(self) -> tuple[int, int]:
        try:
            size = os.get_terminal_size(self._descriptor)
        except OSError:
            return 80, 24
        return size.columns or 80, size.lines or 24

    # --------------------------------------------------------------------------------------------------- writing

    def _send(self, text: bytes) -> bool:
        """As much as goes without waiting; the rest goes first the next time. False while something is left."""
        text = self._rest + text
        try:
            while text and self._writable():
                text = text[os.write(self._target, text[:PIPE]) :]
        except BlockingIOError:
            pass
        except OSError as error:
            self.dead = error.errno != errno.EINTR
            text = b""
        self._rest = text[:KEPT]
        return not text

    @property
    def _target(self) -> int:
        return self._descriptor if self._own is None else self._own

    def _writable(self) -> bool:
        if self._own is not None:
            return True  # it does not block
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        return bool(poll.poll(0))


def _is_terminal(descriptor: int) -> bool:
    try:
        return os.isatty(descriptor) and os.environ.get("TERM", "dumb") not in ("", "dumb")
    except OSError:
        return False


def _own_terminal(descriptor: int) -> int | None:
    """The same terminal opened once more, so that not blocking is ours alone; ``None`` where it cannot be."""
    try:
        return os.open(os.ttyname(descriptor), os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return None
