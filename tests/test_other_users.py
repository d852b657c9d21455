"""What another user of the node may try: a real one, with nothing but his own rights."""

import json
import os
import stat
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.plain import NOBODY, SITE, STRANGER, PlainProgram, drop, needs_root, open_directory
from support.program import state_of, wait_until

from loadkeeper.channel.address import places
from loadkeeper.channel.client import Client
from loadkeeper.channel.messages import AskStatus, Rejected
from loadkeeper.linux.process import Process
from loadkeeper.model import (
    Bye,
    Hello,
    Limits,
    PoolReport,
    Report,
    TaskCounts,
    Want,
    Welcome,
    WorkerReport,
    WorkerState,
)

pytestmark = [needs_root, pytest.mark.timeout(200)]

SECRET = b"nobody-else-may-read-this"


@pytest.fixture
def plain(open_path):
    made = PlainProgram(open_path / "p")
    yield made
    made.close()


def as_stranger(plain, *words, **more):
    """Our own program, run by the other user with the first one's directories."""
    return subprocess.run(
        [*drop(STRANGER), plain.python, "-m", "loadkeeper", *words],
        env={**plain.environment, "HOME": "/", **more},
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=30,
        check=False,
    )


def stranger_does(plain, code, *arguments):
    """What Python code of the other user's prints, as JSON."""
    done = subprocess.run(
        [*drop(STRANGER), plain.python, "-c", code, *arguments],
        env={"PYTHONPATH": SITE, "PATH": os.environ["PATH"]},
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def running(plain, *words):
    """A run of one worker; its status."""
    plain.start("run", "--cpu", "off", "--memory", "off", "--name", "mine", *words)
    wait_until(lambda: (s := plain.ask()) and s.runs and s.runs[0].workers, 20, "nothing runs")
    return plain.ask()


# ------------------------------------------------------------------------------------------------------ to read, to end


def test_nothing_that_a_run_keeps_can_be_read_by_another_user(plain):
    line = f"echo {SECRET.decode()} {{}}; sleep {{}}"
    status = running(plain, "--joblog", f"{plain.root}/s/joblog", line, ":::", "60.01")
    Path(plain.root, "s").chmod(0o755)  # as ~/.local/state often is
    kept = plain.root / "s" / "loadkeeper"
    run = kept / "runs" / status.runs[0].id
    wait_until(lambda: list(run.glob("journal.db*")) and list(kept.glob("black-box/*/*.box")), 20, "nothing is kept")
    stopped = plain.call("stop", "mine")
    assert stopped.returncode == 0
    wait_until(lambda: not plain.managers(), 20, "its load manager stays")  # from now on nobody changes what is kept
    paths = [kept, *kept.rglob("*"), plain.root / "r" / "loadkeeper", *(plain.root / "r" / "loadkeeper").rglob("*")]
    assert len(paths) > 8
    too_open = {str(path): oct(mode) for path in paths if (mode := stat.S_IMODE(path.lstat().st_mode)) & 0o077}
    assert too_open == {}
    assert {path.lstat().st_uid for path in paths} == {NOBODY}
    code = """if True:
        import json, os, sys
        def read(path):
            try:
                return bool(os.listdir(path) if os.path.isdir(path) else open(path, "rb").read() or True)
            except OSError:
                return False
        print(json.dumps([path for path in sys.argv[1:] if read(path)]))
    """
    assert stranger_does(plain, code, *map(str, paths)) == []


def test_no_process_of_a_run_can_be_looked_into_or_signalled(plain):
    status = running(plain, "sleep", ":::", "60.02")
    pids = [status.node.pid, status.runs[0].pid, *(worker.pid for worker in status.runs[0].workers)]
    code = """if True:
        import json, os, signal, sys
        done = []
        def attempt(what, *arguments):
            try:
                what(*arguments)
                done.append([what.__name__, *map(str, arguments)])
            except OSError:
                pass
        for pid in map(int, sys.argv[1:]):
            for number in (0, signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP):
                attempt(os.kill, pid, number)
                attempt(os.killpg, pid, number)
            for name in ("environ", "mem", "fd", "maps"):
                attempt(os.listdir if name == "fd" else open, f"/proc/{pid}/{name}")
        print(json.dumps(done))
    """
    assert stranger_does(plain, code, *map(str, pids)) == []
    assert plain.ask().node.pid == status.node.pid


@pytest.mark.parametrize(
    "words",
    [["status"], ["list"], ["explain"], ["pause"], ["stop", "mine"], ["set", "jobs=1"], ["wait", "mine"], ["kinds"]],
    ids=" ".join,
)
def test_a_verb_of_another_user_is_refused_and_tells_nothing(lasting_plain, words):
    status = lasting_plain.ask()
    done = as_stranger(lasting_plain, *words)
    assert done.returncode == 2
    assert done.stderr.startswith(b"loadkeeper: "), done.stderr
    assert b"cannot be" in done.stderr
    assert b"Traceback" not in done.stderr
    assert status.runs[0].id.encode() not in done.stdout + done.stderr
    assert [run.id for run in lasting_plain.ask().runs] == [status.runs[0].id]
    assert state_of(status.runs[0].workers[0].pid) == "S"


@pytest.fixture(scope="module")
def lasting_plain():
    """One run for all who only try to reach it."""
    with open_directory() as directory:
        made = PlainProgram(directory / "p")
        running(made, "sleep", ":::", "120.01")
        yield made
        made.close()


ASK = """if True:
    import json, sys
    from loadkeeper.channel.client import Client
    from loadkeeper.channel.messages import AskStatus, Steer
    from loadkeeper.errors import ChannelError
    from loadkeeper.model import Want
    client = Client(sys.argv[1])
    heard = []
    for message in (AskStatus(), Steer(Want.STOP, [])):
        try:
            heard.append(type(client.ask(message, 1.0)).__name__)
        except ChannelError:
            pass
    print(json.dumps(heard))
"""


def test_the_kernel_says_who_connects_even_where_every_mode_is_open(lasting_plain):
    (place,) = places(lasting_plain.environment)
    top = lasting_plain.root / "r"
    for path in (top, top / "loadkeeper", Path(place.directory), Path(place.socket)):
        path.chmod(0o777)
    try:
        assert stranger_does(lasting_plain, ASK, place.socket) == []
        assert lasting_plain.steer(Want.RUN, "mine"), "its own user is heard, and so is root"
        assert [run.name for run in lasting_plain.ask().runs] == ["mine"]
        done = lasting_plain.call("status")
        assert done.returncode == 2, "its own user is told"
        assert b"not safe" in done.stderr
    finally:
        for path in (Path(place.socket), Path(place.directory), top / "loadkeeper", top):
            path.chmod(0o700)
    assert lasting_plain.call("status").returncode == 0


# ----------------------------------------------------------------------------------------------- to be there before us

LISTEN = """if True:
    import os, socket, sys
    os.umask(0)
    os.makedirs(sys.argv[1], 0o777, exist_ok=True)
    server = socket.socket(socket.AF_UNIX)
    server.bind(sys.argv[1] + "/lm.sock")
    server.listen(8)
    open(sys.argv[1] + "/lm.lock", "w").close()
    print("ready", flush=True)
    while True:
        server.accept()
        print("somebody came", flush=True)
"""


@contextmanager
def impostor(plain, place):
    """A process of the other user that listens where a load manager would, and says who came."""
    process = subprocess.Popen(
        [*drop(STRANGER), plain.python, "-c", LISTEN, str(place)], stdout=subprocess.PIPE, cwd="/"
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    came: list[bytes] = []
    yield came
    process.kill()
    came += process.stdout.readlines()
    process.wait()


def planted(where, how):
    """The runtime directory as somebody else made it; where an impostor could listen in it."""
    elsewhere = where.parent / "elsewhere"
    if how in ("link to a stranger's", "link to ours"):
        elsewhere.mkdir(mode=0o700)
        os.chown(elsewhere, *((STRANGER, STRANGER) if how == "link to a stranger's" else (NOBODY, NOBODY)))
        where.symlink_to(elsewhere)
        os.lchown(where, STRANGER, STRANGER)
        return elsewhere if how == "link to a stranger's" else None
    if how == "file":
        where.write_text("")
        os.chown(where, STRANGER, STRANGER)
        return None
    where.mkdir()
    where.chmod({"stranger's": 0o700, "stranger's, open": 0o777, "ours, open": 0o777}[how])
    user = NOBODY if how == "ours, open" else STRANGER
    os.chown(where, user, user)
    return where


@pytest.mark.parametrize(
    "how", ["link to a stranger's", "link to ours", "file", "stranger's", "stranger's, open", "ours, open"]
)
def test_a_runtime_directory_made_in_advance_is_refused(plain, open_path, how):
    """In a place like /tmp: everybody may write there, and nobody may rename what is another's."""
    shared = open_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    where = shared / f"loadkeeper-{NOBODY}"
    inside = planted(where, how)
    plain.environment |= {"LOADKEEPER_RUNTIME_DIR": str(where)}
    if inside is None:
        refused(plain)
        return
    with impostor(plain, inside / "0123456789") as came:
        refused(plain)
    assert came == []


def refused(plain):
    for words in (["run", "true", ":::", "a"], ["status"], ["stop"], ["kinds", "--forget", "x"]):
        done = plain.call(*words, timeout=20)
        assert done.returncode == 2, (words, done.stdout, done.stderr)
        assert b"the runtime directory" in done.stderr, done.stderr
        assert b"set XDG_RUNTIME_DIR" in done.stderr
        assert b"Traceback" not in done.stderr
    assert not plain.managers(), "something was started"


def test_a_place_that_a_stranger_could_swap_is_refused(plain, open_path):
    """Our own directory, mode 0700, in one where everybody may rename what is there."""
    shared = open_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    plain.environment |= {"LOADKEEPER_RUNTIME_DIR": f"{shared}/mine"}
    done = plain.call("run", "true", ":::", "a")
    assert done.returncode == 2
    assert b"others may put another in its place" in done.stderr
    shared.chmod(0o1777)
    assert plain.call("run", "--cpu", "off", "true", ":::", "a").returncode == 0


def test_a_place_below_a_strangers_directory_is_refused(plain, open_path):
    theirs = open_path / "theirs"
    (theirs / "mine").mkdir(parents=True, mode=0o755)
    os.chown(theirs, STRANGER, STRANGER)
    os.chown(theirs / "mine", NOBODY, NOBODY)
    (theirs / "mine").chmod(0o700)
    plain.environment |= {"LOADKEEPER_RUNTIME_DIR": f"{theirs}/mine"}
    done = plain.call("run", "true", ":::", "a")
    assert done.returncode == 2
    assert b"others may put another in its place" in done.stderr


@pytest.mark.parametrize("how", ["stranger's", "stranger's, open", "ours, open", "no sticky bit"])
def test_a_state_directory_that_others_could_write_to_is_refused(plain, open_path, how):
    shared = open_path / "shared"
    shared.mkdir()
    shared.chmod(0o777 if how == "no sticky bit" else 0o1777)
    where = shared / "state"
    if how != "no sticky bit":
        planted(where, how)
    plain.environment |= {"LOADKEEPER_STATE_DIR": str(where)}
    done = plain.call("run", "true", ":::", "a")
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr
    assert str(where).encode() in done.stderr
    assert not plain.managers()


def test_root_meets_no_impostor_in_a_directory_that_it_did_not_name(open_path, monkeypatch):
    """Root may look after another user's runs where it names the directory; what lies in /tmp is no name."""
    where = open_path / "loadkeeper-0"
    where.mkdir(mode=0o755)
    os.chown(where, STRANGER, STRANGER)
    monkeypatch.setattr("loadkeeper.channel.address.runtime_dir", lambda environment: str(where))
    with pytest.raises(Exception, match="not safe"):
        places({})
    assert places({"LOADKEEPER_RUNTIME_DIR": str(where)}) == []


# ------------------------------------------------------------------------------------------ to speak for somebody else


@pytest.fixture
def manager(program):
    """A load manager of our own, and a way to speak to it."""
    program.start("load-manager")
    (place,) = wait_until(lambda: places(program.environment), 20, "no load manager")
    client = Client(place.socket)
    wait_until(program.ask, 20, "it does not answer")
    yield program, client
    client.close()


def hello(process, run="r1", **more):
    known = {"limits": Limits(cpu=None, memory=None), "grace": 0.2, "command": "true", "state_dir": "/tmp"} | more
    return Hello(run, "name", process.pid, Process.open(process.pid).start_time, **known)


@contextmanager
def after_a_tick():
    """What begins now begins after what was there before, by the kernel's clock of start times (10 ms) too."""
    time.sleep(2 / os.sysconf("SC_CLK_TCK"))
    yield


@contextmanager
def sleeper(*prefix):
    process = subprocess.Popen([*prefix, "sleep", "60.03"], start_new_session=True)
    wait_until(lambda: b"sleep" in Path(f"/proc/{process.pid}/cmdline").read_bytes(), 5, "it did not start")
    wait_until(lambda: state_of(process.pid) == "S", 5, "it did not start")
    yield process
    process.kill()
    process.wait()


def test_a_hello_for_another_users_process_is_refused(manager):
    _, client = manager
    with sleeper(*drop(STRANGER)) as theirs:
        wait_until(lambda: os.stat(f"/proc/{theirs.pid}").st_uid == STRANGER, 5, "it is still ours")
        reply = client.ask(hello(theirs))
    assert isinstance(reply, Rejected)
    assert f"is not of user {os.getuid()}" in reply.error


def test_a_hello_of_another_version_or_for_nobody_is_refused(manager):
    _, client = manager
    with sleeper() as ours:
        assert isinstance(client.ask(hello(ours, protocol=99)), Rejected)
        right = hello(ours)
    assert isinstance(client.ask(right), Rejected), "it is gone"


def test_a_run_that_lives_cannot_be_taken_over_or_sent_away(manager):
    program, client = manager
    (place,) = places(program.environment)
    other = Client(place.socket)
    with sleeper() as first, sleeper() as second:
        assert isinstance(client.ask(hello(first)), Welcome)
        reply = other.ask(hello(second))
        assert isinstance(reply, Rejected)
        assert "which lives" in reply.error
        other.send(Bye("r1"))
        other.ask(AskStatus())
        assert [run.pid for run in program.ask().runs] == [first.pid]
        client.send(Bye("r1"))
        wait_until(lambda: not program.ask().runs, 5, "its own goodbye is not heard")
    other.close()


def test_what_a_report_names_by_mistake_is_not_ended_with_its_run(manager, open_path):
    """Its process manager dies: whoever leads no session, began before the run, or is the load manager itself lives
    on, and so does who is named by a file that only looks like a control group's."""
    program, client = manager
    lm = program.ask().node.pid
    with sleeper() as elder, after_a_tick(), sleeper() as manager_of_run, sleeper() as worker, sleeper() as inside:
        bystander = subprocess.Popen(["sleep", "60.04"])  # in our own session
        fake = open_path / "loadkeeper-r1.7"
        fake.mkdir()
        (fake / "cgroup.procs").write_text(f"{inside.pid}\n")
        assert isinstance(client.ask(hello(manager_of_run)), Welcome)
        victims = [elder.pid, bystander.pid, lm]
        workers = [reported(n, pid) for n, pid in enumerate([*victims, worker.pid], 1)]
        workers.append(reported(7, worker.pid, leaf=str(fake)))
        pools = [PoolReport("main", "sleep", 1)]
        client.send(Report("r1", 1, pools, workers, [], TaskCounts()))
        wait_until(lambda: (s := program.ask()) and s.runs and len(s.runs[0].workers) == 5, 5, "it was not heard")
        manager_of_run.kill()
        manager_of_run.wait()
        wait_until(lambda: worker.poll() is not None, 5, "its own worker is left")
        time.sleep(0.5)
        assert program.ask().node.pid == lm
        assert [process.poll() for process in (elder, bystander, inside)] == [None, None, None]
        bystander.kill()
        bystander.wait()


def reported(n, pid, leaf=None):
    start = Process.open(pid).start_time
    return WorkerReport(n, "main", str(n), pid, start, 0.0, WorkerState.RUNNING, 1.0, leaf=leaf)
