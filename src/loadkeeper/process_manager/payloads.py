"""How a worker gets a queue's payload that is no argument: on its stdin, or in a file."""

import errno
import os

from ..linux.spawn import MachineFull
from ..record.output import OutputFiles
from ..settings import Payload
from ..sources.base import Task
from .job import Job


class Payloads:
    def __init__(self, job: Job, files: OutputFiles) -> None:
        queue = job.settings.queue
        self._how = queue.payload if queue is not None else Payload.ARGUMENT
        self._files = files
        self._directory = job.state_dir

    def path(self, task: Task) -> bytes | None:
        """Of the file that it is in."""
        return os.fsencode(f"{self._directory}/task-{task.number}") if self._how is Payload.FILE else None

    def open(self, task: Task) -> int | None:
        """Write it down; what is to be the worker's stdin comes back. Raises MachineFull."""
        if self._how is Payload.ARGUMENT or task.delivery is None:
            return None
        try:
            if (path := self.path(task)) is None:
                return self._filled(self._files.unnamed(), task.payload)
            flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
            os.close(self._filled(os.open(path, flags, 0o600), task.payload))
        except OSError as error:
            self.close(task)
            raise MachineFull(
                f"no file for the payload of task {task.number}: {error.strerror}", error.errno or 0
            ) from None
        return None

    @staticmethod
    def _filled(descriptor: int, content: bytes) -> int:
        try:
            view = memoryview(content)
            while view:
                written = os.write(descriptor, view)
                if not written:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                view = view[written:]
            os.lseek(descriptor, 0, os.SEEK_SET)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def close(self, task: Task) -> None:
        """Its attempt is over."""
        if (path := self.path(task)) is not None and task.delivery is not None:
            try:
                os.unlink(path)
            except OSError:
                pass  # somebody has tidied up; the run's directory goes with the run
