"""Workers of process-load-manager under `--checkpoint zmq://`: its wire, with real PHP where there is one."""

import json
import os
import random
import re
import select
import signal
import socket
import time
from itertools import pairwise

import pytest
import zmq
from support.children import Crew
from support.program import command_of, marked, parent_of, stands, state_of, wait_until
from support.reference import PHP, PYTHON, Log, free_port, has_php, worker_of

from loadkeeper.act.end import end_all
from loadkeeper.act.pause import assert_all, pause_all, resume_all
from loadkeeper.errors import SettingsError
from loadkeeper.model import PauseMode, Reason, Want, Why
from loadkeeper.process_manager.wire import KEYS, Wire
from loadkeeper.settings import parse_wire

NEEDS_PHP = pytest.mark.skipif(not has_php(), reason="no PHP with its ZeroMQ extension (php-cli, php-zmq)")
OURS_AND_PHP = [PYTHON, *([PHP] if has_php() else [])]
"""Clients; real PHP is one where there is any."""
FREE = "zmq://127.0.0.1:0"
RUN = ("run", "--cpu", "off", "--name", "r", "--checkpoint")
SLEEP = 0.2
STOPPED = 5.0
"""Seconds after which a worker that was asked to stand is stopped."""
WHY = Why(Reason.OPERATOR)


@pytest.fixture
def runs(lasting_program):
    """The program, of which no run is there yet."""
    yield lasting_program
    lasting_program.end()
    wait_until(lambda: (status := lasting_program.ask()) is None or not status.runs, 10, "a run stays")


@pytest.fixture
def log(tmp_path):
    return Log(tmp_path / "log")


def begin(runs, lines: list[str], *options: str, address: str = FREE):
    """A run of these commands."""
    return runs.start(*RUN, address, *options, ":::", *lines)


def started(log: Log, tasks: int) -> bool:
    return len(set(log.tasks("hello"))) >= tasks


# ------------------------------------------------------------------------------------------------ what a worker is told


def test_what_stands_on_stdin_is_what_the_reference_writes(runs, tmp_path):
    """In one write, no newline, and no end."""
    code = "import os, select; print(os.read(0, 8192)); print(select.select([0], [], [], 0.3)[0])"
    port = free_port()
    done = runs.call(*RUN, f"zmq://localhost:{port}", "--", "python3", "-c", code, ":::", "a")
    hello = (
        '{"request_pulsar_rs":null,"publisher_pulsar":null,"push_pulsar":null,'
        f'"publisher_pm":"tcp:\\/\\/127.0.0.1:{port}"}}'
    )
    assert done.stdout.decode() == f"{hello.encode()!r}\n[]\n"
    assert json.loads(hello)["publisher_pm"] == f"tcp://127.0.0.1:{port}"


def test_workers_are_paused_continued_and_ended(runs, log):
    """They go back to their work where they stood; ended they are given back and done by the next ones."""
    lines = [log.line(str(n), 3, SLEEP, "block", client=client) for n, client in enumerate(OURS_AND_PHP, 1)]
    every = [str(n) for n in range(1, len(lines) + 1)]
    process = begin(runs, lines, "--sigterm-blocking")
    wait_until(lambda: worker_of(runs, every[-1]) and started(log, len(lines)), 20, "they do not run")
    first = [worker_of(runs, task) for task in every]
    for turn in (1, 2):
        assert runs.steer(Want.PAUSE, *first)
        wait_until(lambda turn=turn: log.tasks("paused") == sorted(every * turn), 5, "some are not paused")
        assert runs.steer(Want.RUN, *first)
        wait_until(lambda turn=turn: log.tasks("continued") == sorted(every * turn), 5, "some do not go on")
    assert runs.steer(Want.PAUSE, *first)
    wait_until(lambda: log.tasks("paused") == sorted(every * 3), 5, "some are not paused")
    assert runs.steer(Want.STOP, *first)
    wait_until(lambda: log.tasks("terminated") == every, 5, "some do not end while they are paused")
    assert process.wait(30) == 0
    for task in every:
        assert [one.what for one in log.of(task, "terminated", "done", "wrong")] == ["terminated", "done"]
        assert len(log.of(task, "frame")) == 6, "each change is told once"


