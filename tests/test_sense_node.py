"""The node's gauges on saved trees: machines and containers that are not this one."""

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from loadkeeper.sense.capacity import capacity
from loadkeeper.sense.node import NodeSensor

TREES = Path(__file__).parent / "trees"
MIB, GIB = 1 << 20, 1 << 30


class Expected(NamedTuple):
    cpus: float
    cpus_bound_by: str
    memory: int
    memory_bound_by: str
    available: int
    available_bound_by: str
    dirty: int
    swap: tuple[int, int]  # total, free
    pressure_cpu: float | None
    binding: str | None  # below sys


SLICE = "/user.slice/user-1000.slice"
POD = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod7e.slice"
POD_V1 = "/kubepods/burstable/pod0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9/9c56c6e1f0"
TREES_EXPECTED = {
    # memory.high is below memory.max; current 2 GiB, reclaimable 256 + 512 + 64 MiB; it may swap 512 MiB, 128 are used
    "v2-systemd-slices": Expected(
        4.0,
        f"cgroup {SLICE}",
        3 * GIB,
        f"cgroup {SLICE}",
        1856 * MIB,
        f"cgroup {SLICE}",
        42 * MIB,
        (512 * MIB, 384 * MIB),
        0.155,
        f"fs/cgroup{SLICE}",
    ),
    # no limit anywhere; the affinity names 128 CPUs, eight are on line; the session's own pressure is not the node's
    "v2-plain": Expected(8.0, "machine", 16 * GIB, "machine", 9 * GIB, "machine", 32 * MIB, (0, 0), 0.135, None),
    # current 1536, reclaimable 100 + 300 + 50: shared memory of 150 MiB is not among it
    "v2-docker": Expected(
        1.5, "cgroup /", 2 * GIB, "cgroup /", 962 * MIB, "cgroup /", 12 * MIB, (0, 0), 0.175, "fs/cgroup"
    ),
    "v2-docker-host-namespace": Expected(
        4.0,
        "cgroup /system.slice/docker-4f1c.scope",
        2 * GIB,
        "cgroup /system.slice/docker-4f1c.scope",
        1152 * MIB,
        "cgroup /system.slice/docker-4f1c.scope",
        0,
        (0, 0),
        0.175,
        "fs/cgroup/system.slice/docker-4f1c.scope",
    ),
    "v1-docker": Expected(
        0.5,
        "cgroup /docker/4f1c",
        GIB,
        "cgroup /docker/4f1c",
        624 * MIB,
        "cgroup /docker/4f1c",
        36 * MIB,
        (0, 0),
        None,
        "fs/cgroup/memory",
    ),
    # the job's own limit is 4 GiB, its parent's 1 GiB, of which the siblings use most
    "v1-nested": Expected(
        1.5,
        "cgroup /batch/job 7",
        GIB,
        "cgroup /batch",
        74 * MIB,
        "cgroup /batch",
        MIB,
        (0, 0),
        None,
        "fs/cgroup/memory/batch/job 7",
    ),
    "hybrid": Expected(2.0, "machine", 24 * GIB, "machine", 23 * GIB, "machine", 16384, (0, 0), 0.135, None),
    # overcommit_memory = 2: 2 GiB may be committed, 1.5 are
    "no-psi-no-cgroup": Expected(2.0, "machine", 4 * GIB, "machine", 512 * MIB, "commit limit", 0, (0, 0), None, None),
    "lxc-lxcfs": Expected(2.0, "machine", 3 * GIB, "machine", 2 * GIB, "machine", 0, (GIB, GIB), 0.185, "fs/cgroup"),
    # the container's 2 GiB bind; but its siblings in the pod leave less than it could take by itself
    "v2-kubernetes": Expected(
        2.0,
        f"cgroup {POD}/cri-containerd-ab.scope",
        2 * GIB,
        f"cgroup {POD}/cri-containerd-ab.scope",
        768 * MIB,
        f"cgroup {POD}",
        0,
        (0, 0),
        0.155,
        f"fs/cgroup{POD}/cri-containerd-ab.scope",
    ),
    # Guaranteed, three CPUs of its own; 4096 - 1536 + 200 + 400 + 40; the machine's swap is not for it
    "v2-kubernetes-guaranteed": Expected(
        3.0, "cgroup /", 4 * GIB, "cgroup /", 3200 * MIB, "cgroup /", 24 * MIB, (0, 0), 0.145, "fs/cgroup"
    ),
    # Burstable, no CPU limit; memory.high of MemoryQoS is below memory.max; 1894 - 1000 + 50 + 100 + 6
    "v2-kubernetes-burstable": Expected(
        8.0, "machine", 1894 * MIB, "cgroup /", 1050 * MIB, "cgroup /", 2 * MIB, (0, 0), 0.095, "fs/cgroup"
    ),
    # 1536 - 900 + 100 + 200
    "v1-kubernetes": Expected(
        1.5,
        f"cgroup {POD_V1}",
        1536 * MIB,
        f"cgroup {POD_V1}",
        936 * MIB,
        f"cgroup {POD_V1}",
        8 * MIB,
        (0, 0),
        None,
        "fs/cgroup/memory",
    ),
    # the pod's 2 GiB, which only memory.stat tells, are less than the container's own 3; 2048 - 1200 + 400
    "v1-kubernetes-namespace": Expected(
        4.0, "machine", 2 * GIB, "cgroup /", 1248 * MIB, "cgroup /", 8 * MIB, (0, 0), None, "fs/cgroup/memory"
    ),
    # CPUs 1 and 2 of the host are 0 and 1 here; 4096 - 3072 + 312; dirty pages of meminfo are the host's
    "v2-lxcfs-shifted": Expected(
        2.0, "machine", 4 * GIB, "machine", 1336 * MIB, "cgroup /", 16 * MIB, (0, 0), 0.205, "fs/cgroup"
    ),
    # two CPUs are shown for a quota of 1.5; 2048 - 1448 + 400
    "v1-lxcfs": Expected(
        1.5,
        "cgroup /",
        2 * GIB,
        "machine",
        1000 * MIB,
        "cgroup /",
        8 * MIB,
        (512 * MIB, 512 * MIB),
        None,
        "fs/cgroup/memory",
    ),
}


