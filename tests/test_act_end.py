"""Ending real workers, and what is left when they are gone."""

import os
import signal
import sys
import time

import pytest
from support.children import DAEMON, Crew, gone, leaf_base, named, python, state, until

from loadkeeper.act import reap
from loadkeeper.act.end import StopTo, end_all, tick_all
from loadkeeper.act.reap import Reaper
from loadkeeper.linux import members, proc
from loadkeeper.linux.cgroup import Leaf, leaves
from loadkeeper.linux.members import Table
from loadkeeper.linux.process import Process
from loadkeeper.model import Reason, Why, WorkerState

WHY = Why(Reason.MEMORY_END)
WAIT = 'while [ ! -e "$0" ]; do sleep 0.01; done'
STUBBORN = 'trap "" TERM; echo ready > "$0"; while :; do sleep 0.01; done'
COUNTS = 'trap "echo term >> \\"$0\\"" TERM; echo ready > "$0"; while :; do sleep 0.01; done'


@pytest.fixture
def crew():
    made = Crew()
    yield made
    made.close()


def now():
    return time.monotonic()


def ready(crew, tmp_path, script, name="said"):
    """A worker whose shell has set its traps, and the file that they write."""
    said = tmp_path / name
    worker = crew.worker("sh", "-c", script, str(said))
    until(lambda: said.exists() and said.read_text())
    return worker, said


# ---------------------------------------------------------------------------------------------------------- asking


def test_a_worker_is_asked_then_gone(crew):
    worker = crew.worker("sleep", "100")
    worker.end(now(), WHY)
    assert worker.state is WorkerState.ENDING
    until(worker.process.exited)
    exit = worker.exited()
    assert (exit.code, exit.signal, exit.ended_for, exit.unasked_kill) == (0, signal.SIGTERM, WHY, False)


def test_a_stopped_process_does_not_act_on_term_alone(crew, tmp_path):
    """The fault that the continue is there for."""
    worker, said = ready(
        crew, tmp_path, 'trap "echo heard > \\"$0\\"; exit 3" TERM; echo ready > "$0"; while :; do sleep 0.01; done'
    )
    worker.pause(now(), WHY)
    until(worker.standing)
    worker.process.send(signal.SIGTERM)
    assert worker.standing()
    assert said.read_text() == "ready\n"
    worker.resume(now())
    until(lambda: said.read_text() == "heard\n")


def test_a_paused_worker_hears_what_it_is_asked(crew, tmp_path):
    worker, said = ready(
        crew, tmp_path, 'trap "echo heard > \\"$0\\"; exit 3" TERM; echo ready > "$0"; while :; do sleep 0.01; done'
    )
    worker.pause(now(), WHY)
    until(worker.standing)
    worker.end(now(), WHY)
    until(worker.process.exited)
    assert said.read_text() == "heard\n"
    assert worker.exited().code == 3
    assert worker.paused_since is None
    assert worker.paused_for > 0


def test_every_member_is_asked_once(crew, tmp_path):
    """A second TERM means "at once" to many programs."""
    first, second = tmp_path / "first", tmp_path / "second"
    worker = crew.worker("sh", "-c", 'sh -c "$0" "$1" & setsid sh -c "$0" "$2" & wait', COUNTS, str(first), str(second))
    until(lambda: first.exists() and second.exists() and len(crew.pids()) >= 3)
    worker.end(now(), WHY)
    worker.end(now(), WHY)
    for name in (first, second):
        until(lambda name=name: "term" in name.read_text())
    worker.tick(now())
    until(worker.process.exited)
    assert [name.read_text() for name in (first, second)] == ["ready\nterm\n"] * 2


def test_stop_to_leader_asks_nobody_else(crew, tmp_path):
    said = tmp_path / "said"
    script = 'trap "exit 4" TERM; sh -c "$0" "$1" & echo ready > "$2"; while :; do sleep 0.01; done'
    worker = crew.worker("sh", "-c", script, COUNTS, str(said), str(tmp_path / "leader"))
    until(lambda: said.exists() and (tmp_path / "leader").exists())
    worker.end(now(), WHY, stop_to=StopTo.LEADER)
    until(worker.process.exited)
    assert said.read_text() == "ready\n"
    assert worker.exited().code == 4
    until(lambda: not crew.pids())


