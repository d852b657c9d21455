"""`loadkeeper.php`: programs of the real interpreter, and a manager's side of our own that wishes and looks."""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.checkpoint_file import CheckpointFile, Slot
from support.clients import CUT, PHP, SPOILT, Programs, cut_short, result
from support.waiting import until

pytestmark = pytest.mark.skipif(shutil.which("php") is None, reason="php is not installed")
EVER = 'while (true) { Loadkeeper\\checkpoint(); echo "."; usleep(1000); }'


class Interpreter(Programs):
    """Runs PHP programs that have the client loaded."""

    def __init__(self, root: Path, checkpoints: CheckpointFile) -> None:
        words = ["php", "-d", "display_errors=stderr", "-d", "log_errors=0"]
        super().__init__(root, words, checkpoints.environment)

    def start(self, program: str) -> subprocess.Popen[bytes]:
        file = self.root / f"program{len(self.started)}.php"
        file.write_text(f"<?php\nrequire_once '{PHP}';\n{program}\n")
        return self.run(str(file), stdin=subprocess.PIPE)

    def call(self, program: str) -> tuple[int, str, str]:
        return result(self.start(program))


@pytest.fixture
def checkpoints(tmp_path: Path) -> Iterator[CheckpointFile]:
    made = CheckpointFile(tmp_path / "checkpoint")
    yield made
    made.close()


@pytest.fixture
def php(tmp_path: Path, checkpoints: CheckpointFile) -> Iterator[Interpreter]:
    made = Interpreter(tmp_path, checkpoints)
    yield made
    made.close()


def without_posix(php: Interpreter) -> None:
    php.words += ["-d", "disable_functions=posix_kill"]


def has(extension: str) -> bool:
    """Whether the interpreter has it."""
    code = f"exit((int) !extension_loaded('{extension}'));"
    return shutil.which("php") is not None and subprocess.run(["php", "-r", code], check=False).returncode == 0


# ------------------------------------------------------------------------------------------------ the oldest PHP

NEWER = {  # than 7.3, the first that has a monotonic clock; each with a piece of code that it must find
    "an arrow function": (r"\bfn\s*\(", "$f = fn($x) => $x;"),
    "??=": (r"\?\?=", "$a ??= 1;"),
    "a typed property": (
        r"\b(public|protected|private|static)\s+(?!static\b)\??[\\\w]+\s+\$",
        "class C { public int $x; }",
    ),
    "a spread array": (r"[\[,]\s*\.\.\.\$", "$a = [...$b];"),
    "a separator in a number": (r"\b\d+_\d", "$a = 1_000;"),
    "a union type": (r"[(,:]\s*\??[\\\w]+\|[\\\w|]+\s*(\$|\{)", "function f(int|string $x) { }"),
    "mixed, static, never": (r"(\)\s*:\s*(static|mixed|never)\b|[(,]\s*mixed\s+\$)", "function f(): mixed { }"),
    "match": (r"\bmatch\s*\(", "$a = match (1) { default => 2 };"),
    "?->": (r"\?->", "$a?->b();"),
    "an attribute": (r"#\[", "#[Pure] function f() { }"),
    "a promoted parameter": (r"[(,]\s*(public|protected|private)\s", "class C { function __construct(public $x) { } }"),
    "a named argument": (r"[(,]\s*[a-z_]+:\s", "f(x: 1);"),
    "a comma after the last parameter": (r"function\s*\w*\([^()]*,\s*\)", "function f($x,) { }"),
    "catch without a variable": (r"catch\s*\([^$()]*\)", "try { } catch (Error) { }"),
    "throw as an expression": (r"(\?\?|\?|:|=>|=)\s*throw\b", "$a = $b ?? throw new Error();"),
    "enum, readonly": (r"\b(enum\s+\w+\s*[:{]|readonly\b)", "enum E: int { }"),
    "f(...)": (r"\(\s*\.\.\.\s*\)", "$f = strlen(...);"),
    "a newer function": (
        r"\b(str_contains|str_(starts|ends)_with|array_is_list|get_debug_type|mb_str_split|array_(find|any|all))\s*\(",
        "str_contains('a', 'b');",
    ),
}


def bare(source: str) -> str:
    """PHP without comments and texts."""
    return re.sub(r"/\*.*?\*/|//[^\n]*|'(\\.|[^'])*'|\"(\\.|[^\"])*\"", "''", source, flags=re.DOTALL)


@pytest.mark.parametrize(("pattern", "code"), NEWER.values(), ids=list(NEWER))
def test_nothing_in_it_is_newer_than_php_7_3(pattern, code):
    """It was run on real ones, 7.3 to 8.5, too; this keeps it so where only one is installed."""
    assert re.search(pattern, bare(code))
    assert not re.search(pattern, bare(PHP.read_text()))