def sensor(tree: Path, **environment: str) -> NodeSensor:
    return NodeSensor(str(tree / "proc"), str(tree / "sys"), environment)


def copied(name: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(TREES / name, tmp_path / name))


@pytest.mark.parametrize("name", TREES_EXPECTED)
def test_a_saved_tree(name: str) -> None:
    expected, node = TREES_EXPECTED[name], sensor(TREES / name)
    reading = node.read(1000.0)
    assert (reading.cpus, reading.capacity.cpus_bound_by) == (expected.cpus, expected.cpus_bound_by)
    assert (reading.total, reading.capacity.memory_bound_by) == (expected.memory, expected.memory_bound_by)
    assert (reading.available, reading.available_bound_by) == (expected.available, expected.available_bound_by)
    assert reading.dirty == expected.dirty
    assert (reading.swap_total, reading.swap_free) == expected.swap
    assert reading.gauges["swap"] == (1 - expected.swap[1] / expected.swap[0] if expected.swap[0] else 0.0)
    assert reading.gauges["pressure.cpu"] == pytest.approx(expected.pressure_cpu)
    binding = str(TREES / name / "sys" / expected.binding) if expected.binding else None
    assert node.binding_cgroup() == binding
    assert reading.busy is None  # one look has nothing to compare with
    assert node.last is reading


def test_every_saved_tree_of_a_node_is_expected() -> None:
    assert {tree.name for tree in TREES.iterdir() if (tree / "proc/meminfo").exists()} == TREES_EXPECTED.keys()


def test_capacity_names_what_binds() -> None:
    tree = TREES / "v1-nested"
    there = capacity(str(tree / "proc"), str(tree / "sys"), {})
    assert there.bound_by == "cgroup /batch, cgroup /batch/job 7"
    tree = TREES / "v2-plain"
    assert capacity(str(tree / "proc"), str(tree / "sys"), {}).bound_by == "machine"


def test_a_limit_that_changes_in_a_living_container_counts_at_the_next_look(tmp_path: Path) -> None:
    tree = copied("v2-kubernetes", tmp_path)
    node = sensor(tree)
    group = tree / f"sys/fs/cgroup{POD}/cri-containerd-ab.scope"
    assert node.read(0.0).total == 2 * GIB
    (group / "memory.max").write_text(f"{1536 * MIB}\n")
    (group / "cpu.max").write_text("100000 100000\n")
    reading = node.read(0.11)
    assert reading.total == 1536 * MIB
    assert reading.available == 640 * MIB  # 1536 - 1024 + 128
    assert reading.cpus == 1.0