def test_frames_are_sent_at_a_change_and_name_every_process(runs, log):
    """To who is nobody's, too, and as the reference sends them."""
    port = free_port()
    lines = [f"{log.line('1', 60, SLEEP)}; true", f"{log.line('2', 60, SLEEP)}; true"]
    begin(runs, lines, address=f"zmq://127.0.0.1:{port}")
    wait_until(lambda: worker_of(runs, "2") and started(log, 2), 20, "they do not run")
    first, second = [[parent_of(pid), pid] for task in "12" for pid in pids_of(log, {task})]
    time.sleep(0.5)  # they have subscribed
    with zmq.Context() as context, context.socket(zmq.SUB) as observer:
        observer.connect(f"tcp://127.0.0.1:{port}")
        observer.setsockopt(zmq.SUBSCRIBE, b"")
        observer.setsockopt(zmq.RCVTIMEO, 5000)
        time.sleep(0.5)
        one, two = worker_of(runs, "1"), worker_of(runs, "2")
        frames = []
        for want, name in [(Want.PAUSE, one), (Want.PAUSE, one), (Want.PAUSE, two), (Want.RUN, one), (Want.STOP, two)]:
            assert runs.steer(want, name)
            if (want, name) != (Want.PAUSE, one) or not frames:
                frames.append(observer.recv())
        assert observer.poll(300) == 0, "nothing is repeated"
    wanted = [([], first, []), ([], first + second, []), ([], second, first), (second, [], first)]
    assert [frame.decode() for frame in frames] == [
        json.dumps(dict(zip(KEYS, pids, strict=True)), separators=(",", ":")) for pids in wanted
    ]


@pytest.mark.parametrize("client", [PYTHON, pytest.param(PHP, marks=NEEDS_PHP)], ids=["python", "php"])
def test_what_becomes_of_others_keeps_nobody_paused(runs, log, client):
    """Others begin, subscribe and end, are paused and go on. One that is paused reads one frame at each look: it would
    read all of theirs first."""
    short = [log.line(f"s{n}", 0.05, SLEEP, client=client) for n in range(10)]
    begin(runs, [log.line("1", 60, 1, client=client), log.line("2", 60, 0.01), *short], "-j", "4")
    wait_until(lambda: worker_of(runs, "2") and log.of("1", "hello") and log.of("2", "hello"), 20, "they do not run")
    one, two = worker_of(runs, "1"), worker_of(runs, "2")
    time.sleep(0.3)
    assert runs.steer(Want.PAUSE, one)
    for turn in range(1, 6):
        assert runs.steer(Want.PAUSE, two)
        wait_until(lambda turn=turn: len(log.of("2", "paused")) == turn, 5, "the other one runs on")
        assert runs.steer(Want.RUN, two)
        wait_until(lambda turn=turn: len(log.of("2", "continued")) == turn, 5, "the other one stands on")
    wait_until(lambda: len(log.tasks("done")) == 10, 60, "the others are held")
    assert runs.steer(Want.RUN, one)
    wait_until(lambda: log.of("1", "continued"), 3, "it stands on")
    assert len(log.of("1", "frame")) == 2


# ------------------------------------------------------------------------------------------------------- twenty of them


def test_twenty_workers_of_all_kinds(runs, log):
    """Half of them PHP: some block every signal, stand behind shells, come late, or die."""
    client = PHP if has_php() else PYTHON
    kinds = [["block"], ["shell"], ["late=3"], ["late=3", "block"], ["block", "shell"], [], [], [], [], ["die=5"]]
    commands = []
    for n in range(1, 21):
        words = kinds[(n - 1) % 10]
        line = log.line(str(n), 6, SLEEP, *(w for w in words if w != "shell"), client=client if n > 10 else PYTHON)
        commands.append(f"{line}; true" if "shell" in words else line)
    small = ("-j", "20", "--memory-need", "20M")
    process = begin(runs, commands, "--sigterm-blocking", "--grace", "11", *small)
    wait_until(lambda: started(log, 20), 40, "they do not run")
    every = {str(n) for n in range(1, 21)}
    assert runs.steer(Want.PAUSE, "r")
    wait_until(lambda: set(log.tasks("paused")) == every, 15, "some are not paused at their checkpoints")
    wait_until(lambda: all(map(stands, pids_of(log, every))), STOPPED + 10, "some are not stopped besides")
    ended = ["1", "2", "5", "11", "12", "15"]
    assert len(runs.steer(Want.STOP, *(worker_of(runs, task) for task in ended))) == 6
    wait_until(lambda: log.tasks("terminated") == sorted(ended), 30, "some do not end by the message")
    assert runs.steer(Want.RUN, "r")
    wait_until(lambda: set(log.tasks("continued")) == every - set(ended), 10, "some stand on")
    assert process.wait(40) == 1
    assert set(log.tasks("done")) == every - {"10", "20"}
    assert len(log.tasks("done")) == 18
    assert log.tasks("wrong") == []
    said = process.stderr.read()
    assert b"18 done, 2 failed" in said
    assert b"does not stand" not in said


