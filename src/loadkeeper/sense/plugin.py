"""A sensor that is an entry point of group ``loadkeeper.sensors``: a callable that takes nothing and gives a number.

``python -m loadkeeper.sense.plugin NAME SECONDS`` prints it, again and again. It has a process of its own, so that
whatever a plug-in does (it hangs, it leaks, it crashes) no manager is harmed.
"""

import sys
import time
from importlib.metadata import EntryPoint, entry_points

GROUP = "loadkeeper.sensors"


def known() -> dict[str, EntryPoint]:
    """By name, all that are installed."""
    return {point.name: point for point in entry_points(group=GROUP)}


def main(name: str, every: float) -> None:
    read = known()[name].load()
    due = time.monotonic()
    while True:
        print(float(read()), flush=True)
        due = max(due + every, time.monotonic())
        time.sleep(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
