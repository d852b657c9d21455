"""Power that goes at any moment: every state in which the disk may be then is read, and gone on from.

What was synced is there. Of what was written since, any beginning may be there, its last write cut at any byte."""

import os
import re
import shutil
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from support.program import Program
from support.waiting import until

from loadkeeper.record import joblog as module
from loadkeeper.record.joblog import HEADER, Joblog, Line, Logged
from loadkeeper.record.journal_reader import read_events, read_header, read_outcomes


class Op(NamedTuple):
    """One call that changes a file. ``what``: write, truncate, sync, gone."""

    file: str
    what: str
    place: int = 0  # of a write, -1: at the end; the size of a truncate
    content: bytes = b""


Files = dict[str, bytes]


class State(NamedTuple):
    files: Files  # on disk
    synced: Files  # as they were at the last sync, which must all be there


def applied(files: Files, op: Op, length: int | None = None) -> Files:
    """The files after it; of a write only so many bytes."""
    before = files.get(op.file, b"")
    if op.what == "gone":
        return {name: content for name, content in files.items() if name != op.file}
    if op.what == "truncate":
        return {**files, op.file: before[: op.place].ljust(op.place, b"\0")}
    if op.what == "sync":
        return files
    content = op.content[:length]
    place = len(before) if op.place < 0 else op.place
    return {**files, op.file: before[:place].ljust(place, b"\0") + content + before[place + len(content) :]}


def states(ops: list[Op], step: int = 1) -> Iterator[State]:
    """Every prefix of the calls, each write cut at every ``step``-th byte too."""
    files: Files = {}
    synced: Files = {}
    for op in ops:
        if op.what == "write":
            for length in range(0, len(op.content), step):
                yield State(applied(files, op, length), synced)
        files = applied(files, op)
        if op.what == "sync":
            synced = {**synced, op.file: files.get(op.file, b"")}
        yield State(files, synced)


# ------------------------------------------------------------------------------------------------------- the job log


