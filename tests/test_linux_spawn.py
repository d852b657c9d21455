"""Starting programs: what they find at their start, by both doors, and what is said when they cannot start."""

import errno
import json
import os
import resource
import signal
import subprocess
import sys

import pytest
from support.children import NOBODY, environment, gone, leaf_base, output, python, start, state, until

from loadkeeper.linux import proc, spawn
from loadkeeper.linux.cgroup import Leaf
from loadkeeper.linux.spawn import MachineFull, Setting, SpawnError

OTHER_DOOR = Setting(umask=0o022)
doors = pytest.mark.parametrize("setting", [spawn.PLAIN, OTHER_DOOR], ids=["posix_spawn", "popen"])
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: only root may start something as another user")


@doors
class TestBothDoors:
    def test_it_leads_a_session_and_group_of_its_own(self, setting):
        pid = start("sleep", "100", setting=setting)
        found = proc.stat(pid)
        assert (found.session, found.group, found.ppid) == (pid, pid, os.getpid())
        os.kill(pid, 9)
        os.waitpid(pid, 0)

    def test_signals_are_at_their_defaults_and_none_is_blocked(self, setting):
        """Python ignores SIGPIPE and SIGXFSZ, nohup SIGHUP; a worker that inherits it never dies of `| head`."""
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        try:
            text = output("grep", "-E", "^Sig(Ign|Blk)", "/proc/self/status", setting=setting)
        finally:
            signal.signal(signal.SIGHUP, before)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        blocked, ignored = (int(line.split()[1], 16) for line in text.splitlines())
        # glibc's posix_spawn leaves its own two (32 and 33) ignored where threads have used them; a program's C library
        # sets them when it needs them
        assert (blocked, ignored & ~(3 << 31)) == (0, 0)

    def test_no_descriptor_of_ours_goes_along(self, setting, tmp_path):
        """Nor one that whoever started us left open, once they are sealed."""
        with open(tmp_path / "ours", "w") as inherited:
            os.set_inheritable(inherited.fileno(), True)
            spawn.seal()
            # `ls` itself opens the directory, as descriptor 3
            assert output("ls", "/proc/self/fd", setting=setting).split() == ["0", "1", "2", "3"]

    def test_the_environment_is_exactly_what_was_given(self, setting):
        given = {b"PATH": b"/usr/bin:/bin", b"A": b"\xff\n=", b"BASH_FUNC_module%%": b"() { :; }"}
        text = output("env", "-0", environ=given, setting=setting)
        assert sorted(text.encode("utf-8", "surrogateescape").split(b"\0"))[1:] == sorted(
            k + b"=" + v for k, v in given.items()
        )

    def test_a_command_that_is_not_on_path(self, setting):
        with pytest.raises(SpawnError, match="no command 'no-such-thing' on PATH") as caught:
            start("no-such-thing", setting=setting)
        assert caught.value.errno == errno.ENOENT

    def test_a_file_that_is_not_there(self, setting):
        with pytest.raises(SpawnError, match="no file /no/such/thing"):
            start("/no/such/thing", setting=setting)

    def test_a_script_without_a_first_line(self, setting, tmp_path):
        script = tmp_path / "script"
        script.write_text("echo hello\n")
        script.chmod(0o755)
        with pytest.raises(SpawnError, match="neither a program nor a script with a #! line") as caught:
            start(str(script), setting=setting)
        assert caught.value.errno == errno.ENOEXEC

    def test_a_script_whose_interpreter_is_not_there(self, setting, tmp_path):
        script = tmp_path / "script"
        script.write_text("#!/no/such/interpreter\n")
        script.chmod(0o755)
        with pytest.raises(SpawnError, match="the interpreter in its first line does not exist"):
            start(str(script), setting=setting)

    def test_a_file_that_may_not_be_executed(self, setting, tmp_path):
        (tmp_path / "plain").write_text("#!/bin/sh\n")
        for name, environ in ((str(tmp_path / "plain"), environment()), ("plain", environment(PATH=str(tmp_path)))):
            with pytest.raises(SpawnError, match="may not be executed") as caught:
                start(name, environ=environ, setting=setting)
            assert caught.value.errno == errno.EACCES
            assert not isinstance(caught.value, MachineFull)

    def test_arguments_that_are_too_long(self, setting):
        with pytest.raises(SpawnError, match="too long"):
            start("true", "x" * (200 << 10), setting=setting)

    def test_what_path_means_is_the_childs_and_a_moved_program_is_found_again(self, setting, tmp_path):
        first, second = tmp_path / "1", tmp_path / "2"
        for directory in (first, second):
            directory.mkdir()
            (directory / "which-one").write_text(f"#!/bin/sh\necho {directory.name}\n")
            (directory / "which-one").chmod(0o755)
        environ = environment(PATH=f"{first}:{second}:/bin:/usr/bin")
        assert output("which-one", environ=environ, setting=setting) == "1\n"
        (first / "which-one").unlink()
        with pytest.raises(SpawnError):
            start("which-one", environ=environ, setting=setting)
        assert output("which-one", environ=environ, setting=setting) == "2\n"

    def test_the_childs_limit_of_descriptors_is_the_one_before_ours_was_raised(self, setting):
        code = """
import os, sys, resource
sys.path.insert(0, sys.argv[1])
from support.children import output
from loadkeeper.linux import spawn
setting = spawn.PLAIN if sys.argv[2] == "plain" else spawn.Setting(umask=0o22)
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
assert not spawn.make_room(300) and resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 200  # not ours to raise
spawn.seal()
assert spawn.make_room(150) and resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 200
assert spawn.make_room(1000) and resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 1000
assert not spawn.make_room(hard + 1)
if setting is spawn.PLAIN:  # the first thing that it asks
    print({output("sh", "-c", "ulimit -n", setting=setting).strip() for _ in range(20)})
else:
    print({output("sh", "-c", "sleep 0.1; ulimit -n", setting=setting).strip() for _ in range(2)})
many = [os.open("/dev/null", os.O_RDONLY) for _ in range(300)]  # the streams' own numbers are above the limit now
print(output("sh", "-c", "sleep 0.1; ulimit -n", setting=setting).strip())
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""
        which = "plain" if setting is spawn.PLAIN else "particular"
        assert python(code, os.path.dirname(__file__), which).split() == ["{'200'}", "200", "1000"]


def test_streams_in_each_others_way_are_refused_before_anything_starts():
    with pytest.raises(ValueError, match="in the way"):
        spawn.spawn([b"true"], environment(), stdin=5, stdout=0, stderr=6)
    with pytest.raises(ValueError, match="in the way"):
        spawn.spawn([b"true"], environment(), stdin=5, stdout=6, stderr=1)


def test_another_directory_umask_and_limits(tmp_path):
    setting = Setting(cwd=str(tmp_path), umask=0o077, limits={resource.RLIMIT_CORE: (0, 0)})
    text = output("sh", "-c", "sleep 0.1; pwd; umask; ulimit -c", setting=setting)
    assert text.split() == [str(tmp_path), "0077", "0"]


@root_only
def test_another_user_and_group():
    setting = Setting(user=NOBODY, group=NOBODY, groups=())
    assert output("id", setting=setting).split()[:2] == ["uid=65534(nobody)", "gid=65534(nogroup)"]


@root_only
def test_a_machine_with_no_process_left_is_not_the_commands_fault():
    code = """
