"""Starting a worker: its arguments, environment, streams and place."""

import os
import time

from ..act.worker import Worker
from ..linux.cgroup import Leaf, delegated_base
from ..linux.process import Process
from ..linux.spawn import spawn
from ..model import PauseMode
from ..record.output import OutputFiles, Printer, Streams
from ..sources.base import Task
from .job import Job

MARK = b"LOADKEEPER_WORKER"


class Starter:
    """Starts workers of a job. Their output goes to files of their own; ``printer`` prints it when they are gone."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self.files = OutputFiles(job.state_dir)
        self.printer = Printer(self.files, job.stdout, job.stderr)
        self._null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        kept = {os.fsencode(k): os.fsencode(v) for k, v in job.environment.items()}
        self._environment = {k: v for k, v in kept.items() if not (k + b"_").startswith(MARK + b"_")}
        self._leaves = delegated_base() if job.settings.pause in (PauseMode.AUTO, PauseMode.FREEZE) else None
        self._streams: dict[int, Streams] = {}

    def start(self, n: int, task: Task) -> Worker:
        """A running worker for the task. Raises SpawnError: the command's fault, or the machine's for the moment."""
        job = self._job
        identity = f"{job.run}.{n}"
        self._environment[MARK] = identity.encode()
        streams = self.files.take()
        leaf = Leaf.create(self._leaves, identity) if self._leaves else None
        try:
            pid = spawn(
                job.template.arguments(task),
                self._environment,
                stdin=self._null,
                stdout=streams.stdout,
                stderr=streams.stderr,
                leaf=leaf,
            )
        except BaseException:
            self.files.give(streams)
            if leaf is not None:
                leaf.remove()
            raise
        process = Process.child(pid)
        self._streams[n] = streams
        return Worker(n, job.run, job.pool, task, process, leaf=leaf, started=time.monotonic())

    def finished(self, n: int, *, shown: bool) -> None:
        """The worker is gone: print what it wrote, or drop it (its task will be done again)."""
        streams = self._streams.pop(n)
        if shown:
            self.printer.put(streams)
        else:
            self.files.give(streams)

    def close(self) -> None:
        """Print what is left."""
        self.printer.close()
        self.files.close()
        os.close(self._null)