# ------------------------------------------------------------------------------------------------ what is wanted of it


def test_nothing_is_wanted(php, checkpoints):
    program = php.start("Loadkeeper\\checkpoint(); echo 'done'; fgets(STDIN); Loadkeeper\\checkpoint(); echo 2;")
    until(lambda: checkpoints.slots() == [Slot("r", program.pid, "")])
    out, err = program.communicate(b"\n", timeout=10)
    assert (out, err, program.returncode) == (b"done2", b"", 0)
    assert checkpoints.slots() == [], "it gave its slot back"
    assert checkpoints.whole()


def test_a_program_stands_and_goes_on(php, checkpoints):
    program = php.start(EVER)
    until(lambda: checkpoints.states() == "r")
    os.set_blocking(program.stdout.fileno(), False)
    for _ in range(3):
        number = checkpoints.wish("p")
        until(checkpoints.stands)
        assert checkpoints.slots() == [Slot("s", program.pid, number)]
        program.stdout.read()
        time.sleep(0.05)
        assert not program.stdout.read(), "it went on while a pause was wanted"
        checkpoints.go_on()
        until(lambda: checkpoints.states() == "r")
        until(program.stdout.read)
    assert checkpoints.whole()


def test_one_that_is_stopped_while_it_stands_goes_on(php, checkpoints):
    program = php.start(EVER)
    until(lambda: checkpoints.states() == "r")
    checkpoints.wish("p")
    until(checkpoints.stands)
    os.kill(program.pid, signal.SIGSTOP)
    checkpoints.go_on()
    time.sleep(0.05)
    assert checkpoints.states() == "s"
    os.kill(program.pid, signal.SIGCONT)
    until(lambda: checkpoints.states() == "r")


def test_a_second_pause_that_comes_before_a_look_is_seen(php, checkpoints):
    php.start(EVER)
    until(lambda: checkpoints.states() == "r")
    for _ in range(5):
        checkpoints.wish("p")
        until(checkpoints.stands)


@pytest.mark.parametrize("before", ["", "p"])
def test_a_program_is_ended_and_says_nothing_of_it(php, checkpoints, before):
    program = php.start(EVER)
    until(lambda: checkpoints.states() == "r")
    if before:
        checkpoints.wish(before)
        until(checkpoints.stands)
    checkpoints.wish("t", why="memory is short")
    _, err = program.communicate(timeout=10)
    assert (program.returncode, err) == (75, b"")
    assert checkpoints.slots() == []


def test_reason_and_grace(php, checkpoints):
    number = checkpoints.wish("t", why="memory is short", grace=30)
    program = php.start(
        "try { Loadkeeper\\checkpoint(); } catch (Loadkeeper\\Terminated $end) {"
        " echo implode('|', [$end->reason, $end->getMessage(), $end->getCode(), $end->grace()]), PHP_EOL;"
        " fgets(STDIN); }"
    )
    reason, message, code, grace = program.stdout.readline().decode().split("|")
    assert (reason, message, code) == ("memory is short", "Loadkeeper ends this worker: memory is short", "75")
    assert 10 < float(grace) < 30
    assert checkpoints.slots() == [Slot("e", program.pid, number)]


@pytest.mark.parametrize(("deadline", "grace"), [(None, "NULL"), (-5, "float(0)")])
def test_a_grace_that_is_unknown_or_over(php, checkpoints, deadline, grace):
    checkpoints.wish("t", grace=deadline)
    code, out, _ = php.call(
        "try { Loadkeeper\\checkpoint(); } catch (Loadkeeper\\Terminated $end) { var_dump($end->grace()); }"
    )
    assert (code, out) == (0, f"{grace}\n")


def test_an_end_is_told_at_each_checkpoint_and_no_exception_of_others(php, checkpoints):
    checkpoints.wish("t")
    code, out, err = php.call(
        "for ($i = 0; $i < 3; $i++) {"
        " try { try { Loadkeeper\\checkpoint(); } catch (\\Exception $e) { echo 'never'; } }"
        " catch (\\Throwable $e) { echo get_class($e), '.'; } }"
        "Loadkeeper\\checkpoint();"
    )
    assert (code, out, err) == (75, "Loadkeeper\\Terminated." * 3, "")