import os, resource, sys
sys.path.insert(0, sys.argv[1])
from support.children import start
from loadkeeper.linux.spawn import MachineFull
os.setgroups([]); os.setgid(64999); os.setuid(64999)
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
try:
    start("/bin/true")
except MachineFull as error:
    print(error.errno, error)
"""
    text = python(code, os.path.dirname(__file__))
    assert text.startswith(f"{errno.EAGAIN} /bin/true cannot be started for the moment")


def test_a_worker_is_in_its_leaf_before_its_first_instruction():
    """The first thing it does is to fork; a move afterwards would leave the child outside (27 rounds of 40)."""
    base = leaf_base()
    leaf = Leaf.create(base, f"spawn-{os.getpid()}")
    try:
        for _ in range(10):
            text = output("sh", "-c", "(cat /proc/self/cgroup) & cat /proc/self/cgroup; wait", leaf=leaf)
            lines = [line for line in text.splitlines() if line.startswith("0::")]
            assert len(lines) == 2
            assert all(line.endswith("/" + os.path.basename(leaf.path)) for line in lines), lines
    finally:
        until(leaf.remove)


def test_the_environment_in_a_leaf_is_exactly_what_was_given():
    """The stand-in is a shell, and shells drop what is no name to them and add PWD."""
    leaf = Leaf.create(leaf_base(), f"env-{os.getpid()}")
    try:
        for given in (
            {b"PATH": b"/usr/bin:/bin", b"A": b"\xff\n=", b"BASH_FUNC_module%%": b"() { :; }", b"-x": b"1"},
            {b"PATH": b"/usr/bin:/bin", b"PWD": b"/somewhere"},
            {b"PATH": b"/usr/bin:/bin"},
        ):
            text = output("env", "-0", environ=given, leaf=leaf)
            got = sorted(text.encode("utf-8", "surrogateescape").split(b"\0"))[1:]
            assert got == sorted(k + b"=" + v for k, v in given.items())
    finally:
        until(leaf.remove)


def test_in_a_leaf_the_program_stands_for_itself():
    """The stand-in becomes the command: same pid, session leader, its arguments untouched."""
    leaf = Leaf.create(leaf_base(), f"argv-{os.getpid()}")
    try:
        text = output("printf", "%s|", "a b", "$(x)", "", "'", leaf=leaf)
        assert text == "a b|$(x)||'|"
        pid = start("sleep", "100", leaf=leaf)
        until(lambda: proc.read(f"/proc/{pid}/cmdline") == b"sleep\x00100\x00")
        assert proc.stat(pid).session == pid
        assert leaf.members() == [pid]
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    finally:
        until(leaf.remove)


def test_popen_never_reaps_what_is_ours():
    """A Popen object that is collected while its child lives is polled at the next Popen, and that takes the status."""
    pid = start("sh", "-c", "exit 5", setting=OTHER_DOOR)
    until(lambda: state(pid) == "Z")
    subprocess.Popen(["true"]).wait()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5


def test_a_daemon_outlives_us_and_holds_nothing_of_ours(tmp_path):
    """`ssh host loadkeeper run` returns when the last holder of its pipe is gone."""
    code = """
