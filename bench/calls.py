"""One executor, measured in a program of its own: ``python bench/calls.py SIDE WHAT`` prints a line of JSON.

SIDE: loadkeeper, forkserver, fork (the standard library's), loky. It imports little, for its processes import it."""

import json
import multiprocessing
import os
import signal
import statistics
import sys
import time
from concurrent.futures import Executor, ProcessPoolExecutor, wait

PROCESSES = 2
CALLS = 20_000
TRIPS = 2_000
SURVIVORS = 4
JOBS = 60
SECONDS = 0.05
PATIENCE = 10.0
STOPPED = 3.0


def make(side: str, processes: int = PROCESSES) -> Executor:
    if side == "loadkeeper":
        from loadkeeper import Executor as Ours
        from loadkeeper.model import Limits

        return Ours(processes, limits=Limits(cpu=None, memory=None))
    if side == "loky":
        from loky import ProcessPoolExecutor as Loky

        return Loky(processes)
    return ProcessPoolExecutor(processes, multiprocessing.get_context(side))


def nothing(*_: object) -> None:
    pass


def warm(executor: Executor, processes: int = PROCESSES) -> set[int]:
    """The processes, all of them at work."""
    pids: set[int] = set()
    while len(pids) < processes:
        pids |= {call.result() for call in [executor.submit(slow, 0.1) for _ in range(2 * processes)]}
    return pids


def slow(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def rate(side: str) -> float:
    """Calls that do nothing, a second."""
    with make(side) as executor:
        warm(executor)
        began = time.perf_counter()
        wait([executor.submit(nothing) for _ in range(CALLS)])
        return CALLS / (time.perf_counter() - began)


def cost(side: str) -> float:
    """Microseconds of CPU for such a call, of the program and its processes together."""
    with make(side) as executor:
        pids = [os.getpid(), *warm(executor)]
        before = sum(map(on_cpu, pids))
        wait([executor.submit(nothing) for _ in range(CALLS)])
        return (sum(map(on_cpu, pids)) - before) / 1e3 / CALLS


def on_cpu(pid: int) -> int:
    """Nanoseconds, of all its threads."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/schedstat") as file:
            total += int(file.read().split()[0])
    return total


def trip(side: str) -> float:
    """Microseconds from a call to its result, one after the other."""
    with make(side) as executor:
        warm(executor)
        took = []
        for _ in range(TRIPS):
            began = time.perf_counter()
            executor.submit(nothing).result()
            took.append(time.perf_counter() - began)
        return 1e6 * statistics.median(took)


def first(side: str) -> float:
    """Milliseconds from the making of an executor to its first result, all modules imported, a load manager there."""
    with make(side) as before:
        before.submit(nothing).result()
        time.sleep(0.7)  # a load manager lets one more in each half second at first
        began = time.perf_counter()
        with make(side) as executor:
            executor.submit(nothing).result()
            return 1e3 * (time.perf_counter() - began)


def kill(side: str) -> tuple[int, int, int]:
    """Of 60 calls, while one of four processes is killed: (done, failed, not done after 10 s)."""
    executor = make(side, SURVIVORS)
    pids = sorted(warm(executor, SURVIVORS))
    calls = [executor.submit(slow, SECONDS) for _ in range(JOBS // 2)]
    time.sleep(3 * SECONDS)
    os.kill(pids[0], signal.SIGKILL)
    try:
        calls += [executor.submit(slow, SECONDS) for _ in range(JOBS - len(calls))]
    except RuntimeError:
        pass  # broken: they count as failed
    done, frozen = wait(calls, PATIENCE)
    good = sum(call.exception() is None for call in done)
    return good, JOBS - good - len(frozen), len(frozen)


def stop(side: str) -> tuple[int, int, int]:
    """Each of four processes is stopped in turn while it waits, and 15 calls come: how many of the 60 are done within
    3 s, as `kill`."""
    executor = make(side, SURVIVORS)
    good = failed = frozen = 0
    for pid in sorted(warm(executor, SURVIVORS)):
        os.kill(pid, signal.SIGSTOP)
        time.sleep(SECONDS)
        calls = [executor.submit(slow, SECONDS) for _ in range(JOBS // SURVIVORS)]
        done, late = wait(calls, STOPPED)
        os.kill(pid, signal.SIGCONT)
        wait(calls, PATIENCE)
        time.sleep(2 * SECONDS)
        good += sum(call.exception() is None for call in done)
        failed += sum(call.exception() is not None for call in done)
        frozen += len(late)
    return good, failed, frozen


def main() -> None:
    side, what = sys.argv[1:]
    if what in ("stop", "kill"):
        print(json.dumps({"stop": stop, "kill": kill}[what](side)), flush=True)
        os._exit(0)  # some would wait for ever
    print(json.dumps({"rate": rate, "cost": cost, "trip": trip, "first": first}[what](side)))


if __name__ == "__main__":
    main()
