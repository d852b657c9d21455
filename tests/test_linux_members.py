"""Which processes belong to a worker: rules on made-up tables, then on living processes."""

import os
import signal
import sys

import pytest
from support.children import DAEMON, Crew, gone, named, state, until

from loadkeeper.linux import members, proc
from loadkeeper.linux.members import Membership, Table, mark, marked
from loadkeeper.linux.proc import Stat


def stat(pid, ppid, session, start=100):
    return Stat(pid, "S", ppid, session, session, 0, 0, 0, 0, start, 10)


def pids(found):
    return [one.pid for one in found]


LEADER = stat(10, 1, 10)


def test_the_session_belongs_wherever_its_parents_are():
    table = Table([LEADER, stat(11, 1, 10), stat(12, 1, 12)])
    assert pids(table.members(10, 100)) == [10, 11]


def test_a_descendant_belongs_in_whatever_session():
    table = Table([LEADER, stat(11, 10, 11), stat(12, 11, 12), stat(13, 1, 13)])
    assert pids(table.members(10, 100)) == [10, 11, 12]


def test_who_was_seen_to_belong_stays_with_all_that_it_starts():
    table = Table([LEADER, stat(20, 1, 20), stat(21, 20, 21)])
    assert pids(table.members(10, 100)) == [10]
    assert pids(table.members(10, 100, {(20, 100)})) == [10, 20, 21]


def test_a_pid_that_came_round_is_a_stranger():
    table = Table([stat(10, 1, 10, start=500), stat(11, 10, 10, start=501), stat(20, 1, 20, start=500)])
    assert table.members(10, 100, {(20, 100)}) == []


def test_the_session_of_a_dead_leader_still_belongs():
    assert pids(Table([stat(11, 1, 10, start=101)]).members(10, 100)) == [11]


def test_parents_stand_before_their_children_whatever_their_pids():
    table = Table([stat(5, 7, 5), stat(7, 9, 10), stat(9, 10, 9), LEADER, stat(6, 5, 6)])
    assert pids(table.members(10, 100)) == [10, 9, 7, 5, 6]


def test_one_pass_finds_every_process():
    table = Table.take()
    assert table.stats[os.getpid()].start_time == proc.stat(os.getpid()).start_time
    assert os.getpid() in pids(table.children(os.getppid()))
    assert table.get((os.getpid(), 1)) is None


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        (b"LOADKEEPER_WORKER=r.1\0A=b\0", b"r.1"),
        (b"A=b\0LOADKEEPER_WORKER=r.2", b"r.2"),
        (b"A=LOADKEEPER_WORKER=r.3\0", None),
        (b"XLOADKEEPER_WORKER=r.4\0", None),
        (b"LOADKEEPER_WORKER_TASK=/x\0", None),
        (b"", None),
    ],
)
def test_a_mark_is_a_variable_of_exactly_this_name(tmp_path, environ, expected):
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "environ").write_bytes(environ)
    assert mark(7, str(tmp_path)) == expected
    assert mark(8, str(tmp_path)) is None


def test_a_run_does_not_find_another_whose_name_begins_alike(tmp_path):
    for pid, worker in ((7, b"run1.3"), (8, b"run10.3"), (9, b"run1")):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "environ").write_bytes(b"LOADKEEPER_WORKER=" + worker)
        (tmp_path / str(pid) / "stat").write_bytes(
            b"%d (x) S 1 %d %d 0 -1 0 " % (pid, pid, pid) + b"0 " * 12 + b"77 0 0"
        )
    assert marked("run1", str(tmp_path)) == [(7, 77, "run1.3")]


@pytest.fixture
def crew():
    made = Crew()
    yield made
    made.close()


