"""Where a process stands among the control groups: pure parsing of mountinfo and /proc/PID/cgroup (cgroups(7)).

A path in /proc/PID/cgroup is seen from the reader's cgroup namespace; the directory that shows it hangs under a mount
whose *root* (field 4 of mountinfo) says which part of the hierarchy is mounted there. A container without a cgroup
namespace of its own sees the host's path in the one and only its own part in the other.
"""

import re
from typing import NamedTuple

_ESCAPE = re.compile(rb"\\([0-7]{3})")
UNIFIED = ""
"""The name under which version 2 stands among the controllers."""


class Mount(NamedTuple):
    """One mounted hierarchy: the part ``root`` of it is shown at ``point``."""

    point: str
    root: str
    controllers: frozenset[str]  # of version 1; {UNIFIED} for version 2


class Level(NamedTuple):
    """A control group that a process is in, or an ancestor of it. ``name`` is what people know it by."""

    directory: str
    name: str


def parse_mounts(mountinfo: bytes) -> list[Mount]:
    """Every cgroup mount of /proc/PID/mountinfo (proc(5)); lines that cannot be understood are left out."""
    mounts = []
    for line in mountinfo.splitlines():
        before, found, after = line.partition(b" - ")
        fields, kinds = before.split(b" "), after.split(b" ")
        if not found or len(fields) < 6 or len(kinds) < 3:
            continue
        if kinds[0] == b"cgroup2":
            controllers = frozenset({UNIFIED})
        elif kinds[0] == b"cgroup":
            controllers = frozenset(kinds[2].decode("utf-8", "surrogateescape").split(","))
        else:
            continue
        mounts.append(Mount(_unescape(fields[4]), _unescape(fields[3]), controllers))
    return mounts


def shown_by_lxcfs(mountinfo: bytes, path: str) -> bool:
    """Whether the file is lxcfs's: a container's own view, in place of the machine's."""
    for line in mountinfo.splitlines():
        before, found, after = line.partition(b" - ")
        fields = before.split(b" ")
        if found and len(fields) > 4 and after.startswith(b"fuse.lxcfs ") and _unescape(fields[4]) == path:
            return True
    return False


def parse_membership(cgroup: bytes) -> dict[str, str]:
    """/proc/PID/cgroup as controller → path; version 2 stands under ``UNIFIED``."""
    paths = {}
    for line in cgroup.decode("utf-8", "surrogateescape").splitlines():
        parts = line.split(":", 2)
        if len(parts) == 3:
            for controller in parts[1].split(","):
                paths[controller] = parts[2].removesuffix(" (deleted)")
    return paths


def levels(controller: str, mounts: list[Mount], membership: dict[str, str]) -> list[Level]:
    """The control groups of ``controller`` that the process is in, innermost first, as far up as can be seen.

    Where the path does not lie under any mount (it was mounted from another namespace), the mount's own top is what is
    left: what it shows is nearly always an ancestor.
    """
    path = membership.get(controller)
    candidates = [mount for mount in mounts if controller in mount.controllers]
    if path is None or not candidates:
        return []
    inside = [mount for mount in candidates if _relative(path, mount.root) is not None]
    if not inside:
        return [Level(candidates[0].point, path)]
    widest = min(inside, key=lambda mount: len(mount.root))
    rest = _relative(path, widest.root) or ()
    top = widest.root.rstrip("/")
    found = []
    for depth in range(len(rest), -1, -1):
        below = "".join(f"/{part}" for part in rest[:depth])
        found.append(Level(widest.point.rstrip("/") + below, top + below or "/"))
    return found


def _relative(path: str, root: str) -> tuple[str, ...] | None:
    """The parts of ``path`` below ``root``; ``None`` where it does not lie below it."""
    parts, roots = _parts(path), _parts(root)
    if ".." in roots or ".." in parts or parts[: len(roots)] != roots:
        return None
    return parts[len(roots) :]


def _parts(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.split("/") if part)


def _unescape(field: bytes) -> str:
    return _ESCAPE.sub(lambda match: bytes([int(match[1], 8)]), field).decode("utf-8", "surrogateescape")
