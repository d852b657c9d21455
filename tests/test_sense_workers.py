"""Workers on saved trees (hostile names, stops, zombies) and on living processes."""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from loadkeeper.linux.proc import stat
from loadkeeper.sense.everybody import Everybody, Kin
from loadkeeper.sense.shares import BUDGET, BURST, Process, Share, ShareMeter, Shares, measure
from loadkeeper.sense.workers import WorkerReading, WorkerSensor

TREE = Path(__file__).parent / "trees" / "hostile-names"
PAGE = os.sysconf("SC_PAGE_SIZE")
MIB = 1 << 20


class NoMeter(ShareMeter):
    """Measures nothing by itself; answers are put in by the test."""

    def __init__(self) -> None:
        super().__init__("")
        self.questions: list[tuple[str, tuple[Process, ...]]] = []
        self.told: list[tuple[str, Shares]] = []

    def ask(self, worker: str, processes: tuple[Process, ...]) -> None:
        self.questions.append((worker, processes))

    def answers(self, patience: float = 0.0) -> list[tuple[str, Shares]]:
        told, self.told = self.told, []
        return told


def pages(resident: int, proportional: int, private: int) -> Share:
    return Share(resident * PAGE, proportional * PAGE, private * PAGE)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TREE / "proc", tmp_path / "proc"))


def sensor(tree: Path, meter: ShareMeter | None = None) -> WorkerSensor:
    return WorkerSensor(str(tree), meter=meter or NoMeter())


def write_stat(tree: Path, pid: int, old: bytes, new: bytes) -> None:
    content = (tree / f"{pid}/stat").read_bytes()
    assert content.count(old) == 1
    (tree / f"{pid}/stat").write_bytes(content.replace(old, new))


def write_rss(tree: Path, pid: int, pages: int) -> None:
    (tree / f"{pid}/statm").write_text(f"{pages * 2} {pages} 0 1 0 100 0\n")


def members(reading: WorkerReading) -> list[int]:
    return sorted(pid for pid, _ in reading.members)


def test_names_that_look_like_other_fields_deceive_nobody(tree: Path) -> None:
    """Command names with blanks, brackets, newlines, and whole lines of another process in them."""
    workers = sensor(tree)
    workers.follow("r.1", 100, 5000)
    reading = workers.sweep(10.0)["r.1"]
    assert members(reading) == [100, 101]
    assert reading.rss == (300 + 51200 - 300) * PAGE  # what the child held at first sight, up to the shell's size
    assert reading.cpu_seconds == pytest.approx(1.35 + 5.0)
    assert (reading.processes, reading.state, reading.exiting) == (2, "running", False)


def test_who_was_seen_as_a_member_stays_one_wherever_it_goes(tree: Path) -> None:
    workers = sensor(tree)
    workers.follow("r.1", 100, 5000)
    write_stat(tree, 102, b" S 1 102 102 ", b" S 101 102 102 ")
    assert members(workers.sweep(10.0)["r.1"]) == [100, 101, 102]
    write_stat(tree, 102, b" S 101 102 102 ", b" S 1 102 102 ")
    assert members(workers.sweep(10.5)["r.1"]) == [100, 101, 102]
    write_stat(tree, 102, b" 5002 ", b" 9999 ")  # the pid went to somebody else
    assert members(workers.sweep(11.0)["r.1"]) == [100, 101]


def test_who_left_its_parents_and_kept_the_session_is_found(tree: Path) -> None:
    write_stat(tree, 101, b" R 100 100 100 ", b" R 1 101 100 ")
    workers = sensor(tree)
    workers.follow("r.1", 100, 5000)
    assert members(workers.sweep(10.0)["r.1"]) == [100, 101]


