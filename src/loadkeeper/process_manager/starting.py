"""Starting a worker: its arguments, environment, streams and place."""

import errno
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

from ..act.asks import Ask
from ..act.worker import Worker
from ..linux.cgroup import Leaf
from ..linux.process import Process
from ..linux.spawn import MachineFull, SpawnError, make_room, open_descriptors, spawn
from ..model import PauseMode
from ..obey.leaves import leaves_base
from ..queues.broker import LARGEST
from ..record.events import EventLog
from ..record.output import OutputFiles, Printer, Shared, Streams, last_words, whole
from ..record.results import directory, open_files
from ..record.room import Room
from ..sources.base import Task
from ..units import format_size
from ..worker.file import CHECKPOINT, WORKER
from .attempt import IDLE
from .checkpoints import Checkpoints
from .job import Job
from .kept import Hand
from .line import VERSION, Line
from .payloads import Payloads
from .wire import Voice

MARK = WORKER.encode()
TASKS = b"LOADKEEPER_WORKER_TASKS"
"""A kept worker: the version of the protocol on its stdin."""
KEY, ATTEMPT, PAYLOAD = b"LOADKEEPER_WORKER_KEY", b"LOADKEEPER_WORKER_ATTEMPT", b"LOADKEEPER_WORKER_TASK"
"""Of a queue's task: its key, which attempt at it, and the file that holds its payload."""
PRESSURE = (b"MEMORY_PRESSURE_WATCH", b"MEMORY_PRESSURE_WRITE")
"""systemd's protocol: where to listen, and what to write there first; ours wants nothing written."""
WORTH_A_LEAF = 0.25
"""Seconds that workers of this run usually last, below which they get no control group of their own: it doubles the
cost of a start (1.37 ms instead of 0.61, measured), and who lives so shortly is hardly ever paused."""
USUAL = 1.0
"""Seconds a worker is taken to last before any has ended."""
WEIGHT = 0.2
"""Of the newest life in what is usual."""
EACH = 4
"""Descriptors for each worker: its pidfd, two files for its output, and its checkpoint file or stdin."""
SPARE = 128
"""Descriptors for everything else, where there is no need to count ..."""
OWN = 16
"""... and those that are kept free for looks, helpers and another load manager, where the hard limit is near."""


MUCH = 1 << 20
"""Bytes of one living worker's output from which it is named when a disk is full."""
FOR_EVER = frozenset(
    {
        errno.EACCES,
        errno.EEXIST,
        errno.EILSEQ,
        errno.EINVAL,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENODEV,
        errno.ENOTDIR,
        errno.ENXIO,
        errno.EPERM,
        errno.EROFS,
    }
)
"""Faults of a path for results that no waiting mends."""


