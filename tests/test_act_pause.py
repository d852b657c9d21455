"""Pausing and continuing real workers."""

import os
import signal
import sys
import time

import pytest
from support.children import DAEMON, Crew, leaf_base, named, state, until

from loadkeeper.act import look
from loadkeeper.act.pause import Found, assert_all, pause_all, resume_all
from loadkeeper.act.throttle import Throttle
from loadkeeper.act.worker import Worker
from loadkeeper.linux import proc
from loadkeeper.linux.cgroup import Leaf
from loadkeeper.linux.members import Table
from loadkeeper.linux.process import Process
from loadkeeper.model import Reason, Why, WorkerState

WHY = Why(Reason.MEMORY_PAUSE)


@pytest.fixture
def crew():
    made = Crew()
    yield made
    made.close()


def now():
    return time.monotonic()


def job_control(crew, tmp_path, number):
    """A shell with job control that waits for a child, and writes a file as its next line."""
    after = tmp_path / "after"
    worker = crew.worker("bash", "-c", f'set -m; sleep {number}; echo went on > "$0"', str(after))
    (child,) = until(lambda: named(f"sleep {number}"))
    until(lambda: state(worker.process.pid) == "S" and proc.stat(child).group == child)
    return worker, child, after


# ------------------------------------------------------------------------------------------------------- the order


def test_a_shell_with_job_control_takes_a_stopped_child_for_done(crew, tmp_path):
    """The fault that the order is there for: stop the child before the shell, and the shell goes on."""
    _, child, after = job_control(crew, tmp_path, "4713.1")
    os.kill(child, signal.SIGSTOP)
    until(after.exists)


def test_parents_are_stopped_before_their_children(crew, tmp_path):
    worker, child, after = job_control(crew, tmp_path, "4713.2")
    worker.pause(now(), WHY)
    until(worker.standing)
    assert (state(worker.process.pid), state(child)) == ("T", "T")
    assert not after.exists()


def test_a_shell_that_is_continued_before_its_stopped_child_goes_on(crew, tmp_path):
    """The fault again, the other way round."""
    worker, _, after = job_control(crew, tmp_path, "4713.3")
    worker.pause(now(), WHY)
    until(worker.standing)
    worker.process.send(signal.SIGCONT)
    until(after.exists)


def test_children_are_continued_before_their_parents(crew, tmp_path):
    worker, child, after = job_control(crew, tmp_path, "4713.4")
    worker.pause(now(), WHY)
    until(worker.standing)
    worker.resume(now())
    until(lambda: (state(worker.process.pid), state(child)) == ("S", "S"))
    assert not after.exists()
    os.kill(child, signal.SIGTERM)
    until(after.exists)  # it really ran on


def test_the_leader_comes_first_and_last(crew, monkeypatch):
    """Whatever the group's own order is."""
    worker = crew.worker("sh", "-c", "sleep 4713.5 & setsid sleep 4713.6 & wait")
    until(lambda: named("sleep 4713.5") and named("sleep 4713.6"))
    sent = []
    for name in ("send", "send_group"):
        real = getattr(Process, name)

        def note(self, signum, name=name, real=real):
            sent.append((name, self.pid, signal.Signals(signum).name))
            return real(self, signum)

        monkeypatch.setattr(Process, name, note)
    leader, below = worker.process.pid, named("sleep 4713.6")[0]
    worker.pause(now(), WHY)
    assert sent[:2] == [("send", leader, "SIGSTOP"), ("send_group", leader, "SIGSTOP")]
    assert ("send", below, "SIGSTOP") in sent[2:]
    sent.clear()
    worker.resume(now())
    assert sent[-2:] == [("send_group", leader, "SIGCONT"), ("send", leader, "SIGCONT")]
    assert ("send", below, "SIGCONT") in sent[:-2]


# ------------------------------------------------------------------------------------------------------ all members


def test_all_members_stand_and_all_go_on(crew):
    script = f"""
sleep 4714.1 &
setsid sleep 4714.2 &
timeout 1000 sleep 4714.3 &
bash -c 'set -m; sleep 4714.4 & wait' &
{sys.executable} -c '{DAEMON}' leave 4714.5 &
wait
"""
    worker = crew.worker("bash", "-c", script)
    sleepers = [until(lambda n=n: named(f"sleep 4714.{n}"))[0] for n in range(1, 6)]
    until(lambda: proc.stat(sleepers[4]).ppid != worker.process.pid)
    worker.pause(now(), WHY)
    for pid in crew.pids():
        until(lambda pid=pid: state(pid) == "T")
    assert worker.standing()
    worker.resume(now())
    for pid in sleepers:
        until(lambda pid=pid: state(pid) == "S")


FORKS = """
import os, time
for number in range(2000):
    if os.fork() == 0:
        os.setsid()                     # out of the group, so only a look at all processes finds it
        time.sleep(1000)
    time.sleep(0.0005)
"""