@pytest.mark.parametrize(("worker", "found"), [("r.1", [100, 101, 104]), ("r.2", [100, 101]), ("", [100, 101])])
def test_who_left_session_and_parent_is_found_by_its_environment(tree: Path, worker: str, found: list[int]) -> None:
    """It is a child of the process manager (50) by now, as the leader is."""
    (tree / "104").mkdir()
    stray = (tree / "900/stat").read_bytes().replace(b"900 (", b"104 (").replace(b" S 1 900 900 ", b" S 50 104 104 ")
    (tree / "104/stat").write_bytes(stray)
    (tree / "104/environ").write_bytes(b"HOME=/\0LOADKEEPER_WORKER=" + worker.encode() + b"\0")
    workers = sensor(tree)
    workers.follow("r.1", 100, 5000)
    assert members(workers.sweep(10.0)["r.1"]) == found
    assert members(workers.sweep(10.5)["r.1"]) == found


def test_an_environment_that_is_still_the_parents_is_read_again(tree: Path) -> None:
    (tree / "104").mkdir()
    stray = (tree / "900/stat").read_bytes().replace(b"900 (", b"104 (").replace(b" S 1 900 900 ", b" S 50 104 104 ")
    (tree / "104/stat").write_bytes(stray)
    workers = sensor(tree)
    workers.follow("r.1", 100, 5000)
    assert members(workers.sweep(10.0)["r.1"]) == [100, 101]
    (tree / "104/environ").write_bytes(b"LOADKEEPER_WORKER=r.1\0")
    assert members(workers.sweep(10.5)["r.1"]) == [100, 101, 104]


def test_who_is_in_the_leaf_belongs(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "leaf").mkdir()
    (tmp_path / "leaf/cgroup.procs").write_text("100\n102\n77777\n")
    workers = sensor(tree)
    workers.follow("r.1", 100, 5000, str(tmp_path / "leaf"))
    assert members(workers.sweep(10.0)["r.1"]) == [100, 101, 102]


def test_a_leader_whose_pid_is_somebody_elses_now_is_gone(tree: Path) -> None:
    workers = sensor(tree)
    workers.follow("r.1", 100, 4999)
    reading = workers.sweep(10.0)["r.1"]
    assert (reading.members, reading.rss, reading.state, reading.exiting) == ((), 0, "gone", True)


def test_stopped_means_every_process_is(tree: Path) -> None:
    workers = sensor(tree)
    workers.keep({"r.2": (200, 6000, None), "r.3": (300, 7000, None)})
    readings = workers.sweep(10.0)
    assert (readings["r.2"].state, readings["r.2"].stopped) == ("stopped", True)
    assert (readings["r.3"].state, readings["r.3"].stopped) == ("running", False)
    write_stat(tree, 301, b" S 300 ", b" T 300 ")
    assert workers.fast(10.02)["r.3"].state == "running"  # nobody asked for its state
    assert workers.fast(10.04, watch=["r.3"])["r.3"].state == "stopped"


def test_a_zombie_holds_nothing_and_is_on_its_way_out(tree: Path) -> None:
    workers = sensor(tree)
    workers.follow("r.4", 400, 8000)
    reading = workers.sweep(10.0)["r.4"]
    assert (reading.rss, reading.processes, reading.state, reading.exiting) == (0, 0, "gone", True)
    assert reading.cpu_seconds == pytest.approx(0.09)


def test_a_worker_that_exits_still_holds_what_it_held(tree: Path) -> None:
    """Its memory shows no more, and comes back 7 to 130 ms later."""
    workers = sensor(tree)
    workers.follow("r.2", 200, 6000)
    assert workers.sweep(10.0)["r.2"].rss == 2000 * PAGE
    write_rss(tree, 200, 0)
    assert not workers.fast(10.1)["r.2"].exiting  # one of two
    write_rss(tree, 201, 0)
    reading = workers.fast(10.2)["r.2"]
    assert (reading.rss, reading.exiting) == (2000 * PAGE, True)
    reading = workers.sweep(10.3)["r.2"]
    assert (reading.rss, reading.exiting) == (2000 * PAGE, True)
    for pid in (200, 201):
        write_stat(tree, pid, b" T ", b" Z ")
    assert workers.fast(10.4)["r.2"].rss == 0  # a zombie has given its memory back
    assert workers.sweep(10.5)["r.2"].state == "gone"


