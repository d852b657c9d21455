"""Control groups: what binds, on saved trees; leaves, on the living kernel."""

import os
import signal
import subprocess
import sys

import pytest
from support.children import NOBODY, gone, leaf_base, start, state, until

from loadkeeper.linux import cgroup
from loadkeeper.linux.cgroup import Leaf, binding_path, delegated_base, leaves

V2 = "30 23 0:26 {root} {point} rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = "3{n} 23 0:3{n} {root} /sys/fs/cgroup/{name} rw - cgroup cgroup rw,{name}\n"


def tree(tmp_path, mountinfo, membership, files):
    """A saved machine: /proc/self and what lies under its mount points."""
    proc = tmp_path / "proc" / "self"
    proc.mkdir(parents=True)
    (proc / "mountinfo").write_text(mountinfo)
    (proc / "cgroup").write_text(membership)
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return str(tmp_path / "proc"), str(tmp_path)


def v2(tmp_path, membership, files, root="/"):
    mounts = V2.format(root=root, point="/sys/fs/cgroup")
    return tree(tmp_path, mounts, membership, {f"sys/fs/cgroup/{k}": v for k, v in files.items()})


def test_scopes_without_a_limit_do_not_count(tmp_path):
    """Two terminals of one user share a load manager."""
    files = {
        "user.slice/memory.max": "max\n",
        "user.slice/user-1000.slice/session-3.scope/memory.max": "max\n",
        "user.slice/user-1000.slice/session-3.scope/cpu.max": "max 100000\n",
        "user.slice/user-1000.slice/session-3.scope/memory.high": "max\n",
    }
    assert binding_path(*v2(tmp_path, "0::/user.slice/user-1000.slice/session-3.scope\n", files)) == "/"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("memory.max", "1073741824\n"),
        ("memory.high", "1073741824\n"),
        ("cpu.max", "50000 100000\n"),
        ("cpuset.cpus.effective", "1\n"),
    ],
)
def test_the_innermost_that_carries_a_limit_is_what_binds(tmp_path, name, content):
    files = {
        "a/memory.max": "4294967296\n",
        "cpuset.cpus.effective": "0-3\n",
        "a/cpuset.cpus.effective": "0-3\n",
        "a/b/cpuset.cpus.effective": "0-3\n",
        "a/b/c/cpuset.cpus.effective": "0-3\n",
        f"a/b/{name}": content,
    }
    files["a/b/c/cpuset.cpus.effective"] = files["a/b/cpuset.cpus.effective"]
    assert binding_path(*v2(tmp_path, "0::/a/b/c\n", files)) == "/a/b"


def test_version_1_and_a_limit_that_is_none(tmp_path):
    mounts = "".join(V1.format(n=n, name=name, root="/") for n, name in enumerate(("memory", "cpu", "cpuset")))
    membership = "4:memory:/docker/ab\n3:cpu:/docker/ab/inner\n2:cpuset:/\n"
    files = {
        "sys/fs/cgroup/memory/docker/ab/memory.limit_in_bytes": "9223372036854771712\n",
        "sys/fs/cgroup/cpu/docker/ab/cpu.cfs_quota_us": "-1\n",
        "sys/fs/cgroup/cpu/docker/ab/inner/cpu.cfs_quota_us": "-1\n",
    }
    assert binding_path(*tree(tmp_path / "none", mounts, membership, files)) == "/"
    files["sys/fs/cgroup/memory/docker/ab/memory.limit_in_bytes"] = "1073741824\n"
    assert binding_path(*tree(tmp_path / "memory", mounts, membership, files)) == "/docker/ab"
    files["sys/fs/cgroup/cpu/docker/ab/inner/cpu.cfs_quota_us"] = "50000\n"
    assert binding_path(*tree(tmp_path / "cpu", mounts, membership, files)) == "/docker/ab/inner"


def test_in_a_container_the_part_that_is_mounted_is_translated(tmp_path):
    """Docker without a cgroup namespace: the membership is the host's path, the mount shows its own part."""
    files = {"memory.max": "1073741824\n"}
    assert binding_path(*v2(tmp_path, "0::/docker/ab\n", files, root="/docker/ab")) == "/docker/ab"


def test_without_any_control_group(tmp_path):
    assert binding_path(*tree(tmp_path, "", "", {})) == "/"
    assert binding_path("/nowhere") == "/"
    assert delegated_base("/nowhere") is None


# ------------------------------------------------------------------------------------------------------------ leaves


@pytest.fixture
def leaf():
    made = Leaf.create(leaf_base(), f"test-{os.getpid()}.1")
    assert made is not None
    yield made
    until(made.remove)
    assert not os.path.exists(made.path)


@pytest.fixture
def inside(leaf):
    """A process in the leaf that counts."""
    pid = start(sys.executable, "-c", "import time\nwhile True: time.sleep(0.001)", leaf=leaf)
    until(lambda: leaf.members() == [pid])
    yield pid
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def write_in(path, content):
    with open(path, "w") as stream:
        stream.write(content)


def ticks(pid):
    with open(f"/proc/{pid}/stat", "rb") as stream:
        return stream.read()


def test_a_frozen_leaf_stands_and_a_thawed_one_goes_on(leaf, inside):
    assert not leaf.frozen()
    assert leaf.freeze()
    assert leaf.wait_frozen(5)
    assert leaf.frozen()
    switches = f"/proc/{inside}/status"

    def count():
        with open(switches) as stream:
            return next(line for line in stream if line.startswith("voluntary_ctxt"))

    stood = count()
    os.kill(inside, signal.SIGCONT)  # wakes what was stopped, not what is frozen
    assert leaf.frozen()
    assert count() == stood
    assert leaf.thaw()
    until(lambda: count() != stood)
    assert not leaf.frozen()