def test_another_signal_may_be_what_asks(crew, tmp_path):
    worker, _ = ready(crew, tmp_path, 'trap "exit 5" INT; echo ready > "$0"; while :; do sleep 0.01; done')
    worker.end(now(), WHY, signum=signal.SIGINT)
    until(worker.process.exited)
    assert worker.exited().code == 5


# ---------------------------------------------------------------------------------------------------------- the grace


def test_who_does_not_end_is_killed_when_its_grace_is_over(crew, tmp_path):
    worker, _ = ready(crew, tmp_path, STUBBORN)
    begun = now()
    worker.end(begun, WHY, 5.0)
    assert worker.tick(begun + 4.9) == begun + 5.0
    assert worker.exited() is None
    assert not worker.killed
    assert worker.tick(begun + 5.0) is None
    assert worker.killed
    until(worker.process.exited)
    exit = worker.exited()
    assert (exit.signal, exit.unasked_kill) == (signal.SIGKILL, False)


def test_each_worker_has_its_own_grace(crew, tmp_path):
    first, _ = ready(crew, tmp_path, STUBBORN, "first")
    second, _ = ready(crew, tmp_path, STUBBORN, "second")
    begun = now()
    first.end(begun, WHY, 5.0)
    second.end(begun + 3, WHY, 5.0)
    assert tick_all([first, second], begun + 4) == begun + 5
    assert tick_all([first, second], begun + 6) == begun + 8
    assert (first.killed, second.killed) == (True, False)


def test_asked_again_the_first_why_stays_and_the_grace_only_shrinks(crew, tmp_path):
    worker, _ = ready(crew, tmp_path, STUBBORN)
    begun = now()
    worker.end(begun, WHY, 5.0)
    worker.end(begun + 1, Why(Reason.HALT), 10.0)
    assert (worker.kill_at, worker.ended_for) == (begun + 5, WHY)
    worker.end(begun + 1, Why(Reason.HALT), 1.0)
    assert worker.kill_at == begun + 2
    worker.end(begun + 1, WHY, kill=True)
    assert worker.killed
    until(worker.process.exited)


def test_a_worker_that_somebody_stops_on_its_way_out_is_continued(crew, tmp_path):
    worker, said = ready(crew, tmp_path, COUNTS)
    begun = now()
    worker.end(begun, WHY, 50.0)
    worker.process.send(signal.SIGSTOP)
    until(lambda: state(worker.process.pid) == "T")
    worker.tick(begun + 1)
    until(lambda: state(worker.process.pid) != "T")
    assert said.read_text().startswith("ready")


# ------------------------------------------------------------------------------------------------------------- killing


def family(crew, number):
    """A worker with a member in its group, one in another session, and a daemon."""
    script = f"sleep {number}.1 & setsid sleep {number}.2 & {sys.executable} -c '{DAEMON}' leave {number}.3 & wait"
    worker = crew.worker("sh", "-c", script)
    for n in (1, 2, 3):
        until(lambda n=n: named(f"sleep {number}.{n}"))
    until(lambda: proc.stat(named(f"sleep {number}.3")[0]).ppid != worker.process.pid)
    return worker


def test_a_kill_reaches_every_member(crew):
    worker = family(crew, 4719)
    worker.end(now(), WHY, kill=True)
    until(worker.process.exited)
    until(lambda: not crew.pids())
    assert worker.exited().signal == signal.SIGKILL


def test_a_kill_finds_those_whose_only_tie_is_their_parent(crew, tmp_path):
    """So the look comes before the kill: afterwards they have another parent, and nothing tells whose they were."""
    worker = crew.worker("sh", "-c", "setsid env -i sleep 4720 & wait")
    (lost,) = until(lambda: named("sleep 4720"))
    assert members.mark(lost) is None
    worker.end(now(), WHY, kill=True)
    until(lambda: gone(lost))


def test_a_kill_reaches_who_is_stopped(crew):
    worker = family(crew, 4721)
    worker.pause(now(), WHY)
    until(worker.standing)
    worker.end(now(), WHY, kill=True)
    until(lambda: worker.process.exited() and not crew.pids())


def test_killing_many_shares_its_looks(crew, monkeypatch):
    workers = [crew.worker("sh", "-c", "setsid sleep 4722 & wait") for _ in range(20)]
    until(lambda: len(named("sleep 4722")) == 20)
    taken = []
    take = Table.take.__func__
    monkeypatch.setattr(Table, "take", classmethod(lambda cls, root="/proc": taken.append(1) or take(cls, root)))
    end_all(dict.fromkeys(workers, WHY), now(), kill=True)
    assert len(taken) <= 4
    until(lambda: not crew.pids())


