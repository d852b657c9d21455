"""The simulated node: memory, cores, workers and what the kernel does to them. It knows no policy."""

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from random import Random

from ..model import Outcome, WorkerState
from .cores import overhead, progress, thread_speed, use
from .world import Foreign, Pool, Task, World, size

STEP = 0.1  # s: the longest stretch in which nothing is looked at
FINE_STEP = 0.02  # s: while somebody grows or memory is low
DIRTY_STALL = 0.2  # of memory dirty: writers stall, and a stop takes as long as the stall (measured: up to 646 ms)
STALL = 0.65
FAILS = 4  # kernel kills of one task until it has failed


class Process:
    """A worker. Mutable: the machine moves it on."""

    __slots__ = (
        "active",
        "boot",
        "cpu_seconds",
        "done",
        "floor",
        "gone_at",
        "n",
        "obeyed",
        "outcome",
        "paused_for",
        "paused_since",
        "pool",
        "rss",
        "speed",
        "started",
        "state",
        "stop_sent",
        "takes",
        "task",
        "top",
        "want_stop",
    )

    def __init__(self, n: int, pool: Pool, task: Task, floor: int, now: float) -> None:
        self.n, self.pool, self.task, self.floor, self.started = n, pool, task, floor, now
        self.state = WorkerState.RUNNING
        self.boot = 0.0  # s of CPU until its first instruction
        self.done = 0.0  # of its work, 0..1
        self.rss = self.top = 0.0
        self.active = self.cpu_seconds = self.paused_for = 0.0
        self.paused_since: float | None = None
        self.want_stop = False
        self.stop_sent: float | None = None
        self.obeyed: float | None = None
        self.outcome: Outcome | None = None  # set once it is exiting
        self.gone_at: float | None = None
        self.takes = self.speed = 0.0  # cores in use, and how fast its work goes

    @property
    def moves(self) -> bool:
        return self.state is WorkerState.RUNNING and self.outcome is None

    @property
    def shown(self) -> int:
        """What a reading of it shows: nothing, once it exits, though its memory is not back yet."""
        return 0 if self.outcome is not None else int(self.rss * (1 - self.task.hidden))

    def wants(self) -> tuple[float, float]:
        """(share of the time in which a thread wants a core, threads)."""
        task = self.task
        if self.boot > 0:
            return 1.0, 1.0
        if task.burst is not None:
            period, duty, low = task.burst
            phase = (self.done * task.seconds) % period
            return (task.cpu if phase < duty * period else low), task.threads
        return task.cpu, task.threads