@pytest.fixture
def recorded(monkeypatch, tmp_path):
    """What job logs do to their files, call by call."""
    ops: list[Op] = []
    real = {name: getattr(os, name) for name in ("write", "fsync", "fdatasync", "ftruncate")}

    def note(descriptor: int, *op) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        if path.startswith(str(tmp_path)) and os.path.isfile(path):
            ops.append(Op("log", *op))

    def write(descriptor, content):
        written = real["write"](descriptor, content[: max(1, len(content) * 2 // 3)])  # disks take what they like
        note(descriptor, "write", -1, bytes(content[:written]))
        return written

    def sync(descriptor):
        real["fsync"](descriptor)
        note(descriptor, "sync")

    def truncate(descriptor, size):
        real["ftruncate"](descriptor, size)
        note(descriptor, "truncate", size)

    for name, wrapped in (("write", write), ("fsync", sync), ("fdatasync", sync), ("ftruncate", truncate)):
        monkeypatch.setattr(module.os, name, wrapped)
    yield ops
    monkeypatch.undo()


def line(seq: int) -> Line:
    return Line(seq, 1_795_517_995.875, 0.25, 8, 0, 0, b"echo 'a\nb' %d" % seq)


def seqs(content: bytes) -> list[int]:
    """Of the whole lines but the header."""
    lines = content.split(b"\n")[:-1]
    return [int(text.split(b"\t")[0]) for text in lines if text != HEADER.rstrip()]


def carried_on(path: str, content: bytes, tasks: range) -> bytes:
    """A run that was cut off so is resumed; its log then."""
    with open(path, "wb") as file:
        file.write(content)
    before = Logged(path)
    log = Joblog.open(path, append=True)
    for task in tasks:
        if task not in before:
            log.add(line(task))
    assert log.close()
    with open(path, "rb") as file:
        return file.read()


def test_every_state_of_a_job_log_is_carried_on(recorded, tmp_path, monkeypatch):
    """Each task has one line in the end; what was synced is not done again, and nothing is refused."""
    tasks = range(1, 25)
    path = str(tmp_path / "log")
    monkeypatch.setattr(module, "SYNC", 0.0)
    with open(path, "wb") as file:
        file.write(HEADER + line(1).text() + line(2).text()[:20])  # an earlier run, cut off
    log = Joblog.open(path, append=True)
    for task in tasks[1:]:
        log.add(line(task))
        assert log.flush()
        if task % 3 == 0:
            monkeypatch.setattr(module, "SYNC", 60.0)
        elif task % 7 == 0:
            monkeypatch.setattr(module, "SYNC", 0.0)
    assert log.close()
    ops = [Op("log", "write", -1, HEADER + line(1).text() + line(2).text()[:20]), Op("log", "sync"), *recorded]
    monkeypatch.undo()
    assert {op.what for op in ops} == {"write", "truncate", "sync"}
    assert ops[-1].what == "sync", "the last line is left to luck"
    seen = set()
    for number, state in enumerate(states(ops)):
        content = state.files.get("log", b"")
        if content in seen:
            continue
        seen.add(content)
        with open(path, "wb") as file:
            file.write(content)
        before = Logged(path)
        told = [seq for seq in tasks if seq in before]
        assert told == seqs(content), "what is there counts, and nothing else"
        assert set(seqs(state.synced.get("log", b""))) <= set(told), "what was synced is done again"
        if number % 19 == 0:
            after = carried_on(str(tmp_path / "again"), content, tasks)
            assert after.startswith(HEADER)
            assert after.count(HEADER) == 1
            assert sorted(seqs(after)) == list(tasks)
    assert len(seen) > 1000


def test_lines_are_synced_though_no_other_comes(recorded, tmp_path):
    """Within a tenth of a second, and the last ones at the end."""
    log = Joblog.open(str(tmp_path / "log"))
    log.add(line(1))
    assert log.flush()
    until(lambda: recorded and recorded[-1].what == "sync" and len(recorded) > 3)
    log.add(line(2))
    assert log.close()
    assert recorded[-1].what == "sync"


def test_a_log_that_begins_anew_is_empty_on_disk_before_anything_starts(recorded, tmp_path):
    """Else a power loss brings back the lines of the run before, and `--resume` passes over what was never done."""
    path = str(tmp_path / "log")
    with open(path, "wb") as file:
        file.write(HEADER + line(1).text())
    log = Joblog.open(path)
    assert [op.what for op in recorded[:2]] == ["truncate", "sync"]
    assert log.close()


def test_what_a_sync_could_not_bring_to_the_disk_is_written_again(tmp_path, monkeypatch):
    """The kernel says EIO once, and takes what it has dropped for clean."""
    path, failed = str(tmp_path / "log"), []
    real = os.fdatasync

    def sync(descriptor):
        if len(failed) < 2 and os.fstat(descriptor).st_size > len(HEADER):
            failed.append(os.fstat(descriptor).st_size)
            raise OSError(5, "Input/output error")
        real(descriptor)

    monkeypatch.setattr(module.os, "fdatasync", sync)
    log = Joblog.open(path)
    for task in (1, 2, 3):
        log.add(line(task))
    assert log.close()
    with open(path, "rb") as file:
        assert file.read() == HEADER + b"".join(line(task).text() for task in (1, 2, 3))
    assert failed


def test_a_block_that_never_reached_the_disk_is_done_again(tmp_path):
    """Some file systems bring blocks to the disk in their own order: the missing one reads as zeros."""
    whole = HEADER + b"".join(line(task).text() for task in range(1, 200))
    path = str(tmp_path / "log")
    for begin in range(4096, len(whole) - 2048, 997):
        with open(path, "wb") as file:
            file.write(whole[:begin] + bytes(1024) + whole[begin + 1024 :])
        assert 175 < sum(seq in Logged(path) for seq in range(1, 200)) < 199


# ------------------------------------------------------------------------------------------------------ the whole run


CALL = re.compile(r"^(write|pwrite64|fsync|fdatasync|ftruncate|unlink)\((.*)\) += (-?\d+)")
TRACED = "trace=write,pwrite64,fsync,fdatasync,ftruncate,unlink"
COMMAND = "echo {} >> trace; exit $(( {} % 5 == 0 ))"
TASKS = range(1, 21)


def bytes_of(quoted: str) -> bytes:
    return bytes.fromhex(quoted.replace("\\x", ""))


def calls(text: str) -> Iterator[str]:
    """Whole calls, those that strace tells in two parts too, at their end."""
    begun: dict[str, str] = {}
    for row in text.splitlines():
        process, _, call = row.partition(" ")
        call = call.strip()
        if call.endswith("<unfinished ...>"):
            begun[process] = call.removesuffix("<unfinished ...>").rstrip()
        elif call.startswith("<..."):
            yield begun.pop(process, "") + call.partition("resumed>")[2]
        else:
            yield call


def op_of(call: str) -> Op | None:
    """One of the files that matter."""
    found = CALL.match(call)
    if found is None or found[3] == "-1":
        return None
    name, arguments, result = found.groups()
    where, *rest = arguments.split(", ")
    file = os.path.basename(bytes_of("".join(re.findall(r"\\x[0-9a-f]{2}", where))).decode())
    if file not in ("log", "journal.db", "journal.db-wal", "journal.db-journal"):
        return None
    if name == "unlink":
        return Op(file, "gone")
    if name in ("fsync", "fdatasync"):
        return Op(file, "sync")
    if name == "ftruncate":
        return Op(file, "truncate", int(rest[0]))
    content = bytes_of(rest[0].strip('"'))[: int(result)]
    return Op(file, "write", int(rest[2]) if name == "pwrite64" else -1, content)


@pytest.fixture(scope="module")
def traced(tmp_path_factory) -> list[Op]:
    """Every call of a real run that changes its job log or its journal."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    folder = tmp_path_factory.mktemp("traced")
    program = Program(folder / "p", [strace, "-f", "-qq", "-xx", "-y", "-s", "100000", "-e", TRACED, "-o", "calls"])
    words = ("--cpu", "off", "-j", "2", "--delay", "0.03", "--joblog", "log", COMMAND, ":::", *map(str, TASKS))
    done = program.call("run", *words, cwd=folder)
    if b"ptrace" in done.stderr:
        pytest.skip("strace may not trace here")
    assert done.returncode == 1, done.stderr
    program.prefix = []
    program.close()
    ops = [op for call in calls((folder / "calls").read_text(errors="replace")) if (op := op_of(call)) is not None]
    assert {op.file for op in ops} >= {"log", "journal.db", "journal.db-wal"}
    return ops


def laid_out(files: Files, folder) -> str:
    """The journal's files, as a reader finds them after the power is back."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return str(folder / "journal.db")


def fates(files: Files, folder) -> list[tuple[int, str]]:
    path = laid_out(files, folder)
    if not files.get("journal.db"):
        return []
    list(read_events(path))
    found = [(fate.task, fate.outcome.value) for fate in read_outcomes(path)]
    if found:
        assert read_header(path).command == COMMAND
    return found


def test_every_state_of_a_journal_is_read(traced, tmp_path):
    """Of the fates there is a beginning: all that were committed, none twice, none cut."""
    ops = [op for op in traced if op.file != "log"]
    whole = fates(list(states(ops))[-1].files, tmp_path / "j")
    assert sorted(task for task, _ in whole) == list(TASKS)
    must, synced_then, most = 0, None, 0
    for state in states(ops, step=2900):
        if state.synced is not synced_then:
            synced_then, must = state.synced, len(fates(state.files, tmp_path / "j"))
        found = fates(state.files, tmp_path / "j")
        assert found == whole[: len(found)]
        assert len(found) >= must, "what was committed is gone"
        most = max(most, len(found))
    assert most == len(TASKS)


def resumed(program, folder, content: bytes) -> tuple[set[int], list[int]]:
    """What counted as done in this log, and what `--resume` did."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "log").write_bytes(content)
    done = program.call(
        "run", "--cpu", "off", "--joblog", "log", "--resume", COMMAND, ":::", *map(str, TASKS), cwd=folder
    )
    assert done.returncode in (0, 1), done.stderr
    trace = folder / "trace"
    did = sorted(map(int, trace.read_text().split())) if trace.exists() else []
    assert sorted(seqs((folder / "log").read_bytes())) == list(TASKS)
    return set(seqs(content)), did


def resume_some(program, ops: list[Op], folder, many: int) -> None:
    logs = [state for state in states([op for op in ops if op.file == "log"]) if "log" in state.files]
    for state in logs[:: len(logs) // many][: many - 1] + logs[-1:]:
        before, did = resumed(program, folder, state.files["log"])
        assert did == sorted(set(TASKS) - before)
        assert not set(seqs(state.synced.get("log", b""))) & set(did), "what was told as done is done again"


def test_a_run_that_lost_power_does_what_was_not_done(lasting_program, traced, tmp_path):
    resume_some(lasting_program, traced, tmp_path / "again", 6)


@pytest.mark.long
def test_a_run_that_lost_power_does_what_was_not_done_at_many_moments(lasting_program, traced, tmp_path):
    resume_some(lasting_program, traced, tmp_path / "again", 60)