def pids_of(log: Log, tasks: set[str]) -> list[int]:
    """The processes that wrote; the last one of each task."""
    return list({event.task: event.pid for event in log.events() if event.task in tasks}.values())


# ----------------------------------------------------------------------------------------------------------------- ends


def test_who_blocks_signals_gets_no_sigterm_and_is_killed_after_the_grace(runs, log):
    lines = [log.line("1", 60, SLEEP, "mute", "hear"), log.line("2", 60, SLEEP, "hear")]
    process = begin(runs, lines, "--sigterm-blocking", "--grace", "2")
    wait_until(lambda: started(log, 2) and worker_of(runs, "2"), 20, "they do not run")
    time.sleep(0.3)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 143
    assert 1.9 < time.monotonic() - began < 8
    assert log.tasks("sigterm") == []
    assert log.tasks("terminated") == ["2"]
    assert b"2 not done" in process.stderr.read()


def test_others_get_sigterm_together_with_the_message(runs, log):
    lines = [log.line("1", 60, SLEEP, "hear", "mute"), log.line("2", 60, SLEEP, "mute")]
    process = begin(runs, lines, "--grace", "2")
    wait_until(lambda: started(log, 2) and worker_of(runs, "2"), 20, "they do not run")
    time.sleep(0.3)
    pids = dict(zip(["1", "2"], sorted(pids_of(log, {"1", "2"}), key=lambda pid: pid), strict=True))
    process.send_signal(signal.SIGTERM)
    wait_until(lambda: log.of("1", "sigterm"), 1.5, "it gets no signal")
    assert process.wait(20) == 143
    assert all(state_of(pid) == "" for pid in pids.values())


def test_who_is_stopped_besides_ends_by_the_message_as_it_goes_on(runs, log):
    """It has stood for longer than a look takes, so that it looks at once."""
    lines = [log.line(str(n), 60, SLEEP, "block", client=client) for n, client in enumerate(OURS_AND_PHP, 1)]
    every = [str(n) for n in range(1, len(lines) + 1)]
    process = begin(runs, lines, "--sigterm-blocking")
    wait_until(lambda: worker_of(runs, every[-1]) and started(log, len(lines)), 20, "they do not run")
    assert runs.steer(Want.PAUSE, "r")
    wait_until(lambda: all(map(stands, pids_of(log, set(every)))), STOPPED + 5, "some are not stopped")
    process.send_signal(signal.SIGTERM)
    assert process.wait(8) == 143
    assert log.tasks("terminated") == every


def test_when_the_process_manager_is_killed_nobody_stays(runs, log):
    lines = [log.line("1", 60, SLEEP, "block"), f"{log.line('2', 60, SLEEP, 'block', 'mute')}; true"]
    process = begin(runs, lines, "--sigterm-blocking")
    wait_until(lambda: started(log, 2) and worker_of(runs, "2"), 20, "they do not run")
    run = worker_of(runs, "2").partition(".")[0]
    process.kill()
    wait_until(lambda: not marked(run), 15, "somebody stays")


# ---------------------------------------------------------------------------------------------------------------- modes


