"""What is left of runs that are over: kept for a while, never in the way of a living one."""

import os
import time

import pytest
from support.program import wait_until

from loadkeeper.record.pruning import EVERY, hold, prune, prune_now_and_then

DAY = 86400.0


@pytest.fixture
def runs(tmp_path):
    """Ten runs, the oldest ten days old, of 100 KiB each."""
    now = time.time()
    for days in range(1, 11):
        made = tmp_path / "runs" / f"run{days}"
        made.mkdir(parents=True)
        (made / "journal.db").write_bytes(b"x" * 100_000)
        for path in (made / "journal.db", made):
            os.utime(path, (now - days * DAY, now - days * DAY))
    return tmp_path / "runs"


def left(runs) -> list[int]:
    return sorted(int(path.name.removeprefix("run")) for path in runs.iterdir())


def test_what_is_too_old_goes(runs):
    prune(str(runs), seconds=4.5 * DAY)
    assert left(runs) == [1, 2, 3, 4]


def test_of_too_many_the_oldest_go(runs):
    prune(str(runs), runs=3)
    assert left(runs) == [1, 2, 3]


def test_of_too_much_the_oldest_go(runs):
    prune(str(runs), size=450_000)
    assert left(runs) == [1, 2, 3, 4]


def test_a_living_run_is_never_touched_however_old(runs):
    living = hold(str(runs / "run9"))
    prune(str(runs), seconds=DAY / 2)
    assert left(runs) == [9]
    os.close(living)
    prune(str(runs), seconds=DAY / 2)
    assert left(runs) == []


def test_a_fresh_one_is_never_touched(runs):
    (runs / "run0").mkdir()
    prune(str(runs), seconds=0, runs=0, size=0)
    assert left(runs) == [0]


def test_what_is_no_directory_stays_and_a_missing_place_is_nothing(runs):
    (runs / "run77").symlink_to(runs / "run5")
    assert prune(str(runs / "nowhere")) == []
    prune(str(runs), seconds=4.5 * DAY)
    assert left(runs) == [1, 2, 3, 4, 77]


def test_a_run_prunes_and_is_not_pruned(program, tmp_path):
    old = tmp_path / "p/s/loadkeeper/runs/old"
    old.mkdir(parents=True)
    os.utime(old, (0, 0))
    program.start("run", "--cpu", "off", "sleep", ":::", "20")
    wait_until(lambda: program.status()["runs"], 15, "nothing runs")
    assert not old.exists()
    place = program.status()["runs"][0]["state_dir"]
    os.utime(place, (0, 0))
    for name in os.listdir(place):
        os.utime(f"{place}/{name}", (0, 0))
    program.call("run", "--cpu", "off", "true", ":::", "a")
    assert os.path.exists(place)


def test_short_runs_do_not_look_at_all_of_them_each_time(runs):
    mark = runs.with_name("runs.pruned")
    old = time.time() - 40 * DAY
    os.utime(runs / "run10" / "journal.db", (old, old))
    os.utime(runs / "run10", (old, old))
    assert prune_now_and_then(str(runs)) == [str(runs / "run10")]
    os.utime(runs / "run9" / "journal.db", (old, old))
    os.utime(runs / "run9", (old, old))
    assert prune_now_and_then(str(runs)) == []
    os.utime(mark, (old, time.time() - EVERY - 1))
    assert prune_now_and_then(str(runs)) == [str(runs / "run9")]
    os.utime(mark, (old, time.time() + DAY))  # a clock that was set back
    assert prune_now_and_then(str(runs)) == []
    assert time.time() - mark.stat().st_mtime < 60
    assert prune_now_and_then(str(runs / "no" / "where")) == []
