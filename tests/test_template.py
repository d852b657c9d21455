"""From a template and a value to what is executed."""

import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadkeeper.sources.base import Task
from loadkeeper.sources.template import Template, quote


def filled(*words: bytes, value: bytes = b"v w", number: int = 7) -> list[bytes]:
    return Template.parse(words, valued=True).arguments(Task(number, (value,)))


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


# ------------------------------------------------------------------------------------------------------ several values

TWO = Task(7, (b"a/b.c", b"d e"), slot=3)


def test_values_have_places_from_both_ends():
    template = Template.parse([b"cmd", b"{1}", b"{2}", b"{-1}", b"{1.}", b"{1/}", b"{1//}", b"{1/.}"], valued=True)
    assert template.arguments(TWO) == [b"cmd", b"a/b.c", b"d e", b"d e", b"a/b", b"b.c", b"a", b"b"]


def test_all_values_are_arguments_of_their_own():
    assert Template.parse([b"cmd"], valued=True).arguments(TWO) == [b"cmd", b"a/b.c", b"d e"]
    assert Template.parse([b"cmd", b"x{}y"], valued=True).arguments(TWO) == [b"cmd", b"xa/b.c", b"d ey"]


def test_a_place_that_has_no_value_is_no_argument_and_an_empty_value_is_one():
    template = Template.parse([b"cmd", b"{3}", b"-{3}-", b"{1}"], valued=True)
    assert template.arguments(Task(1, (b"",))) == [b"cmd", b"--", b""]


def test_numbers_of_task_and_slot():
    assert Template.parse([b"cmd", b"{#}.{%}"], valued=True).arguments(TWO) == [b"cmd", b"7.3"]


def test_what_looks_like_a_placeholder_and_is_none_stays():
    words = [b"cmd", b"{0}", b"{x}", b"{1,}", b"${HOME}", b"{.1}"]
    assert Template.parse(words, valued=False).arguments(TWO) == words


def test_without_words_the_values_are_commands_for_the_shell():
    template = Template.parse([], valued=True)
    assert template.arguments(Task(1, (b"echo a | tr a b",))) == [b"/bin/sh", b"-c", b"echo a | tr a b"]
    assert (template.kind, template.shown) == ("commands", "commands")


def test_words_are_one_line_where_that_is_wanted():
    template = Template.parse([b"echo", b"$HOME", b"{}"], valued=True, shell=True)
    assert template.arguments(Task(1, (b"a b",))) == [b"/bin/sh", b"-c", b"echo $HOME 'a b'"]


def test_a_tag_is_not_quoted():
    assert Template.parse([b"cmd"], valued=True).text_of(b"{1}: {#}").text(TWO) == b"a/b.c: 7"
