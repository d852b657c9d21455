"""``python -m loadkeeper.load_manager DIRECTORY``: a load manager in the background, as a process manager starts it."""

import sys


def main() -> None:
    from ..channel.address import Place
    from ..channel.server import Taken
    from ..linux.cgroup import leave_leaf
    from ..linux.scheduling import lock_memory, raise_priority
    from . import Loop
    from .keeping import of_this_node

    raise_priority()  # before ZeroMQ starts its threads, which inherit it; being refused is normal
    lock_memory()
    leave_leaf()  # started by a run inside a worker of another, it must not stand or end with that worker
    try:
        manager = Loop(Place(sys.argv[1]), keeping=of_this_node())
    except Taken:
        return
    manager.manage()


if __name__ == "__main__":
    main()
