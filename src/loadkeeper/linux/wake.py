"""How other threads and signals wake a loop that waits."""

import os


class Wake:
    """A descriptor that becomes readable when any thread calls `set`."""

    def __init__(self) -> None:
        self._descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def fileno(self) -> int:
        return self._descriptor

    def set(self) -> None:
        try:
            os.eventfd_write(self._descriptor, 1)
        except OSError:
            pass  # nobody has looked for so long that it is full, or the loop is over

    def clear(self) -> None:
        try:
            os.eventfd_read(self._descriptor)
        except BlockingIOError:
            pass

    def close(self) -> None:
        """From now on `set` does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        """Where a thread that is late may still call `set`, nobody closes: the number would be somebody else's."""
        self.close()
