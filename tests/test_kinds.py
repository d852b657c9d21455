"""What was learned of kinds outlives a load manager, is seen, and is forgotten."""

import json
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.program import Program, wait_until

from loadkeeper.decide import Kind
from loadkeeper.errors import LoadkeeperError
from loadkeeper.load_manager import keeping, knowledge
from loadkeeper.load_manager.knowledge import Knowledge, Known, forget, read, write

KIND = Kind(peaks=(100, 300, 200), fill=0.5, fills=3, cpu=0.9, count=7)


def wait_written(path: Path, true) -> dict[str, Known]:
    return wait_until(lambda: (found := read(str(path))) and true(found) and found, 10, "it is not written")


# ----------------------------------------------------------------------------------------------------------- the file


def test_what_is_offered_is_there_for_the_next(tmp_path):
    path = tmp_path / "kinds" / "k.json"
    first = Knowledge(str(path))
    assert first.kinds == {}
    first.offer({"xz": KIND})
    first.close()
    assert Knowledge(str(path)).kinds == {"xz": KIND}
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_it_is_written_while_a_load_manager_lives(tmp_path, monkeypatch):
    monkeypatch.setattr(knowledge, "EVERY", 0.05)
    path = tmp_path / "k.json"
    one = Knowledge(str(path))
    one.offer({"xz": KIND})
    wait_written(path, lambda known: "xz" in known)
    one.offer({})
    wait_until(lambda: read(str(path)) == {}, 5, "what was forgotten stays")
    one.close()


def test_the_oldest_of_too_many_go_and_what_was_not_used_for_long(tmp_path, monkeypatch):
    monkeypatch.setattr(knowledge, "MOST", 3)
    path = str(tmp_path / "k.json")
    now = time.time()
    write(path, {f"k{n}": Known(now - 100 + n, KIND) for n in range(3)} | {"stale": Known(now - 181 * 86400, KIND)})
    one = Knowledge(path)
    assert set(one.kinds) == {"k0", "k1", "k2"}
    one.offer({**one.kinds, "new": KIND, "x" * 5000: KIND})
    one.close()
    assert set(read(path)) == {"k1", "k2", "new"}
    assert read(path)["k1"].used == pytest.approx(now - 99, abs=0.01), "nothing new was learned of it"


def test_what_is_brought_from_before_weighs_less_and_keeps_the_greatest(tmp_path):
    path = str(tmp_path / "k.json")
    long = Kind(peaks=(900, *range(100, 163)), fill=0.5, fills=200, count=64)
    write(path, {"a": Known(time.time(), long)})
    one = Knowledge(path)
    assert one.kinds["a"].peaks == (900, *range(148, 163))
    assert one.kinds["a"].fills == 16
    one.close()
    assert read(path)["a"].kind == long, "nothing new was learned"


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"version": 1}', b'{"version": 1, "kinds": {"x": {"used": "y"}}}', b"[" * 100_000]
)
def test_a_file_that_cannot_be_read_is_set_aside(tmp_path, caplog, content):
    path = tmp_path / "k.json"
    path.write_bytes(content)
    with pytest.raises(LoadkeeperError, match="no file of kinds"):
        read(str(path))
    one = Knowledge(str(path))
    assert one.kinds == {}
    one.offer({"xz": KIND})
    one.close()
    assert set(read(str(path))) == {"xz"}
    assert (tmp_path / "k.json.unreadable").read_bytes() == content
    assert "no file of kinds" in caplog.text


def test_a_file_of_another_version_is_said(tmp_path):
    path = tmp_path / "k.json"
    path.write_text('{"version": 9, "kinds": {}}')
    with pytest.raises(LoadkeeperError, match="version 9"):
        read(str(path))


