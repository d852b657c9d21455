"""Where a process stands among the control groups, from mountinfo and /proc/PID/cgroup."""

from hypothesis import given
from hypothesis import strategies as st

from loadkeeper.linux.hierarchy import UNIFIED, Level, levels, parse_membership, parse_mounts

CGROUP2 = b"35 24 0:30 %s %s rw,nosuid shared:9 master:3 - cgroup2 cgroup2 rw,nsdelegate\n"


def unified(path: bytes, *mounts: tuple[bytes, bytes]) -> list[Level]:
    mountinfo = b"".join(CGROUP2 % mount for mount in mounts)
    return levels(UNIFIED, parse_mounts(mountinfo), parse_membership(b"0::" + path + b"\n"))


def test_a_machine_shows_every_ancestor_innermost_first() -> None:
    assert unified(b"/user.slice/a.scope", (b"/", b"/sys/fs/cgroup")) == [
        Level("/sys/fs/cgroup/user.slice/a.scope", "/user.slice/a.scope"),
        Level("/sys/fs/cgroup/user.slice", "/user.slice"),
        Level("/sys/fs/cgroup", "/"),
    ]


def test_a_container_without_a_cgroup_namespace_is_found_by_the_root_of_its_mount() -> None:
    found = unified(b"/docker/4f/child", (b"/docker/4f", b"/sys/fs/cgroup"))
    assert found == [
        Level("/sys/fs/cgroup/child", "/docker/4f/child"),
        Level("/sys/fs/cgroup", "/docker/4f"),
    ]


def test_a_container_with_a_cgroup_namespace_is_at_the_top_of_what_it_sees() -> None:
    assert unified(b"/", (b"/", b"/sys/fs/cgroup")) == [Level("/sys/fs/cgroup", "/")]


def test_of_several_mounts_the_one_that_shows_most_ancestors_is_taken() -> None:
    found = unified(b"/a/b", (b"/a/b", b"/mnt/inner"), (b"/a", b"/mnt/outer"), (b"/other", b"/mnt/other"))
    assert [level.directory for level in found] == ["/mnt/outer/b", "/mnt/outer"]


def test_a_name_that_only_begins_alike_is_another_group() -> None:
    found = unified(b"/docker/4f11", (b"/docker/4f", b"/narrow"), (b"/", b"/wide"))
    assert found[0].directory == "/wide/docker/4f11"


def test_a_path_outside_of_what_is_mounted_leaves_the_top_of_the_mount() -> None:
    assert unified(b"/../../elsewhere", (b"/", b"/sys/fs/cgroup")) == [Level("/sys/fs/cgroup", "/../../elsewhere")]


def test_blanks_in_mount_points_and_colons_in_paths() -> None:
    found = unified(b"/a:b/c", (b"/", rb"/mnt/my\040groups"))
    assert found[0] == Level("/mnt/my groups/a:b/c", "/a:b/c")


def test_version_1_controllers_mounted_together_and_a_removed_group() -> None:
    mounts = parse_mounts(b"31 23 0:30 / /cg/cpu,cpuacct rw shared:1 - cgroup cgroup rw,cpu,cpuacct\n")
    membership = parse_membership(b"4:cpu,cpuacct:/job (deleted)\n1:name=systemd:/x\n")
    assert levels("cpuacct", mounts, membership)[0] == Level("/cg/cpu,cpuacct/job", "/job")
    assert levels("memory", mounts, membership) == []
    assert membership["name=systemd"] == "/x"


@given(st.binary(), st.binary())
def test_no_content_raises(mountinfo: bytes, cgroup: bytes) -> None:
    mounts, membership = parse_mounts(mountinfo), parse_membership(cgroup)
    for controller in (UNIFIED, "memory"):
        levels(controller, mounts, membership)
