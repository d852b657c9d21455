"""Beside GNU parallel itself: the same words give the same output and exit code.

What differs on purpose is in docs/parallel.md."""

import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    shutil.which("parallel") is None, reason="GNU parallel is not installed (apt-get install parallel)"
)
LIKE_THEM = ("--cpu", "off", "--quiet", "--exit", "parallel")
"""Options that make a run the same as theirs: no load decides, nothing but output, their exit codes."""

PATHS = ["/d/e.f/x.tar.gz", "plain", "dir/", "/", "a//b", "/x", ".x", "a.", "a.b/c"]
ROWS = [
    # values, and what stands for them
    ["-k", "echo", ":::", "a", "b c", "d'e", "*", "$HOME", ""],
    ["-k", "echo {} {}", ":::", "a  b", "$(true)", '"'],
    ["-k", "echo", "{.}", "{/}", "{//}", "{/.}", ":::", *PATHS],
    ["-k", "echo {#} {1.} {2/} {-1} {3}", ":::", "a.b", ":::", "c/d", "e"],
    ["-k", "echo", "x{}y", "{1}-{2}", ":::", "a", "b", ":::", "1", "2"],
    ["-k", "echo", "{x}", "{=}", "{}}", "{1", ":::", "a"],
    ["-k", "echo", "{3}", "{1}", ":::", "a"],
    ["-k", "-I", ",,", "echo ,, {} {.} {1} {1.} ,,x", ":::", "a.b", ":::", "c"],
    ["-k", "-I%", "echo", "%", "x%y", "{}", ":::", "a", "b c"],
    ["-k", "--header", ":", "echo {f1} {2} {f2.} {f3}", ":::", "f1", "A", "B", ":::", "f2", "C.d"],
    ["-k", "-N2", "echo", "{}", "{1}", "{2}", "{-1}", ":::", "a", "b c", "d"],
    ["-k", "-N2", "--tag", "echo", ":::", "a", "b", "c"],
    ["-k", "-n2", "-a", "three", "echo"],
    ["-k", "-q", "echo", "a  b", "$HOME", "{}", ":::", "*"],
    # several inputs
    ["-k", "echo", ":::", "a", "b", ":::", "1", "2", ":::", "x"],
    ["-k", "echo", ":::", "a", "b", "c", ":::+", "1", "2"],
    ["-k", "echo", ":::", "a", "b", ":::+", "1", "2", ":::", "X", "Y"],
    ["-k", "echo", "::::", "three", "two"],
    ["-k", "echo", "::::", "three", "::::+", "two"],
    ["-k", "echo", ":::", "a", "::::", "two"],
    ["-k", "-a", "three", "-a", "two", "echo"],
    ["-k", "-a", "three", "echo", "{1}", "{2}", ":::", "a", "b"],
    ["-k", "--link", "echo", ":::", "a", "b", "c", ":::", "1", "2", ":::", "x"],
    ["-k", "--link", "echo", ":::", "a", "b", ":::+", "1", ":::", "x", "y", "z"],
    # how files are cut
    ["-k", "-r", "-a", "gaps", "echo", "{#}x{}"],
    ["-k", "-0", "-a", "nul", "echo"],
    ["-k", "-d", ",", "-a", "commas", "echo"],
    ["-k", "-d", "\\377", "-a", "bytes", "echo"],
    ["-k", "-d", "\\054", "-a", "commas", "echo"],
    ["-k", "--colsep", ",", "-a", "table", "echo {2} {1}; echo {}"],
    ["-k", "--colsep", r"\s*,\s*", "-a", "table", "echo", "{2.}", "{1/}"],
    # commands as values
    ["-k", ":::", "echo a", "echo b | tr b c", "exit 3"],
    ["-k", "-a", "commands"],
    # output
    ["-k", "sleep 0.{}; echo {}", ":::", "3", "1", "2"],
    ["-k", "--line-buffer", "echo {}; sleep 0.{}; echo {}", ":::", "3", "1", "2"],
    ["-k", "--tag", "printf 'x\\n\\ny'", ":::", "a b", "c"],
    ["-k", "--tag", "echo", ":::", "a", "b", ":::", "1"],
    ["-k", "--tagstring", "{1}-{2}:{#}", "echo", ":::", "a", "b", ":::", "1"],
    ["-k", "--dry-run", "echo {} > {.}.out", ":::", "a b.c", "d'e", "", "*"],
    ["-k", "--dry-run", "gzip", "-9", ":::", "a b", "c"],
    # halt, and exit codes
    ["-j1", "exit {}", ":::", "3", "0", "4"],
    ["-j1", "kill -9 $$; true", ":::", "1", "2"],
    ["-j1", "--halt", "now,fail=1", "echo {}; exit {}", ":::", "0", "3", "4"],
    ["-j1", "--halt", "2", "echo {}; exit {}", ":::", "0", "3", "4"],
    ["-j1", "--halt", "1", "echo {}; exit {}", ":::", "0", "3", "4"],
    ["-j1", "--halt", "soon,fail=2", "echo {}; exit {}", ":::", "3", "4", "0"],
    ["-j1", "--halt", "soon,fail=50%", "echo {}; exit {}", ":::", "0", "3", "4", "5"],
    ["-j1", "--halt", "now,success=1", "echo {}; exit {}", ":::", "3", "0", "4"],
    ["-j1", "--halt", "now,done=2", "echo {}; exit {}", ":::", "3", "0", "4"],
    ["-j1", "--halt", "now,fail=1", "kill -9 $$", ":::", "1", "2"],
    ["-j1", "--halt", "never", "echo {}; exit {}", ":::", "3", "0"],
    ["-j2", "--halt", "now,fail=1", "sleep {}; exit 5", ":::", "0.3", "30"],
    ["-j2", "--halt", "soon,fail=1", "sleep {}; echo {}; exit 5", ":::", "0.1", "0.5", "0.2"],
    # what a worker is told
    ["-j1", "echo {#} {%} $PARALLEL_SEQ $PARALLEL_JOBSLOT", ":::", "a", "b", "c"],
    # retries and time
    ["-j1", "--retries", "3", "echo x >> tries{#}; cat tries{#}; test $(wc -l < tries{#}) = 2", ":::", "a"],
    ["-j2", "--timeout", "1", "sleep {}; echo {}", ":::", "0.1", "30"],
]