def test_a_place_that_cannot_be_written_is_said_once_and_stalls_nobody(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(knowledge, "EVERY", 0.02)
    (tmp_path / "file").touch()
    one = Knowledge(str(tmp_path / "file" / "k.json"))
    one.offer({"xz": KIND})
    time.sleep(0.3)
    one.close()
    assert caplog.text.count("cannot be") == 1


def test_forgetting_some_or_all(tmp_path):
    path = str(tmp_path / "k.json")
    write(path, {name: Known(1.0, KIND) for name in "abc"})
    assert forget(path, ["a", "z"]) == ["a"]
    assert set(read(path)) == {"b", "c"}
    assert sorted(forget(path, [])) == ["b", "c"]
    assert read(path) == {}


def test_nodes_that_share_a_home_share_no_file(tmp_path, monkeypatch):
    monkeypatch.setenv("LOADKEEPER_STATE_DIR", str(tmp_path))
    here = keeping.of_this_node()
    assert here == keeping.of_this_node()
    other = SimpleNamespace(nodename=f"{os.uname().nodename}2")
    monkeypatch.setattr(os, "uname", lambda: other)
    there = keeping.of_this_node()
    assert not set(here) & set(there)


def test_what_nodes_left_that_are_gone_does_not_stay(tmp_path):
    for name in ("kinds/old.json", "kinds/new.json", "black-box/old/1.box", "black-box/new/1.box"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    for name in ("kinds/old.json", "black-box/old"):
        os.utime(tmp_path / name, (0, time.time() - keeping.KEPT_FOR - 60))
    keeping.tidy(str(tmp_path))
    assert sorted(path.name for path in tmp_path.glob("*/*")) == ["new", "new.json"]


# -------------------------------------------------------------------------------------------------------- the program

HOLD = "python3 -c 'import time; b = bytearray({} << 20); time.sleep(0.6)'"


def learned(program: Program) -> dict[str, dict]:
    told = json.loads(program.call("kinds", "--json").stdout)
    return {name: figures for node in told.values() for name, figures in node.items()}


def test_the_next_load_manager_knows_what_the_last_one_learned(program):
    assert b"Nothing has been learned yet" in program.call("kinds").stdout
    done = program.call("run", "--kind", "holder", "-j2", HOLD, ":::", "60", "60", "80")
    assert done.returncode == 0, done.stderr
    wait_until(lambda: program.ask() is None, 10, "the load manager stays")
    known = learned(program)["holder"]
    assert known["seen"] == 3
    assert 60 << 20 < known["least"] <= known["most"] < 110 << 20
    assert "holder" in program.call("kinds").stdout.decode()
    program.start("run", "--kind", "holder", "-j1", "sleep", ":::", "20")
    run = wait_until(lambda: (s := program.ask()) and s.runs and s.runs[0].pools and s.runs[0], 10, "no run")
    assert run.pools[0].kind.samples == 3


def test_what_is_forgotten_is_not_written_down_again(program):
    program.call("run", "--kind", "holder", HOLD, ":::", "30")
    program.start("run", "--kind", "other", "sleep", ":::", "20")
    wait_until(lambda: program.ask() is not None, 10, "no load manager")
    done = program.call("kinds", "--forget", "holder")
    assert (done.returncode, done.stdout) == (0, b"forgotten: holder\n")
    time.sleep(2.5)
    assert "holder" not in learned(program)
    again = program.call("kinds", "--forget", "holder")
    assert again.returncode == 2
    assert b"nothing has been learned of holder" in again.stderr


def test_a_killed_load_manager_leaves_what_it_had_learned(program):
    program.start("run", "--kind", "holder", "-j1", HOLD, ":::", *["30"] * 40)
    wait_until(lambda: learned(program).get("holder", {}).get("seen", 0) >= 2, 20, "nothing is learned")
    seen = learned(program)["holder"]["seen"]
    first = program.ask()
    os.kill(first.node.pid, signal.SIGKILL)
    wait_until(lambda: (s := program.ask()) and s.node.pid != first.node.pid and s.runs, 10, "no other one")
    again = wait_until(
        lambda: (s := program.ask()) and s.runs and s.runs[0].pools and s.runs[0].pools[0].kind.samples, 10, "none"
    )
    assert again >= seen
