"""A process is a pidfd and its start time; and the same where pidfds are refused."""

import errno
import os
import signal
import subprocess
import sys
import threading

import pytest
from support.children import DAEMON, child, gone, named, python, start, state, until

from loadkeeper.linux import proc
from loadkeeper.linux.process import UNKNOWN_DEATH, Process


@pytest.fixture(params=["pidfd", "refused"])
def door(request, monkeypatch):
    """Every test of this file's first part runs twice: as the kernel is, and as if a filter refused pidfds."""
    if request.param == "refused":

        def refuse(pid, flags=0):
            raise OSError(errno.ENOSYS, "Function not implemented")

        monkeypatch.setattr(os, "pidfd_open", refuse)
    return request.param


def test_the_door_is_what_it_says(door):
    with child("sleep", "100") as process:
        assert (process.fileno() is None) == (door == "refused")


@pytest.mark.usefixtures("door")
class TestBothDoors:
    def test_a_living_process_is_opened_with_its_start_time(self):
        with child("sleep", "100") as process:
            opened = Process.open(process.pid)
            assert opened is not None
            assert opened.start_time == process.start_time == proc.stat(process.pid).start_time
            assert opened.alive()

    def test_a_pid_that_belongs_to_another_process_now_is_not_opened(self):
        with child("sleep", "100") as process:
            assert Process.open(process.pid, process.start_time) is not None
            assert Process.open(process.pid, process.start_time - 1) is None

    def test_a_zombie_and_a_reaped_process_are_gone(self):
        with child("true") as process:
            start_time = process.start_time
            until(process.exited)
            assert Process.open(process.pid, start_time) is None
            assert not process.alive()
            assert state(process.pid) == "Z"
        assert Process.open(process.pid, start_time) is None

    def test_signals_reach_it_and_say_when_it_is_gone(self):
        with child("sleep", "100") as process:
            opened = Process.open(process.pid)
            assert opened.send(signal.SIGSTOP)
            until(lambda: opened.state() == "T")
            assert opened.send(signal.SIGKILL)
            until(process.exited)
        assert not opened.send(signal.SIGCONT)
        assert not opened.send_group(signal.SIGCONT)
        assert opened.state() is None

    def test_a_signal_never_reaches_the_next_owner_of_the_pid(self):
        with child("sleep", "100") as other:
            stale = Process(
                other.pid, None, other.start_time - 1, False
            )  # as held by somebody before the pid came round
            assert not stale.send(signal.SIGKILL)
            assert not stale.send_group(signal.SIGKILL)
            assert other.alive()

    def test_the_group_is_signalled_with_its_leader_dead_but_unreaped(self):
        with child("sh", "-c", "sleep 4711.1 & exec true") as process:
            until(process.exited)
            (left,) = until(lambda: named("sleep 4711.1"))
            assert process.send_group(signal.SIGKILL)
            until(lambda: gone(left))

    def test_after_reaping_the_group_is_left_alone_for_its_number_may_be_anothers(self, monkeypatch):
        process = Process.child(start("true"))
        until(process.exited)
        process.reap()
        monkeypatch.setattr(os, "killpg", lambda *_: pytest.fail("killpg after the leader was reaped"))
        assert not process.send_group(signal.SIGKILL)

    def test_looking_leaves_a_child_unreaped_and_reaping_tells_how_it_ended(self):
        process = Process.child(start("sh", "-c", "exit 7"))
        until(process.exited)
        assert process.exited()
        assert state(process.pid) == "Z"
        death = process.reap()
        assert (death.code, death.signal) == (7, 0)
        assert death.peak > 0
        assert state(process.pid) == ""

    def test_a_death_by_signal_has_no_code(self):
        process = Process.child(start("sleep", "100"))
        assert not process.exited()
        process.send(signal.SIGTERM)
        until(process.exited)
        assert process.reap()[:2] == (0, signal.SIGTERM)

    def test_a_child_that_somebody_else_reaped_died_an_unknown_death(self):
        process = Process.child(start("true"))
        os.waitpid(process.pid, 0)
        assert process.exited()
        assert process.reap() == UNKNOWN_DEATH

    def test_stands_means_every_thread(self):
        code = "import threading, time; threading.Thread(target=time.sleep, args=(100,)).start()"
        with child(sys.executable, "-c", code) as process:
            until(lambda: proc.stat(process.pid).threads == 2)
            other = Process.open(process.pid)
            assert not process.stands()
            assert not other.stands()
            process.send(signal.SIGSTOP)
            until(process.stands)
            until(other.stands)
            process.send(signal.SIGCONT)
            until(lambda: not process.stands())
            until(lambda: not other.stands())


def test_a_process_whose_first_thread_alone_has_left_is_alive():
    code = (
        "import ctypes, threading, time; threading.Thread(target=time.sleep, args=(100,)).start();"
        "ctypes.CDLL(None).syscall(60, 0)"  # exit(2): this thread alone
    )
    with child(sys.executable, "-c", code) as process:
        until(lambda: state(process.pid) == "Z")
        assert not process.exited()
        assert process.alive()
        assert Process.open(process.pid) is not None