def test_a_handler_for_what_nobody_catches_keeps_its_work(php, checkpoints):
    checkpoints.wish("t")
    swallow = "try { Loadkeeper\\checkpoint(); } catch (Loadkeeper\\Terminated $e) { }"
    handler = "set_exception_handler(function ($e) { echo 'mine: ', $e->getMessage(); });"
    native = php.call(f"{handler} throw new Exception('x');")
    assert native[1:] == ("mine: x", "")
    assert php.call(f"{handler} {swallow} throw new Exception('x');") == native
    assert php.call(f"{handler} {swallow} Loadkeeper\\checkpoint();") == (75, "", "")
    code, out, err = php.call(f"{swallow} throw new Exception('x');")
    assert (code, out) == (255, "")
    assert "Uncaught Exception: x" in err


def test_a_question_is_answered(php, checkpoints):
    program = php.start(EVER)
    until(lambda: checkpoints.states() == "r")
    number = checkpoints.wish("?")
    until(lambda: checkpoints.slots() == [Slot("r", program.pid, number)])
    checkpoints.go_on()
    until(program.stdout.read1)


def test_callbacks_surround_a_pause(php, checkpoints):
    program = php.start(
        "foreach (['a', 'b'] as $n) { Loadkeeper\\on_pause("
        '  function () use ($n) { Loadkeeper\\checkpoint(); echo "-$n"; }, function () use ($n) { echo "+$n"; }); }'
        "Loadkeeper\\on_pause(null, null);"
        "fgets(STDIN); Loadkeeper\\checkpoint(); echo '|'; fgets(STDIN); Loadkeeper\\checkpoint();"
    )
    checkpoints.wish("p")
    program.stdin.write(b"\n")
    program.stdin.flush()
    until(checkpoints.stands)
    checkpoints.go_on()
    until(lambda: checkpoints.states() == "r")
    checkpoints.wish("p")
    program.stdin.write(b"\n")
    program.stdin.flush()
    until(checkpoints.stands)
    checkpoints.wish("t")
    out, err = program.communicate(timeout=10)
    assert (out, err, program.returncode) == (b"-a-b+b+a|-a-b+b+a", b"", 75)


def test_a_callback_that_fails_lets_the_program_run(php, checkpoints):
    checkpoints.wish("p")
    program = php.start(
        "Loadkeeper\\on_pause(function () { throw new Exception('locked'); });"
        'try { Loadkeeper\\checkpoint(); } catch (Exception $e) { echo $e->getMessage(), "\\n"; fgets(STDIN); }'
        "Loadkeeper\\off(function () { echo 'in'; });"
    )
    assert program.stdout.readline() == b"locked\n"
    assert checkpoints.states() == "r"
    checkpoints.go_on()
    assert program.communicate(b"\n", timeout=10) == (b"in", b"")


# --------------------------------------------------------------------------------------------------- critical sections


@pytest.mark.parametrize(
    "section",
    [
        "echo Loadkeeper\\off(function () { fgets(STDIN); Loadkeeper\\checkpoint(); return 'in'; });",
        "Loadkeeper\\off_begin(); fgets(STDIN); Loadkeeper\\checkpoint(); echo 'in'; Loadkeeper\\off_end();",
        "Loadkeeper\\off(function () { Loadkeeper\\off(function () { fgets(STDIN); });"
        " Loadkeeper\\checkpoint(); echo 'in'; });",
    ],
)
@pytest.mark.parametrize("first", ["", "Loadkeeper\\checkpoint();"])
def test_no_checkpoint_acts_in_a_critical_section(php, checkpoints, section, first):
    program = php.start(f"{first} {section} echo 'on';")
    until(lambda: checkpoints.states() == "c")
    checkpoints.wish("p")
    program.stdin.write(b"\n")
    program.stdin.flush()
    until(checkpoints.stands)
    checkpoints.go_on()
    assert program.communicate(timeout=10) == (b"inon", b"")


def test_an_end_comes_after_the_section_and_not_in_the_cleaning_up(php, checkpoints):
    checkpoints.wish("t")
    code, out, err = php.call(
        "try { Loadkeeper\\off(function () { echo 'in'; }); echo 'never'; }"
        "catch (Loadkeeper\\Terminated $end) {"
        " Loadkeeper\\off(function () { Loadkeeper\\checkpoint(); echo ' clean'; });"
        " Loadkeeper\\off_begin(); Loadkeeper\\checkpoint(); echo ' up'; Loadkeeper\\off_end();"
        " Loadkeeper\\checkpoint(); }"
    )
    assert (code, out, err) == (75, "in clean up", "")


