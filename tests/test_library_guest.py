"""The program that a run or a load manager is a guest in is left alone: signals, children, descriptors, everything."""

import os
import socket
import subprocess
import sys
import threading

import pytest
from support.guest import OFF, in_thread, script
from support.program import command_of, marked, parent_of, processes, wait_until

from loadkeeper import LoadManager, PlaceError, ProcessManager, UsageError
from loadkeeper.program import manager


@pytest.fixture(autouse=True)
def _here(here):
    pass


def test_nothing_of_the_program_is_changed_before_during_or_after(apart):
    done = script(
        apart,
        """
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD, signal.SIGTSTP):
            signal.signal(number, lambda *_: None)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        os.umask(0o027)
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        threading.Thread(target=len, args=("",)).start()  # the C library's own signal comes with the first thread
        pipe = os.pipe()
        os.set_inheritable(pipe[1], True)
        before, open_before, stop, seen = state(), descriptors(), threading.Event(), []
        def look():
            while not stop.is_set():
                seen.append({n: v for n, v in state().items() if n != "wakeup"})
                assert os.get_inheritable(pipe[1])
        watching = threading.Thread(target=look)
        watching.start()
        def run():
            manager = ProcessManager("sleep 0.2; ls /proc/self/fd; (sleep 60 &)", tasks=4, limits=OFF, output=took)
            outcomes.append(manager.manage())
        listed, outcomes = [], []
        took = lambda task, out, err: listed.append(out)
        lm = LoadManager()
        managing = threading.Thread(target=lm.manage)
        managing.start()
        assert lm.ready.wait(10)
        runs = [threading.Thread(target=run) for _ in range(3)]
        for one in runs: one.start()
        for one in runs: one.join()
        lm.stop()
        managing.join()
        stop.set()
        watching.join()
        assert [outcome.done for outcome in outcomes] == [4, 4, 4], outcomes
        assert state() == before, differences(state(), before)
        before.pop("wakeup")
        for one in seen:
            assert one == before, differences(one, before)
        assert descriptors() == open_before, (descriptors(), open_before)
        assert set(b"".join(listed).split()) == {b"0", b"1", b"2", b"3"}, listed  # 3 is its own, of the directory
        assert threading.enumerate() == [threading.main_thread()]
        print(len(seen))
        """,
    )
    assert int(done.stdout) > 10


@pytest.mark.parametrize("kind", ["plain", "subreaper"])
def test_the_programs_own_children_are_its_own(here, kind):
    """Their exit status is there for its own wait, whatever session they lead; what workers leave is ended, and reaped
    where it comes back to the program."""
    done = script(
        here,
        f"""
        kind = {kind!r}
        if kind == "subreaper":
            ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
        """
        + """
        mine = [
            subprocess.Popen(["sh", "-c", f"sleep 0.{n}; exit {n}"], start_new_session=n % 2 == 1) for n in range(1, 7)
        ]
        forked = os.fork()
        if not forked:
            os.setsid()
            os._exit(9)
        stays = subprocess.Popen(["sleep", "60"], start_new_session=True)
        told = []
        manager = ProcessManager("(setsid sleep 61 &); sleep 0.4", tasks=6, limits=OFF, on_message=told.append)
        outcome = manager.manage()
        assert outcome.done == 6, outcome
        assert told == [], told
        assert os.waitpid(forked, 0)[1] == 9 << 8
        assert [one.wait() for one in mine] == [1, 2, 3, 4, 5, 6]
        assert stays.poll() is None
        stays.kill()
        stays.wait()
        left = open(f"/proc/self/task/{os.getpid()}/children").read().split()
        names = [open(f"/proc/{pid}/stat").read().split()[1] for pid in left]
        print(*names)
        """,
    )
    assert set(done.stdout.split()) <= {"(python)"}  # load managers, which come to a subreaper, too
    assert not [pid for pid in processes() if command_of(pid) == b"sleep\x0061\x00"]


def test_its_own_signal_handlers_are_called(here):
    done = script(
        here,
        """
        manager = ProcessManager("sleep 60", tasks=2, limits=OFF,
                                 on_progress=lambda p: p.running and not p.ending and os.kill(os.getpid(), 15))
        signal.signal(signal.SIGTERM, lambda *_: manager.stop())
        print(manager.manage().exit_code)
        """,
    )
    assert done.stdout == "143\n"


def test_a_program_that_ignores_its_children_is_told_so(here):
    done = script(
        here,
        """
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        try:
            ProcessManager("true", tasks=1, limits=OFF).manage()
        except UsageError as error:
            print(error)
        assert signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN
        """,
    )
    assert "this program ignores SIGCHLD" in done.stdout
    assert "signal.SIG_DFL" in done.stdout