def test_a_mode_that_stops_asks_nobody(runs, log):
    begin(runs, [log.line("1", 60, SLEEP)], "--pause", "stop")
    wait_until(lambda: worker_of(runs, "1") and started(log, 1), 20, "it does not run")
    time.sleep(0.3)
    assert runs.steer(Want.PAUSE, "r")
    wait_until(lambda: stands(pids_of(log, {"1"})[0]), 3, "it is not stopped at once")
    assert runs.steer(Want.RUN, "r")
    wait_until(lambda: not stands(pids_of(log, {"1"})[0]), 3, "it does not go on")
    time.sleep(0.5)
    assert log.of("1", "frame") == []


def test_suspended_with_its_run_and_continued(runs, log):
    """^Z: nobody is asked, for the process manager stops a moment later; nor is anybody told to go on."""
    process = begin(runs, [log.line("1", 60, SLEEP)])
    wait_until(lambda: worker_of(runs, "1") and started(log, 1), 20, "it does not run")
    time.sleep(0.3)
    worker = pids_of(log, {"1"})[0]
    process.send_signal(signal.SIGTSTP)
    wait_until(lambda: state_of(process.pid) == "T" and stands(worker), 5, "they do not stand")
    process.send_signal(signal.SIGCONT)
    wait_until(lambda: not stands(worker), 10, "it does not go on")
    assert runs.steer(Want.PAUSE, "r")
    wait_until(lambda: log.of("1", "paused"), 20, "it does not listen any more")
    assert len(log.of("1", "frame")) == 1


@pytest.fixture
def crew():
    made = Crew()
    yield made
    made.close()


@pytest.fixture
def wire():
    made = Wire("tcp://127.0.0.1:*", PauseMode.AUTO, deaf=True)
    yield made
    made.close()


def wired(wire: Wire, crew: Crew, *command: str):
    """A worker that is asked over the wire, and holds the read end of its stdin."""
    voice, stdin = wire.open()
    hello = json.loads(os.read(stdin, 4096))
    os.close(stdin)
    worker = crew.worker(*command)
    worker.ask = voice
    voice.begin(worker)
    return worker, hello["publisher_pm"]


def subscriber(context: zmq.Context, address: str) -> zmq.Socket:
    made = context.socket(zmq.SUB)
    made.setsockopt(zmq.RCVTIMEO, 5000)
    made.connect(address)
    made.setsockopt(zmq.SUBSCRIBE, b"")
    return made


def turn_until(wire: Wire, socket: zmq.Socket) -> dict:
    """The next frame, the wire being turned as its descriptor says, and never otherwise."""
    with select.epoll() as epoll:
        epoll.register(wire.fileno(), select.EPOLLIN)
        until = time.monotonic() + 5
        while not socket.poll(0):
            assert time.monotonic() < until, "no frame comes"
            if wire.pending or epoll.poll(0.01):
                wire.turn()
    return json.loads(socket.recv())


def test_an_urgent_pause_sends_a_signal_and_no_frame(wire, crew):
    worker, _ = wired(wire, crew, "sleep", "60")
    now = time.monotonic()
    pause_all({worker: WHY}, now, at_once=True)
    wait_until(worker.standing, 2, "it does not stand")
    assert not wire.changed
    resume_all([worker], now)
    assert not wire.changed
    pause_all({worker: WHY}, now)
    assert list(wire.changed) == [worker.ask]
    assert not worker.standing()
    pause_all({worker: WHY}, now + 0.1, at_once=True)
    wait_until(worker.standing, 2, "room is gone, and it still runs")


def test_who_was_asked_in_vain_is_stopped_after_five_seconds(wire, crew):
    worker, _ = wired(wire, crew, "sleep", "60")
    now = time.monotonic()
    pause_all({worker: WHY}, now)
    assert_all([worker], now + STOPPED - 0.1)
    assert not worker.standing()
    assert_all([worker], now + STOPPED + 0.1)
    wait_until(worker.standing, 2, "it is not stopped")
    end_all({worker: WHY}, now + 6, 5.0)
    assert not worker.standing(), "one that is to end by the message can read it"
    assert worker.signal_at is None
    assert not worker.process.exited(), "no signal to who blocks it"


# ---------------------------------------------------------------------------------------------------------- subscribers