def test_a_worker_that_never_held_anything_is_not_exiting(tree: Path) -> None:
    workers = sensor(tree)
    for pid in (200, 201):
        write_rss(tree, pid, 0)
    workers.follow("r.2", 200, 6000)
    reading = workers.sweep(10.0)["r.2"]
    assert (reading.rss, reading.exiting) == (0, False)
    assert workers.life("r.2") is None


@pytest.mark.parametrize(
    "content", [b"", b"100 (sh", b"100 (sh) S 50 100", b"\xff\xfe)", b"100 (sh) S x y z" + b" 1" * 40]
)
def test_a_stat_that_ends_half_way_is_a_process_that_is_gone(tree: Path, content: bytes) -> None:
    workers = sensor(tree)
    workers.follow("r.1", 100, 5000)
    assert workers.sweep(10.0)["r.1"].processes == 2
    (tree / "100/stat").write_bytes(content)
    reading = workers.sweep(10.5)["r.1"]
    assert members(reading) == [101]
    assert reading.state == "running"


def test_a_process_that_vanishes_between_its_stat_and_its_statm(tree: Path) -> None:
    workers = sensor(tree)
    workers.follow("r.2", 200, 6000)
    (tree / "201/statm").unlink()
    reading = workers.sweep(10.0)["r.2"]
    assert reading.rss == 1000 * PAGE
    assert (reading.exiting, reading.processes) == (False, 2)


SHELL, CHILD, STRAY = (100, 5000), (101, 5001), (102, 5002)


def family(tree: Path, meter: NoMeter) -> WorkerSensor:
    """A shell of 40000 pages and its fork of 51200, of which 1000 are the fork's own; swept and measured."""
    write_rss(tree, 100, 40_000)
    workers = sensor(tree, meter)
    workers.follow("r.1", *SHELL)
    meter.told = []
    workers.sweep(10.0)
    assert meter.questions == [("r.1", (SHELL, CHILD))]
    meter.told = [("r.1", {SHELL: pages(40_000, 20_000, 0), CHILD: pages(51_200, 31_200, 11_200)})]
    assert workers.fast(10.1)["r.1"].rss == 51_200 * PAGE
    return workers


def test_shared_memory_counts_once(tree: Path) -> None:
    workers = family(tree, NoMeter())
    write_rss(tree, 101, 61_200)
    assert workers.fast(10.2)["r.1"].rss == 61_200 * PAGE  # growth is its own
    write_rss(tree, 101, 45_000)
    assert workers.fast(10.3)["r.1"].rss == 45_000 * PAGE  # it gave back what was its own
    write_rss(tree, 101, 20_000)
    assert workers.fast(10.4)["r.1"].rss == 40_000 * PAGE  # and of the shared pages, which the shell still has
    write_rss(tree, 101, 30_000)
    assert workers.fast(10.5)["r.1"].rss == 50_000 * PAGE


def test_a_child_that_exits_takes_only_its_own_with_it(tree: Path) -> None:
    workers = family(tree, NoMeter())
    shutil.rmtree(tree / "101")
    assert workers.sweep(10.2)["r.1"].rss == 40_000 * PAGE


def test_what_was_lent_stays_when_the_owner_exits(tree: Path) -> None:
    workers = family(tree, NoMeter())
    shutil.rmtree(tree / "100")
    assert workers.sweep(10.2)["r.1"].rss == 51_200 * PAGE


def test_what_the_rest_of_the_machine_shares_is_not_the_workers_alone(tree: Path) -> None:
    meter = NoMeter()
    workers = family(tree, meter)
    meter.told = [("r.1", {SHELL: pages(40_000, 15_000, 0), CHILD: pages(51_200, 26_200, 11_200)})]
    assert workers.fast(10.2)["r.1"].rss == 41_200 * PAGE


