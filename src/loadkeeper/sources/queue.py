"""Tasks from a queue at a broker. A thread of its own owns the connection: it takes no more than can be started, says
that we still have what runs or stands, tells what became of it, and connects anew for as long as it takes.

What could not be told when a connection was lost is remembered by the task's key: when the broker gives it out to us
again, it is answered at once instead of done twice.
"""

import logging
import random
import select
import socket
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from typing import TypeVar

from ..linux.wake import Wake
from ..masking import masked
from ..queues.broker import Answer, Broker, Delivery, Fate, Past, QueueError, Unreachable
from ..queues.broker import Burial as Buried
from ..saying import LOGGER
from ..units import format_duration, format_size
from .base import Burial, Source, Task

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

UNSTARTED = 1.0
"""Seconds that a task may lie here which came when there was room for it, and there is none any more."""
COUNT, COUNT_SOON = 1.0, 0.1
"""Seconds between two looks at how many wait; the shorter where the run ends with the queue."""
AGAIN, LONGEST = 0.1, 30.0
"""Seconds until the next try to connect, doubled up to the longest; a quarter more or less by chance, so that a
thousand nodes do not come together."""
REFUSED = 5.0
"""... at least, where the broker has said no: it may be told otherwise."""
TOLD = 10.0
"""Seconds at the end in which the broker must be told the rest."""
REMEMBERED = 10_000
"""Tasks whose past is remembered when they have left us unharmed, and answers that could not be told."""
RESCUE = 10.0
"""Seconds between two looks for buried tasks that were too big for another node, while there is nothing to do."""
BIGGER = 1.25
"""Times what one task can have here that another node must be able to give one that never fits here."""
LONGEST_WAIT = 5.0
GATHER = 0.002
"""Seconds for which answers and wishes are gathered while there are tasks ready."""


class Memory(OrderedDict[K, V]):
    """Of the last `REMEMBERED`."""

    def __setitem__(self, key: K, value: V) -> None:
        super().__setitem__(key, value)
        while len(self) > REMEMBERED:
            self.popitem(last=False)