def test_a_parent_held_by_vfork_counts_as_standing(tmp_path):
    """SIGSTOP does not reach it (state D), but it runs nothing of its own; else its stop would look disobeyed."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    opens = f"(os.POSIX_SPAWN_OPEN, 0, {str(fifo)!r}, 0, 0)"
    code = f"import os; os.posix_spawn('/bin/true', ['true'], {{}}, file_actions=[{opens}])"
    with child(sys.executable, "-c", code) as process:
        (below,) = until(lambda: proc.children(process.pid))
        until(lambda: state(process.pid) == "D")
        process.send_group(signal.SIGSTOP)
        until(lambda: state(below) == "T")
        assert state(process.pid) == "D"
        assert process.stands()


def test_the_group_of_a_process_that_is_no_child_is_signalled_by_descriptor():
    """Linux 6.9 signals a group by pidfd; before that the group is signalled by number while the leader lives."""
    with child("sh", "-c", "sleep 4711.2 & wait") as process:
        (below,) = until(lambda: named("sleep 4711.2"))
        opened = Process.open(process.pid)
        assert opened.send_group(signal.SIGSTOP)
        until(lambda: state(below) == "T" and state(process.pid) == "T")


def test_under_an_ignored_sigchld_the_fault_is_named():
    code = """
import os, signal
from loadkeeper.linux.process import NotOurChildError, Process
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
pid = os.posix_spawn("/bin/true", ["true"], {})
while os.path.exists(f"/proc/{pid}"):
    pass
try:
    Process.child(pid)
except NotOurChildError as error:
    print(error)
"""
    assert "SIGCHLD is ignored" in python(code)


def test_myself():
    me = Process.myself()
    assert (me.pid, me.start_time) == (os.getpid(), proc.stat(os.getpid()).start_time)
    assert me.alive()


def test_a_pid_below_one_is_nobody():
    assert Process.open(0) is None
    assert Process.open(-1) is None


def test_a_thread_id_is_no_process():
    """Where the kernel has pidfds of threads they are another flag."""
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        assert Process.open(thread.native_id) is None
    finally:
        done.set()
        thread.join()


def test_what_daemonises_comes_back_to_a_subreaper_and_is_told_from_a_popen():
    code = """
import subprocess, sys, time, os
from loadkeeper.linux import process, proc
from loadkeeper.linux.process import Process
print(process.is_subreaper(), process.become_subreaper(), process.is_subreaper())
mine = subprocess.Popen(["true"])                     # a zombie of somebody else in this program
held = Process.child(os.posix_spawn("/bin/sleep", ["sleep", "100"], {}, setsid=True))
subprocess.run([sys.executable, "-c", sys.argv[1], "leave", "4711.3"], check=True)
deadline = time.monotonic() + 10
while not (found := [s for s in process.adopted() if proc.read(f"/proc/{s.pid}/cmdline").startswith(b"sleep")]):
    assert time.monotonic() < deadline
print(len(found), found[0].ppid == os.getpid(), held.pid in {s.pid for s in process.adopted()})
os.kill(found[0].pid, 9)
while not process.ended(proc.stat(found[0].pid)):
    assert time.monotonic() < deadline
for stat in process.adopted():
    process.reap_adopted(stat)
print(proc.stat(found[0].pid), mine.wait())
held.send(9)
"""
    lines = python(code, DAEMON).splitlines()
    assert lines == ["False True True", "1 True False", "None 0"]


def test_a_peak_is_never_below_our_own(tmp_path):
    """`ru_maxrss` of `true` is the peak of who started it: whoever reads it must know that it is a bound."""
    code = """
import os
from loadkeeper.linux.process import Process, own_peak
held = bytearray(200 << 20)
process = Process.child(os.posix_spawn("/bin/true", ["true"], {}))
os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
print(process.reap().peak >= 200 << 20, own_peak() >= 200 << 20)
"""
    assert python(code).split() == ["True", "True"]


def test_every_field_of_a_hostile_name_is_read():
    content = b"42 (a) R 1 (b\n) S 7 42 42 0 -1 4194560 1 2 3 4 11 12 13 14 20 0 3 0 999 4096 55 1 2\n"
    assert proc.parse_stat(content) == proc.Stat(42, "S", 7, 42, 42, 11, 12, 13, 14, 999, 55, 3)


def test_more_children_than_fit_a_page_are_all_listed():
    """The kernel ends a part of the list where a number ends, so a short part is not the end."""
    code = """
import os, sys
from loadkeeper.linux import proc
pids = [os.posix_spawn("/bin/sleep", ["sleep", "100"], {}) for _ in range(900)]
found = proc.children(os.getpid())
print(set(pids) == set(found))
for pid in pids:
    os.kill(pid, 9)
"""
    assert python(code).strip() == "True"


def test_oom_kills_are_counted_by_the_kernel():
    assert proc.oom_kills() >= 0
    assert proc.oom_kills("/nowhere") is None


def test_not_ours_to_signal_is_no_error():
    if os.geteuid() != 0:
        assert not Process.open(1).send(signal.SIGCONT)
        return
    code = "import os; from loadkeeper.linux.process import Process; print(Process.open(int(os.sys.argv[1])).send(18))"
    with child("sleep", "100") as process:
        done = subprocess.run(
            [
                "setpriv",
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
                sys.executable,
                "-c",
                code,
                str(process.pid),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout.strip() == "False", done.stderr
