"""`run --json`: what happens, as objects that a program can rely on."""

import json

from support.program import wait_until


def events(text: bytes) -> list[dict]:
    return [json.loads(line) for line in text.decode().splitlines()]


def test_a_run_as_events(program):
    line = "echo out; test {} != bad"
    done = program.call("run", "--json", "--cpu", "off", "-j1", "--retries", "2", line, ":::", "good", "bad", b"\xff")
    told = events(done.stderr)
    assert done.returncode == 1
    assert done.stdout == b"out\n" * 3
    starts = [(one["task"], one["attempt"]) for one in told if one["event"] == "start"]
    assert sorted(starts) == [(1, 1), (2, 1), (2, 2), (3, 1)]
    ends = [(one["task"], one["outcome"], one["again"], one["code"]) for one in told if one["event"] == "finish"]
    assert sorted(ends) == [
        (1, "done", False, 0),
        (2, "failed", False, 1),
        (2, "failed", True, 1),
        (3, "done", False, 0),
    ]
    assert [one["value"] for one in told if one["event"] == "start" and one["task"] == 3] == ["\\xff"]
    assert told[-1]["event"] == "summary"
    assert (told[-1]["done"], told[-1]["failed"], told[-1]["exit_code"]) == (2, 1, 1)
    assert all(one["at"] > 1_700_000_000 for one in told)


def test_what_is_done_to_workers_comes_with_a_sentence(program):
    process = program.start("run", "--json", "--cpu", "off", "--name", "slow", "sleep", ":::", "60")
    wait_until(lambda: program.status()["runs"] and program.status()["runs"][0]["workers"], 15, "nothing runs")
    program.call("pause", "slow")
    wait_until(lambda: program.status()["runs"][0]["workers"][0]["state"] == "paused", 10, "it is not paused")
    program.call("stop", "slow")
    _, err = process.communicate(timeout=20)
    told = events(err)
    kinds = {one["event"] for one in told}
    assert {"start", "pause", "end", "finish", "message", "summary", "progress"} <= kinds
    assert "operator" in next(one["why"] for one in told if one["event"] == "pause")
    assert next(one for one in told if one["event"] == "finish")["outcome"] == "given-back"
    assert told[-1]["exit_code"] == 143


def test_a_reader_that_goes_away_is_not_missed(program):
    process = program.start("run", "--json", "--cpu", "off", "-j2", "sleep 0.2; echo", ":::", *"abcdef")
    process.stderr.close()
    process.stderr = None
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert len(out.splitlines()) == 6


def test_what_tasks_write_to_stderr_is_an_event(program):
    done = program.call("run", "--json", "-k", "printf 'oops \\377' >&2; echo {}", ":::", "a", "b")
    told = events(done.stderr)
    assert [(one["task"], one["text"]) for one in told if one["event"] == "stderr"] == [
        (1, "oops \\xff"),
        (2, "oops \\xff"),
    ]
    assert done.stdout == b"a\nb\n"


def test_a_peak_that_is_only_ours_is_not_told(program):
    done = program.call("run", "--json", "sleep", ":::", "0.1")
    ends = [one for one in events(done.stderr) if one["event"] == "finish"]
    assert [one.get("peak_memory") for one in ends] == [None]