# --------------------------------------------------------------------------------------------------------------- exits


def test_a_short_worker_costs_no_look_at_proc(crew, monkeypatch):
    """Thousands a second come and go."""
    monkeypatch.setattr(proc, "read", lambda *_: pytest.fail("read /proc"))
    monkeypatch.setattr(proc, "read_record", lambda *_: pytest.fail("read /proc"))
    monkeypatch.setattr(proc, "pids", lambda *_: pytest.fail("listed /proc"))
    worker = crew.worker("sh", "-c", "exit 3")
    until(worker.process.exited)
    exit = worker.exited()
    monkeypatch.undo()
    assert (exit.code, exit.signal, exit.ended_for) == (3, 0, None)
    crew.workers.clear()


def test_a_living_worker_has_no_exit(crew):
    assert crew.worker("sleep", "100").exited() is None


def test_what_is_left_in_the_group_is_killed_while_the_leader_is_unreaped(crew, monkeypatch):
    worker = crew.worker("sh", "-c", "sleep 4723 & exit 0")
    until(worker.process.exited)
    (left,) = until(lambda: named("sleep 4723"))
    seen = []
    kill, reap_one = os.killpg, Process.reap
    monkeypatch.setattr(os, "killpg", lambda *a: (seen.append(("kill", state(worker.process.pid))), kill(*a)))
    monkeypatch.setattr(Process, "reap", lambda self: (seen.append(("reap", "")), reap_one(self))[1])
    worker.exited()
    assert seen[0] == ("kill", "Z")
    assert seen[-1] == ("reap", "")
    until(lambda: gone(left))
    crew.workers.clear()


def test_members_that_were_seen_are_killed_when_the_leader_ends(crew):
    worker = crew.worker("sh", "-c", 'trap "exit 0" USR1; setsid env -i sleep 4724 & while :; do sleep 0.01; done')
    (member,) = until(lambda: named("sleep 4724"))
    worker.pause(now(), WHY)
    worker.resume(now())
    worker.process.send(signal.SIGUSR1)
    until(worker.process.exited)
    assert worker.exited().code == 0
    until(lambda: gone(member))
    crew.workers.clear()


def test_a_kill_that_we_did_not_send_is_told(crew):
    worker = crew.worker("sleep", "100")
    os.kill(worker.process.pid, signal.SIGKILL)
    until(worker.process.exited)
    exit = worker.exited()
    assert exit.unasked_kill
    assert exit.ended_for is None
    crew.workers.clear()


def test_an_exit_tells_memory_and_cpu(crew):
    code = "import time; held = bytearray(300 << 20)\nwhile time.process_time() < 0.5: pass"
    worker = crew.worker(sys.executable, "-c", code)
    until(worker.process.exited)
    exit = worker.exited()
    assert 300 << 20 <= exit.peak < 400 << 20
    assert 0.5 <= exit.cpu_seconds < 5
    crew.workers.clear()


def test_a_leaf_goes_with_its_worker_and_so_does_who_is_in_it(crew, tmp_path):
    base = leaf_base()
    leaf = Leaf.create(base, f"{crew.run}.1")
    script = f"setsid env -i {sys.executable} -c '{DAEMON}' leave 4725 & {WAIT}"
    worker = crew.worker("sh", "-c", script, str(tmp_path / "go"), leaf=leaf)
    until(lambda: named("sleep 4725"))
    (tmp_path / "go").touch()
    until(worker.process.exited)
    assert worker.exited().code == 0
    until(lambda: not named("sleep 4725"))
    reaper = Reaper(crew.run)
    until(lambda: (reaper.turn(now(), ()), not reaper.busy)[1])
    assert leaves(base, crew.run) == []
    crew.workers.clear()


# ------------------------------------------------------------------------------------------------ what comes back to us

ADOPTING = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from support.children import DAEMON, Crew, named, state, until, gone
from loadkeeper.act.reap import Reaper
from loadkeeper.linux.process import become_subreaper, adopted
from loadkeeper.linux import proc
assert become_subreaper()
crew = Crew()
reaper = Reaper(crew.run)
def daemon(number, *before):
    worker = crew.worker(*before, sys.executable, "-c", DAEMON, "stay", number)
    (pid,) = until(lambda: named("sleep " + number))
    until(lambda: proc.stat(pid).ppid == os.getpid())
    return worker, pid
