"""The benchmarks themselves: they measure in turn, tell medians, spread and paired ratios, and compare honestly."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.program import Program

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT))

from bench import history, show  # noqa: E402
from bench.figures import OURS, Measure, alternate  # noqa: E402
from bench.tools import Toolbox  # noqa: E402
from loadkeeper.errors import UsageError  # noqa: E402

MACHINE = history.Machine(2, "a & processor", 1 << 30, "6.1", "3.11")


def an_entry(
    commit: str, ours: list[float], theirs: list[float], *, more: bool = True, machine=MACHINE
) -> history.Entry:
    measure = Measure("rate", "jobs <of> `true`", "jobs/s", more, {OURS: ours, "xargs": theirs}, {"make": "skipped"})
    return history.Entry(
        "2026-01-02T03:04:05+00:00", "0.1", commit, machine, {"xargs": "4.9"}, len(ours), {"rate": measure}
    )


def test_sides_are_measured_in_turn_each_round_another_first():
    calls = []

    def side(name, value):
        return lambda: calls.append(name) or value

    samples = alternate(3, {"a": side("a", 1.0), "b": side("b", 2.0), "c": side("c", None)}, lambda _: None)
    assert calls == ["a", "b", "c", "b", "c", "a", "c", "a", "b"]
    assert samples == {"a": [1.0] * 3, "b": [2.0] * 3}


def test_a_peer_that_fails_has_no_sample_but_when_we_fail_it_is_seen():
    def fails():
        raise subprocess.CalledProcessError(255, ["tsp"])

    told = []
    assert alternate(2, {OURS: lambda: 1.0, "tsp": fails}, told.append) == {OURS: [1.0, 1.0]}
    assert sum("tsp has no sample" in line for line in told) == 2
    with pytest.raises(subprocess.CalledProcessError):
        alternate(1, {OURS: fails}, told.append)


def test_a_ratio_is_of_the_same_round_so_that_a_slow_hour_is_slow_for_both():
    rates = an_entry("a", [100.0, 10.0, 40.0], [50.0, 5.0, 20.0]).measures["rate"]
    assert rates.times_better("xargs") == 2.0
    seconds = an_entry("a", [1.0, 10.0, 2.0], [4.0, 40.0, 8.0], more=False).measures["rate"]
    assert seconds.times_better("xargs") == 4.0
    assert rates.times_better(OURS) is None


def test_a_change_counts_only_where_the_two_do_not_overlap():
    old = an_entry("a", [100, 110, 120], [50, 50, 50])
    text = "\n".join(history.changes(old, an_entry("b", [115, 130, 140], [50, 51, 52])))
    assert "+18.2 %, within the spread" in text
    assert "loadkeeper 2.20 x before, 2.55 x now" in text
    assert "better" in history.changes(old, an_entry("b", [121, 130, 140], [50, 51, 52]))[0]
    assert "WORSE" in history.changes(old, an_entry("b", [70, 80, 99], [50, 51, 52]))[0]
    elsewhere = an_entry("b", [1], [1], machine=history.Machine(64, "big", 1, "6.1", "3.11"))
    assert "another machine" in history.changes(old, elsewhere)[0]


def test_history_is_read_back_and_named_by_commit_place_or_file(tmp_path):
    path = tmp_path / "history.jsonl"
    for commit in ("abc1", "abc2", "def3"):
        history.append(an_entry(commit, [1.0], [2.0]), path)
    entries = history.load(path)
    assert [history.pick(name, entries).commit for name in ("abc", "def3", "-1", "-3")] == [
        "abc2",
        "def3",
        "def3",
        "abc1",
    ]
    assert history.pick(str(path), []).commit == "def3"
    for name in ("zzz", "-4", "4", ""):
        with pytest.raises(UsageError, match="there is no run"):
            history.pick(name, entries)
    path.write_text("{}\n")
    with pytest.raises(UsageError, match=r"history.jsonl:1: is no run"):
        history.load(path)
    with pytest.raises(UsageError, match="--record"):
        history.load(tmp_path / "none")


def test_the_table_and_the_picture_name_every_side_and_what_was_skipped():
    entry = an_entry("abc", [100.0, 120.0, 110.0], [55.0, 55.0, 55.0])
    table = "\n".join(show.table(entry))
    assert "110 jobs/s" in table
    assert "100 to 120" in table
    assert "ours is 2.00 x as good" in table
    assert "make" in table
    assert "skipped" in table
    picture = show.picture(entry)
    assert picture.startswith("<svg")
    assert "a &amp; processor" in picture
    assert "jobs &lt;of&gt; `true`" in picture


def test_a_peer_that_is_missing_is_said_and_skipped(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    said = []
    tools = Toolbox(said.append, fetch=False)
    assert tools.find("tsp") is None
    assert tools.find("tsp") is None
    assert tools.build("floor.c") is None
    assert len(said) == 2
    assert "task-spooler: skipped" in said[0]
    assert "no C compiler" in said[1]
    assert tools.versions() == {
        "task-spooler": f"skipped: {tools.missing['tsp']}",
        "floor": f"skipped: {tools.missing['floor']}",
    }
    tools.close()


def test_it_runs_as_a_stranger_would_call_it(tmp_path):
    """From the repository; in an installed package it says where it is."""
    program = Program(tmp_path / "p", environment={"PYTHONPATH": str(ROOT / "src")})
    listed = program.call("bench", "--list")
    assert b"reaction" in listed.stdout
    ran = program.call(
        "bench", "start", "--rounds", "1", "--no-fetch", "--json", str(tmp_path / "j"), "--svg", str(tmp_path / "s")
    )
    assert ran.returncode == 0, ran.stderr
    assert b"start: one `true`" in ran.stdout
    samples = json.loads((tmp_path / "j").read_text())["measures"]["start"]["samples"]
    assert 0 < samples["loadkeeper"][0] < 60_000
    assert (tmp_path / "s").read_text().count("<rect") >= 3
    wrong = program.call("bench", "strat")
    assert wrong.returncode == 2
    assert b"there is no benchmark 'strat'; there are rate" in wrong.stderr
    program.close()


def test_an_installed_package_says_where_the_benchmarks_are(tmp_path):
    shutil.copytree(
        ROOT / "src" / "loadkeeper", tmp_path / "site" / "loadkeeper", ignore=shutil.ignore_patterns("__pycache__")
    )
    program = Program(tmp_path / "p", environment={"PYTHONPATH": str(tmp_path / "site")})
    called = program.call("bench")
    assert called.returncode == 2
    assert b"the benchmarks are in the repository" in called.stderr
    program.close()