def test_no_wake_up_is_lost(wire, crew):
    """To publish may take in what has arrived; then the descriptor tells of it no more. Somebody comes while
    something is published, 200 times, and nothing but the descriptor makes anybody look."""
    worker, address = wired(wire, crew, "sleep", "60")
    now, context = time.monotonic(), zmq.Context()
    for n in range(200):
        change = pause_all if n % 2 == 0 else resume_all
        change({worker: WHY}, now)
        late = subscriber(context, address)
        time.sleep(random.uniform(0, 0.003))
        wire.turn()
        assert worker.process.pid in turn_until(wire, late)[KEYS[1 + n % 2]]
        late.close()
    context.destroy()


def test_two_that_come_at_once_are_both_told(wire, crew):
    worker, address = wired(wire, crew, "sleep", "60")
    pause_all({worker: WHY}, time.monotonic())
    wire.turn()
    context = zmq.Context()
    both = [subscriber(context, address) for _ in range(2)]
    time.sleep(0.3)
    for one in both:
        assert turn_until(wire, one)["Pids_for_pause"] == [worker.process.pid]
        assert one.poll(100) == 0, "once each"
    context.destroy()


def test_what_a_worker_missed_while_it_slept_it_reads_in_order(wire, crew):
    """No frame pushes another one out: a thousand changes that it did not look at are there, and then the last one."""
    worker, address = wired(wire, crew, "sleep", "60")
    context = zmq.Context()
    one, now = subscriber(context, address), time.monotonic()
    time.sleep(0.3)
    wire.turn()
    for _ in range(400):
        pause_all({worker: WHY}, now)
        wire.turn()
        resume_all([worker], now)
    pids = [worker.process.pid]
    for _ in range(400):
        assert json.loads(one.recv())["Pids_for_pause"] == pids
        assert json.loads(one.recv())["Pids_for_continue"] == pids
    assert one.poll(100) == 0
    context.destroy()


def test_strangers_that_come_and_go(wire, crew):
    worker, address = wired(wire, crew, "sleep", "60")
    context = zmq.Context()
    for _ in range(50):
        subscriber(context, address).close(linger=0)
    pause_all({worker: WHY}, time.monotonic())
    one = subscriber(context, address)
    assert turn_until(wire, one)["Pids_for_pause"] == [worker.process.pid]
    context.destroy()


def test_messages_from_nobody_are_warned_of_once_and_the_worker_works_on(runs, log):
    port = free_port()
    process = begin(runs, [log.line("1", 1.5, SLEEP)], address=f"zmq://127.0.0.1:{port}")
    wait_until(lambda: worker_of(runs, "1") and started(log, 1), 20, "it does not run")
    with zmq.Context() as context, context.socket(zmq.XSUB) as stranger:
        stranger.connect(f"tcp://127.0.0.1:{port}")
        for message in [b"\x01", b"stop them \x1b[2J", b"", b"\x01{", b"\0", b"\x02" * 70000] * 20:
            stranger.send(message)
        time.sleep(0.2)
    for garbage in (b"GET / HTTP/1.0\r\n\r\n", b"\xff\0\0\0\0\0\0\0\x01\x7f\x03" + b"\xff" * 100, b""):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(garbage)
    assert runs.steer(Want.PAUSE, "r")
    wait_until(lambda: log.of("1", "paused"), 20, "it does not listen any more")
    assert runs.steer(Want.RUN, "r")
    assert process.wait(20) == 0
    said = process.stderr.read().decode()
    assert said.count("somebody sends messages to the workers' publisher") == 1
    assert "\x1b[2J" not in said
    assert log.tasks("wrong") == []


def test_an_idle_run_costs_next_to_nothing(runs, log):
    """Nothing spins by the wire's descriptor."""
    process = begin(runs, [log.line(str(n), 60, SLEEP) for n in range(4)])
    wait_until(lambda: worker_of(runs, "4") and started(log, 4), 20, "they do not run")
    time.sleep(1)
    before = cpu_seconds(process.pid)
    time.sleep(1.5)
    assert cpu_seconds(process.pid) - before < 0.3


def cpu_seconds(pid: int) -> float:
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        return sum(map(int, file.read().rpartition(")")[2].split()[11:13])) / os.sysconf("SC_CLK_TCK")