def turn(live):
    reaper._due = 0
    return reaper.turn(time.monotonic(), live)
"""


def adopting(code):
    return python(ADOPTING + code, os.path.dirname(__file__))


def test_what_a_finished_worker_left_is_ended_and_a_living_ones_is_not():
    adopting("""
first, its = daemon("4726.1")
second, others = daemon("4726.2")
assert turn({1, 2}) == 0 and not reaper.busy
os.kill(first.process.pid, 9)
until(first.process.exited)
first.exited()
assert turn({2}) == 1 and reaper.busy
until(lambda: gone(its))
assert turn({2}) == 0 and not reaper.busy
assert state(its) == ""               # reaped
assert not gone(others)
os.kill(second.process.pid, 9)
until(second.process.exited)
assert reaper.end_leftovers()
until(lambda: gone(others))
""")


def test_orphans_of_anybody_are_reaped_but_no_worker_and_no_popen():
    adopting("""
import subprocess
from support.children import start
mine = subprocess.Popen(["true"])
worker = crew.worker("true")
until(lambda: state(mine.pid) == "Z" and state(worker.process.pid) == "Z")
subprocess.run(["sh", "-c", "setsid sh -c 'setsid sleep 4726.3 & exit' & wait"], check=True)
(orphan,) = until(lambda: named("sleep 4726.3"))
until(lambda: proc.stat(orphan).ppid == os.getpid())
os.kill(orphan, 9)
until(lambda: state(orphan) == "Z")
turn({1})
assert state(orphan) == ""
assert state(mine.pid) == "Z" == state(worker.process.pid)
assert mine.wait() == 0
assert worker.exited().code == 0
""")


def test_another_runs_children_and_those_without_a_mark_are_left_alone():
    adopting("""
_, other = daemon("4727.1", "env", "LOADKEEPER_WORKER=another.1")
_, unmarked = daemon("4727.2", "env", "-u", "LOADKEEPER_WORKER")
assert turn(()) == 0
assert not gone(other) and not gone(unmarked)
os.kill(other, 9)
os.kill(unmarked, 9)
for worker in crew.workers:
    worker.process.send_group(9)
""")


def test_leftovers_of_leftovers_are_ended_too():
    """Each comes back to us when its parent is killed."""
    adopting("""
_, first = daemon("4728.1")
worker = crew.worker("sh", "-c", "setsid sh -c 'setsid sh -c \\"setsid sleep 4728.2 & wait\\" & wait' & sleep 4728.3")
until(lambda: named("sleep 4728.2"))
os.kill(until(lambda: named("sleep 4728.3"))[0], 15)
until(worker.process.exited)
worker.exited()
crew.workers[0].process.send_group(9)
assert reaper.end_leftovers()
assert not named("sleep 4728.2") and not named("sleep 4728.1")
""")


def test_without_adoption_leftovers_are_found_by_their_environment(crew):
    """As a library we take no subreaper: what daemonised went to init."""
    worker = crew.worker(sys.executable, "-c", DAEMON, "leave", "4729")
    until(worker.process.exited)
    (left,) = until(lambda: named("sleep 4729"))
    worker.exited()
    crew.workers.clear()
    reaper = Reaper(crew.run)
    assert reaper.turn(now(), ()) == 0
    assert not gone(left)
    assert reaper.end_leftovers()
    until(lambda: gone(left))


def test_looking_too_often_does_nothing(crew, monkeypatch):
    looks = []
    monkeypatch.setattr(reap, "is_subreaper", lambda: looks.append(1) or False)
    reaper = Reaper(crew.run)
    for moment in (10.0, 10.01, 10.02, 10.06):
        reaper.turn(moment, ())
    assert len(looks) == 2


def test_what_will_not_die_is_given_up_in_time(crew, monkeypatch):
    monkeypatch.setattr(reap, "_kill", lambda pid, start_time: 1)
    monkeypatch.setattr(reap, "marked", lambda run: [members.Marked(1, 1, f"{run}.1")])
    begun = now()
    assert not Reaper(crew.run).end_leftovers(timeout=0.05)
    assert now() - begun < 2


def test_who_had_exited_before_was_not_ended_by_us(crew):
    worker = crew.worker("true")
    until(worker.process.exited)
    worker.end(time.monotonic(), Why(Reason.TIMEOUT), kill=True)
    left = worker.exited()
    assert (left.code, left.ended_for) == (0, None)
