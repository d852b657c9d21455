"""A terminal that is one end of a pty, and what stands on its screen: enough of one for what we write."""

import fcntl
import os
import re
import select
import struct
import termios

_CODE = re.compile(r"\x1b\[(\d*)([A-Za-z])")


class Screen:
    """A terminal of ``width`` x ``height``; ``tty`` is the descriptor that programs write to.

    Lines that are too long wrap, as on every terminal; the cursor waits behind the last column until more comes."""

    def __init__(self, width: int = 80, height: int = 24) -> None:
        self._master, self.tty = os.openpty()
        self._rows: list[list[str]] = [[]]
        self._row = self._column = 0
        self.resize(width, height)

    def resize(self, width: int, height: int) -> None:
        """A new size; what stands there is wrapped anew, as terminals of our time do."""
        self.width, self.height = width, height
        fcntl.ioctl(self.tty, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        if len(self._rows) > 1:
            self._wrap_anew()

    def _wrap_anew(self) -> None:
        rows: list[list[str]] = []
        for number, row in enumerate(self._rows):
            parts = [row[at : at + self.width] for at in range(0, max(len(row), 1), self.width)]
            if number == self._row:
                self._row = len(rows) + min(self._column, max(len(row) - 1, 0)) // self.width
                self._column %= self.width
            rows += parts
        self._rows = rows

    def read(self) -> str:
        """Take in what was written so far; the screen's lines, without what is empty at the end."""
        while select.select([self._master], [], [], 0)[0]:
            self._feed(os.read(self._master, 65536).decode())
        return "\n".join("".join(row).rstrip() for row in self._rows).rstrip()

    def close(self) -> None:
        for descriptor in (self._master, self.tty):
            try:
                os.close(descriptor)
            except OSError:
                pass

    def hang_up(self) -> None:
        """The window is closed; ``tty`` stays open in the program."""
        os.close(self._master)

    def _feed(self, text: str) -> None:
        place = 0
        while place < len(text):
            code = _CODE.match(text, place)
            if code:
                self._act(int(code[1] or 0), code[2])
                place = code.end()
                continue
            self._put(text[place])
            place += 1

    def _act(self, count: int, name: str) -> None:
        if name == "A":
            self._row = max(0, self._row - max(1, count))
        elif name in "JK":
            self._column = min(self._column, self.width - 1)
            del self._rows[self._row][self._column :]
            if name == "J":
                del self._rows[self._row + 1 :]
        else:
            raise AssertionError(f"the screen does not know the code {name}")

    def _put(self, char: str) -> None:
        if char == "\r":
            self._column = 0
        elif char == "\n":
            self._down()
        else:
            if self._column >= self.width:
                self._down()
                self._column = 0
            row = self._rows[self._row]
            row += " " * (self._column + 1 - len(row))
            row[self._column] = char
            self._column += 1

    def _down(self) -> None:
        self._row += 1
        if self._row == len(self._rows):
            self._rows.append([])