def test_the_sections_own_exception_goes_before(php, checkpoints):
    fails = "function () { throw new Exception('x'); }"
    assert php.call(f"try {{ Loadkeeper\\off({fails}); }} catch (Exception $e) {{ echo $e->getMessage(); }}")[1] == "x"
    checkpoints.wish("t")
    code, out, _ = php.call(
        f"try {{ Loadkeeper\\off({fails}); }} catch (\\Error $e) {{ echo $e->getPrevious()->getMessage(); }}"
    )
    assert (code, out) == (0, "x")


def test_an_end_without_a_beginning(php):
    code, _, err = php.call("Loadkeeper\\off_end();")
    assert code == 255
    assert "LogicException: Loadkeeper\\off_end(): there was no off_begin() before it" in err


# --------------------------------------------------------------------------------------------------------- what it says


def test_progress_and_need(php, checkpoints):
    code, out, err = php.call(
        'Loadkeeper\\progress(0.4, "page\\n12"); Loadkeeper\\memory_need(2 << 30);'
        "echo count(array_filter(str_split(substr(file_get_contents(getenv('LOADKEEPER_WORKER_CHECKPOINT')), 256, 768),"
        ' 32), function ($slot) { return $slot[0] !== "\\0"; }));'
    )
    assert (code, out, err) == (0, "0", ""), "who says something has no slot for it"
    assert [checkpoints.said(name) for name in ("share", "at", "need")] == ["0.4", "page 12", str(2 << 30)]
    assert php.call("setlocale(LC_ALL, 'de_DE.UTF-8', 'C'); Loadkeeper\\progress(1);")[0] == 0
    assert [checkpoints.said(name) for name in ("share", "at")] == ["1", "page 12"]
    assert php.call("Loadkeeper\\progress(0, str_repeat('ä', 200));")[0] == 0
    assert [checkpoints.said(name) for name in ("share", "at")] == ["0", "ä" * 95 + "�"]
    assert checkpoints.whole()


@pytest.mark.parametrize(
    "call", ["progress(1.01)", "progress(-0.1)", "progress(NAN)", "progress(INF)", "memory_need(-1)"]
)
@pytest.mark.parametrize("inside", [True, False])
def test_figures_that_are_none(php, checkpoints, call, inside):
    if not inside:
        del php.environment["LOADKEEPER_WORKER_CHECKPOINT"]
    code, _, err = php.call(f"Loadkeeper\\{call};")
    assert code == 255
    assert f"InvalidArgumentException: Loadkeeper\\{call.split('(')[0]}(): " in err
    assert checkpoints.said("share") == checkpoints.said("need") == ""


@pytest.mark.skipif(not has("pcntl"), reason="php has no pcntl")
def test_a_signals_handler_may_do_it_in_the_middle_of_all_that(php, checkpoints):
    program = php.start(
        "pcntl_async_signals(true);"
        "pcntl_signal(SIGUSR1, function () { Loadkeeper\\progress(0.5, 'handler'); Loadkeeper\\checkpoint();"
        " Loadkeeper\\off(function () { Loadkeeper\\memory_need(7); }); });"
        "while (true) { Loadkeeper\\checkpoint(); Loadkeeper\\progress(0.5, 'program');"
        " Loadkeeper\\off(function () { Loadkeeper\\memory_need(7); }); }"
    )
    until(lambda: checkpoints.slot(program.pid))
    head = checkpoints.path.read_bytes()[:256]
    for _ in range(3000):
        program.send_signal(signal.SIGUSR1)
        slots = checkpoints.slots()
        assert [slot.pid for slot in slots] == [program.pid]
        assert slots[0].state in "rc"
    assert checkpoints.path.read_bytes()[:256] == head
    assert (checkpoints.said("share"), checkpoints.said("need")) == ("0.5", "7")
    assert checkpoints.whole()
    checkpoints.wish("p")
    until(checkpoints.stands)
    program.send_signal(signal.SIGUSR1)
    checkpoints.wish("t")
    assert program.communicate(timeout=10) == (b"", b"")
    assert program.returncode == 75


# --------------------------------------------------------------------------------------------------------------- slots


@pytest.mark.skipif(not has("pcntl"), reason="php has no pcntl")
def test_a_forked_child_has_a_slot_of_its_own(php, checkpoints):
    program = php.start(
        "Loadkeeper\\checkpoint(); $child = pcntl_fork(); "
        "while (true) { Loadkeeper\\checkpoint(); Loadkeeper\\progress(0.5, $child ? 'parent' : 'child'); }"
    )
    until(lambda: len(checkpoints.slots()) == 2)
    for _ in range(10):
        checkpoints.wish("p")
        until(checkpoints.stands)
        checkpoints.go_on()
        until(lambda: checkpoints.states() == "rr")
    pids = {slot.pid for slot in checkpoints.slots()}
    assert program.pid in pids
    checkpoints.wish("t")
    assert program.communicate(timeout=10)[1] == b""
    until(lambda: not checkpoints.slots())
    assert checkpoints.whole()


