"""The journal: what is recorded is there, for others too, whatever happens to the disk or to us."""

import os
import signal
import sqlite3
import subprocess
import sys
import time

import pytest
from support.waiting import until

from loadkeeper.errors import LoadkeeperError
from loadkeeper.model import Outcome, Reason, Why
from loadkeeper.record.journal import Event, Fate, Header, Journal, Verb
from loadkeeper.record.journal_reader import finished, read_events, read_header, read_outcomes

HEADER = Header("3f9a12c4", "nightly", "gzip -9 {}", 4711, 1_795_517_995.875)
WHY = Why(Reason.MEMORY_END, "memory", 40e6, 56e6, held=3e8)


def fate(task: int, outcome: Outcome = Outcome.DONE, **figures) -> Fate:
    return Fate(task, b"v%d" % task, 1, task, outcome, False, **figures)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "journal.db")


def test_what_is_recorded_comes_back_unchanged(path):
    full = Fate(7, b"a\xff\nb", 3, 12, Outcome.GIVEN_BACK, True, 0, 15, 1e9, 2.5, 0.5, 3 << 20, 1.25, WHY)
    bare = Fate(8, b"", 1, 13, Outcome.FAILED, False)
    event = Event(1e9, Verb.SLOTS, "3f9a12c4/main", None, WHY, 4.0)
    journal = Journal.open(path, HEADER)
    journal.outcome(full)
    journal.event(event)
    journal.outcome(bare)
    assert journal.close()
    assert list(read_outcomes(path)) == [full, bare]
    assert list(read_events(path)) == [event]
    assert read_header(path) == HEADER


def test_readers_can_ask_for_one_task_and_one_subject(path):
    journal = Journal.open(path, HEADER)
    for task in (1, 2, 1):
        journal.outcome(fate(task))
        journal.event(Event(float(task), Verb.PAUSE, f"r.{task}", task, WHY))
    assert journal.close()
    assert [f.task for f in read_outcomes(path, task=1)] == [1, 1]
    assert [e.subject for e in read_events(path, subject="r.2")] == ["r.2"]


def test_only_tasks_that_are_done_are_finished(path):
    journal = Journal.open(path, HEADER)
    for task, outcome in enumerate(Outcome, 1):
        journal.outcome(fate(task, outcome))
    assert journal.close()
    assert finished(path) == {list(Outcome).index(Outcome.DONE) + 1}


def test_a_living_journal_is_read_by_others(path):
    journal = Journal.open(path, HEADER)
    journal.outcome(fate(1))
    assert journal.flush()
    assert finished(path) == {1}
    journal.outcome(fate(2))
    assert journal.flush()
    assert finished(path) == {1, 2}
    assert journal.close()


def test_records_reach_the_disk_though_nobody_flushes(path):
    journal = Journal.open(path, HEADER)
    until(lambda: os.path.exists(path) and not list(read_outcomes(path)))
    for task in (1, 2):  # the second wakes a thread that has gone to sleep
        journal.outcome(fate(task))
        until(lambda task=task: task in finished(path))
    assert journal.close()


def test_a_run_that_goes_on_carries_its_journal_on(path):
    for task in (1, 2):
        journal = Journal.open(path, HEADER)
        journal.outcome(fate(task))
        assert journal.close()
    assert [f.task for f in read_outcomes(path)] == [1, 2]


KILLED = """
import sys
from loadkeeper.record.journal import Fate, Header, Journal
from loadkeeper.model import Outcome
journal = Journal.open(sys.argv[1], Header("r", "n", "c", 1, 0.0))
for task in range(1, 1000):
    journal.outcome(Fate(task, b"", 1, task, Outcome.DONE, False))
journal.flush()
print("flushed", flush=True)
sys.stdin.read()
"""


