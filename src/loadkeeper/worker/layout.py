"""What stands where in a checkpoint file: docs/checkpoint.md, version 1. Both sides read it here."""

SIZE = 4096
MAGIC = b"loadkeeper 1"

WANTED = 0
GO_ON, PAUSE, TERMINATE, ANSWER = 0, ord("p"), ord("t"), ord("?")

VERSION = slice(1, 16)
NUMBER = slice(16, 32)
DEADLINE = slice(32, 64)
IDENTITY = slice(64, 128)
REASON = slice(128, 256)

SLOTS = range(256, 1024, 32)
FREE, RUNS, CRITICAL, STANDS, ENDING = 0, ord("r"), ord("c"), ord("s"), ord("e")
PID = slice(1, 16)
SEEN = slice(16, 32)
"""Of a slot: its first byte is the state."""

PROGRESS = slice(1024, 1056)
NEED = slice(1056, 1088)
TEXT = slice(1088, 1280)


FIELDS = (VERSION, NUMBER, DEADLINE, IDENTITY, REASON, PROGRESS, NEED, TEXT)
"""Those that a file has once."""


def padded(text: bytes, field: slice) -> bytes:
    """The bytes of a whole field: it ends with a newline, and no text has another one."""
    room: int = field.stop - field.start - 1
    return text[:room].replace(b"\n", b" ").ljust(room, b"\0") + b"\n"


def plain(field: bytes) -> bytes:
    """A field without its padding."""
    return field.partition(b"\0")[0].removesuffix(b"\n")


def number(field: bytes) -> int:
    """0 where there is none."""
    text = plain(field)
    return int(text) if text.isdigit() else 0