def test_children_that_share_without_the_leader(tree: Path) -> None:
    meter = NoMeter()
    write_stat(tree, 102, b" S 1 102 102 ", b" S 101 102 102 ")
    workers = sensor(tree, meter)
    workers.follow("r.1", *SHELL)
    workers.sweep(10.0)
    shares = {SHELL: pages(300, 300, 300), CHILD: pages(51_200, 26_200, 1_200), STRAY: pages(51_000, 26_000, 1_000)}
    meter.told = [("r.1", shares)]
    write_rss(tree, 102, 51_000)
    assert workers.fast(10.1)["r.1"].rss == (300 + 26_200 + 26_000) * PAGE


def test_memory_that_some_share_without_the_one_that_shares_most(tree: Path) -> None:
    """The leader shares 60 pages with strangers, its children 50 with each other."""
    meter = NoMeter()
    write_stat(tree, 102, b" S 1 102 102 ", b" S 101 102 102 ")
    for pid, resident in ((100, 10_000), (101, 5_500), (102, 5_500)):
        write_rss(tree, pid, resident)
    workers = sensor(tree, meter)
    workers.follow("r.1", *SHELL)
    workers.sweep(10.0)
    child = pages(5_500, 3_000, 500)
    meter.told = [("r.1", {SHELL: pages(10_000, 7_000, 4_000), CHILD: child, STRAY: child})]
    assert workers.fast(10.1)["r.1"].rss == 13_000 * PAGE


def test_a_measurement_of_another_process_with_the_same_pid_is_none(tree: Path) -> None:
    assert measure(CHILD, str(tree)) == Share(204800 << 10, 102400 << 10, 0)
    assert measure((101, 4999), str(tree)) is None
    assert measure(SHELL, str(tree)) is None


@pytest.mark.parametrize(
    "shares",
    [{SHELL: pages(40_000, 1, 1)}, {}, {who: pages(40_000, 9_000, 0) for who in (SHELL, CHILD, STRAY)}],
)
def test_a_measurement_of_a_family_that_was_another_teaches_nothing(tree: Path, shares: Shares) -> None:
    meter = NoMeter()
    workers = family(tree, meter)
    meter.told = [("r.1", shares), ("r.gone", shares)]
    assert workers.fast(10.2)["r.1"].rss == 51_200 * PAGE


def test_a_worker_of_several_is_measured_anew_when_one_comes_or_goes(tree: Path) -> None:
    meter = NoMeter()
    workers = family(tree, meter)
    (tree / "104").mkdir()
    (tree / "104/stat").write_bytes(
        (tree / "101/stat").read_bytes().replace(b"101 (", b"104 (").replace(b"5001", b"5004")
    )
    write_rss(tree, 104, 10)
    workers.sweep(10.2)
    assert meter.questions[1] == ("r.1", (SHELL, CHILD, (104, 5004)))
    shutil.rmtree(tree / "104")
    workers.sweep(10.3)
    assert meter.questions[2:] == [("r.1", (SHELL, CHILD))]


def test_a_family_is_measured_at_once_when_it_moved_and_seldom_while_nothing_changes(tree: Path) -> None:
    meter = NoMeter()
    workers = family(tree, meter)
    same = ("r.1", {SHELL: pages(40_000, 20_000, 0), CHILD: pages(51_200, 31_200, 11_200)})
    asked = []
    for tenth in range(1, 600):
        before = len(meter.questions)
        workers.sweep(10.0 + tenth / 10)
        if len(meter.questions) > before:
            asked.append(tenth / 10)
            meter.told = [same]
    assert asked == pytest.approx([4.0, 12.0, 28.0, 44.0], abs=0.3)
    write_rss(tree, 101, 57_000)
    workers.sweep(70.0)
    assert len(meter.questions) == 1 + len(asked) + 1
    workers.sweep(70.1)
    assert len(meter.questions) == 1 + len(asked) + 1