def test_a_limit_that_is_set_where_there_was_none_counts_within_100_ms(tmp_path: Path) -> None:
    tree = copied("v2-plain", tmp_path)
    node = sensor(tree)
    assert node.read(5.0).total == 16 * GIB
    (tree / "sys/fs/cgroup/user.slice/memory.max").write_text(f"{7 * GIB}\n")
    assert node.read(5.11).capacity.memory_bound_by == "cgroup /user.slice"
    (tree / "sys/fs/cgroup/user.slice/memory.max").write_text("max\n")
    assert node.read(5.12).capacity.memory_bound_by == "machine"


def test_a_process_that_is_moved_finds_its_new_groups_within_a_second(tmp_path: Path) -> None:
    tree = copied("v2-kubernetes", tmp_path)
    node = sensor(tree)
    node.read(0.0)
    (tree / "proc/self/cgroup").write_text("0::/kubepods.slice\n")
    assert node.read(1.0).capacity.memory_bound_by == "cgroup /kubepods.slice"


@pytest.mark.parametrize("missing", ["memory.current", "memory.stat"])
def test_a_group_that_limits_and_cannot_be_read_makes_available_unknown(tmp_path: Path, missing: str) -> None:
    tree = copied("v2-docker", tmp_path)
    (tree / "sys/fs/cgroup" / missing).unlink()
    reading = sensor(tree).read(0.0)
    assert reading.available is None
    assert reading.available_bound_by == "cgroup /"
    assert reading.total == 2 * GIB


def test_an_unreadable_machine_is_unknown_and_raises_nothing(tmp_path: Path) -> None:
    reading = sensor(tmp_path / "nothing").read(0.0)
    assert (reading.available, reading.busy, reading.gauges["swap"]) == (None, None, None)
    assert reading.gauges["pressure.io"] is None
    assert reading.total > 0
    assert reading.cpus >= 1


def test_a_meminfo_that_stops_being_readable_leaves_the_total(tmp_path: Path) -> None:
    tree = copied("v2-plain", tmp_path)
    node = sensor(tree)
    node.read(0.0)
    (tree / "proc/meminfo").write_bytes(b"")
    reading = node.read(0.01)
    assert (reading.total, reading.available) == (16 * GIB, None)


def test_a_narrower_affinity_inside_a_container_of_lxcfs_counts(tmp_path: Path) -> None:
    """`taskset` there names the host's CPUs; lxcfs shows the container's, from 0."""
    tree = copied("v2-lxcfs-shifted", tmp_path)
    status = tree / "proc/self/status"
    status.write_text(status.read_text().replace("1-2", "2"))
    assert sensor(tree).read(0.0).cpus == 1.0


def test_busy_counts_all_cpus_that_lxcfs_shows(tmp_path: Path) -> None:
    tree = copied("v2-lxcfs-shifted", tmp_path)
    node = sensor(tree)
    node.read(0.0)
    _pass_idle_time(tree, 0.2, 0.9)
    assert node.read(1.0).busy == pytest.approx(0.9)


def test_without_the_containers_view_the_hosts_memory_does_not_hide_the_limit(tmp_path: Path) -> None:
    """lxcfs that has died leaves files that cannot be read: what the control group says is no guess of the machine."""
    tree = copied("v2-lxcfs-shifted", tmp_path)
    (tree / "proc/meminfo").unlink()
    reading = sensor(tree).read(0.0)
    assert reading.total <= 4 * GIB
    assert reading.available is None


def test_what_slurm_granted_by_word_is_the_capacity() -> None:
    node = sensor(TREES / "v2-plain", SLURM_CPUS_ON_NODE="2", SLURM_MEM_PER_NODE="300")
    reading = node.read(0.0, held=100 * MIB, own_seconds=0.0)
    assert (reading.total, reading.available, reading.cpus) == (300 * MIB, 200 * MIB, 2.0)
    assert reading.capacity.bound_by == "SLURM_MEM_PER_NODE, SLURM_CPUS_ON_NODE"
    assert node.read(0.01, held=500 * MIB).available == 0


def test_slurm_by_cpu_and_slurm_without_a_limit() -> None:
    node = sensor(TREES / "v2-plain", SLURM_CPUS_ON_NODE="3", SLURM_MEM_PER_CPU="200")
    assert node.read(0.0).total == 600 * MIB
    assert node.read(0.01).capacity.memory_bound_by == "SLURM_MEM_PER_CPU"
    assert sensor(TREES / "v2-plain", SLURM_MEM_PER_NODE="0").read(0.0).total == 16 * GIB
    assert sensor(TREES / "v2-plain", SLURM_MEM_PER_NODE="much").read(0.0).total == 16 * GIB