class Queue(Source):
    """``wake`` is called when there is something new; ``capacity``: bytes that one task can have here at most; with
    ``until_empty`` it is exhausted once nothing waits."""

    def __init__(
        self, broker: Broker, wake: Callable[[], None], *, until_empty: bool = False, capacity: int | None = None
    ) -> None:
        self._broker, self._wake, self._until_empty, self._capacity = broker, wake, until_empty, capacity
        self.patience = broker.patience
        self._lock = threading.Lock()
        self._bell = Wake()
        self._ready: deque[tuple[float, Delivery]] = deque()  # with when it came
        self._out: dict[int, Task] = {}  # that are taken and not answered, by number
        self._by_key: dict[str, Task] = {}  # ... those that have a key
        self._answers: deque[Answer] = deque()
        self._sayings: dict[int, tuple[Task, float | None, str]] = {}
        self._known: Memory[str, Past] = Memory()  # of what has left us unharmed
        self._untold: Memory[str, Answer] = Memory()  # what could not be told, for its delivery was lost
        self._wanted = 0
        self._asleep = False  # the thread waits
        self._taken = 0
        self._backlog: int | None = None
        self._buried = 0
        self._empty = False
        self._closing = False
        self._due_by: float | None = None  # the end of what may be told
        self.doubtful = 0  # tasks that are done, of which the broker could not be told
        self._keep_at = self._count_at = self._rescue_at = 0.0
        self._thread = threading.Thread(target=self._run, name="queue", daemon=True)
        self._thread.start()

    # ------------------------------------------------------------------------------------------ for the process manager

    def waiting(self) -> int | None:
        return None if self._backlog is None else self._backlog + len(self._ready)

    def take(self) -> Task | None:
        with self._lock:
            if not self._ready:
                return None
            _, delivery = self._ready.popleft()
            self._taken += 1
            past = self._known.pop(delivery.key, None) or delivery.past
            task = Task(
                self._taken,
                (delivery.payload,),
                attempts=past.attempts,
                failures=past.failures,
                returns=past.returns,
                kernel_kills=past.kernel_kills,
                floor=past.need,
                key=delivery.key,
                delivery=delivery,
            )
            self._out[task.number] = task
            if task.key:
                self._by_key[task.key] = task
        return task

    def ready(self) -> bool:
        return bool(self._ready)

    def exhausted(self) -> bool:
        return self._until_empty and self._empty and not self._ready

    def want(self, count: int) -> None:
        now = time.monotonic()
        with self._lock:
            while len(self._ready) > count and now - self._ready[-1][0] > UNSTARTED:
                self._answers.append(Answer(self._ready.pop()[1], Fate.BACK))
                self._empty = False
            wanted = max(0, count - len(self._ready))
            if wanted == self._wanted and not self._answers and not self._sayings:
                return
            self._wanted = wanted
            asleep, self._asleep = self._asleep, False
        if asleep:  # who is at work looks by itself before it sleeps
            self._bell.set()

    def done(self, task: Task, result: bytes = b"") -> None:
        self._answer(task, Fate.DONE, result)

    def give_back(self, task: Task) -> None:
        past = Past(task.attempts, task.failures, task.returns, task.kernel_kills, task.floor)
        if task.key:
            self._known[task.key] = past
        task.delivery.past = past
        self._empty = False
        self._answer(task, Fate.BACK)

    def bury(self, task: Task, burial: Burial) -> None:
        need = burial.need
        if need is not None and self._capacity is not None:
            need = max(need, int(BIGGER * self._capacity))  # it needs more than what it held when it was ended
        told = Buried(burial.why, burial.said, task.attempts, need, socket.gethostname(), time.time())
        self._answer(task, Fate.BURIED, burial=told)

    def _answer(self, task: Task, fate: Fate, result: bytes = b"", burial: Buried | None = None) -> None:
        with self._lock:
            self._out.pop(task.number, None)
            if self._by_key.get(task.key) is task:
                del self._by_key[task.key]
            self._sayings.pop(task.number, None)
            self._answers.append(Answer(task.delivery, fate, result, burial))

    def wants_result(self, task: Task) -> bool:
        return bool(task.delivery.result)

    def progress(self, task: Task, fraction: float | None, text: str) -> None:
        if task.delivery.result:
            with self._lock:
                self._sayings[task.number] = (task, fraction, text)

    def deadline(self, task: Task) -> float | None:
        within = self._broker.answer_within
        return None if within is None else float(task.delivery.at) + within

    def told(self) -> str:
        parts = []
        if self.doubtful:
            parts.append(
                f"{_tasks(self.doubtful)} done here could not be told to the broker, which gives them out again"
            )
        if late := self._broker.late:
            parts.append(f"{_tasks(late)} done here had been given to others meanwhile")
        return "; ".join(parts)

    def close(self) -> None:
        """What was not answered goes back. Waits until the broker is told, for a while."""
        for task in list(self._out.values()):
            self.give_back(task)
        with self._lock:
            self._answers.extend(Answer(delivery, Fate.BACK) for _, delivery in self._ready)
            self._ready.clear()
            self._wanted = 0
            self._due_by = time.monotonic() + TOLD
            self._closing = True
        self._bell.set()
        self._thread.join(TOLD + LONGEST_WAIT)
        with self._lock:
            self.doubtful += sum(answer.fate is not Fate.BACK for answer in self._answers)

    # ---------------------------------------------------------------------------------------------------- in the thread

    def _run(self) -> None:
        failures = 0
        while True:
            began = time.monotonic()
            try:
                self._broker.connect()
                self._connected()
                self._serve()
                break
            except QueueError as error:
                fault, refused = str(error), not isinstance(error, Unreachable)
            except Exception as error:  # a fault of ours must not lose anybody's task
                logging.getLogger(LOGGER).exception("loadkeeper: the queue %s", self._broker.shown)
                fault, refused = f"{self._broker.shown}: {type(error).__name__}: {error}", False
            if time.monotonic() - began > LONGEST:
                failures = 0
            wait = min(LONGEST, AGAIN * 2.0 ** min(failures, 16))
            wait = (max(wait, REFUSED) if refused else wait) * random.uniform(0.75, 1.25)
            failures += 1
            self._lost(fault, wait)
            if not self._rest(wait):
                break
        self._broker.close()

    def _connected(self) -> None:
        now = time.monotonic()
        self.trouble = ""
        self._keep_at = self._count_at = now
        self._rescue_at = now + RESCUE
        self._wake()

    def _serve(self) -> None:
        """Until the end, when everything is told. Raises QueueError."""
        broker = self._broker
        while True:
            self._tell()
            with self._lock:
                wanted, over = self._wanted, self._closing and not self._answers
                over = over or (self._due_by is not None and time.monotonic() >= self._due_by)
            if over:
                return
            broker.want(wanted)
            found = broker.receive()
            self._arrived(found)
            now = time.monotonic()
            self._keep(now)
            self._count(now)
            self._rescue(now)
            broker.tend(now)
            if broker.trouble != self.trouble:
                self.trouble = broker.trouble
                self._wake()
            if not found:
                self._wait(broker, wanted)

    def _tell(self) -> None:
        """What became of tasks, and how far they are. What the broker was not told stays for the next connection."""
        with self._lock:
            batch, self._answers = self._answers, deque()
            sayings, self._sayings = self._sayings, {}
        lost = [answer for answer in batch if answer.delivery.lost and self._broker.claims_end_with_connection]
        for answer in lost:
            self._remember(answer)
            batch.remove(answer)
        try:
            self._broker.settle(batch)
        finally:
            if batch:
                with self._lock:
                    self._answers.extendleft(reversed(batch))
        for task, fraction, text in sayings.values():
            if not task.delivery.lost:
                self._broker.say(task.delivery, fraction, text)

    def _remember(self, answer: Answer) -> None:
        """Its delivery was lost before it was told: the broker gives the task out again."""
        if answer.fate is Fate.BACK:
            return
        self.doubtful += 1
        if answer.delivery.key:
            self._untold[answer.delivery.key] = answer

    def _arrived(self, found: list[Delivery]) -> None:
        if not found:
            return
        now, fresh = time.monotonic(), False
        with self._lock:
            for delivery in found:
                delivery.at = now
                fresh |= self._place(delivery, now)
            self._wanted = max(0, self._wanted - len(found))
            self._empty = False
        if fresh:
            self._wake()

    def _place(self, delivery: Delivery, now: float) -> bool:
        """Where it belongs; True: it is one more for the process manager."""
        key = delivery.key
        if key and (answer := self._untold.pop(key, None)) is not None:
            self.doubtful -= 1
            self._answers.append(answer._replace(delivery=delivery))
            return False
        if key and (task := self._by_key.get(key)) is not None and task.delivery.lost:
            task.delivery = delivery  # we are still at it
            return False
        for place, (at, waiting) in enumerate(self._ready):
            if key and waiting.key == key and waiting.lost:
                self._ready[place] = (at, delivery)
                return False
        need = delivery.past.need
        if self._capacity is not None and need > self._capacity:
            why = f"it needs {format_size(need)}, and this node can give a task {format_size(self._capacity)}"
            burial = Buried(why, b"", 0, need, socket.gethostname(), time.time())
            self._answers.append(Answer(delivery, Fate.BURIED, b"", burial))
            return False
        self._ready.append((now, delivery))
        return True

    def _keep(self, now: float) -> None:
        if self._broker.keep_every is None or now < self._keep_at:
            return
        self._keep_at = now + self._broker.keep_every
        with self._lock:
            held = [task.delivery for task in self._out.values()] + [delivery for _, delivery in self._ready]
        self._broker.keep(held)

    def _count(self, now: float) -> None:
        if now < self._count_at:
            return
        counted = self._broker.count()
        with self._lock:
            before = (self._backlog, self._empty)
            self._backlog, self._buried = counted.waiting, counted.buried or 0
            idle = not self._ready and not self._answers and self._wanted > 0
            self._empty = counted.waiting == 0 and idle
            changed = before != (self._backlog, self._empty)
        soon = self._until_empty and counted.waiting == 0 and not self._out
        self._count_at = now + (COUNT_SOON if soon else COUNT)
        if changed:
            self._wake()

    def _rescue(self, now: float) -> None:
        """Tasks that were too big for another node, and fit here."""
        if now < self._rescue_at or self._capacity is None:
            return
        self._rescue_at = now + RESCUE
        if self._broker.rescues and self._buried and self._wanted and not self._ready:
            self._broker.requeue(fits=self._capacity)

    def _wait(self, broker: Broker, wanted: int) -> None:
        """Until something comes, or is due. While there are tasks ready, what comes next is gathered for a moment: two
        threads that wake each other for every single task get in each other's way."""
        if self._ready:
            time.sleep(GATHER)
        with self._lock:
            if self._answers or self._sayings or self._closing or self._wanted != wanted:
                return
            self._asleep = True
        due = min(broker.due(time.monotonic()), self._count_at, self._keep_at if broker.keep_every else self._count_at)
        poll = select.poll()
        for descriptor in (self._bell.fileno(), *broker.descriptors()):
            poll.register(descriptor, select.POLLIN)
        poll.poll(1000 * max(0.0, min(LONGEST_WAIT, due - time.monotonic())))
        self._asleep = False
        self._bell.clear()

    def _lost(self, fault: str, wait: float) -> None:
        """What the broker gives out again, and what people are told."""
        with self._lock:
            if self._broker.claims_end_with_connection:
                for task in self._out.values():
                    task.delivery.lost = True
                self._ready.clear()  # nobody has begun them
                for answer in self._answers:
                    answer.delivery.lost = True
            self._backlog, self._empty = None, False
        self.trouble = masked(f"{fault}; the next try is in {format_duration(wait)}")
        self._wake()

    def _rest(self, wait: float) -> bool:
        """Until the next try; False: the end has come."""
        until = time.monotonic() + wait
        while True:
            with self._lock:
                due_by, untold = self._due_by, bool(self._answers)
            now = time.monotonic()
            if due_by is not None and (now >= due_by or not untold):
                return False
            if now >= until:
                return True
            poll = select.poll()
            poll.register(self._bell.fileno(), select.POLLIN)
            poll.poll(1000 * (min(until, due_by or until) - now))
            self._bell.clear()


def _tasks(count: int) -> str:
    return "1 task" if count == 1 else f"{count} tasks"