def test_what_is_forked_while_others_are_stopped_is_stopped_too(crew):
    worker = crew.worker(sys.executable, "-c", FORKS)
    until(lambda: len(crew.pids()) > 20)
    worker.pause(now(), WHY)
    until(worker.standing)
    stood = set(crew.pids())
    assert {state(pid) for pid in stood} == {"T"}
    assert set(crew.pids()) == stood


def test_pausing_many_shares_its_looks(crew, monkeypatch):
    workers = [crew.worker("sh", "-c", "setsid sleep 4715 & wait") for _ in range(30)]
    until(lambda: len(named("sleep 4715")) == 30)
    taken = []
    take = Table.take.__func__
    monkeypatch.setattr(Table, "take", classmethod(lambda cls, root="/proc": taken.append(1) or take(cls, root)))
    pause_all(dict.fromkeys(workers, WHY), now())
    assert len(taken) <= 3  # one finds everybody, the next finds nobody new
    for pid in crew.pids():
        until(lambda pid=pid: state(pid) == "T")
    resume_all(workers, now())
    assert len(taken) <= 3  # who was stopped is known
    for pid in crew.pids():
        until(lambda pid=pid: state(pid) == "S")


def test_a_process_that_forks_for_ever_does_not_hold_us(crew, monkeypatch):
    monkeypatch.setattr(look, "PASSES", 3)
    worker = crew.worker("sleep", "100")
    calls = []
    look.passes([worker], lambda members, table: calls.append(1) or True)
    assert len(calls) == 3


# --------------------------------------------------------------------------------------------------------- its clock


def test_paused_time_is_not_active_time(crew):
    worker = crew.worker("sleep", "100")
    start = worker.started = 1000.0
    worker.pause(start + 10, WHY)
    assert (worker.active(start + 25), worker.paused_since) == (10, start + 10)
    assert worker.paused_in_all(start + 25) == 15
    worker.pause(start + 25, Why(Reason.LEAD))  # again: nothing but another why
    assert (worker.paused_since, worker.pauses, worker.paused_why.reason) == (start + 10, 1, Reason.LEAD)
    worker.resume(start + 30)
    assert (worker.active(start + 32), worker.paused_for, worker.paused_since) == (12, 20, None)
    worker.resume(start + 40)
    worker.pause(start + 50, WHY)
    worker.resume(start + 55)
    assert (worker.active(start + 60), worker.paused_for, worker.pauses) == (35, 25, 2)


def test_a_suspend_of_the_machine_spends_nothing(crew):
    worker = crew.worker("sleep", "100")
    start = worker.started = 1000.0
    worker.forgive(1000)
    assert worker.active(start + 1010) == 10
    worker.pause(start + 1010, WHY)
    worker.forgive(500)
    assert worker.paused_in_all(start + 1515) == 5
    assert worker.active(start + 1515) == 10
    worker.end(start + 1520, WHY, 10.0)
    assert worker.paused_for == 10
    worker.forgive(100)
    assert worker.kill_at == start + 1630
    assert worker.active(start + 1625) == 15


def test_how_long_a_stop_took_to_hold_is_measured(crew):
    worker = crew.worker("sleep", "100")
    worker.pause(now(), WHY)
    until(lambda: worker.assert_wanted(now()) is Found.STANDING)
    assert 0 < worker.obeyed < 1


# ------------------------------------------------------------------------------------------------------ holding it


@pytest.mark.parametrize("who", ["leader", "member"])
def test_a_pause_that_somebody_undid_is_set_again(crew, who):
    """As Slurm's resume, `kill -CONT` and `fg` undo it."""
    worker = crew.worker("sh", "-c", "setsid sleep 4716 & wait")
    (member,) = until(lambda: named("sleep 4716"))
    worker.pause(now(), WHY)
    later = now()
    until(lambda: worker.assert_wanted(later) is Found.STANDING)
    woken = worker.process.pid if who == "leader" else member
    os.kill(woken, signal.SIGCONT)
    until(lambda: state(woken) == "S")
    assert worker.assert_wanted(later + 1) is Found.CONTINUED
    until(lambda: state(woken) == "T")
    assert worker.assert_wanted(later + 2) is Found.STANDING
    assert worker.paused_since is not None


def test_one_that_does_not_obey_is_told_again_and_says_so(crew, monkeypatch):
    worker = crew.worker("sleep", "100")
    until(lambda: state(worker.process.pid) == "S")
    monkeypatch.setattr(Process, "send", lambda *_: True)  # signals that are lost
    monkeypatch.setattr(Process, "send_group", lambda *_: True)
    worker.pause(now(), WHY)
    assert worker.assert_wanted(now()) is Found.RUNNING_ON
    assert worker.obeyed is None
    monkeypatch.undo()
    assert worker.assert_wanted(now()) is Found.RUNNING_ON
    until(worker.standing)


