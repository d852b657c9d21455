"""`loadkeeper.Executor` as a program uses it: what comes back, what is lost, and that one call's trouble is its own."""

import asyncio
import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, shared_memory

import pytest
from support.program import Program, marked, stands, state_of, wait_until

from loadkeeper import Executor, ExecutorStopped, WorkerLost
from loadkeeper import Limits as WrittenLimits
from loadkeeper.errors import SettingsError
from loadkeeper.model import Limits, Want

FREE = Limits(cpu=None, memory=None)
"""The machine may be busy; the tests are not about that."""
IMPORTS = """
from loadkeeper import Executor
from loadkeeper.model import Limits
FREE = Limits(cpu=None, memory=None)
"""


@pytest.fixture(autouse=True, scope="module")
def home(lasting_program):
    """The load manager of this file."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("LOADKEEPER_", "XDG_"))]:
            patch.delenv(name)
        for name, value in lasting_program.environment.items():
            patch.setenv(name, value)
        yield lasting_program


@pytest.fixture(scope="module")
def pool(home):
    """One for all tests that leave it as it was; processes that die do."""
    with Executor(2, limits=FREE) as made:
        yield made


def pids(pool: Executor) -> list[int]:
    return marked(pool.run)


# ------------------------------------------------------------------------------------------------------------- calls


def add(a, b=0):
    return a + b


def whole(*args, **kwargs):
    return args, kwargs


def fail(text):
    raise KeyError(text)


def nothing(*_):
    pass


def pid():
    return os.getpid()


def write(path, text="x"):
    with open(path, "a") as file:
        file.write(text)


def runs(path):
    return len(path.read_text()) if path.exists() else 0


class Unpicklable:
    def __reduce__(self):
        raise TypeError("this one stays")


def unpicklable():
    return Unpicklable()


class Picky(Exception):
    """Pickles, but does not unpickle: as of a library that forgot its arguments."""

    def __init__(self, one, two):
        super().__init__(one)


def raise_picky():
    raise Picky(1, 2)


def test_results_arguments_and_order(pool):
    assert pool.submit(add, 1, b=2).result() == 3
    assert pool.submit(whole, 1, self=2, fn=3).result() == ((1,), {"self": 2, "fn": 3})
    assert list(pool.map(add, range(100), range(100))) == [2 * n for n in range(100)]
    assert list(pool.map(add, range(100), chunksize=7)) == list(range(100))
    with pytest.raises(ValueError, match="chunksize"):
        pool.map(add, [1], chunksize=0)


def test_an_exception_comes_with_its_traceback(pool):
    with pytest.raises(KeyError, match="so it is") as caught:
        pool.submit(fail, "so it is").result()
    assert "raise KeyError(text)" in str(caught.value.__cause__)


def test_what_cannot_be_pickled_fails_alone(pool):
    calls = [
        pool.submit(add, Unpicklable()),
        pool.submit(unpicklable),
        pool.submit(raise_picky),
        pool.submit(add, 1, 1),
    ]
    with pytest.raises(TypeError, match="this one stays"):
        calls[0].result()
    with pytest.raises(TypeError, match="this one stays"):
        calls[1].result()
    with pytest.raises(RuntimeError, match=r"cannot be unpickled here.*Picky") as caught:
        calls[2].result()
    assert "raise Picky(1, 2)" in str(caught.value.__cause__)
    assert calls[3].result() == 2


def test_cloudpickle_takes_what_pickle_cannot(pool):
    pytest.importorskip("cloudpickle")
    seven = 7
    assert pool.submit(lambda x: x + seven, 1).result() == 8
    assert pool.submit(lambda: lambda: seven).result()() == 7


def test_without_cloudpickle_that_call_alone_fails(home, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys; sys.modules['cloudpickle'] = None\n"
        f"{IMPORTS}"
        "if __name__ == '__main__':\n"
        "    with Executor(1, limits=FREE) as pool:\n"
        "        bad, good = pool.submit(lambda: 1), pool.submit(abs, -2)\n"
        "        print(type(bad.exception()).__name__, good.result())\n"
    )
    assert run(home, script).stdout.split() in (["PicklingError", "2"], ["AttributeError", "2"])


def test_big_and_many(pool):
    big = bytes(range(256)) * 400_000  # 100 MB
    assert pool.submit(len, big).result() == len(big)
    assert pool.submit(bytes, len(big)).result() == bytes(len(big))
    calls = [pool.submit(add, n, 1) for n in range(3000)]
    assert [call.result() for call in calls] == list(range(1, 3001))


def test_a_big_argument_is_held_once_however_many_calls_wait(pool):
    """They are bytes only when a process is free."""
    for call in [pool.submit(time.sleep, 0.2) for _ in range(2)]:
        assert not call.done()
    big = bytearray(20 << 20)
    before = held()
    calls = [pool.submit(len, big) for _ in range(40)]
    grown = held() - before
    assert {call.result() for call in calls} == {len(big)}
    assert grown < 5 * len(big)


def held() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_call_that_is_cancelled_while_it_waits_never_runs(pool, tmp_path):
    busy = [pool.submit(time.sleep, 0.3) for _ in range(2)]
    time.sleep(0)
    late = [pool.submit(write, tmp_path / "ran") for _ in range(5)]
    cancelled = [call.cancel() for call in late]
    wait(busy)
    pool.submit(nothing).result()
    assert runs(tmp_path / "ran") == cancelled.count(False)
    assert cancelled[-1]
    with pytest.raises(CancelledError):
        late[-1].result()


def test_calls_may_submit_from_their_callbacks(pool):
    done = threading.Event()
    second = []

    def then(_):
        second.append(pool.submit(add, 2, 2))
        done.set()

    pool.submit(add, 1, 1).add_done_callback(then)
    assert done.wait(30)
    assert second[0].result() == 4


def test_stdin_is_empty_and_the_output_is_the_programs(home, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        f"{IMPORTS}"
        "def say(x):\n    print('said', x, repr(sys.stdin.read()), flush=True)\n"
        "if __name__ == '__main__':\n    Executor(1, limits=FREE).submit(say, 1).result()\n"
    )
    assert run(home, script, input="not for calls").stdout == "said 1 ''\n"


def run(home: Program, script, *words: str, **options) -> subprocess.CompletedProcess[str]:
    """A program of its own."""
    command = [sys.executable, str(script), *words]
    options = {"text": True, "capture_output": True, "timeout": 60, "env": home.environment, "check": True, **options}
    return subprocess.run(command, **options)  # noqa: PLW1510


# --------------------------------------------------------------------------------------------------- processes that die


def once(path, how):
    """Die in the way that ``how`` says, the first time."""
    first = not path.exists()
    write(path)
    if first:
        always(path, how)
    return os.getpid()


def always(path, how):
    write(path)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "exit":
        os._exit(0)
    else:
        import ctypes

        ctypes.string_at(0)


@pytest.mark.parametrize("how", ["kill", "exit", "segfault"])
def test_the_death_of_a_process_costs_one_try_of_one_call(pool, tmp_path, how):
    others = [pool.submit(add, n, 0) for n in range(20)]
    call = pool.submit(once, tmp_path / "runs", how)
    more = [pool.submit(add, n, 0) for n in range(20)]
    assert [other.result() for other in [*others, *more]] == [*range(20), *range(20)]
    assert call.result() in pids(pool)
    assert runs(tmp_path / "runs") == 3  # twice begun, and one mark of the death


def test_a_call_whose_process_always_dies_is_given_up(tmp_path):
    with Executor(2, limits=FREE, retries=1) as pool:
        call = pool.submit(always, tmp_path / "runs", "kill")
        with pytest.raises(WorkerLost, match=r"call 1, always, has lost its process 2 times.*killed by signal 9"):
            call.result()
        assert runs(tmp_path / "runs") == 2
        assert pool.submit(add, 1, 1).result() == 2
    assert issubclass(WorkerLost, BrokenProcessPool), "what catches theirs catches ours"


def test_without_retries_no_call_runs_twice(tmp_path):
    with Executor(1, limits=FREE, retries=0) as pool:
        with pytest.raises(WorkerLost, match="retries=0"):
            pool.submit(always, tmp_path / "runs", "exit").result()
        assert runs(tmp_path / "runs") == 1


def test_an_idle_process_that_dies_is_replaced(pool):
    first = pool.submit(pid).result()
    os.kill(first, signal.SIGKILL)
    assert pool.submit(pid).result() not in (first, os.getpid())


def child_in_a_session_of_its_own():
    return subprocess.Popen(["sleep", "600"], start_new_session=True).pid


def test_what_a_call_starts_ends_with_the_executor():
    with Executor(1, limits=FREE) as pool:
        child = pool.submit(child_in_a_session_of_its_own).result()
        assert state_of(child) not in ("", "Z")
    wait_until(lambda: state_of(child) in ("", "Z"), 5, "a child of a call is left")


# ------------------------------------------------------------------------------------------------------ initializers

state = "untouched"


def initialize(value):
    global state  # noqa: PLW0603
    state = value


def look():
    return state


def remember(queue, lock, event):
    global state  # noqa: PLW0603
    state = (queue, lock, event)


def through_queue(value):
    queue, lock, event = state
    with lock:
        queue.put(value)
    event.set()


def broken_initializer():
    raise ValueError("not today")


def test_initializer():
    with Executor(2, limits=FREE, initializer=initialize, initargs=("ready",)) as pool:
        assert {call.result() for call in [pool.submit(look) for _ in range(10)]} == {"ready"}


def test_queues_locks_and_events_may_be_arguments_of_the_initializer():
    context = get_context("spawn")
    queue, lock, event = context.Queue(), context.Lock(), context.Event()
    arguments = (queue, lock, event)
    with Executor(1, context, limits=FREE, initializer=remember, initargs=arguments) as pool:
        pool.submit(through_queue, "through").result()
        assert queue.get(timeout=10) == "through"
        assert event.is_set()


def test_so_they_may_where_a_person_types(home):
    """What cannot be imported goes by cloudpickle, which knows nothing of `multiprocessing`."""
    pytest.importorskip("cloudpickle")
    code = (
        f"{IMPORTS}from multiprocessing import get_context\n"
        "import os\n"
        "def remember(it): os.queue = it\n"
        "def put(value): os.queue.put(value)\n"
        "queue = get_context('spawn').Queue()\n"
        "with Executor(1, initializer=remember, initargs=(queue,), limits=FREE) as pool:\n"
        "    pool.submit(put, 5).result()\n"
        "    print(queue.get(timeout=10))\n"
    )
    assert run(home, "-c", code).stdout == "5\n"


def test_an_initializer_that_fails_breaks_the_executor(capfd):
    with Executor(2, limits=FREE, initializer=broken_initializer) as pool:
        with pytest.raises(BrokenProcessPool, match="ValueError: not today") as caught:
            pool.submit(add, 1).result()
        assert "raise ValueError" in str(caught.value.__cause__)
        with pytest.raises(BrokenProcessPool, match="not today"):
            pool.submit(add, 1)


def die_at_once():
    os._exit(7)


def test_processes_that_never_get_ready_are_not_started_for_ever():
    with Executor(2, limits=FREE, initializer=die_at_once) as pool:
        error = pool.submit(add, 1).exception()
    assert isinstance(error, BrokenProcessPool)
    assert "one process after the other died before it could take a call; the last was ended with exit code 7" in str(
        error
    )


# ------------------------------------------------------------------------------------------------- lives of processes


def test_a_process_is_replaced_after_its_calls():
    with Executor(1, limits=FREE, max_tasks_per_child=2) as pool:
        found = [pool.submit(pid).result() for _ in range(6)]
    assert found[0] == found[1] != found[2] == found[3] != found[4] == found[5]


def test_arguments_that_cannot_be():
    for arguments, problem in (
        ({"max_workers": 0}, "max_workers must be greater than 0"),
        ({"retries": -1}, "retries must be 0 or more, not -1"),
        ({"grace": -1.0}, "grace must be seconds, 0 or more, not -1.0"),
        ({"max_tasks_per_child": 0}, "max_tasks_per_child must be >= 1"),
        ({"pause": "perhaps"}, "perhaps"),
    ):
        with pytest.raises(ValueError, match=problem):
            Executor(**arguments)
    with pytest.raises(TypeError, match="initializer must be a callable"):
        Executor(initializer=3)


def test_shutdown_does_what_waits_and_leaves_nobody():
    pool = Executor(2, limits=FREE)
    calls = [pool.submit(time.sleep, 0.01) for _ in range(20)]
    pool.shutdown()
    assert all(call.done() and call.exception() is None for call in calls)
    assert pids(pool) == []
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(add, 1)


def test_shutdown_without_what_waits():
    pool = Executor(1, limits=FREE)
    first = pool.submit(time.sleep, 0.3)
    wait_until(first.running, 30, "the first call does not begin")
    calls = [pool.submit(time.sleep, 0.3) for _ in range(10)]
    began = time.monotonic()
    pool.shutdown(cancel_futures=True)
    assert time.monotonic() - began < 3
    assert first.exception() is None
    assert all(call.cancelled() for call in calls)


def test_shutdown_does_not_wait_for_what_is_cancelled(home):
    """Not even where no process may take it from the queue."""
    pool = Executor(1, limits=FREE)
    first = pool.submit(nothing)
    first.result()
    home.steer(Want.PAUSE, pool.run)
    process = pids(pool)[0]
    wait_until(lambda: stands(process), 5, "it does not stand")
    assert pool.submit(nothing).cancel()
    began = time.monotonic()
    pool.shutdown()
    assert time.monotonic() - began < 5


def test_an_executor_that_nobody_holds_does_its_calls_and_ends():
    pool = Executor(2, limits=FREE)
    run, results = pool.run, pool.map(add, range(20))
    del pool
    assert list(results) == list(range(20))
    wait_until(lambda: marked(run) == [], 10, "its processes stay")


def descriptors():
    """Those that are open, without the one that this look takes itself: its number may be another one each time."""
    return {number for number in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{number}")}


def test_an_unused_executor_starts_nothing():
    Executor(limits=FREE)  # what it looks at stays open
    gc.collect()
    before = set(threading.enumerate()), descriptors()
    with Executor(limits=FREE) as pool:
        assert pids(pool) == []
        assert set(threading.enumerate()) <= before[0]
        assert descriptors() <= before[1]


def test_nothing_of_the_program_is_touched():
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    gc.collect()
    environment, descriptors = dict(os.environ), set(os.listdir("/proc/self/fd"))
    with Executor(2, limits=FREE) as pool:
        assert list(pool.map(add, range(10))) == list(range(10))
        assert {number: signal.getsignal(number) for number in signal.valid_signals()} == handlers
        assert dict(os.environ) == environment
        ours = subprocess.Popen(["true"])
        time.sleep(0.1)
        assert ours.wait() == 0, "nobody else has waited for it"
    del pool
    gc.collect()
    assert set(os.listdir("/proc/self/fd")) <= descriptors


def test_inherited_descriptors_are_not_handed_on(pool):
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    try:
        pool.submit(nothing).result()
        os.close(writer)
        assert os.read(reader, 1) == b"", "nobody else holds the pipe"
    finally:
        os.close(reader)


def test_several_at_once_from_several_threads():
    results: dict[int, list[int]] = {}

    def work(number):
        with Executor(1, limits=FREE) as pool:
            calls = [pool.submit(add, number, n) for n in range(50)]
            results[number] = [call.result() for call in calls]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {number: [number + n for n in range(50)] for number in range(3)}


def test_many_threads_share_one(pool):
    results = []

    def work(number):
        for n in range(50):
            results.append(pool.submit(add, number, n).result() == number + n)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 200


def attach(name):
    segment = shared_memory.SharedMemory(name)
    segment.buf[0] += 1
    segment.close()


def test_shared_memory_outlives_the_processes_that_used_it():
    """One that is ignorant of the program's tracker would take it away at its end."""
    with Executor(1, limits=FREE) as pool:
        pool.submit(nothing).result()  # it lives before there is anything to track
        segment = shared_memory.SharedMemory(create=True, size=16)
        try:
            pool.submit(attach, segment.name).result()
            pool.shutdown()
            again = shared_memory.SharedMemory(segment.name)
            assert again.buf[0] == 1
            again.close()
        finally:
            segment.close()
            segment.unlink()


