"""The black box: what was decided is decided again, and what would be decided otherwise is named."""

import json
import os
import random
import signal
import time
import zlib
from pathlib import Path

import msgspec
import pytest
from support.looks import seen
from support.program import wait_until
from support.random_worlds import random_world

from loadkeeper.decide import Memory
from loadkeeper.errors import LoadkeeperError
from loadkeeper.load_manager import black_box
from loadkeeper.load_manager.black_box import BlackBox, Looked, Remembered, read, replay
from loadkeeper.model import Decision, Seen
from loadkeeper.record import boxes
from loadkeeper.simulate import simulate


def play(directory: str, seed: int) -> int:
    """A random world whose looks are kept; how many they are."""
    box, looks = BlackBox(directory), 0

    def watch(look: Seen, before: Memory, decision: Decision, _after: Memory) -> None:
        nonlocal looks
        looks += bool(look.pools or look.workers or look.exits)
        box.note(before, look, decision, 1e9)
        while box._box._writer.waiting > boxes.WAITING // 2:
            time.sleep(0.01)

    simulate(random_world(seed, 4), seed, watch=watch)
    box.close()
    return looks


@pytest.mark.parametrize("seed", range(4))
def test_a_history_is_decided_the_same_again(tmp_path, seed):
    looks = play(str(tmp_path), seed)
    told = replay(read(str(tmp_path)))
    assert (told.looks, told.skipped, told.differences) == (looks, 0, [])


def test_what_would_be_decided_otherwise_is_named(tmp_path, monkeypatch):
    play(str(tmp_path), 1)
    entries = list(read(str(tmp_path)))
    pool = next(name for one in entries if isinstance(one, Looked) for name, p in one.decision.pools.items() if p.slots)
    real = black_box.decide

    def stricter(look, memory):
        decision, after = real(look, memory)
        pools = {name: type(p)(slots=0, why=p.why) for name, p in decision.pools.items()}
        return type(decision)(**{f: getattr(decision, f) for f in decision.__struct_fields__} | {"pools": pools}), after

    monkeypatch.setattr(black_box, "decide", stricter)
    told = replay(iter(entries))
    assert told.differences
    assert f"pool {pool} had " in told.differences[0].what
    assert "would have 0" in told.differences[0].what


def test_a_replay_begins_at_a_memory(tmp_path):
    play(str(tmp_path), 2)
    entries = list(read(str(tmp_path)))
    assert isinstance(entries[0], Remembered)
    told = replay(iter(entries[1:]))
    assert told.skipped > 0
    assert told.differences == []


def test_a_box_that_was_cut_off_anywhere_gives_what_is_whole(tmp_path):
    play(str(tmp_path), 3)
    (path,) = tmp_path.glob("*.box")
    whole = path.read_bytes()
    cuts = random.Random(1)
    for _ in range(40):
        path.write_bytes(whole[: cuts.randrange(len(boxes.MAGIC), len(whole))])
        assert replay(read(str(tmp_path))).differences == []
    path.write_bytes(b"something else")
    with pytest.raises(LoadkeeperError, match="no box of this version"):
        list(read(str(tmp_path)))


def test_files_are_rotated_and_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(boxes, "FILE_BYTES", 20_000)
    monkeypatch.setattr(boxes, "MOST_BYTES", 100_000)
    monkeypatch.setattr(boxes, "PACE", 0.001)
    box = boxes.Box(str(tmp_path))
    for _ in range(400):
        assert box.put(os.urandom(2000))
        time.sleep(0.001)
    box.close(5.0)
    files = list(tmp_path.glob("*.box"))
    assert len(files) > 3
    assert sum(path.stat().st_size for path in files) < 160_000
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in files)


def test_a_disk_that_hangs_costs_looks_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setattr(boxes, "WAITING", 50_000)
    monkeypatch.setattr(boxes._Sink, "write", lambda *_: time.sleep(30))
    box = boxes.Box(str(tmp_path))
    began = time.monotonic()
    kept = sum(box.put(b"x" * 1000) for _ in range(200))
    assert kept == pytest.approx(51, abs=2)
    assert box.dropped == 200 - kept
    box.close(0.1)
    assert time.monotonic() - began < 5


