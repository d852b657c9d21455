"""From a template and a value to what is executed."""

import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadkeeper.sources.base import Task
from loadkeeper.sources.template import Template, quote


def filled(*words: bytes, value: bytes = b"v w", number: int = 7) -> list[bytes]:
    return Template.parse(words, valued=True).arguments(Task(number, value))


def test_placeholders_are_filled_everywhere_and_meet_no_shell():
    assert filled(b"cp", b"{}", b"out/{}.{#}") == [b"cp", b"v w", b"out/v w.7"]


def test_the_value_is_appended_where_no_placeholder_is():
    assert filled(b"gzip", b"-9") == [b"gzip", b"-9", b"v w"]
    assert Template.parse([b"./worker"], valued=False).arguments(Task(1)) == [b"./worker"]


def test_one_word_with_a_blank_goes_to_the_shell_with_the_value_quoted():
    assert filled(b"wc -l < {}") == [b"/bin/sh", b"-c", b"wc -l < 'v w'"]
    assert filled(b"echo hello") == [b"/bin/sh", b"-c", b"echo hello 'v w'"]
    assert filled(b"echo") == [b"echo", b"v w"]


@given(st.binary().filter(lambda value: b"\0" not in value))
def test_a_shell_gets_every_value_back_unchanged(value):
    line = filled(b"printf %s {}", value=value)[2]
    assert subprocess.run([b"/bin/sh", b"-c", line], stdout=subprocess.PIPE, check=True).stdout == value


@pytest.mark.skipif(shutil.which("parallel") is None, reason="GNU parallel is not installed (apt install parallel)")
@pytest.mark.parametrize("value", ["plain-1_2.3/x+", "a b", "it's", "''", "'", "a'", "$HOME `x` \\", "*", "é", "#", ""])
def test_quoting_is_gnu_parallels(value):
    dry = subprocess.run(
        ["parallel", "--will-cite", "--dry-run", "echo {}", ":::", value], stdout=subprocess.PIPE, check=True
    )
    assert b"echo " + quote(value.encode()) == dry.stdout.rstrip(b"\n")


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ([b"/usr/bin/gzip", b"-9"], "gzip"),
        ([b"python3.11", b"-u", b"work/train.py", b"x"], "train.py"),
        ([b"php", b"worker.php"], "worker.php"),
        ([b"sh", b"-c", b"sleep 1; echo {}"], "sleep 1; echo {}"),
        ([b"sort {} | uniq -c"], "sort {} | uniq -c"),
    ],
)
def test_the_kind_says_what_resembles_what(words, kind):
    assert Template.parse(words, valued=True).kind == kind