def test_who_is_not_to_stand_is_left_alone(crew):
    worker = crew.worker("sleep", "100")
    os.kill(worker.process.pid, signal.SIGSTOP)
    until(lambda: state(worker.process.pid) == "T")
    assert assert_all([worker], now()) == {worker: Found.NOT_WANTED}
    assert state(worker.process.pid) == "T"


def test_the_state_follows(crew):
    worker = crew.worker("sleep", "100")
    assert worker.state is WorkerState.STARTING
    worker.tick(now())
    assert worker.state is WorkerState.RUNNING
    worker.pause(now(), WHY)
    assert worker.state is WorkerState.PAUSED
    worker.resume(now())
    assert worker.state is WorkerState.RUNNING
    worker.end(now(), WHY)
    worker.pause(now(), WHY)
    assert worker.state is WorkerState.ENDING
    until(worker.process.exited)  # it was not stopped on its way


def test_pausing_one_that_has_ended_is_no_error(crew):
    worker = crew.worker("true")
    until(worker.process.exited)
    worker.pause(now(), WHY)
    assert worker.standing()
    worker.resume(now())


# ------------------------------------------------------------------------------------------------------- the freezer


@pytest.fixture
def frozen(crew):
    """A paused worker in a leaf, with a daemon that has left everything else."""
    leaf = Leaf.create(leaf_base(), f"{crew.run}.1")
    code = f"setsid env -i {sys.executable} -c '{DAEMON}' leave 4717 & wait; sleep 100"
    worker = crew.worker("sh", "-c", code, leaf=leaf)
    until(lambda: named("sleep 4717"))
    worker.pause(now(), WHY)
    until(worker.standing)
    return worker


def test_a_frozen_worker_stands_with_who_lost_everything_else(crew, frozen):
    (daemon,) = named("sleep 4717")
    assert daemon in frozen.leaf.members()
    assert frozen.leaf.frozen()
    assert state(frozen.process.pid) != "T"  # SIGCONT has nothing to wake
    os.kill(frozen.process.pid, signal.SIGCONT)
    assert frozen.assert_wanted(now() + 1) is Found.STANDING
    assert frozen.obeyed is not None
    frozen.resume(now())
    until(lambda: not frozen.leaf.frozen())


def test_a_thaw_by_somebody_else_is_undone(frozen):
    assert frozen.assert_wanted(now() + 1) is Found.STANDING
    frozen.leaf.thaw()
    until(lambda: not frozen.leaf.frozen())
    assert frozen.assert_wanted(now() + 2) is Found.CONTINUED
    until(frozen.leaf.frozen)


def test_a_frozen_worker_is_thawed_to_hear_that_it_must_end(frozen):
    frozen.end(now(), WHY)
    until(lambda: frozen.process.exited() and not named("sleep 4717"))
    exit = frozen.exited()
    assert (exit.signal, exit.unasked_kill) == (signal.SIGTERM, False)


def test_a_frozen_worker_is_killed_without_a_thaw(frozen):
    frozen.end(now(), WHY, kill=True)
    until(frozen.process.exited)
    until(lambda: not named("sleep 4717"))
    assert frozen.exited().signal == signal.SIGKILL


def test_where_a_leaf_cannot_be_frozen_signals_do_it(crew, monkeypatch):
    leaf = Leaf.create(leaf_base(), f"{crew.run}.1")
    worker = crew.worker("sh", "-c", "setsid sleep 4718 & wait", leaf=leaf)
    (member,) = until(lambda: named("sleep 4718"))
    monkeypatch.setattr(Leaf, "freeze", lambda self: False)
    worker.pause(now(), WHY)
    until(lambda: (state(worker.process.pid), state(member)) == ("T", "T"))
    assert worker.standing()
    worker.resume(now())
    until(lambda: (state(worker.process.pid), state(member)) == ("S", "S"))


def test_repr_names_it(crew):
    worker = crew.worker("sleep", "100")
    assert isinstance(worker, Worker)
    assert worker.id in repr(worker)


# ------------------------------------------------------------------------------------------------- a share of the CPU


def test_who_is_held_to_a_share_of_the_cpu_spends_no_timeout_meanwhile(crew):
    worker = crew.worker("sleep", "60.4713")
    throttle = Throttle()
    began = now()
    throttle.set({worker: 0.25}, began)
    while now() < began + 2:
        throttle.turn(now())
        time.sleep(max(0.0, min(throttle.due(now()) - now(), 0.05)))
    throttle.set({}, now())
    passed = now() - worker.started
    assert not worker.standing()
    assert 0.1 * passed < worker.active(now()) < 0.5 * passed
    worker.pause(now(), WHY)
    worker.resume(now())