def escape(crew):
    """A worker with five descendants of every kind that a signal to its group does not reach, and one that it does."""
    script = f"""
sleep 4712.1 &
setsid sleep 4712.2 &
timeout 1000 sleep 4712.3 &
bash -c 'set -m; sleep 4712.4 & wait' &
{sys.executable} -c '{DAEMON}' leave 4712.5 &
wait
"""
    worker = crew.worker("bash", "-c", script)
    for n in range(1, 6):
        until(lambda n=n: named(f"sleep 4712.{n}"))
    until(lambda: proc.stat(named("sleep 4712.5")[0]).ppid != worker.process.pid)
    return worker


def test_a_signal_to_the_group_leaves_most_descendants_alive(crew):
    """The fault that membership is there for; when this fails, the kernel or the shells have changed."""
    worker = escape(crew)
    worker.process.send_group(signal.SIGKILL)
    until(lambda: not named("sleep 4712.1"))
    assert [n for n in range(2, 6) if named(f"sleep 4712.{n}")] == [2, 3, 4, 5]


def test_all_descendants_are_found_the_daemon_by_its_environment(crew):
    worker = escape(crew)
    leader = (worker.process.pid, worker.process.start_time)
    expected = {named(f"sleep 4712.{n}")[0] for n in range(1, 6)}
    daemon = named("sleep 4712.5")[0]
    by_table = Table.take().members(*leader)
    assert expected - set(pids(by_table)) == {daemon}
    membership = Membership(crew.run)
    found = membership.of(membership.take(), worker.id, leader)
    assert expected <= set(pids(found))
    assert found[0].pid == leader[0]
    assert {one.pid for one in marked(crew.run)} >= expected


LOSE_ALL = """
import os, sys, time
if os.fork():
    os._exit(0)
os.setsid()
while not os.path.exists(sys.argv[1]):
    time.sleep(0.002)
os.execve("/bin/sleep", ["sleep", "4712.6"], {})
"""


def test_who_lost_session_parent_and_environment_is_a_member_when_it_was_seen_before(crew, tmp_path):
    worker = crew.worker("sh", "-c", '"$@" & sleep 4712.7', "sh", sys.executable, "-c", LOSE_ALL, str(tmp_path / "go"))
    leader = (worker.process.pid, worker.process.start_time)
    membership = Membership(crew.run)
    known = set()

    def seen():
        found = membership.of(membership.take(), worker.id, leader, known)
        known.update((one.pid, one.start_time) for one in found)
        return [one.pid for one in found if one.session == one.pid != leader[0]]

    (pid,) = until(seen)
    (tmp_path / "go").touch()
    try:
        until(lambda: named("sleep 4712.6") == [pid])
        assert pid not in pids(Table.take().members(*leader))
        assert mark(pid) is None
        assert pid in pids(membership.of(membership.take(), worker.id, leader, known))
    finally:
        os.kill(pid, signal.SIGKILL)


def test_each_environment_is_read_once(crew, monkeypatch):
    """A scan of 500 costs 14.5 ms: too much for each look."""
    until(lambda: gone(crew.worker("true").process.pid))
    membership = Membership(crew.run)
    monkeypatch.setattr(members, "_SETTLED", -1.0)
    membership.take()
    read = []
    monkeypatch.setattr(members, "mark", lambda pid, root: read.append(pid))
    worker = crew.worker("sleep", "100")
    until(lambda: state(worker.process.pid) == "S")
    membership.take()
    assert worker.process.pid in read
    assert len(read) < 10
    read.clear()
    membership.take()
    assert worker.process.pid not in read


def test_a_young_process_is_read_again_for_its_environment_was_its_starters(crew, monkeypatch):
    """Between fork and exec a worker shows the process manager's environment."""
    worker = crew.worker("sleep", "100")
    membership = Membership(crew.run)
    monkeypatch.setattr(members, "_SETTLED", 60.0)  # however busy the machine is
    with monkeypatch.context() as patch:
        patch.setattr(members, "mark", lambda pid, root: None)
        membership.take()
    table = membership.take()
    leader = (1 << 22, 1)  # somebody else: only the environment can tell
    assert worker.process.pid in pids(membership.of(table, worker.id, leader))