def in_an_executor(number):
    with Executor(1, limits=FREE) as pool:
        return pool.submit(add, number, 1).result()


def test_inside_a_daemonic_process_and_inside_another_executor(pool):
    """Where `multiprocessing` has no children."""
    with get_context("spawn").Pool(1) as daemons:
        assert daemons.apply(in_an_executor, (1,)) == 2
    assert pool.submit(in_an_executor, 3).result() == 4


# ------------------------------------------------------------------------------------------------ forks, and the end


def test_a_fork_of_the_program_does_no_harm(pool):
    before = pool.submit(pid).result()
    child = os.fork()
    if child == 0:
        code = 1
        with contextlib.suppress(BaseException):
            try:
                pool.submit(add, 1)
            except RuntimeError as error:
                pool.shutdown()
                code = 0 if "fork" in str(error) else 2
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert pool.submit(pid).result() == before


def test_one_that_was_made_before_a_fork_works_in_it(home, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import os\n"
        f"{IMPORTS}"
        "pool = Executor(1, limits=FREE)\n"
        "if __name__ == '__main__':\n"
        "    child = os.fork()\n"
        "    print(pool.submit(abs, -5 if child else -6).result(), flush=True)\n"
        "    pool.shutdown()\n"
        "    if child: os.waitpid(child, 0)\n"
        "    else: os._exit(0)\n"
    )
    assert sorted(run(home, script).stdout.split()) == ["5", "6"]