class Machine:
    """Moves on from event to event; ``refill`` is called whenever a place may have become free."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.random = Random(f"{seed} {world.name} machine")
        self.now = 0.0
        self.memory, self.cpus = float(size(world.node.memory)), world.node.cpus
        self.swap, self.base = float(size(world.node.swap)), float(size(world.node.base))
        self.dirty = 0.0
        self.workers: dict[int, Process] = {}
        self.exited: list[Process] = []  # since the last look
        self.killed: set[int] = set()  # of those, by the kernel
        self.kernel_kills = 0
        self.busy_seconds = self.own_seconds = 0.0
        self.refill: Callable[[], None] = lambda: None
        self._touch = float(size(world.acts.touch))
        self._free = float(size(world.acts.free))
        self._disk = float(size(world.disk))
        self._n = count(1)
        self._order = count()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._touching = False  # somebody takes memory as fast as it can
        self._shared = False  # the shares of the cores are up to date
        self.foreign_use = 0.0
        self._schedule()

    def _schedule(self) -> None:
        for event in self.world.events:
            self.at(event.at, lambda event=event: self._change(event.memory, event.cpus))  # type: ignore[misc]
        for foreign in self.world.foreign:
            for edge in (foreign.since, foreign.since + foreign.ramp, foreign.until):
                if edge < float("inf"):
                    self.at(edge, self._unshare)

    def _change(self, memory: int | float | str | None, cpus: float | None) -> None:
        self.memory = self.memory if memory is None else float(size(memory))
        self.cpus = self.cpus if cpus is None else cpus
        self._unshare()

    def _unshare(self) -> None:
        self._shared = False

    def at(self, when: float, do: Callable[[], None]) -> None:
        heappush(self._timers, (when, next(self._order), do))

    # ------------------------------------------------------------------------------------------------------ readings

    def foreign_memory(self, at: float | None = None) -> float:
        return sum(taken(foreign, self.now if at is None else at) for foreign in self.world.foreign)

    def foreign_threads(self) -> float:
        return sum(f.threads for f in self.world.foreign if f.since <= self.now < f.until)

    def used(self) -> float:
        return self.base + self.foreign_memory() + sum(worker.rss for worker in self.workers.values())

    def swapped(self) -> float:
        """Pages out: those beyond nearly all of memory, of paused workers first."""
        return min(self.swap, max(0.0, self.used() - 0.97 * self.memory)) if self.swap else 0.0

    def available(self) -> float:
        return self.memory - self.used() + self.swapped()

    # ------------------------------------------------------------------------------------------------------- actions

    def start(self, pool: Pool, task: Task, floor: int) -> Process:
        worker = Process(next(self._n), pool, task, floor, self.now)
        self.workers[worker.n] = worker
        worker.boot = self.world.acts.start
        self._unshare()
        return worker

    def pause(self, worker: Process) -> None:
        """Ask for a stop; how long it takes is the kernel's business."""
        if worker.want_stop or worker.outcome is not None or worker.state is WorkerState.ENDING:
            return
        worker.want_stop, worker.stop_sent = True, self.now
        worker.obeyed = 0.0
        self.at(self.now + self._stop_takes(worker), lambda: self._stand(worker))

    def _stop_takes(self, worker: Process) -> float:
        acts = self.world.acts
        seconds = acts.stop + worker.pool.pause_delay
        share, late = acts.stop_late
        if share and self.random.random() < share:
            seconds += self.random.uniform(0.0, late)
        if worker.task.writes and self.dirty > DIRTY_STALL * self.memory:
            seconds += self.random.uniform(0.0, STALL)
        return seconds

    def _stand(self, worker: Process) -> None:
        if not worker.want_stop or worker.outcome is not None or worker.state is not WorkerState.RUNNING:
            return
        worker.state, worker.paused_since = WorkerState.PAUSED, self.now
        worker.obeyed = self.now - (worker.stop_sent or self.now)
        self._unshare()

    def go_on(self, worker: Process) -> None:
        worker.want_stop = False
        if worker.state is WorkerState.PAUSED:
            worker.paused_for += self.now - (worker.paused_since or self.now)
            worker.state, worker.paused_since = WorkerState.RUNNING, None
            self._unshare()

    def end(self, worker: Process, outcome: Outcome) -> None:
        """TERM together with continuing; a kill when the grace is over."""
        if worker.state is WorkerState.ENDING or worker.outcome is not None:
            return
        self.go_on(worker)
        worker.state = WorkerState.ENDING
        after = self.random.uniform(*worker.pool.exit_after)
        self.at(self.now + after, lambda: self._exit(worker, outcome, 0.0))
        self.at(self.now + worker.pool.grace, lambda: self.kill(worker, outcome))
        self._unshare()

    def kill(self, worker: Process, outcome: Outcome) -> None:
        self._exit(worker, outcome, self.random.uniform(*self.world.acts.kill))

    def _exit(self, worker: Process, outcome: Outcome, back: float) -> None:
        """From now on it shows no memory, and a little later its memory is back."""
        if worker.outcome is not None or worker.n not in self.workers:
            return
        worker.outcome = outcome
        worker.gone_at = self.now + (back or worker.rss / self._free)
        self.at(worker.gone_at, lambda: self._gone(worker))
        self._unshare()

    def _gone(self, worker: Process) -> None:
        if self.workers.pop(worker.n, None) is not None:
            self.exited.append(worker)
            self._unshare()
            self.refill()

    # ---------------------------------------------------------------------------------------------------------- time

    def advance(self, until: float) -> None:
        self._fire()
        while self.now < until:
            self._share()
            seconds = self._next_stretch(until)
            self._move(seconds)
            self._fire()
            self._out_of_memory()

    def _fire(self) -> None:
        while self._timers and self._timers[0][0] <= self.now + 1e-9:
            heappop(self._timers)[2]()

    def _next_stretch(self, until: float) -> float:
        end = min(until, self._timers[0][0]) if self._timers else until
        step = STEP
        for worker in self.workers.values():
            if worker.moves:
                left = worker.boot or (1 - worker.done) * worker.task.seconds
                end = min(end, self.now + left / max(worker.speed, 1e-6))
                if worker.task.burst is not None:
                    step = FINE_STEP
        if self._touching or self.memory - self.used() < 0.2 * self.memory:
            step = FINE_STEP
        return max(1e-6, min(end - self.now, step))

    def _share(self) -> None:
        """Each running worker's cores and speed, made anew when somebody came, went, stood or went on."""
        moving = [worker for worker in self.workers.values() if worker.moves]
        if self._shared and not any(worker.task.burst for worker in moving) and not self.swap:
            return
        wants = [worker.wants() for worker in moving]
        foreign = self.foreign_threads()
        speed = thread_speed(wants, foreign, self.cpus)
        runnable = sum(share * threads for share, threads in wants) + foreign
        slow = overhead(runnable, self.cpus) * self._thrashing(moving)
        for worker, (share, threads) in zip(moving, wants, strict=True):
            worker.takes = threads * use(share, speed)
            worker.speed = progress(share, speed) * slow
        self.foreign_use = foreign * speed
        self._shared = True

    def _thrashing(self, moving: list[Process]) -> float:
        """Pages of running workers that are out must come in again and again."""
        out = self.swapped()
        if not out:
            return 1.0
        standing = sum(worker.rss for worker in self.workers.values() if not worker.moves)
        return 1 / (1 + 50 * max(0.0, out - standing) / self.memory) if moving else 1.0

    def _move(self, seconds: float) -> None:
        self.now += seconds
        self._touching = False
        own = 0.0
        for worker in list(self.workers.values()):
            if worker.moves:
                own += worker.takes
                self._work(worker, seconds)
            elif worker.want_stop and worker.stop_sent is not None and worker.state is WorkerState.RUNNING:
                worker.obeyed = self.now - worker.stop_sent
        self.own_seconds += own * seconds
        self.busy_seconds += (own + self.foreign_use) * seconds
        if self.dirty:
            self.dirty = max(0.0, self.dirty - self._disk * seconds)

    def _work(self, worker: Process, seconds: float) -> None:
        """Its work goes on, and its memory follows as fast as it can be touched."""
        task = worker.task
        worker.active += seconds
        worker.cpu_seconds += worker.takes * seconds
        if worker.want_stop and worker.stop_sent is not None:
            worker.obeyed = self.now - worker.stop_sent
        if task.writes:
            self.dirty = min(self.dirty + task.writes * seconds, 0.9 * self.memory)
        left = self._boot(worker, seconds)
        worker.done = min(1.0, worker.done + worker.speed * left / task.seconds)
        want = task.memory * task.shape.share(worker.done)
        most = worker.rss + self._touch * left
        self._touching = self._touching or want > most
        worker.rss = min(want, most)
        worker.top = max(worker.top, worker.rss)
        if worker.done >= 1.0 - 1e-9:
            self._exit(worker, Outcome.DONE, 0.0)

    def _boot(self, worker: Process, seconds: float) -> float:
        """Fork and exec, on CPU. Returns what is left for the task."""
        if worker.boot <= 0:
            return seconds
        takes = worker.boot / max(worker.speed, 1e-6)
        if takes > seconds:
            worker.boot -= seconds * worker.speed
            return 0.0
        worker.boot = 0.0
        self._unshare()
        return seconds - takes

    def _out_of_memory(self) -> None:
        """The kernel kills the biggest worker, at once, until all fits."""
        while self.used() > self.memory + self.swap:
            alive = [worker for worker in self.workers.values() if worker.rss > 0]
            if not alive:
                return
            biggest = max(alive, key=lambda worker: (worker.rss, worker.n))
            self.kernel_kills += 1
            self.killed.add(biggest.n)
            biggest.outcome = biggest.outcome or Outcome.GIVEN_BACK
            biggest.rss = 0.0
            self._gone(biggest)


def taken(foreign: Foreign, now: float) -> float:
    if not foreign.since <= now < foreign.until:
        return 0.0
    grown = 1.0 if foreign.ramp <= 0 else min(1.0, (now - foreign.since) / foreign.ramp)
    return size(foreign.memory) * grown