# ---------------------------------------------------------------------------------------------------- address, settings


def test_a_port_that_is_taken_is_an_error_before_anything_is_started(program, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = program.call(*RUN, f"zmq://127.0.0.1:{port}", "touch", ":::", str(tmp_path / "made"))
    assert done.returncode == 2
    said = done.stderr.decode()
    assert said.startswith(f"loadkeeper: --checkpoint zmq://127.0.0.1:{port}: somebody listens there already")
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "made").exists()
    assert not program.managers()
    assert program.journals() == []
    assert list((tmp_path / "p/s").rglob("runs/*")) == []


def test_two_runs_have_a_port_of_their_own_each(runs, log):
    both = [begin(runs, [log.line(str(n), 1, SLEEP)]) for n in (1, 2)]
    assert [run.wait(30) for run in both] == [0, 0]
    ports = [re.search(r"127\.0\.0\.1:(\d+)", one.what)[1] for one in log.events() if one.what.startswith("hello")]
    assert len(set(ports)) == 2
    assert "0" not in ports


def test_a_port_is_free_again_after_its_run(runs, log):
    port = free_port()
    for n in range(3):
        assert runs.call(*RUN, f"zmq://127.0.0.1:{port}", "--quiet", ":::", log.line(str(n), 0.1, SLEEP)).stderr == b""


def test_settings_make_it_too(program, log, tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work/loadkeeper.toml").write_text(f'[run]\ncheckpoint = "{FREE}"\nsigterm-blocking = true\n')
    told = json.loads(program.call("config", "--json", cwd=tmp_path / "work").stdout)
    assert told["checkpoint"] == {"value": FREE, "origin": "loadkeeper.toml:2"}
    assert told["sigterm-blocking"] == {"value": True, "origin": "loadkeeper.toml:3"}
    program.environment |= {"LOADKEEPER_CHECKPOINT": "zmq://127.0.0.1:x", "LOADKEEPER_SIGTERM_BLOCKING": "no"}
    wrong = program.call("config", cwd=tmp_path / "work")
    assert wrong.returncode == 2
    assert b"LOADKEEPER_CHECKPOINT: 'zmq://127.0.0.1:x' is no address" in wrong.stderr
    program.environment["LOADKEEPER_CHECKPOINT"] = f"zmq://127.0.0.1:{free_port()}"
    told = json.loads(program.call("config", "--json", cwd=tmp_path / "work").stdout)
    assert told["checkpoint"]["origin"] == "LOADKEEPER_CHECKPOINT"
    assert told["sigterm-blocking"]["value"] == "no"
    assert program.call("run", "--cpu", "off", ":::", log.line("1", 0.1, SLEEP), cwd=tmp_path / "work").returncode == 0
    assert program.environment["LOADKEEPER_CHECKPOINT"][6:] in log.of("1", "hello")[0].what.replace("\\", "")


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("127.0.0.1:6268", "zmq://HOST:PORT"),
        ("zmq://", "zmq://HOST:PORT"),
        ("zmq://:6268", "zmq://HOST:PORT"),
        ("zmq://127.0.0.1:65536", "zmq://HOST:PORT"),
        ("zmq://127.0.0.1:-1", "zmq://HOST:PORT"),
        ("zmq://127.0.0.1:\u0661", "zmq://HOST:PORT"),
        ("zmq://127.0.0.1:1/x", "zmq://HOST:PORT"),
        ("zmq://127.0.0.1:1#x", "zmq://HOST:PORT"),
        ("zmq://a@127.0.0.1:1", "zmq://HOST:PORT"),
        ("ipc:///tmp/x", "zmq://HOST:PORT"),
        ("zmq://*:6268", "no address of this machine"),
        ("zmq://0.0.0.0:6268", "no passwords"),
        ("zmq://[::]:6268", "no passwords"),
        ("zmq://[::1]:6268", "IPv4"),
    ],
)
def test_addresses_that_are_none(address, what):
    with pytest.raises(SettingsError, match=re.escape(what)) as caught:
        parse_wire(address)
    assert "for example zmq://127.0.0.1:6268" in str(caught.value)


