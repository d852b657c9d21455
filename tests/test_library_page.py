"""What stands on the page about the library is what runs; and a program with a loop of its own."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.pages import blocks
from support.program import marked, stands, wait_until

from loadkeeper import Member, Roster, UsageError
from loadkeeper.model import Want

PAGE = Path(__file__).parents[1] / "docs" / "library.md"


@pytest.mark.parametrize("block", blocks(PAGE), ids=lambda block: block.name)
def test_what_stands_on_the_page_runs(apart, tmp_path, block):
    for name in ("a.log", "b.log"):
        (tmp_path / name).write_text("something")
    done = subprocess.run(
        [sys.executable, "-c", block.code.replace('cpu="90%"', 'cpu="off"')],  # others may keep this machine busy
        env=apart.environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    expected = {1: '"task_id":"nightly-7","error":false', 4: "4 not done", 5: "3 done", 6: "6 done, 0 failed"}
    assert expected.get(block.number, "") in done.stdout


# ------------------------------------------------------------------------------------------------ a loop of its own


@pytest.fixture
def builder(here):
    """The program of the page with a loop of its own, its tasks a bit longer."""
    code = blocks(PAGE)[-1].code.replace("sleep 0.{n}", "sleep 4.{n}").replace("range(1, 7)", "range(1, 4)")
    assert "sleep 4.{n}" in code
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=here.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    yield process
    process.kill()
    process.communicate()


def of_builder(here, count):
    """(its run, leaders of its workers) once so many live."""

    def found():
        status = here.ask()
        runs = [run for run in status.runs if run.name == "my-builder"] if status else []
        return runs[0] if runs and len(runs[0].workers) == count else None

    run = wait_until(found, 20, f"it has not {count} workers")
    return run.id, [worker.pid for worker in run.workers]


def test_a_member_with_a_loop_of_its_own_obeys(here, builder):
    run, leaders = of_builder(here, 3)
    assert here.steer(Want.PAUSE, "my-builder") == [run]
    wait_until(lambda: all(stands(pid) for pid in leaders), 10, "they do not stand")
    assert b"stand" in here.call("explain", "my-builder").stdout or b"paused" in here.call("list").stdout
    time.sleep(0.3)
    assert here.steer(Want.RUN, "my-builder") == [run]
    out, err = builder.communicate(timeout=30)
    assert (out, err) == ("3 done, 0 failed, 0 given back\n", "")
    assert not marked(run)


def test_what_a_member_leaves_when_it_is_killed_is_ended(here, builder):
    run, leaders = of_builder(here, 3)
    assert len(leaders) == 3
    builder.kill()
    wait_until(lambda: not marked(run), 10, "its workers live on")


def test_a_roster_says_what_cannot_be(here):
    member = Member.open("wrong")
    try:
        with pytest.raises(UsageError, match="there is no worker 7"):
            Roster(member).gone(7, good=True)
    finally:
        member.leave()