def theirs(folder: Path, words: list[str]) -> subprocess.CompletedProcess[bytes]:
    command = ["parallel", "--will-cite", *words]
    return subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, check=False)


@pytest.fixture
def here(tmp_path):
    """Two directories with the same files."""
    for name in ("theirs", "ours"):
        made = tmp_path / name
        made.mkdir()
        (made / "three").write_text("1\n2\n3\n")
        (made / "bytes").write_bytes(b"a\xffb\xff")
        (made / "gaps").write_text("\n1\n\n2\n")
        (made / "two").write_text("x y\nz")
        (made / "nul").write_bytes(b"a\nb\0c\0")
        (made / "commas").write_text("a,b c,d")
        (made / "table").write_text("a b, c\nd.e ,f/g.h\n")
        (made / "commands").write_text("echo one\necho 'two  two'\n")
    return tmp_path


@pytest.mark.parametrize("words", ROWS, ids=[" ".join(row) for row in ROWS])
def test_the_same_words_do_the_same(lasting_program, here, words):
    expected = theirs(here / "theirs", words)
    ours = lasting_program.call("run", *LIKE_THEM, *words, cwd=here / "ours")
    assert (ours.stdout, ours.returncode) == (expected.stdout, expected.returncode), ours.stderr.decode()


def test_the_job_log_has_their_columns(program, here):
    words = ["-j1", "--joblog", "log", "exit {}", ":::", "0", "3", "a b"]
    theirs(here / "theirs", words)
    program.call("run", *LIKE_THEM, *words, cwd=here / "ours")

    def lines(name: str) -> list[list[str]]:
        """Without the times, which differ."""
        rows = [line.split("\t") for line in (here / name / "log").read_text().splitlines()]
        return [[*row[:2], *row[4:]] for row in rows]

    assert lines("ours") == lines("theirs")