def test_what_was_flushed_outlives_kill_9(path):
    child = subprocess.Popen([sys.executable, "-c", KILLED, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"flushed\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert finished(path) == set(range(1, 1000))
    child.stdin.close()
    child.stdout.close()


# --------------------------------------------------------------------------------------------------------- bad disks


def test_a_directory_that_is_not_there_is_a_fault_and_its_return_the_end_of_it(tmp_path):
    path = str(tmp_path / "runs" / "journal.db")
    journal = Journal.open(path, HEADER)
    journal.outcome(fate(1))
    until(lambda: journal.fault is not None)
    assert path in journal.fault
    assert "unable to open" in journal.fault or "No such file" in journal.fault
    os.mkdir(tmp_path / "runs")
    until(lambda: journal.fault is None)
    assert journal.close()
    assert finished(path) == {1}


def test_closing_on_a_dead_disk_ends_in_time_and_says_so(tmp_path):
    journal = Journal.open(str(tmp_path / "none" / "journal.db"), HEADER)
    journal.outcome(fate(1))
    until(lambda: journal.fault is not None)
    began = time.monotonic()
    assert not journal.close(0.3)
    assert time.monotonic() - began < 2.0


def test_too_much_waiting_is_told(tmp_path):
    journal = Journal.open(str(tmp_path / "none" / "journal.db"), HEADER)
    assert not journal.full
    for task in range(70):
        journal.outcome(Fate(task, bytes(1 << 20), 1, task, Outcome.DONE, False))
    assert journal.full
    until(lambda: journal.fault is not None and "nothing new starts" in journal.fault)
    assert not journal.close(0.0)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 KiB."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", tmp_path]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small file system")
    yield tmp_path
    subprocess.run(["umount", "-l", tmp_path], check=True)


def test_a_full_disk_loses_nothing_and_doubles_nothing(small_disk):
    path = str(small_disk / "journal.db")
    ballast = small_disk / "ballast"
    journal = Journal.open(path, HEADER)
    assert journal.flush()
    until(lambda: os.path.exists(path + "-wal"))
    ballast.write_bytes(bytes(150_000))
    for task in range(1, 101):
        journal.outcome(Fate(task, bytes(1000), 1, task, Outcome.DONE, False))
    until(lambda: journal.fault is not None)
    assert "full" in journal.fault
    ballast.unlink()
    until(lambda: journal.fault is None)
    assert journal.close()
    assert [f.task for f in read_outcomes(path)] == list(range(1, 101))


def test_a_commit_that_took_hold_though_it_was_refused_is_not_doubled(path, monkeypatch):
    """An fsync may fail after the write: the disk has the batch, and it is brought once more."""
    from loadkeeper.record import journal as module

    real, refusals = module._transaction.__exit__, []

    def refuse_once(self, kind, *rest):
        real(self, kind, *rest)
        if kind is None and self._database.execute("SELECT count(*) FROM fate").fetchone()[0] and not refusals:
            refusals.append(1)
            raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(module._transaction, "__exit__", refuse_once)
    journal = Journal.open(path, HEADER)
    for task in (1, 2, 3):
        journal.outcome(fate(task))
    assert journal.close()
    assert refusals
    assert [f.task for f in read_outcomes(path)] == [1, 2, 3]


# ------------------------------------------------------------------------------------------------- files of others


def test_a_journal_that_is_none_is_an_error_that_names_it(path):
    with pytest.raises(LoadkeeperError, match=path):
        list(read_outcomes(path))
    with open(path, "wb") as file:
        file.write(b"not a database at all" * 100)
    with pytest.raises(LoadkeeperError, match=path):
        finished(path)


def test_tables_of_another_version_are_neither_read_nor_written(path):
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version=99")
    database.close()
    with pytest.raises(LoadkeeperError, match="version 99"):
        list(read_events(path))
    journal = Journal.open(path, HEADER)
    until(lambda: journal.fault is not None)
    assert "version 99" in journal.fault
    journal.outcome(fate(1))
    assert not journal.close(0.0)


def test_a_journal_without_its_first_commit_is_empty(path):
    sqlite3.connect(path).close()
    open(path, "wb").close()
    assert list(read_outcomes(path)) == []
    assert finished(path) == set()


def test_it_is_for_its_user_alone(path):
    assert Journal.open(path, HEADER).close()
    assert os.stat(path).st_mode & 0o777 == 0o600


# --------------------------------------------------------------------------------------------------------------- cost


def test_a_record_costs_its_caller_next_to_nothing(path):
    """2,000 tasks a second leave 500 µs for each; 5 µs of them are the journal's. The best of five rounds, for other
    programs share the processor."""
    journal = Journal.open(path, HEADER)
    rounds = []
    for _ in range(5):
        began = time.thread_time()
        for task in range(400):
            journal.outcome(fate(task))
        rounds.append((time.thread_time() - began) / 400)
        assert journal.flush()
    assert journal.close()
    assert min(rounds) < 5e-6