def test_a_program_that_waits_for_any_child_takes_our_exit_codes_and_is_told_so(here):
    done = script(
        here,
        """
        keeps = subprocess.Popen(["sleep", "60"])
        waiting = threading.Thread(target=lambda: [os.waitpid(-1, 0) for _ in range(99)], daemon=True)
        told = []
        manager = ProcessManager("sleep 2", tasks=8, limits=OFF, on_message=told.append,
                                 on_progress=lambda p: p.running and not waiting.ident and waiting.start())
        outcome = manager.manage()
        keeps.kill()
        print(outcome.done + outcome.failed, outcome.failures[0].why)  # who is first to ask, is told
        print(*told)
        """,
    )
    failed, said = done.stdout.splitlines()[:2]
    assert failed == "8 something in this program has waited for the worker in our place (os.wait, waitpid(-1))"
    assert "its exit code is unknown: something in this process has waited for any child" in said


def test_a_program_whose_standard_streams_are_closed_is_told_so(here):
    done = script(
        here,
        """
        kept = os.dup(1)
        os.close(1)
        try:
            ProcessManager("true", tasks=1, limits=OFF).manage()
        except UsageError as error:
            os.write(kept, str(error).encode())
        """,
    )
    assert "descriptor 1 (stdout) is closed" in done.stdout


def test_a_low_limit_of_descriptors_is_obeyed_and_not_raised(here):
    done = script(
        here,
        """
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        most = 0
        def count(progress):
            global most
            most = max(most, progress.running)
        outcome = ProcessManager("sleep 1", tasks=40, limits=Limits(cpu="off"), on_progress=count).manage()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 100
        print(outcome.done, most)
        """,
    )
    number, most = map(int, done.stdout.split())
    assert number == 40
    assert 2 <= most <= 33


def test_many_runs_in_one_life_leave_nothing_behind():
    def one():
        assert ProcessManager("true", values=iter([1, 2, 3]), limits=OFF).manage().done == 3

    one()
    before = len(os.listdir("/proc/self/fd")), threading.active_count()
    for _ in range(8):
        one()
    wait_until(
        lambda: (len(os.listdir("/proc/self/fd")), threading.active_count()) == before, 5, "descriptors or threads stay"
    )


# ----------------------------------------------------------------------------------------------------- the load manager


def test_a_load_manager_in_a_thread_of_the_program(apart):
    manager = LoadManager()
    thread = in_thread(manager.manage)
    try:
        assert manager.ready.wait(10)
        outcome = ProcessManager("true", tasks=3, limits=OFF).manage()
        assert outcome.done == 3
        assert apart.ask().node.pid == os.getpid()
        with pytest.raises(PlaceError, match=f"has a load manager already, process {os.getpid()}"):
            LoadManager().manage()
    finally:
        manager.stop()
        thread.join(10)
    assert not thread.is_alive()
    assert apart.ask() is None
    with pytest.raises(UsageError, match="has been at work already"):
        manager.manage()


def test_a_program_with_a_load_manager_is_what_a_run_starts(apart):
    own, noted, pids = apart.root / "lm.py", apart.root / "pid", set()
    own.write_text(
        "import os\nfrom loadkeeper import LoadManager\n"
        f"open({str(noted)!r}, 'a').write(f'{{os.getpid()}} ')\nLoadManager().manage()\n"
    )

    def note(_progress):
        if status := apart.ask():
            pids.add(status.node.pid)

    command = f"{sys.executable} {own}"
    manager = ProcessManager("sleep 0.8", tasks=2, limits=OFF, lm_command=command, on_progress=note)
    assert manager.manage().done == 2
    (pid,) = pids
    assert str(pid) in noted.read_text().split()  # on a busy machine a second one comes up, and finds the place taken
    wait_until(lambda: not command_of(pid), 10, "it stays though its last run has left")


def test_a_stop_before_it_begins(apart):
    manager = LoadManager()
    manager.stop()
    manager.manage()
    assert apart.ask() is None


def test_when_the_program_is_killed_its_workers_are_ended_and_its_own_children_are_not(here):
    code = "import subprocess; own = subprocess.Popen(['sleep', '62'], start_new_session=True)\n" + (
        "from loadkeeper import Limits, ProcessManager\n"
        "ProcessManager('sleep 63', tasks=2, limits=Limits(cpu='off'), name='killed').manage()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], env=here.environment)
    try:

        def found():
            status = here.ask()
            runs = [run for run in status.runs if run.name == "killed"] if status else []
            return runs[0] if runs and len(runs[0].workers) == 2 else None

        run = wait_until(found, 20, "its workers do not run")
        (own,) = [pid for pid in processes() if command_of(pid) == b"sleep\x0062\x00" and parent_of(pid) == process.pid]
        process.kill()
        wait_until(lambda: not marked(run.id), 10, "its workers live on")
        assert command_of(own) == b"sleep\x0062\x00"
    finally:
        process.kill()
        process.wait()
    os.kill(own, 9)


def test_a_run_that_cannot_begin_lets_its_port_go(monkeypatch):
    """Who tries once more, when the fault is mended, finds it free."""

    def full(_job):
        raise PlaceError("the disk is full")

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    run = ProcessManager(["true"], tasks=1, limits=OFF, checkpoint=f"zmq://127.0.0.1:{port}")
    monkeypatch.setattr(manager, "Loop", full)
    with pytest.raises(PlaceError, match="full"):
        run.manage()
    socket.create_server(("127.0.0.1", port)).close()