def test_addresses_that_are_some():
    assert parse_wire("zmq://localhost:6268") == "tcp://127.0.0.1:6268"
    assert parse_wire("zmq://127.0.0.9:06268/") == "tcp://127.0.0.9:6268"
    assert parse_wire("zmq://127.0.0.1:0") == "tcp://127.0.0.1:*"


# --------------------------------------------------------------------------------------------------------- at random


class Operator:
    """Pauses, continues and ends workers at random, and remembers what it wants of whom."""

    def __init__(self, program, seed: int) -> None:
        self._program = program
        self._chance = random.Random(seed)
        self.wanted: dict[str, Want] = {}  # by worker; of those that were not ended
        self.ended = 0

    def act(self) -> None:
        workers = [worker.id for run in self._program.ask().runs for worker in run.workers if worker.state != "ending"]
        if not workers:
            return
        worker = self._chance.choice(workers)
        want = self._chance.choices([Want.PAUSE, Want.RUN, Want.STOP], [5, 4, 1])[0]
        if self._program.steer(want, worker):
            self.wanted[worker] = want
            self.ended += want is Want.STOP

    def rest(self) -> None:
        time.sleep(self._chance.choice([0.01, 0.1, 0.3, 0.7]))


def obeyed(runs, log: Log, wanted: dict[str, Want]) -> bool:
    """Every worker that lives is where it is to be; those whose end is wanted live no more."""
    workers = {worker.id: worker for run in runs.ask().runs for worker in run.workers}
    last = {event.pid: event.what for event in log.events()}
    for worker, want in wanted.items():
        if worker not in workers:
            continue
        pids = [pid for pid in last if command_of(pid) and worker == mark_of(pid)]
        if want is Want.STOP:
            return False
        stood = [pid for pid in pids if stands(pid)]
        if want is Want.PAUSE and stood != pids:
            return False
        if want is Want.RUN and (stood or any(stands_at_its_checkpoint(log, pid) for pid in pids)):
            return False
    return True


def mark_of(pid: int) -> str:
    with open(f"/proc/{pid}/environ", "rb") as file:
        return re.search(rb"LOADKEEPER_WORKER=([^\0]*)", file.read())[1].decode()


def stands_at_its_checkpoint(log: Log, pid: int) -> bool:
    said = [event.what for event in log.events() if event.pid == pid and event.what in ("paused", "continued")]
    return said[-1:] == ["paused"]


def play(runs, log: Log, seed: int, seconds: float, work: float) -> None:
    """Ten workers of all kinds, half of them PHP, steered for so many seconds; in the end every task is done."""
    client = PHP if has_php() else PYTHON
    kinds = [[], ["block"], ["shell"], ["late=1"], ["block", "late=2", "shell"]]
    commands = []
    for n in range(10):
        words = kinds[n % 5]
        line = log.line(str(n), work, SLEEP, *(w for w in words if w != "shell"), client=client if n > 4 else PYTHON)
        commands.append(f"{line}; true" if "shell" in words else line)
    process = begin(runs, commands, "--sigterm-blocking", "--grace", "8", "-j", "10")
    wait_until(lambda: started(log, 10), 30, "they do not run")
    operator, until = Operator(runs, seed), time.monotonic() + seconds
    while time.monotonic() < until and process.poll() is None:
        operator.act()
        operator.rest()
    wait_until(lambda: process.poll() is not None or obeyed(runs, log, operator.wanted), 20, f"seed {seed}")
    runs.steer(Want.RUN, "r")
    for worker in operator.wanted:
        runs.steer(Want.RUN, worker)
    assert process.wait(60) == 0, f"seed {seed}: {process.stderr.read().decode()}"
    done = log.tasks("done")
    assert sorted(set(done)) == sorted(map(str, range(10))), f"seed {seed}"
    assert len(done) <= 10 + operator.ended, f"seed {seed}: who was not ended is not done again"
    assert log.tasks("wrong") == []
    assert all(a.at <= b.at for a, b in pairwise(log.of("0"))), "the log is in order"


def test_steered_at_random(runs, log):
    play(runs, log, 1, 4, work=2)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2, 14))
def test_steered_at_random_for_longer(runs, log, seed):
    play(runs, log, seed, 25, work=12)