def test_a_wait_for_a_freeze_that_nobody_ordered_ends_in_time(leaf, inside):
    assert not leaf.wait_frozen(0.01)


@pytest.mark.parametrize("way", ["cgroup.kill", "one by one"])
def test_kill_reaches_a_frozen_leaf_and_what_is_below_it(leaf, way, monkeypatch):
    """One by one is for kernels before 5.14."""
    below = Leaf.create(leaf.path, "below")
    pids = [start("sleep", "100", leaf=leaf), start("sleep", "100", leaf=below)]
    until(lambda: sorted(leaf.members()) == sorted(pids))
    leaf.freeze()
    assert leaf.wait_frozen(5)
    if way == "one by one":
        write = Leaf._write
        monkeypatch.setattr(Leaf, "_write", lambda self, name, text: name != "cgroup.kill" and write(self, name, text))
    assert leaf.kill()
    for pid in pids:
        until(lambda pid=pid: gone(pid))
        os.waitpid(pid, 0)
    assert leaf.remove()
    assert not below.exists()


def test_one_by_one_waits_for_nobody_whom_the_signal_has_reached(leaf, inside, monkeypatch):
    """Somebody whom the old freezer holds cannot die: as one who takes long on a busy machine, for ever."""
    held = f"/sys/fs/cgroup/freezer/loadkeeper-test-{os.getpid()}"
    try:
        os.mkdir(held)
    except OSError as error:
        pytest.skip(f"needs version 1's freezer: {error}")
    try:
        write_in(f"{held}/cgroup.procs", str(inside))
        write_in(f"{held}/freezer.state", "FROZEN")
        until(lambda: state(inside) == "D")
        monkeypatch.setattr(Leaf, "_write", lambda *_: False)
        assert leaf.kill()
        assert leaf.members() == [inside]
        write_in(f"{held}/freezer.state", "THAWED")
        until(lambda: gone(inside))
    finally:
        write_in(f"{held}/freezer.state", "THAWED")
        until(lambda: gone(inside))
        os.rmdir(held)


def test_a_leaf_with_a_zombie_in_it_can_be_removed(leaf):
    """So a worker's leaf goes before its leader is reaped."""
    pid = start("true", leaf=leaf)
    until(lambda: state(pid) == "Z")
    assert not leaf.populated()
    assert leaf.remove()
    os.waitpid(pid, 0)


def test_removing_a_leaf_kills_who_is_left_and_says_that_they_are_not_dead_yet(leaf, inside):
    refused = leaf.remove()
    until(lambda: gone(inside))
    until(leaf.remove)
    assert not refused or gone(inside)


def test_a_name_is_made_safe_and_a_leaf_in_use_is_not_taken_twice(leaf, inside):
    base = os.path.dirname(leaf.path)
    assert Leaf.create(base, f"test-{os.getpid()}.1") is None
    odd = Leaf.create(base, f"../{os.getpid()}/x.1")
    assert os.path.dirname(odd.path) == base
    assert odd.remove()


def test_the_leaves_of_a_run_are_found_and_not_those_of_another(leaf):
    base = os.path.dirname(leaf.path)
    other = Leaf.create(base, f"test-{os.getpid()}0.1")
    assert [one.path for one in leaves(base, f"test-{os.getpid()}")] == [leaf.path]
    assert other.remove()
    assert leaves("/nowhere", "x") == []


def test_a_leaf_that_is_gone_is_no_error():
    missing = Leaf("/sys/fs/cgroup/no-such")
    assert (missing.freeze(), missing.frozen(), missing.members(), missing.populated()) == (False, False, [], False)
    assert missing.remove()
    assert missing.peak() is None


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
def test_who_may_not_make_leaves_is_told_so():
    leaf_base()
    code = (
        "import os; from loadkeeper.linux import cgroup; os.setgid(%d); os.setuid(%d); print(cgroup.delegated_base())"
    )
    done = subprocess.run([sys.executable, "-c", code % (NOBODY, NOBODY)], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "None", done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to delegate")
def test_in_a_delegated_subtree_anybody_may(leaf):
    """As a systemd user service with Delegate=yes has it."""
    for name in ("", "/cgroup.procs", "/cgroup.subtree_control", "/cgroup.threads"):
        os.chown(leaf.path + name, NOBODY, NOBODY)
    code = (
        "import os; from loadkeeper.linux import cgroup; os.setgid(%d); os.setuid(%d); print(cgroup.delegated_base())"
    )
    enter = 'echo 0 > "$0" && exec "$@"'
    command = ["sh", "-c", enter, leaf.procs, sys.executable, "-c", code % (NOBODY, NOBODY)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == leaf.path, done.stderr


def test_a_try_leaves_nothing_behind():
    base = leaf_base()
    assert not [name for name in os.listdir(base) if name.startswith(f"{cgroup.PREFIX}try-{os.getpid()}")]


@pytest.mark.skipif(delegated_base() is None, reason="needs a version 2 control group that we may make others in")
def test_a_process_leaves_the_leaf_that_it_was_started_in():
    leaf = Leaf.create(delegated_base(), f"leave-{os.getpid()}")
    code = "from loadkeeper.linux.cgroup import leave_leaf; print(leave_leaf(), open('/proc/self/cgroup').read())"
    words = ["sh", "-c", 'echo 0 > "$0" && exec "$@"', leaf.procs, sys.executable, "-c", code]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert told.startswith("True")
    assert "loadkeeper-" not in told
    assert leaf.remove()