class Starter:
    """Starts workers of a job. Their output goes to files of their own; ``printer`` prints it when they are gone.

    Raises UsageError where ``--pause freeze`` is not possible."""

    def __init__(self, job: Job, say: Callable[[str], None], events: EventLog | None = None) -> None:
        """``say`` tells people; ``events`` take what tasks write to stderr, where these go there."""
        self._job = job
        self.files = OutputFiles(job.state_dir)
        settings = job.settings
        self.printer = Printer(
            self.files,
            job.stdout,
            job.stderr if events is None else events.stderr,
            ordered=settings.keep_order,
            live=settings.line_buffer,
            printed=job.wake.set,
            taker=job.taker,
        )
        self._kept: list[tuple[Any, int]] = []  # receipts of what is in files of its own
        self._tag = job.template.tag(settings.tag)
        results = settings.results
        self._results = job.template.text_of(os.fsencode(results)) if results is not None else None
        self._null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        kept = {os.fsencode(k): os.fsencode(v) for k, v in job.environment.items()}
        self._environment = {k: v for k, v in kept.items() if not (k + b"_").startswith(MARK + b"_")}
        self._pressure = {name: kept[name] for name in PRESSURE if name in kept}  # what we were given ourselves
        self.base = leaves_base(settings.pause)
        self._streams: dict[int, Streams] = {}
        self.checkpoints = Checkpoints(job, say)
        self.wire = job.wire
        if self.wire is not None:
            self.wire.say = say
        self._usual = USUAL
        self._payloads = Payloads(job, self.files)
        if settings.kept:
            self._environment[TASKS] = VERSION
        self._enough = 0  # descriptors that there is room for, for certain
        self.room = Room([job.state_dir, *([_fixed_part(settings.results)] if settings.results is not None else [])])

    @property
    def held(self) -> bool:
        """What workers write is not taken fast enough: nothing new should be started."""
        return self.printer.full or self.room.short

    @property
    def fault(self) -> str:
        """Why, for people; empty when all is well."""
        if short := self.room.fault:
            return f"{short}{self._greatest()}"
        return self.printer.fault

    def _greatest(self) -> str:
        """Who has written most of those that live, where that is much."""
        sizes = {n: sum(os.fstat(one).st_size for one in streams) for n, streams in self._streams.items()}
        n = max(sizes, key=sizes.__getitem__, default=0)
        if not n or sizes[n] < MUCH:
            return ""
        return f"; worker {self._job.run}.{n} has written {format_size(sizes[n])} and lives"

    def start(self, n: int, task: Task) -> Worker:
        """A running worker for the task. Raises SpawnError: the command's fault, or the machine's for the moment."""
        self._describe(task)
        streams = self._take_streams(task)
        try:
            payload = self._payloads.open(task)
        except BaseException:
            self._let_go(streams)
            raise
        worker = self._spawn(n, task, streams, payload)
        self._streams[n] = streams
        if self._results is None:
            self.printer.follow(task.number, streams, self._tag_of(task))
        return worker

    def start_kept(self, n: int, slot: int) -> Hand:
        """A running worker that serves one task after the other. Raises SpawnError."""
        place = Task(n, slot=slot)
        streams = self._take_streams(place)
        line = Line()
        try:
            worker = self._spawn(n, place, streams, os.dup(line.theirs.fileno()))
        except BaseException:
            line.close()
            raise
        line.started()
        self._streams[n] = streams
        worker.task = IDLE
        return Hand(worker, line, Shared(self.files, streams))

    def _describe(self, task: Task) -> None:
        """A queue's task, to its worker."""
        if task.delivery is not None:
            self._environment[KEY] = task.key.encode("utf-8", "backslashreplace")
            self._environment[ATTEMPT] = b"%d" % task.attempts
            self._environment.pop(PAYLOAD, None)
            if (path := self._payloads.path(task)) is not None:
                self._environment[PAYLOAD] = path

    def _spawn(self, n: int, task: Task, streams: Streams, payload: int | None) -> Worker:
        """``payload``: what its stdin is, closed here."""
        job = self._job
        identity = f"{job.run}.{n}"
        self._environment[MARK] = identity.encode()
        self._environment[b"PARALLEL_SEQ"] = b"%d" % task.number  # as GNU parallel has it
        self._environment[b"PARALLEL_JOBSLOT"] = b"%d" % task.slot
        leaf, ask, stdin = self._leaf(identity), None, self._null
        try:
            ask, stdin = self._ask(task.slot, identity)
            pid = spawn(
                job.template.arguments(task),
                self._environment,
                stdin=stdin if payload is None else payload,
                stdout=streams.stdout,
                stderr=streams.stderr,
                leaf=leaf,
            )
        except BaseException:
            self._let_go(streams)
            if leaf is not None:
                leaf.remove()
            if isinstance(ask, Voice):
                ask.close()
            raise
        finally:
            if stdin != self._null:
                os.close(stdin)
            if payload is not None:
                os.close(payload)
        started = time.monotonic()
        worker = Worker(n, job.run, job.pool, task, Process.child(pid), leaf=leaf, started=started, ask=ask)
        if isinstance(ask, Voice):
            ask.begin(worker)
        return worker

    def _ask(self, slot: int, identity: str) -> tuple[Ask | None, int]:
        """How the worker is asked at its checkpoints, told to it in its environment or on the stdin that comes back.

        Raises MachineFull."""
        file = self.checkpoints.take(slot, identity, time.monotonic())
        for name in (CHECKPOINT.encode(), *PRESSURE):
            self._environment.pop(name, None)
        if file is not None:
            self._environment[CHECKPOINT.encode()] = file.path.encode()
        if file is not None and file.pressure:
            self._environment[PRESSURE[0]] = file.pressure.encode()
        else:
            self._environment.update(self._pressure)
        if self.wire is None:
            return file, self._null
        try:
            voice, stdin = self.wire.open(file)
        except OSError as error:
            raise MachineFull(f"no pipe for a worker's stdin: {error.strerror}", error.errno or 0) from None
        return voice, stdin

    def _take_streams(self, task: Task) -> Streams:
        """Raises MachineFull: no descriptor or no room on the disk for the moment; SpawnError: the results of this task
        can never be kept."""
        needed = EACH * (len(self._streams) + 1) + 2 * self.printer.held
        if needed > self._enough:  # the limit is looked at as the crew grows, not at each start
            self._enough = needed + SPARE // 2 if make_room(needed + SPARE) else 0
        try:
            if not self._enough and len(self._streams) > 0 and not make_room(open_descriptors() + EACH + OWN):
                raise OSError(
                    errno.EMFILE, "the limit of open files (ulimit -Hn; in a program, -n) allows no more workers"
                )
            return self.files.take() if self._results is None else open_files(self._path(task), task.number)
        except ValueError as error:
            raise SpawnError(f"no file for the results of task {task.number}: {error}", errno.EINVAL) from None
        except OSError as error:
            if self._results is not None and error.errno in FOR_EVER:
                raise SpawnError(f"no file for the results of task {task.number}: {error}", error.errno or 0) from None
            raise MachineFull(f"no file for a worker's output: {error.strerror}", error.errno or 0) from None

    def _path(self, task: Task) -> bytes:
        """Where the task's results go."""
        assert self._results is not None
        name = self._results.text(task)
        return name if self._results.filled else directory(name, task.values, task.number, self._results.syntax.names)

    def _let_go(self, streams: Streams) -> None:
        if self._results is None:
            self.files.give(streams, (0, 0))
        else:
            self.files.drop(streams)

    def _leaf(self, identity: str) -> Leaf | None:
        """A control group for the worker, where there may be one and it pays."""
        if self.base is None or (self._usual < WORTH_A_LEAF and self._job.settings.pause is PauseMode.AUTO):
            return None
        return Leaf.create(self.base, identity)

    def _tag_of(self, task: Task) -> bytes:
        return b"" if self._tag is None else self._tag.text(task)

    def was_roomless(self, started: float, now: float) -> bool:
        """A disk that an attempt may have written to was full at some moment since then."""
        self.room.look(now, soon=True)
        return self.room.was_full_since(started)

    def finished(  # noqa: PLR0913 - the end of an attempt
        self, worker: Worker, task: Task, now: float, *, shown: bool, roomless: bool = False, receipt: Any = None
    ) -> None:
        """The worker is gone: print what it wrote, or drop it (its task is done again). ``receipt`` comes back by
        `receipts` when its output is where it belongs."""
        self._usual += WEIGHT * (min(worker.active(now), 10 * USUAL) - self._usual)
        if isinstance(worker.ask, Voice):
            worker.ask.close()
        self._payloads.close(task)
        streams = self._streams.pop(worker.n)
        if self._results is None:
            written = self.printer.put(task.number, streams, self._tag_of(task), shown=shown, receipt=receipt)
        else:
            written = os.fstat(streams.stdout).st_size
            self.files.drop(streams)
            if receipt is not None:
                self._kept.append((receipt, written))
        if roomless and not shown:
            self.room.again(worker.started, written)

    def part_finished(self, hand: Hand, task: Task, *, shown: bool, receipt: Any = None) -> None:
        """A kept worker's attempt is over: the same for the part that it has written."""
        self.printer.put_part(task.number, hand.output, self._tag_of(task), shown=shown, receipt=receipt)

    def gone(self, hand: Hand) -> None:
        """A kept worker is gone, and has no attempt."""
        if isinstance(hand.worker.ask, Voice):
            hand.worker.ask.close()
        self._streams.pop(hand.worker.n)
        hand.output.over()

    def last_words(self, worker: Worker, hand: Hand | None = None) -> bytes:
        """Of its attempt, which is over and not `finished` yet."""
        return last_words(self._streams[worker.n], hand.output.begins if hand is not None else (0, 0))

    def result(self, worker: Worker) -> bytes | None:
        """All that it wrote to stdout; None: more than a queue takes."""
        return whole(self._streams[worker.n].stdout, LARGEST)

    def receipts(self) -> Iterator[tuple[Any, int]]:
        """Of tasks whose output is printed, or kept, and the bytes of their stdout; every one comes once."""
        while self._kept:
            yield self._kept.pop(0)
        yield from self.printer.receipts()

    def close(self, stop: Callable[[], bool]) -> bool:
        """Print what is left, until ``stop`` says so; False when something was not printed."""
        printed = self.printer.close(stop=stop)
        self.files.close()
        self.room.close()
        self.checkpoints.close()
        if self.wire is not None:
            self.wire.close()
        os.close(self._null)
        return printed


def _fixed_part(results: str) -> str:
    """Of the place of results what is the same for every task."""
    return os.path.dirname(results.partition("{")[0]) if "{" in results else results
