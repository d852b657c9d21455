"""A program that serves us and prints what we ask of it. It is no worker: nobody pauses, counts or ends it but we."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence

from .programs import SpawnError, explain


class Helper:
    """It stays in our session, so that nobody takes it for what a worker left, and has a group of its own, so that
    neither ^C nor ^Z of the terminal reaches it."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Raises SpawnError."""
        try:
            self._process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                process_group=0,
                bufsize=0,
            )
        except OSError as error:
            raise explain(os.fsencode(command[0]), error) from None
        except ValueError as error:
            raise SpawnError(f"{command[0]!r} cannot be started: {error}", 0) from None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self.stdout, self.stderr = self._process.stdout.fileno(), self._process.stderr.fileno()

    def wait(self, timeout: float) -> int | None:
        """Its exit code, minus the signal that ended it; None while it lives."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def close(self) -> None:
        """Nothing of its group is left."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