def test_after_a_gap_a_whole_memory_comes_first(tmp_path, monkeypatch):
    box = BlackBox(str(tmp_path))
    kept: list[bytes] = []
    answers = iter([True, True, False, True, True, True])
    monkeypatch.setattr(box._box, "put", lambda record: kept.append(record) or next(answers))
    for now in (1.0, 2.0, 3.0):
        box.note(Memory(), seen(now, 1000.0), Decision(pools={}, paused={}, ending={}), 0.0)
    assert [b"memory" in record[:40] for record in kept] == [True, False, False, True, False]
    box.close()


# -------------------------------------------------------------------------------------------------------- the program


def test_a_real_run_is_decided_the_same_again(program):
    hold = "python3 -c 'import time; b = bytearray(40 << 20); time.sleep(0.4)'"
    done = program.call("run", "--cpu", "off", "--name", "past", "-j4", f"{hold} {{}}", ":::", *"abcdefgh")
    assert done.returncode == 0, done.stderr
    wait_until(lambda: program.ask() is None, 10, "the load manager stays")
    again = program.call("replay", "past")
    assert again.returncode == 0, again.stdout
    assert b"all of them decided the same" in again.stdout
    told = json.loads(program.call("replay", "--json").stdout)
    assert told["looks"] > 5
    assert told["differences"] == []
    unknown = program.call("replay", "nobody")
    assert unknown.returncode == 2


def test_a_killed_load_manager_leaves_its_box(program):
    program.start("run", "--cpu", "off", "--name", "long", "sleep", ":::", "30")
    node = wait_until(lambda: (s := program.ask()) and s.runs and s.node, 10, "no load manager")
    time.sleep(1.5)
    os.kill(node.pid, signal.SIGKILL)
    told = wait_until(
        lambda: (t := json.loads(program.call("replay", "--json").stdout)) and t["looks"] and t, 10, "none"
    )
    assert told["differences"] == []
    assert list(Path(program.environment["XDG_STATE_HOME"]).glob("loadkeeper/black-box/*/*.box"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", None),  # made, and not written to yet
        (b"something else", "is no box of this version"),
        (boxes.MAGIC + b"\x00\x00\x00\x05abcde", None),  # cut off in its first frame
        (boxes.MAGIC + b"\xff\xff\xff\xff", None),
        ("frame", "was written by another version"),
        ("future", "was written by another version"),
    ],
)
def test_a_box_that_is_none_is_one_clear_error(program, content, said):
    """`replay`, `replay --with` and `explain --at` say which, and nothing else happens."""
    assert program.call("run", "--cpu", "off", "--name", "past", "sleep", ":::", "0.2").returncode == 0
    wait_until(lambda: program.ask() is None, 10, "the load manager stays")
    (box,) = (program.root / "s").rglob("black-box/*/*.box")
    if isinstance(content, str):
        record = b"\xc1\xc1" if content == "frame" else msgspec.msgpack.encode({"type": "thought", "seen": 1})
        body = zlib.compress(len(record).to_bytes(4, "big") + record)
        content = boxes.MAGIC + len(body).to_bytes(4, "big") + body
    box.write_bytes(content)
    for words in (["replay", "past"], ["replay", "past", "--with", "cpus=2"], ["explain", "past", "--at", "+1s"]):
        done = program.call(*words)
        assert done.returncode == 2, done.stdout
        told = done.stderr.decode()
        assert len(told.splitlines()) == 1
        assert (said or "is kept") in told
        assert str(box) in told or str(box.parent) in told or said is None


def test_looks_at_one_run_come_with_what_was_remembered_before_each(tmp_path, monkeypatch):
    """The others are read and, behind the last memory before it, decided again; no further back."""
    monkeypatch.setattr(black_box, "EVERY", 5.0)
    play(str(tmp_path), 8)
    entries = list(read(str(tmp_path)))
    memory, whole = None, []
    for entry in entries:
        if isinstance(entry, Remembered):
            memory = entry.memory
            continue
        whole.append((entry, memory))
        _, memory = black_box.decide(entry.seen, memory)
    runs = {pool.run for look, _ in whole for pool in look.seen.pools}
    assert len(runs) > 1
    for run in runs:
        mine = [(look, before) for look, before in whole if black_box.is_of(run, look.seen)]
        assert list(black_box.looks(iter(entries), run)) == mine
    decided = []
    monkeypatch.setattr(black_box, "decide", lambda *_: decided.append(1))
    assert list(black_box.looks(iter(entries), "nobody")) == []
    assert not decided