import json, os, time
session = os.getsid(0)
print(json.dumps([os.getpid(), session, os.getcwd(), sorted(map(int, os.listdir('/proc/self/fd')))]), flush=True)
time.sleep(100)
"""
    reading, writing = os.pipe()  # inheritable, as a descriptor that a shell left open
    os.set_inheritable(writing, True)
    log = tmp_path / "log"
    pid = spawn.spawn_daemon([sys.executable, "-c", code], {"PATH": os.environ["PATH"]}, str(log))
    assert pid in spawn.helpers()
    until(lambda: spawn.reap_helper(pid))
    assert spawn.helpers() == set()
    assert state(pid) == ""
    daemon, session, cwd, descriptors = json.loads(until(log.read_text))
    try:
        assert session == pid != daemon
        assert cwd == "/"
        assert descriptors == [0, 1, 2, 3]  # 3: the listing itself
        assert os.readlink(f"/proc/{daemon}/fd/0") == "/dev/null"
        assert os.readlink(f"/proc/{daemon}/fd/1") == str(log)
        os.close(writing)
        assert os.read(reading, 1) == b""
        assert log.stat().st_mode & 0o777 == 0o600
    finally:
        os.kill(daemon, 9)
        os.close(reading)
    until(lambda: gone(daemon))


def test_a_daemon_that_cannot_start_is_told_at_once(tmp_path):
    with pytest.raises(SpawnError, match="no command 'no-such-thing'"):
        spawn.spawn_daemon(["no-such-thing"], {"PATH": "/bin"}, str(tmp_path / "log"))
    with pytest.raises(SpawnError, match=r"log .* cannot be written"):
        spawn.spawn_daemon(["true"], {"PATH": "/bin"}, str(tmp_path / "no" / "log"))


def test_the_copies_of_our_descriptors_in_a_child_go_away_by_themselves():
    """`posix_spawn` returns before the kernel has closed them, so a descriptor that is closed right afterwards lives on
    for a moment: an epoll must be told with `unregister`, and the end of a pipe comes a moment later."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    pid = start("sleep", "100")
    os.close(writing)
    try:
        assert os.read(reading, 1) == b""  # would wait for the child's end, 100 s
        assert state(pid) not in ("", "Z")
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(reading)
