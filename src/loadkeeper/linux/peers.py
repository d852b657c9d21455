"""Who is at the other end of a TCP connection on this machine."""

import os
import socket
import sys

from . import proc
from .proc import PROC

_FIELDS = 10
"""Of /proc/net/tcp up to the socket's number (proc_net_tcp.txt): a line of it is one end of a connection."""


def other_end(descriptor: int, root: str = PROC) -> int | None:
    """The number of the socket that an IPv4 connection of ours leads to; None: it is gone, or not of this machine."""
    try:
        with socket.socket(fileno=os.dup(descriptor)) as ours:
            theirs, here = _written(ours.getpeername()), _written(ours.getsockname())
    except (OSError, ValueError):
        return None  # the descriptor is closed by now, or something else's
    content = proc.read(f"{root}/self/net/tcp") or b""
    return next((number for line in content.splitlines() if (number := _number(line, theirs, here)) is not None), None)


def _written(address: tuple[str, int]) -> bytes:
    """As the kernel writes it: the address in the machine's order, the port in the network's."""
    host, port = address[:2]
    return b"%08X:%04X" % (int.from_bytes(socket.inet_aton(host), sys.byteorder), port)


def _number(line: bytes, local: bytes, remote: bytes) -> int | None:
    fields = line.split(None, _FIELDS)
    return int(fields[9]) if len(fields) >= _FIELDS and fields[1:3] == [local, remote] else None


def has_socket(pid: int, number: int, root: str = PROC) -> bool:
    """The process holds the socket of this number. False when it is gone, or not ours to look at."""
    link = f"socket:[{number}]"
    try:
        return any(_leads_to(f"{root}/{pid}/fd/{name}", link) for name in os.listdir(f"{root}/{pid}/fd"))
    except OSError:
        return False


def _leads_to(path: str, link: str) -> bool:
    try:
        return os.readlink(path) == link
    except OSError:
        return False  # it was closed in this moment