def test_a_fork_is_not_counted_twice_before_it_was_measured(tree: Path) -> None:
    """Or a worker with five forks of 200 MiB is ended for 1 GiB that nobody holds."""
    workers = sensor(tree)
    write_rss(tree, 100, 51000)
    workers.follow("r.1", 100, 5000)
    assert workers.sweep(10.0)["r.1"].rss == (51000 + 200) * PAGE
    write_rss(tree, 101, 52200)
    assert workers.fast(10.1)["r.1"].rss == (51000 + 1200) * PAGE


def test_a_lone_worker_is_measured_when_it_is_big_and_again_when_it_has_doubled_or_shares(tree: Path) -> None:
    meter = NoMeter()
    workers = sensor(tree, meter)
    workers.follow("r.9", 900, 9000)
    workers.sweep(10.0)
    assert meter.questions == [("r.9", ((900, 9000),))]
    meter.told = [("r.9", {(900, 9000): pages(99_999, 99_000, 98_000)})]
    workers.sweep(13.0)
    assert len(meter.questions) == 1
    write_rss(tree, 900, 200_000)
    workers.sweep(14.0)
    assert len(meter.questions) == 2
    meter.told = [("r.9", {(900, 9000): pages(200_000, 100_000, 0)})]  # forked by somebody who holds the same
    assert workers.sweep(15.0)["r.9"].rss == 100_000 * PAGE
    workers.sweep(16.1)
    assert len(meter.questions) == 3


def test_the_cpu_of_children_that_were_waited_for_is_not_lost_nor_counted_twice(tree: Path) -> None:
    workers = sensor(tree)
    workers.follow("r.1", 100, 5000)
    before = workers.sweep(10.0)["r.1"]
    assert before.cpu is None
    shutil.rmtree(tree / "101")  # waited for by the shell: 500 ticks and 30 more are in its children's time
    write_stat(tree, 100, b" 10 5 100 20 ", b" 10 5 500 150 ")
    reading = workers.sweep(11.0)["r.1"]
    assert reading.cpu_seconds == pytest.approx(before.cpu_seconds + 0.3)
    assert reading.cpu == pytest.approx(0.3)


def test_the_cpu_of_a_member_that_somebody_else_waited_for_stays(tree: Path) -> None:
    workers = sensor(tree)
    workers.follow("r.1", 100, 5000)
    write_stat(tree, 102, b" S 1 102 102 ", b" S 101 102 102 ")
    workers.sweep(10.0)
    write_stat(tree, 102, b" S 101 102 102 ", b" S 1 102 102 ")
    before = workers.sweep(10.5)["r.1"].cpu_seconds
    shutil.rmtree(tree / "102")
    write_stat(tree, 100, b" 10 5 100 20 ", b" 12 5 100 20 ")
    assert workers.sweep(11.0)["r.1"].cpu_seconds == pytest.approx(before + 0.02)


def test_a_life_knows_the_largest_and_the_mean_of_its_active_time(tree: Path) -> None:
    workers = sensor(tree)
    workers.follow("r.9", 900, 9000)
    for now, pages, letter in (
        (0.0, 100, b"S"),
        (1.0, 100, b"S"),
        (2.0, 300, b"S"),
        (3.0, 300, b"T"),
        (9.0, 300, b"T"),
    ):
        write_rss(tree, 900, pages)
        content = (tree / "900/stat").read_bytes()
        head, _, tail = content.rpartition(b") ")
        (tree / "900/stat").write_bytes(head + b") " + letter + tail[1:])
        workers.sweep(now)
    assert workers.life("r.9") == (300 * PAGE, 150 * PAGE)  # 100 for 1 s, 100 to 300 for 1 s; then it stood
    workers.forget("r.9")
    assert workers.life("r.9") == (300 * PAGE, 150 * PAGE)
    assert dict(workers.lives) == {"r.9": (300 * PAGE, 150 * PAGE)}
    assert workers.lives.get("r.8") is None
    assert workers.readings == {}


