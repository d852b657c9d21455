"""`loadkeeper-checkpoint`: scripts of real shells, and a manager's side of our own that wishes and looks."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.checkpoint_file import WORKER, CheckpointFile, Slot
from support.clients import CUT, SHELL, SPOILT, Programs, cut_short, result
from support.plain import NOBODY, drop, needs_root
from support.waiting import until

SHELLS = {"dash": ["dash"], "bash": ["bash"], "busybox": ["busybox", "ash"]}
EVER = "while :; do loadkeeper-checkpoint || exit; printf .; done"


class Shell(Programs):
    """Scripts of one shell, whose `loadkeeper-checkpoint` is run by the same one, in a directory of its own."""

    def __init__(self, name: str, root: Path, checkpoints: CheckpointFile) -> None:
        words = SHELLS[name]
        found = shutil.which(words[0])
        if found is None:
            pytest.skip(f"{words[0]} is not installed")
        self.path = root / "bin"
        environment = {**checkpoints.environment, "PATH": f"{self.path}:{os.environ['PATH']}"}
        super().__init__(root, [found, *words[1:]], environment)
        self.checkpoints = checkpoints
        self.path.mkdir()
        client = self.path / "loadkeeper-checkpoint"
        client.write_text(SHELL.read_text().replace("#!/bin/sh", "#!" + " ".join(self.words), 1))
        client.chmod(0o755)
        if name == "busybox":
            applets = subprocess.run([found, "--list"], capture_output=True, text=True, check=True).stdout.split()
            for applet in {"sleep", "flock", "cat"} & set(applets):  # Debian's has no flock, Alpine's has
                (self.path / applet).symlink_to(found)

    def start(self, script: str, *arguments: str) -> subprocess.Popen[bytes]:
        return self.run("-c", script, "script", *arguments)

    def call(self, script: str, *arguments: str) -> tuple[int, str, str]:
        return result(self.start(script, *arguments))


@pytest.fixture
def checkpoints(tmp_path: Path) -> Iterator[CheckpointFile]:
    made = CheckpointFile(tmp_path / "checkpoint")
    yield made
    made.close()


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, tmp_path: Path, checkpoints: CheckpointFile) -> Iterator[Shell]:
    made = Shell(request.param, tmp_path, checkpoints)
    yield made
    made.close()


@pytest.fixture
def dash(tmp_path: Path, checkpoints: CheckpointFile) -> Iterator[Shell]:
    """For what no shell does otherwise than the others."""
    made = Shell("dash", tmp_path, checkpoints)
    yield made
    made.close()


# ------------------------------------------------------------------------------------------------ what is wanted of it


def test_nothing_is_wanted(shell, checkpoints):
    script = shell.start("loadkeeper-checkpoint || exit; echo done; read _; loadkeeper-checkpoint && echo again")
    out, err = script.communicate(timeout=20)
    assert (out, err, script.returncode) == (b"done\nagain\n", b"", 0)
    assert checkpoints.slots() == [Slot("r", script.pid, "")], "the slot is the script's, from call to call"
    assert checkpoints.whole()


def test_a_script_stands_and_goes_on(shell, checkpoints):
    script = shell.start(EVER)
    until(lambda: checkpoints.states() == "r")
    for _ in range(3):
        number = checkpoints.wish("p")
        until(checkpoints.stands)
        assert checkpoints.slots() == [Slot("s", script.pid, number)]
        os.set_blocking(script.stdout.fileno(), False)
        script.stdout.read()
        time.sleep(0.1)
        assert not script.stdout.read(), "it went on while a pause was wanted"
        checkpoints.go_on()
        until(lambda: checkpoints.states() == "r")
        until(script.stdout.read)
    assert checkpoints.whole()


def test_a_second_pause_that_comes_before_a_look_is_seen_as_one(dash, checkpoints):
    dash.start(EVER)
    until(lambda: checkpoints.states() == "r")
    checkpoints.wish("p")
    until(checkpoints.stands)
    checkpoints.wish("p")
    until(checkpoints.stands)


@pytest.mark.parametrize("before", ["", "p"])
def test_a_script_is_ended(shell, checkpoints, before):
    script = shell.start(EVER)
    until(lambda: checkpoints.states() == "r")
    if before:
        checkpoints.wish(before)
        until(checkpoints.stands)
    number = checkpoints.wish("t", why="memory is short")
    _, err = script.communicate(timeout=10)
    assert script.returncode == 75
    assert err == b"loadkeeper-checkpoint: the worker is to end: memory is short\n"
    assert checkpoints.slots() == [Slot("e", script.pid, number)]


def test_an_end_is_said_once_and_told_at_each_checkpoint(dash, checkpoints):
    checkpoints.wish("t")
    found = dash.call("for i in 1 2 3; do loadkeeper-checkpoint; echo $?; done")
    assert found == (0, "75\n75\n75\n", "loadkeeper-checkpoint: the worker is to end\n")


def test_a_question_is_answered(shell, checkpoints):
    number = checkpoints.wish("?")
    assert shell.call("loadkeeper-checkpoint && loadkeeper-checkpoint && echo on") == (0, "on\n", "")
    assert [(slot.state, slot.seen) for slot in checkpoints.slots()] == [("r", number)]


def test_long_numbers_have_room(dash, checkpoints):
    checkpoints.number = 10**15 - 2
    number = checkpoints.wish("?")
    assert dash.call("loadkeeper-checkpoint")[0] == 0
    assert checkpoints.slots()[0].seen == number
    assert checkpoints.whole()


def test_who_is_killed_while_it_stands_does_not_stand_any_more(shell, checkpoints):
    checkpoints.wish("p")
    script = shell.start("loadkeeper-checkpoint; echo $?; cat")
    until(checkpoints.stands)
    client = int(Path(f"/proc/{script.pid}/task/{script.pid}/children").read_text().split()[0])
    os.kill(client, signal.SIGTERM)
    assert script.stdout.readline() == b"143\n"
    assert checkpoints.states() == "r"


# --------------------------------------------------------------------------------------------------------- what it says


def test_progress_and_need(shell, checkpoints):
    assert shell.call("loadkeeper-checkpoint --progress 0.4 'page 12 of 30' --memory-need 1.5G") == (0, "", "")
    assert [checkpoints.said(name) for name in ("share", "at", "need")] == ["0.4", "page 12 of 30", str(3 << 29)]
    assert shell.call("loadkeeper-checkpoint --progress 1")[0] == 0
    assert [checkpoints.said(name) for name in ("share", "at")] == ["1", "page 12 of 30"]
    assert checkpoints.whole()


@pytest.mark.parametrize(
    ("share", "said"),
    [
        ("0", "0"),
        (".25", ".25"),
        ("1.00", "1.00"),
        ("0/8", "0.0000"),
        ("3/8", "0.3750"),
        ("08/08", "1"),
        ("1/3", "0.3333"),
    ],
)
def test_shares(shell, checkpoints, share, said):
    assert shell.call('loadkeeper-checkpoint --progress "$1"', share) == (0, "", "")
    assert checkpoints.said("share") == said
    assert 0 <= float(said) <= 1


def test_words_are_cut_and_made_one_line(shell, checkpoints):
    assert shell.call('loadkeeper-checkpoint --progress .5 "$1"', "a\nb\tc" + "ä" * 200)[0] == 0
    assert checkpoints.said("at") == "a b c" + "ä" * 93
    assert shell.call("loadkeeper-checkpoint --progress .5 ''")[0] == 0
    assert checkpoints.said("at") == ""
    assert checkpoints.whole()


def test_saying_something_is_a_checkpoint(dash, checkpoints):
    checkpoints.wish("t")
    assert dash.call("loadkeeper-checkpoint --progress 0.5")[0] == 75


@pytest.mark.parametrize(
    ("size", "count"),
    [
        ("0", 0),
        ("1048576", 1 << 20),
        ("2G", 2 << 30),
        ("2g", 2 << 30),
        ("200M", 200 << 20),
        ("1.5GiB", 3 << 29),
        ("0.0625k", 63),
        ("09b", 9),
        ("1.5T", 3 << 39),
        ("3KB", 3072),
    ],
)
def test_sizes(dash, checkpoints, size, count):
    assert dash.call('loadkeeper-checkpoint --memory-need "$1"', size) == (0, "", "")
    assert checkpoints.said("need") == str(count)


@pytest.mark.parametrize(
    "words",
    [
        ["--progress"],
        ["--progress", ""],
        ["--progress", "."],
        ["--progress", "40%"],
        ["--progress", "1.01"],
        ["--progress", "2"],
        ["--progress", "-1"],
        ["--progress", "0.1.2"],
        ["--progress", "9/8"],
        ["--progress", "0/0"],
        ["--progress", "1/"],
        ["--progress", "/1"],
        ["--progress", "1/2/3"],
        ["--progress", "0.5/1"],
        ["--progress", "1/99999999999999"],
        ["--memory-need"],
        ["--memory-need", ""],
        ["--memory-need", "G"],
        ["--memory-need", "2X"],
        ["--memory-need", "-1"],
        ["--memory-need", "1.2.3G"],
        ["--memory-need", "1.G"],
        ["--memory-need", "2000000T"],
        ["--memory-need", "99999999999999999999"],
        ["--off"],
        ["--begin", "--end"],
        ["--what"],
        ["page 12"],
    ],
)
def test_wrong_usage(dash, checkpoints, words):
    before = checkpoints.path.read_bytes()
    code, out, err = dash.call('loadkeeper-checkpoint "$@"', *words)
    assert (code, out) == (2, "")
    assert err.startswith("loadkeeper-checkpoint: ")
    assert err.endswith("; loadkeeper-checkpoint --help says more\n")
    assert checkpoints.path.read_bytes() == before


def test_help(shell):
    code, out, err = shell.call("loadkeeper-checkpoint --help")
    assert (code, err) == (0, "")
    assert out.startswith("Usage: loadkeeper-checkpoint")
    assert max(map(len, out.splitlines())) <= 110


# --------------------------------------------------------------------------------------------------- critical sections


def test_a_command_is_a_critical_section(shell, checkpoints):
    os.mkfifo(shell.root / "gate")
    script = shell.start("loadkeeper-checkpoint; loadkeeper-checkpoint --off cat gate || exit; echo on")
    until(lambda: checkpoints.states() == "rc")
    checkpoints.wish("p")
    (shell.root / "gate").write_text("moved\n")
    until(checkpoints.stands)
    assert [slot.pid for slot in checkpoints.slots()] == [script.pid]
    checkpoints.go_on()
    out, err = script.communicate(timeout=10)
    assert (out, err) == (b"moved\non\n", b"")


def test_an_end_comes_after_the_command(shell, checkpoints):
    checkpoints.wish("t", why="memory is short")
    code, out, _ = shell.call("loadkeeper-checkpoint --off echo moved || exit; echo never")
    assert (code, out) == (75, "moved\n")


def test_checkpoints_in_the_command_do_nothing(shell, checkpoints):
    checkpoints.wish("t")
    inner = "loadkeeper-checkpoint --progress 0.9 inner && echo inner"
    code, out, _ = shell.call('loadkeeper-checkpoint --off sh -c "$1"; echo $?', inner)
    assert (code, out) == (0, "inner\n75\n")
    assert checkpoints.said("at") == ""


COMMANDS = [("sh -c 'exit 3'", 3), ("false", 1), ("no-such-command", 127), ("true", 0)]


@pytest.mark.parametrize(("command", "code"), COMMANDS)
def test_the_commands_exit_code(shell, checkpoints, command, code):
    assert shell.call(f"loadkeeper-checkpoint --off {command}")[0] == code
    assert checkpoints.states() == "r"
    del shell.environment["LOADKEEPER_WORKER_CHECKPOINT"]
    assert shell.call(f"loadkeeper-checkpoint --off {command}")[0] == code


def test_begin_and_end(shell, checkpoints):
    os.mkfifo(shell.root / "gate")
    script = shell.start(
        "loadkeeper-checkpoint --begin; read _ <gate; loadkeeper-checkpoint || exit; echo in; "
        "loadkeeper-checkpoint --end || exit; echo on"
    )
    until(lambda: checkpoints.states() == "c")
    checkpoints.wish("p")
    (shell.root / "gate").write_text("\n")
    assert script.stdout.readline() == b"in\n", "a checkpoint inside does nothing"
    until(checkpoints.stands)
    checkpoints.wish("t")
    out, _ = script.communicate(timeout=10)
    assert (out, script.returncode) == (b"", 75)


# --------------------------------------------------------------------------------------------------------------- slots


def test_children_have_slots_of_their_own_and_those_of_the_dead_are_taken(shell, checkpoints):
    script = shell.start("loadkeeper-checkpoint; for i in 1 2 3; do sh -c 'loadkeeper-checkpoint; :'; done; cat")
    script.wait(10)
    assert [slot.pid == script.pid for slot in checkpoints.slots()] == [True, False]


@pytest.mark.parametrize("flock", [True, False])
def test_each_of_many_at_once_has_a_slot(dash, checkpoints, flock):
    if not flock:
        dash.environment["PATH"] = str(dash.path)
        (dash.path / "sleep").symlink_to(shutil.which("sleep") or "/bin/sleep")
    scripts = [dash.start(EVER) for _ in range(12)]
    until(lambda: {slot.pid for slot in checkpoints.slots()} == {script.pid for script in scripts}, 20)
    checkpoints.wish("p")
    until(checkpoints.stands)
    assert len(checkpoints.slots()) == 12
    assert checkpoints.whole()


def test_without_a_slot_it_obeys_all_the_same(dash, checkpoints):
    for n in range(24):
        checkpoints.write(256 + 32 * n, f"r{os.getpid()}".encode())
    before = checkpoints.slots()
    assert dash.call("loadkeeper-checkpoint && loadkeeper-checkpoint --begin && loadkeeper-checkpoint --end") == (
        0,
        "",
        "",
    )
    assert dash.call("loadkeeper-checkpoint --off echo on") == (0, "on\n", "")
    checkpoints.wish("t")
    assert dash.call("loadkeeper-checkpoint")[0] == 75
    assert checkpoints.slots() == before


@pytest.mark.parametrize("rubbish", [b"\xff" * 15, b"rx12", b"r", b"s99999999999999", b"zz", b"r-1"])
def test_rubbish_in_a_slot_is_a_free_one(shell, checkpoints, rubbish):
    checkpoints.write(256, rubbish)
    script = shell.start("loadkeeper-checkpoint; :")  # bash becomes the last command of -c, whose parent are we
    assert script.communicate(timeout=10)[1] == b""
    assert checkpoints.slots()[0] == Slot("r", script.pid, "")


# ----------------------------------------------------------------------------------------- outside, and with bad input


@pytest.mark.parametrize("value", [None, ""])
def test_outside_loadkeeper_nothing_happens(shell, value):
    del shell.environment["LOADKEEPER_WORKER_CHECKPOINT"]
    if value is not None:
        shell.environment["LOADKEEPER_WORKER_CHECKPOINT"] = value
    words = ["", "--progress 0.4 x", "--memory-need 2G", "--begin", "--end", "--off true"]
    assert shell.call("; ".join(f"loadkeeper-checkpoint {word} || echo bad" for word in words)) == (0, "", "")


@pytest.mark.parametrize(("spoil", "words"), SPOILT.items(), ids=[spoil.__name__ for spoil in SPOILT])
def test_a_file_that_is_none_is_said_and_the_worker_works_on(
    shell: Shell, checkpoints: CheckpointFile, spoil: Callable[[CheckpointFile], None], words: str
) -> None:
    spoil(checkpoints)
    code, out, err = shell.call("loadkeeper-checkpoint --progress 0.4 x && echo on")
    assert (code, out) == (0, "on\n")
    assert err.startswith(f"loadkeeper-checkpoint: the checkpoint file {checkpoints.path} {words}")
    assert err.endswith("; going on without checkpoints\n")
    assert err.count("\n") == 1
    assert "\x1b" not in err


def test_a_file_that_is_spoilt_while_it_stands_lets_the_worker_go_on(shell, checkpoints):
    checkpoints.wish("p")
    script = shell.start("loadkeeper-checkpoint && echo on")
    until(checkpoints.stands)
    cut_short(checkpoints)
    out, err = script.communicate(timeout=10)
    assert out == b"on\n"
    assert b"was cut short" in err
    assert checkpoints.path.stat().st_size == CUT


@needs_root
def test_a_file_of_another_user(open_path):
    checkpoints = CheckpointFile(open_path / "checkpoint")
    client = open_path / "loadkeeper-checkpoint"
    shutil.copy(SHELL, client)
    done = subprocess.run(
        [*drop(NOBODY), client], env=checkpoints.environment, capture_output=True, check=False, timeout=20
    )
    checkpoints.close()
    assert done.returncode == 0
    assert b"may not be read and written by this user" in done.stderr
    assert WORKER in checkpoints.environment.values()