PROGRAM = f"""{IMPORTS}
import os, sys, time
def wait(seconds):
    print(os.getpid(), flush=True)
    time.sleep(seconds)
if __name__ == "__main__":
    pool = Executor(2, limits=FREE)
    print(pool.run, flush=True)
    pool.submit(wait, 0).result()
    pool.submit(wait, float(sys.argv[1]))
    if sys.argv[2] == "stay":
        time.sleep(600)
"""


def test_the_interpreter_ends_when_all_is_done(home, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(PROGRAM)
    began = time.monotonic()
    said = run(home, script, "1.0", "leave")
    assert time.monotonic() - began > 1.0
    assert len(said.stdout.split()) == 3
    assert said.stderr == ""


def test_interrupting_the_program_ends_what_runs(home, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        f"{IMPORTS}\nimport time\n"
        "def wait():\n"
        "    try:\n"
        "        print('begun', flush=True)\n"
        "        time.sleep(600)\n"
        "    finally: print('cleaned', flush=True)\n"
        "if __name__ == '__main__':\n"
        "    with Executor(1, limits=FREE) as pool:\n"
        "        calls = [pool.submit(wait) for _ in range(3)]\n"
        "        try: calls[0].result()\n"
        "        finally: pool.submit(print, 'never')\n"
    )
    command = [sys.executable, str(script)]
    with subprocess.Popen(
        command, env=home.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout.readline() == "begun\n"
        program.send_signal(signal.SIGINT)
        said, told = program.communicate(timeout=30)
    assert said == "cleaned\n"
    assert "KeyboardInterrupt" in told
    assert program.returncode == -signal.SIGINT


@pytest.mark.parametrize("seconds", ["600", "0"], ids=["busy", "idle"])
def test_nobody_stays_when_the_program_is_killed(home, tmp_path, seconds):
    script = tmp_path / "script.py"
    script.write_text(PROGRAM)
    command = [sys.executable, str(script), seconds, "stay"]
    with subprocess.Popen(command, env=home.environment, stdout=subprocess.PIPE, text=True) as program:
        run, *workers = [program.stdout.readline().strip() for _ in range(3)]
        assert state_of(int(workers[-1])) not in ("", "Z")
        program.kill()
    wait_until(lambda: marked(run) == [], 5, "its processes stay")


def test_a_main_module_without_a_guard_is_told_so(home, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(f"{IMPORTS}with Executor(1, limits=FREE) as pool:\n    print(pool.submit(abs, -1).exception())\n")
    said = run(home, script, check=False)
    assert "could not be prepared" in said.stdout
    assert 'put what starts it under `if __name__ == "__main__":`' in said.stdout


@pytest.mark.parametrize("how", ["script", "module", "-c"])
def test_functions_of_the_main_module(home, tmp_path, how):
    code = (
        f"{IMPORTS}"
        "class Point:\n    def __init__(self, x): self.x = x\n"
        "def double(point): return Point(2 * point.x)\n"
        "if __name__ == '__main__':\n"
        "    with Executor(1, limits=FREE) as pool:\n"
        "        found = pool.submit(double, Point(21)).result()\n"
        "        print(found.x, type(found) is Point)\n"
    )
    (tmp_path / "a_script.py").write_text(code)
    words = {"script": [str(tmp_path / "a_script.py")], "module": ["-m", "a_script"], "-c": ["-c", code]}[how]
    if how == "-c":
        pytest.importorskip("cloudpickle")
    assert run(home, words[0], *words[1:], cwd=tmp_path).stdout.split() == ["42", "True"]


# ------------------------------------------------------------------------------------------------- the load manager


def worker_of(home: Program, pool: Executor, process: int):
    status = home.ask()
    found = [run for run in status.runs if run.id == pool.run] if status is not None else []
    return next((worker for run in found for worker in run.workers if worker.pid == process), None)


def test_it_is_a_run_as_any_other(home):
    with Executor(2, limits=FREE, name="sums") as pool:
        list(pool.map(add, range(10)))
        assert isinstance(pool.submit(fail, "x").exception(), KeyError)
        call = pool.submit(time.sleep, 2.0)

        def counted():
            status = home.ask()
            return next((r for r in status.runs if r.id == pool.run and r.tasks.running and r.tasks.failed), None)

        run = wait_until(counted, 10, "its calls are not told")
        assert (run.name, run.tasks.done, run.tasks.failed, run.tasks.running) == ("sums", 10, 1, 1)
        assert {worker.value for worker in run.workers} <= {"", "sleep"}
        assert "sums" in home.call("list").stdout.decode()
        assert f"run {pool.run} sums" in home.call("explain", "sums").stdout.decode()
        call.result()


def test_limits_as_people_write_them():
    assert Executor(limits=WrittenLimits(cpu="off", memory="2G"))._plan.settings.limits.cpu is None
    with pytest.raises(SettingsError, match="memory='2G'"):
        Executor(limits="2G")


def test_without_a_name_it_has_the_programs(home, tmp_path):
    (tmp_path / "sums.py").write_text(
        f"{IMPORTS}import sys\nif __name__ == '__main__':\n"
        "    pool = Executor(1, limits=FREE)\n"
        "    print(pool.submit(abs, -1).result(), flush=True)\n"
        "    sys.stdin.read()\n"
    )
    for words, name in (([tmp_path / "sums.py"], "sums.py"), (["-m", "sums"], "sums")):
        command = [sys.executable, *words]
        with subprocess.Popen(
            command, env=home.environment, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as program:
            assert program.stdout.readline() == b"1\n"
            assert name in [run.name for run in home.ask().runs]


def test_a_paused_run_waits_and_goes_on(home, pool):
    busy = pool.submit(count_for, 0.5)
    wait_until(busy.running, 30, "the call does not begin")
    process = wait_until(lambda: pids(pool), 5, "there is no process")[0]
    home.steer(Want.PAUSE, pool.run)
    wait_until(lambda: stands(process), 5, "it does not stand")
    late = pool.submit(add, 1, 1)
    assert not wait([late], 0.4).done
    home.steer(Want.RUN, pool.run)
    assert late.result(20) == 2
    assert busy.result(20) > 0


def count_for(seconds):
    """CPU seconds."""
    counted, began = 0, time.process_time()
    while time.process_time() - began < seconds:
        counted += 1
    return counted


def test_one_that_is_paused_holds_nobody_else_up(home):
    with Executor(2, limits=FREE) as pool:
        slow = pool.submit(count_for, 0.5)
        other = pool.submit(pid)
        wait([other])
        process = wait_until(lambda: [p for p in pids(pool) if p != other.result()], 5, "there is one only")[0]
        worker = wait_until(lambda: worker_of(home, pool, process), 5, "it is not told of")
        home.steer(Want.PAUSE, worker.id)
        wait_until(lambda: stands(process), 5, "it does not stand")
        assert {call.result(20) for call in [pool.submit(pid) for _ in range(20)]} == {other.result()}
        assert not slow.done()
        home.steer(Want.RUN, worker.id)
        assert slow.result(20) > 0


def clean(path):
    try:
        write(path.with_suffix(".begun"))
        time.sleep(600)
    finally:
        write(path, "cleaned")


def test_an_executor_that_is_stopped_says_so_to_everybody(home, tmp_path):
    pool = Executor(1, limits=FREE)
    running, waiting = pool.submit(clean, tmp_path / "said"), pool.submit(add, 1)
    wait_until((tmp_path / "said.begun").exists, 30, "the call does not begin")
    home.steer(Want.STOP, pool.run)
    for call in (running, waiting):
        with pytest.raises(ExecutorStopped, match="stopped by the operator"):
            call.result(20)
    with pytest.raises(ExecutorStopped, match="stopped by the operator"):
        pool.submit(add, 1)
    assert (tmp_path / "said").read_text() == "cleaned", "its `finally` has run"
    wait_until(lambda: all(run.id != pool.run for run in home.ask().runs), 5, "the run stays")
    pool.shutdown()


def test_a_drained_executor_does_what_runs(home):
    pool = Executor(1, limits=FREE)
    running = pool.submit(time.sleep, 0.5)
    wait_until(running.running, 30, "the call does not begin")
    waiting = pool.submit(add, 1)
    home.steer(Want.DRAIN, pool.run)
    with pytest.raises(ExecutorStopped, match="drained by the operator"):
        waiting.result(20)
    assert running.result(20) is None
    pool.shutdown()


def test_slots_shrink_and_grow(home):
    """`set jobs` while it works: the surplus ends after its call."""
    with Executor(3, limits=FREE) as pool:
        calls = [pool.submit(time.sleep, 0.05) for _ in range(300)]
        wait_until(lambda: len(pids(pool)) == 3, 20, "three do not come")
        home.call("set", "jobs=1", pool.run)
        wait_until(lambda: len(pids(pool)) == 1, 10, "the surplus stays")
        home.call("set", "jobs=2", pool.run)
        wait_until(lambda: len(pids(pool)) == 2, 10, "the second does not come")
        for call in calls:
            call.cancel()
        assert all(call.exception() is None for call in calls if not call.cancelled())


def grow(path, size):
    """Holds much the first time."""
    first = not path.exists()
    write(path)
    if first or size > 0:
        kept = bytearray(size or 200 << 20)
        time.sleep(30)
        return len(kept)
    return "done"


def test_a_process_that_is_ended_for_its_memory_costs_no_try(home, tmp_path):
    """Its call is run again; one that can never fit is not, and says why."""
    capped = Limits(cpu=None, memory=None, memory_per_worker=120 << 20)
    with Executor(1, limits=capped, retries=1, grace=1.0) as pool:
        assert pool.submit(once_big_then_killed, tmp_path / "runs").result(60) == "done"
        assert runs(tmp_path / "runs") == 3
        too_big = pool.submit(grow, tmp_path / "big", 200 << 20)
        with pytest.raises(WorkerLost, match=r"has lost its process: .*120 MiB"):
            too_big.result(60)
        assert pool.submit(add, 1, 1).result(20) == 2
        told = home.call("explain", f"{pool.run}:1").stdout.decode()
        assert "given back" in told
        assert "120 MiB" in told


def once_big_then_killed(path):
    """Ended for its memory, then killed, which is its one failure, then done."""
    before = runs(path)
    write(path)
    if before == 0:
        kept = bytearray(200 << 20)
        time.sleep(60)
        return len(kept)
    if before == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


def test_another_load_manager_takes_over(home, pool):
    pool.submit(nothing).result()
    manager = home.ask().node.pid
    os.kill(manager, signal.SIGKILL)
    assert [call.result(20) for call in [pool.submit(add, n) for n in range(50)]] == list(range(50))


def test_without_a_load_manager_calls_are_done_all_the_same(monkeypatch, caplog):
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/dev/null/nowhere")
    with Executor(limits=FREE) as pool:
        assert list(pool.map(add, range(50))) == list(range(50))
        assert len(pids(pool)) <= len(os.sched_getaffinity(0))
    said = [record.message for record in caplog.records if record.name == "loadkeeper.executor"]
    assert len(said) == 1
    assert "there is no load manager" in said[0]
    assert "/dev/null/nowhere" in said[0]


# ---------------------------------------------------------------------------------------------------------- elsewhere


def test_asyncio(pool):
    async def work():
        loop = asyncio.get_running_loop()
        return await asyncio.gather(*(loop.run_in_executor(pool, add, n, 1) for n in range(20)))

    assert asyncio.run(work()) == list(range(1, 21))


def test_joblib():
    joblib = pytest.importorskip("joblib")
    import loadkeeper.joblib  # noqa: F401 - it registers itself

    with joblib.parallel_config("loadkeeper", n_jobs=2, limits=FREE):
        assert joblib.Parallel()(joblib.delayed(add)(n, 1) for n in range(500)) == list(range(1, 501))
        with pytest.raises(KeyError, match="of joblib"):
            joblib.Parallel()(joblib.delayed(fail)("of joblib") for _ in range(3))