@pytest.mark.skipif(not has("pcntl"), reason="php has no pcntl")
def test_a_child_that_reaches_no_checkpoint_leaves_its_parents_slot_alone(php, checkpoints):
    program = php.start(
        'Loadkeeper\\checkpoint(); if (!pcntl_fork()) { exit(0); } pcntl_wait($status); echo "\\n"; fgets(STDIN);'
    )
    program.stdout.readline()
    assert checkpoints.slots() == [Slot("r", program.pid, "")]


@pytest.mark.parametrize("posix", [True, False])
def test_slots_of_the_dead_are_taken(php, checkpoints, posix):
    if not posix:
        without_posix(php)
    gone = subprocess.Popen(["true"])
    gone.wait()
    checkpoints.write(256, f"s{gone.pid}".encode())
    checkpoints.write(272, b"7")
    checkpoints.write(288, f"r{os.getpid()}".encode())
    program = php.start('Loadkeeper\\checkpoint(); echo "\\n"; fgets(STDIN);')
    program.stdout.readline()
    assert checkpoints.slots() == [Slot("r", program.pid, ""), Slot("r", os.getpid(), "")]


def test_without_a_slot_it_obeys_all_the_same(php, checkpoints):
    for n in range(24):
        checkpoints.write(256 + 32 * n, f"r{os.getpid()}".encode())
    before = checkpoints.slots()
    checkpoints.wish("t")
    code, out, err = php.call("Loadkeeper\\off_begin(); echo 'in'; Loadkeeper\\off_end();")
    assert (code, out, err) == (75, "in", "")
    assert checkpoints.slots() == before


def test_each_of_many_at_once_has_a_slot(php, checkpoints):
    program = "while (true) { Loadkeeper\\checkpoint(); usleep(1000); }"
    programs = [php.start(program) for _ in range(10)]
    until(lambda: {slot.pid for slot in checkpoints.slots()} == {program.pid for program in programs}, 20)
    assert checkpoints.whole()


# ----------------------------------------------------------------------------------------- outside, and with bad input

ALL = (
    "Loadkeeper\\on_pause(null); Loadkeeper\\checkpoint(); Loadkeeper\\progress(0.4, 'x'); Loadkeeper\\memory_need(1);"
    "echo Loadkeeper\\off(function () { Loadkeeper\\checkpoint(); return 'in'; }); Loadkeeper\\off_begin();"
    "Loadkeeper\\off_end(); Loadkeeper\\checkpoint(); echo 'on';"
)


@pytest.mark.parametrize("value", [None, ""])
def test_outside_loadkeeper_nothing_happens(php, value):
    del php.environment["LOADKEEPER_WORKER_CHECKPOINT"]
    if value is not None:
        php.environment["LOADKEEPER_WORKER_CHECKPOINT"] = value
    assert php.call(ALL) == (0, "inon", "")


@pytest.mark.parametrize(("spoil", "words"), SPOILT.items(), ids=[spoil.__name__ for spoil in SPOILT])
def test_a_file_that_is_none_is_said_once_and_the_worker_works_on(php, checkpoints, spoil, words):
    spoil(checkpoints)
    strict = "set_error_handler(function ($number, $text) { throw new ErrorException($text); }, error_reporting());"
    code, out, err = php.call(strict + ALL)
    assert (code, out) == (0, "inon")
    assert err.startswith(f"loadkeeper: the checkpoint file {checkpoints.path} {words}")
    assert err.endswith("; going on without checkpoints\n")
    assert err.count("\n") == 1
    assert "\x1b" not in err


def test_a_file_that_may_not_be_written(php, checkpoints):
    """As root any file may: it is said by a place that php itself may not use."""
    php.words += ["-d", f"open_basedir={PHP.parent}:{php.root}/program0.php"]
    code, out, err = php.call(ALL)
    assert (code, out) == (0, "inon")
    assert err.count("going on without checkpoints") == 1


def test_a_file_that_is_spoilt_while_it_stands_lets_the_worker_go_on(php, checkpoints):
    checkpoints.wish("p")
    program = php.start("Loadkeeper\\checkpoint(); echo 'on'; Loadkeeper\\checkpoint();")
    until(checkpoints.stands)
    cut_short(checkpoints)
    out, err = program.communicate(timeout=10)
    assert out == b"on"
    assert err.count(b"was cut short") == 1
    assert checkpoints.path.stat().st_size == CUT