def test_a_machine_ad_of_htcondor(tmp_path: Path) -> None:
    ad = tmp_path / ".machine.ad"
    ad.write_text('Name = "slot1@here"\nCpus = 1\nMemory = 128\nTotalMemory = 99999\n')
    reading = sensor(TREES / "v2-plain", _CONDOR_MACHINE_AD=str(ad)).read(0.0)
    assert (reading.total, reading.cpus) == (128 * MIB, 1.0)


def test_own_cpu_counts_against_a_grant(tmp_path: Path) -> None:
    tree = copied("v2-plain", tmp_path)
    node = sensor(tree, SLURM_CPUS_ON_NODE="2")
    node.read(0.0, own_seconds=5.0)
    _pass_idle_time(tree, 1.0)
    reading = node.read(1.0, own_seconds=6.5)
    assert reading.busy == pytest.approx(1.5)


def _pass_idle_time(tree: Path, *idle: float) -> None:
    """Each CPU's idle time grows by the seconds of its turn, over and over."""
    lines = (tree / "proc/stat").read_text().splitlines()
    turn = 0
    for index, line in enumerate(lines):
        fields = line.split()
        if fields[0].startswith("cpu") and fields[0] != "cpu":
            fields[4] = str(int(fields[4]) + int(100 * idle[turn % len(idle)]))
            lines[index] = " ".join(fields)
            turn += 1
    (tree / "proc/stat").write_text("\n".join(lines) + "\n")


def test_busy_counts_the_cpus_of_the_affinity_alone(tmp_path: Path) -> None:
    """v1-nested: CPUs 1 and 2 of four, and a quota of 1.5 cores with 0.5 in use."""
    tree = copied("v1-nested", tmp_path)
    node = sensor(tree)
    node.read(0.0)
    _pass_idle_time(tree, 0.0, 0.9, 0.9, 0.0)
    usage = tree / "sys/fs/cgroup/cpuacct/batch/job 7/cpuacct.usage"
    usage.write_text("2500000000\n")
    assert node.read(1.0).busy == pytest.approx(0.5)  # 1.5 - min(1.5 - 0.5, 1.8)
    _pass_idle_time(tree, 1.0, 0.1, 0.2, 1.0)
    assert node.read(2.0).busy == pytest.approx(1.2)  # others leave 0.3 of the two CPUs


def test_a_cpu_that_goes_off_line_begins_a_new_comparison(tmp_path: Path) -> None:
    tree = copied("v2-plain", tmp_path)
    node = sensor(tree)
    node.read(0.0)
    _pass_idle_time(tree, 0.5)
    assert node.read(1.0).busy == pytest.approx(4.0)
    text = (tree / "proc/stat").read_text()
    (tree / "proc/stat").write_text("\n".join(line for line in text.splitlines() if not line.startswith("cpu7")))
    reading = node.read(2.0)
    assert (reading.cpus, reading.busy) == (7.0, None)
    _pass_idle_time(tree, 0.5)
    assert node.read(3.0).busy == pytest.approx(3.5)


def test_a_group_that_only_inherits_a_limit_does_not_bind(tmp_path: Path) -> None:
    """Two jobs under one limited parent are one node. Version 1 shows the parent's limit in the child's statistics."""
    tree = copied("v1-nested", tmp_path)
    (tree / "sys/fs/cgroup/memory/batch/job 7/memory.limit_in_bytes").write_text("9223372036854771712\n")
    (tree / "sys/fs/cgroup/cpu/batch/job 7/cpu.cfs_quota_us").write_text("-1\n")
    node = sensor(tree)
    node.read(0.0)
    assert node.binding_cgroup() == str(tree / "sys/fs/cgroup/memory/batch")


def test_of_two_groups_with_the_same_limit_the_outer_one_is_named(tmp_path: Path) -> None:
    tree = copied("v2-kubernetes", tmp_path)
    pod = tree / f"sys/fs/cgroup{POD}"
    for name in ("memory.max", "cpu.max"):
        (pod / name).write_bytes((pod / "cri-containerd-ab.scope" / name).read_bytes())
    reading = sensor(tree).read(0.0)
    assert reading.capacity.memory_bound_by == reading.capacity.cpus_bound_by == f"cgroup {POD}"
