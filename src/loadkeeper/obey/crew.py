"""The living workers of a run, and waiting until one of them ends or something else happens."""

import select
from collections.abc import Callable, Iterable

from ..act.worker import Worker


class Crew:
    """``workers`` by ``n``; `wait` says who may have ended."""

    def __init__(self) -> None:
        self.workers: dict[int, Worker] = {}
        self._by_descriptor: dict[int, Worker] = {}
        self._heard: dict[int, Callable[[], None]] = {}  # what else wakes us, and what is called then
        self._without: set[Worker] = set()  # no pidfd where they are refused: looked at each time
        self._epoll = select.epoll()

    def __len__(self) -> int:
        return len(self.workers)

    def listen(self, descriptor: int, call: Callable[[], None]) -> None:
        """Wake up for this one too, and call."""
        self._heard[descriptor] = call
        self._epoll.register(descriptor, select.EPOLLIN)

    def until_writable(self, descriptor: int, wanted: bool) -> None:
        """Wake up for one that is listened to when it takes more, too, or no more. Any thread may say so."""
        self._epoll.modify(descriptor, select.EPOLLIN | select.EPOLLOUT if wanted else select.EPOLLIN)

    def ignore(self, descriptor: int) -> None:
        """Before it is closed."""
        del self._heard[descriptor]
        self._epoll.unregister(descriptor)

    def add(self, worker: Worker) -> None:
        self.workers[worker.n] = worker
        descriptor = worker.process.fileno()
        if descriptor is None:
            self._without.add(worker)
        else:
            self._by_descriptor[descriptor] = worker
            self._epoll.register(descriptor, select.EPOLLIN)

    def drop(self, worker: Worker) -> None:
        """It is gone and reaped."""
        del self.workers[worker.n]
        self._without.discard(worker)
        descriptor = worker.process.fileno()
        if descriptor is not None:
            del self._by_descriptor[descriptor]
            self._epoll.unregister(descriptor)
        worker.close()

    @property
    def unwatched(self) -> bool:
        """There are workers whose end wakes nobody."""
        return bool(self._without)

    def wait(self, seconds: float) -> Iterable[Worker]:
        """Who may have ended, after at most so many seconds."""
        ended = []
        for descriptor, _ in self._epoll.poll(seconds):
            if (worker := self._by_descriptor.get(descriptor)) is not None:
                ended.append(worker)
            elif (call := self._heard.get(descriptor)) is not None:
                call()
        return [*ended, *self._without] if self._without else ended

    def close(self) -> None:
        self._epoll.close()
        self._heard.clear()  # they know who knows us
