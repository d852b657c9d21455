"""Values that break scripts arrive unchanged, by every way in and in every place; beside GNU parallel too."""

import shutil
import subprocess
import sys

import pytest

VALUES = [
    b"two words",
    b" \t edges \t ",
    b"line\nfeed",
    b"\n",
    b"\\n \\0 \\",
    b"'single' \"double\" `tick`",
    b"$HOME $(echo x) ${PATH}",
    b"* ? [a-z] ~ ~root {a,b} !!",
    b"; rm -rf / & | < > # (x)",
    b"-n",
    b"--help",
    b"-",
    b"{} {.} {1} {#}",
    b"\xff\xfe\x80 no UTF-8",
    "ünï \N{SNOWMAN} \u202e".encode(),
    b"\r\x1b[31m\x07\x7f",
    b"=x y=z",
    b"",
    b"x" * 100 * 1024,
]
"""No NUL: no argument of a program can hold one."""
BACK = "import os, sys; sys.stdout.buffer.write(b'\\0'.join(map(os.fsencode, sys.argv[1:])) + b'\\n\\0\\n')"
"""Gives its arguments back, between marks."""


def arrived(out: bytes) -> list[bytes]:
    return out.split(b"\n\0\n")[:-1]


@pytest.mark.parametrize("way", ["arguments", "stdin", "file"])
@pytest.mark.parametrize("shell", [False, True], ids=["argv", "shell"])
def test_by_every_way_in(program, tmp_path, way, shell):
    command = [f"{sys.executable} -c {_quoted(BACK)} {{}}"] if shell else [sys.executable, "-c", BACK, "{}"]
    listed = b"".join(value + b"\0" for value in VALUES)
    (tmp_path / "values").write_bytes(listed)
    words: list[str | bytes] = {
        "arguments": [*command, ":::", *VALUES],
        "stdin": ["-0", *command],
        "file": ["-0", "-a", str(tmp_path / "values"), *command],
    }[way]
    done = program.call("run", "--cpu", "off", "-k", *words, stdin=listed if way == "stdin" else b"")
    assert arrived(done.stdout) == VALUES, done.stderr
    assert done.returncode == 0


def test_in_several_places_and_from_several_inputs(program):
    odd = [b"a'b", b"-x\n", b"\xff*"]
    done = program.call(
        "run", "--cpu", "off", "-k", sys.executable, "-c", BACK, "{2}={1}", "{1}", "x{}", ":::", *odd, ":::", b"$(y)"
    )
    expected = [b"\0".join([b"$(y)=" + value, value, b"x" + value, b"$(y)"]) for value in odd]
    assert arrived(done.stdout) == expected


def test_in_tags_logs_results_and_events_nothing_is_mistaken_for_structure(program, tmp_path):
    few = [value for value in VALUES if len(value) < 100]
    kept = ["--joblog", str(tmp_path / "log"), "--results", str(tmp_path / "results")]
    done = program.call("run", "--cpu", "off", *kept, "printf", "%s", ":::", *few)
    assert done.returncode == 0, done.stderr
    rows = (tmp_path / "log").read_bytes().split(b"\n")[1:-1]
    assert [int(row.split(b"\t")[0]) for row in sorted(rows, key=lambda row: int(row.split(b"\t")[0]))] == list(
        range(1, len(few) + 1)
    )
    assert {row.split(b"\t")[6] for row in rows} == {b"0"}
    contents = sorted(path.read_bytes() for path in (tmp_path / "results").rglob("stdout"))
    assert contents == sorted(few)


def test_people_are_shown_no_control_characters(program):
    done = program.call("run", "--cpu", "off", "sh", "-c", "exit 3", "#", ":::", *(v for v in VALUES if len(v) < 100))
    assert done.returncode == 1
    assert all(line.decode().isprintable() for line in done.stderr.splitlines()), done.stderr


@pytest.mark.skipif(shutil.which("parallel") is None, reason="GNU parallel is not installed")
@pytest.mark.parametrize("words", [["printf", "%s\\n"], ["printf '<%s>\\n' {} {.} {/}"]], ids=["words", "line"])
def test_as_in_gnu_parallel(program, words):
    """But for the newline alone and 100 KiB, which its own limit of a line refuses."""
    few = [value for value in VALUES if value != b"\n" and len(value) < 100]
    listed = b"".join(value + b"\0" for value in few)
    shell = [] if len(words) == 1 else ["--shell"]
    theirs = subprocess.run(
        ["parallel", "--will-cite", "-k", "-0", *words], input=listed, capture_output=True, check=False
    )
    ours = program.call("run", "--cpu", "off", "-k", "-0", *shell, *words, stdin=listed)
    assert ours.stdout == theirs.stdout


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
