"""Kept workers as their page has them, and what `tasks` does otherwise."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.clients import PHP
from support.pages import blocks

from loadkeeper import Queue
from loadkeeper.process_manager.line import Line, Said, Verb, order, understood
from loadkeeper.sources.base import Task

PAGE = Path(__file__).parents[1] / "docs" / "kept-workers.md"


def by_hand(code, stdin=b"", **environment):
    return subprocess.run(
        [sys.executable, "-c", code], input=stdin, capture_output=True, env={**os.environ, **environment}, check=False
    )


def served(program, tmp_path, payloads, *words):
    """What comes back for each payload."""
    url = f"spool:{tmp_path}/queue"
    with Queue(url) as queue:
        keys = queue.put(*payloads, result=True)
        told = program.call("run", "--queue", url, "--until-empty", "--kept", *words, cwd=tmp_path)
        assert told.returncode == 0, told.stderr
        return [queue.result(key, 1) for key in keys]


# ----------------------------------------------------------------------------------------------------------- the page


def test_the_worker_in_python(program, tmp_path):
    (tmp_path / "w.py").write_text(blocks(PAGE)[0].code)
    bodies = [json.dumps({"pages": [1, 2]}), json.dumps({"pages": []})]
    assert served(program, tmp_path, bodies, sys.executable, "w.py") == [b'{"pages": 2}', b'{"pages": 0}']


@pytest.mark.skipif(shutil.which("php") is None, reason="php is not installed")
def test_the_worker_in_php(program, tmp_path):
    shutil.copy(PHP, tmp_path)
    (tmp_path / "w.php").write_text(blocks(PAGE, "php")[0].code)
    assert served(program, tmp_path, ["a", "b c", "ä"], "php", "w.php") == [b"A", b"B C", "ä".encode()]


def test_the_worker_in_shell(program, tmp_path):
    (tmp_path / "w.sh").write_text(blocks(PAGE, "sh")[0].code)
    assert served(program, tmp_path, ["hello", "two words"], "sh", "w.sh") == [b"HELLO", b"TWO WORDS"]


# -------------------------------------------------------------------------------------------------------------- tasks


def test_by_hand_a_task_is_a_line():
    code = "from loadkeeper.worker import tasks\nfor t in tasks(): print(t.number, t.text); t.progress(0.5); t.done(1)"
    assert by_hand(code, b"a\nb c").stdout == b"1 a\n2 b c\n"


def test_a_worker_that_is_not_kept_says_so():
    told = by_hand("from loadkeeper.worker import tasks\nfor t in tasks(): pass", LOADKEEPER_WORKER="r.1")
    assert told.returncode == 1
    assert b"--kept" in told.stderr
    told = by_hand("from loadkeeper.worker import tasks\nfor t in tasks(): pass", LOADKEEPER_WORKER_TASKS="9")
    assert b"version 9" in told.stderr


def test_what_is_wrong_is_said_at_once():
    code = (
        "from loadkeeper.worker import tasks\n"
        "for t in tasks():\n"
        "    for wrong in (lambda: t.progress(2), lambda: (t.done(), t.done()), lambda: t.body):\n"
        "        try: wrong()\n"
        "        except ValueError as error: print(error)\n"
    )
    lines = by_hand(code, b"{").stdout.splitlines()
    assert len(lines) == 3
    assert b"from 0 to 1" in lines[0]
    assert b"answered already" in lines[1]


def test_children_of_a_kept_worker_read_nothing_of_its_tasks(program, tmp_path):
    (tmp_path / "w.py").write_text(
        "import subprocess\nfrom loadkeeper.worker import tasks\n"
        "for t in tasks(): t.done(subprocess.run(['cat'], capture_output=True).stdout + t.payload)\n"
    )
    assert served(program, tmp_path, ["a", "b", "c"], "-j", "1", sys.executable, "w.py") == [b"a", b"b", b"c"]


def test_results_and_payloads_of_any_bytes_and_size(program, tmp_path):
    (tmp_path / "w.py").write_text("from loadkeeper.worker import tasks\nfor t in tasks(): t.done(t.payload)\n")
    payloads = [bytes(range(256)), b"", b"\n" * 5000, os.urandom(5 << 20)]
    assert served(program, tmp_path, payloads, sys.executable, "w.py") == payloads


# ------------------------------------------------------------------------------------------------------- the protocol


def test_an_order_names_number_attempt_key_and_payload():
    task = Task(7, (b"hello",), attempts=2, key="a b")
    assert order(task) == b"loadkeeper task 7 2 a+b aGVsbG8=\n"
    assert order(Task(8, (b"",), attempts=1)) == b"loadkeeper task 8 1 - -\n"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"loadkeeper done 7", Said(Verb.DONE, 7, [])),
        (b"loadkeeper failed 7 bm8=", Said(Verb.FAILED, 7, [b"bm8="])),
        (b"loadkeeper progress 7 0.5 page  12", Said(Verb.PROGRESS, 7, [b"0.5", b"page", b"12"])),
    ],
)
def test_answers(line, said):
    assert understood(line) == said


@pytest.mark.parametrize(
    "line", [b"", b"done 7", b"loadkeeper done", b"loadkeeper done x", b"loadkeeper jump 7", b"\xff\xfe loadkeeper"]
)
def test_what_is_no_answer(line):
    with pytest.raises(ValueError, match="begins with"):
        understood(line)


@pytest.mark.parametrize("line", [b"loadkeeper done 7 !!", b"loadkeeper later 7 soon", b"loadkeeper progress 7 2"])
def test_answers_that_make_no_sense(line):
    said = understood(line)
    with pytest.raises(ValueError, match=r"."):
        _ = (said.content, said.seconds, said.share)


def test_lines_come_whole_and_the_end_is_told():
    line = Line()
    line.theirs.sendall(b"one\ntw")
    assert list(line.lines()) == [b"one"]
    line.theirs.sendall(b"o\r\n")
    assert list(line.lines()) == [b"two"]
    line.theirs.close()
    with pytest.raises(EOFError):
        list(line.lines())
    line.close()
