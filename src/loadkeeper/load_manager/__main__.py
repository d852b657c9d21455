"""``python -m loadkeeper.load_manager DIRECTORY``: a load manager in the background, as a process manager starts it."""

import sys


def main() -> None:
    from ..channel.address import Place
    from ..channel.server import Taken
    from . import LoadManager

    try:
        manager = LoadManager(Place(sys.argv[1]))
    except Taken:
        return
    manager.manage()


if __name__ == "__main__":
    main()