def test_a_leaf_with_a_memory_controller_tells_by_itself(tree: Path, tmp_path: Path) -> None:
    leaf = tmp_path / "leaf"
    leaf.mkdir()
    (leaf / "memory.stat").write_text("anon 1000000\nfile 5000000\nkernel 30000\nshmem 200000\n")
    (leaf / "cgroup.events").write_text("populated 1\nfrozen 1\n")
    (leaf / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 1\n")
    workers = sensor(tree, meter := NoMeter())
    workers.follow("r.1", 100, 5000, str(leaf))
    reading = workers.sweep(10.0)["r.1"]
    assert (reading.rss, reading.state, reading.stopped, reading.cpu_seconds) == (1230000, "frozen", True, 2.5)
    assert meter.questions == []
    (leaf / "cgroup.events").write_text("populated 1\nfrozen 0\n")
    assert workers.fast(10.1, watch={"r.1"})["r.1"].state == "running"


def test_following_exactly_these(tree: Path) -> None:
    workers = sensor(tree)
    workers.keep({"r.1": (100, 5000, None), "r.2": (200, 6000, None)})
    workers.sweep(1.0)
    workers.sweep(1.5)
    open_files = len(os.listdir("/proc/self/fd"))
    workers.keep({"r.2": (200, 6000, None)})
    assert workers.sweep(2.0).keys() == {"r.2"}
    assert len(os.listdir("/proc/self/fd")) == open_files - 4
    workers.close()
    assert len(os.listdir("/proc/self/fd")) == open_files - 8


def test_a_pid_that_goes_to_another_process_is_not_taken_for_the_one_it_was() -> None:
    """The kept-open file of the old one is silent, and the new one is read by its name."""
    first = subprocess.Popen(["sleep", "60"], start_new_session=True)
    workers = WorkerSensor(meter=NoMeter())
    pid, start_time = identity(first)
    workers.follow("r.1", pid, start_time)
    assert workers.sweep(1.0)["r.1"].processes == 1
    first.kill()
    first.wait()
    assert workers.fast(1.1)["r.1"].rss == 0
    reading = workers.sweep(1.2)["r.1"]
    assert (reading.state, reading.members, reading.rss) == ("gone", (), 0)
    workers.close()


def test_strangers_are_remembered_and_looked_at_in_turns(tree: Path) -> None:
    everybody = Everybody(str(tree), 100)
    before = {stat.pid: stat.session for stat in everybody.read({100})}
    assert before.keys() == {1, 100, 101, 102, 200, 201, 300, 301, 400, 900}  # 500 ends half-way
    write_stat(tree, 100, b" S 50 100 100 ", b" S 50 100 77 ")
    write_stat(tree, 900, b" S 1 900 900 ", b" S 1 900 77 ")
    assert {stat.pid for stat in everybody.read({100}) if stat.session == 77} >= {100}
    for _ in range(8):
        after = everybody.read({100})
    assert {stat.pid for stat in after if stat.session == 77} == {100, 900}
    shutil.rmtree(tree / "900")
    assert 900 not in {stat.pid for stat in everybody.read({100})}


def test_without_a_descriptor_to_spare_everything_is_still_read(tree: Path) -> None:
    workers = sensor(tree)
    workers._most_open = 0
    workers._kin = Kin(str(tree), 0)
    open_files = len(os.listdir("/proc/self/fd"))
    workers.keep({"r.1": (100, 5000, None), "r.2": (200, 6000, None)})
    assert workers.sweep(1.0)["r.2"].rss == 2000 * PAGE
    write_rss(tree, 201, 3000)
    assert workers.fast(1.1)["r.2"].rss == 3000 * PAGE
    assert len(os.listdir("/proc/self/fd")) == open_files


# -------------------------------------------------------------------------------------------------- living processes

FORKS = """
import os, signal, sys, time
block = bytearray(os.urandom(4096)) * (int(sys.argv[1]) >> 12)
for _ in range(4):
    if os.fork() == 0:
        break
else:
    print("ready", flush=True)
time.sleep(100)
"""


@pytest.fixture
def started() -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    processes: list[subprocess.Popen[str]] = []

    def start(code: str, *arguments: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in processes:
        os.killpg(process.pid, 9)
        process.wait()


def identity(process: "subprocess.Popen[str]") -> Process:
    found = stat(process.pid)
    assert found is not None
    return process.pid, found.start_time


def test_five_processes_that_share_64_mib_hold_about_64_mib(started: Callable[..., "subprocess.Popen[str]"]) -> None:
    process = started(FORKS, str(64 * MIB))
    workers = WorkerSensor()
    workers.follow("r.1", *identity(process))
    first = workers.sweep(time.monotonic())["r.1"]
    assert first.processes == 5
    assert first.rss is not None
    assert 64 * MIB <= first.rss < 90 * MIB
    deadline = time.monotonic() + 10
    while workers._meter.waiting and time.monotonic() < deadline:
        workers.fast(time.monotonic())
    assert not workers._meter.waiting
    last = workers.fast(time.monotonic())["r.1"].rss
    assert last is not None
    assert 64 * MIB <= last < 80 * MIB
    workers.close()


def test_the_fast_sweep_of_40_workers_costs_well_under_a_millisecond(
    started: Callable[..., "subprocess.Popen[str]"],
) -> None:
    shells = [started("import time; print('ready', flush=True); time.sleep(100)") for _ in range(2)]
    workers = WorkerSensor(meter=NoMeter())
    for n in range(40):
        workers.follow(f"r.{n}", *identity(shells[n % 2]))
    workers.sweep(time.monotonic())
    took = []
    for _ in range(50):
        began = time.perf_counter()
        workers.fast(time.monotonic())
        took.append(time.perf_counter() - began)
    assert sorted(took)[len(took) // 2] < 1e-3


def test_a_measurement_that_hangs_holds_up_no_sweep(tree: Path) -> None:
    """smaps_rollup waits for a process that maps memory, up to 0.5 s."""
    let_go = threading.Event()

    def hang(process: Process, root: str) -> Share | None:
        assert let_go.wait(30)
        return measure(process, root)

    meter = ShareMeter(str(tree), hang)
    workers = sensor(tree, meter)
    workers.follow("r.9", 900, 9000)
    (tree / "900/smaps_rollup").write_text(
        "x\nRss: 399996 kB\nPss: 199998 kB\nPrivate_Clean: 0 kB\nPrivate_Dirty: 0 kB\n"
    )
    began = time.monotonic()
    assert workers.sweep(began)["r.9"].rss == 99999 * PAGE
    assert workers.fast(began + 0.1)["r.9"].rss == 99999 * PAGE
    assert time.monotonic() - began < 1.0
    assert meter.waiting
    let_go.set()
    deadline = time.monotonic() + 10
    while meter.waiting and time.monotonic() < deadline:
        workers.fast(began + 0.2)
    assert workers.readings["r.9"].rss == 199998 << 10
    workers.close()


def test_measurements_stay_within_their_share_of_a_core(tree: Path) -> None:
    """30 ms each, 50 ms at once: the third must wait until the first two are paid for."""

    def slow(process: Process, root: str) -> Share | None:
        time.sleep(0.03)
        return None

    meter = ShareMeter(str(tree), slow)
    began = time.monotonic()
    for n in range(3):
        meter.ask(f"r.{n}", (CHILD,))
    told = [meter.answers(patience=10.0) for _ in range(3)]
    assert sorted(worker for answers in told for worker, _ in answers) == ["r.0", "r.1", "r.2"]
    assert time.monotonic() - began > 2 * 0.03 / BUDGET - BURST / BUDGET - 0.01
    meter.close()
