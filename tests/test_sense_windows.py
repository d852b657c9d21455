"""Busy, pressure and what is ours: numbers over windows."""

from pathlib import Path

import pytest

from loadkeeper.linux.hierarchy import Level
from loadkeeper.sense.levels import CpuState
from loadkeeper.sense.own import ABSENT, OwnCpu
from loadkeeper.sense.pressure import Pressures, PressureWindow
from loadkeeper.sense.processors import Processors
from loadkeeper.sense.readings import CpuTimes, Pressure
from loadkeeper.sense.worker import WorkerReading

# ---------------------------------------------------------------------------------------------------------- processors


def times(*idle: float, steal: float = 0.0) -> dict[int, CpuTimes]:
    return {cpu: CpuTimes(seconds, steal) for cpu, seconds in enumerate(idle)}


def test_busy_is_what_is_not_idle_on_the_wall_clock() -> None:
    processors = Processors()
    processors.add(10.0, times(100.0, 200.0), [], 2.0)
    assert processors.busy is None
    processors.add(10.2, times(100.05, 200.2, steal=0.01), [], 2.0)
    assert processors.busy is not None
    assert processors.busy.cores == pytest.approx(0.75)
    assert processors.busy.steal == pytest.approx(0.1)


def test_a_reading_looks_back_over_the_window_and_no_further() -> None:
    processors = Processors()
    for step in range(6):  # half a second idle
        processors.add(step / 10, times(step / 10), [], 1.0)
    for step in range(6, 9):  # then busy
        processors.add(step / 10, times(0.5), [], 1.0)
    assert processors.busy is not None
    assert processors.busy.cores == pytest.approx(1.0)


def test_ticks_that_are_cut_off_do_not_add_up() -> None:
    """An idle CPU shows 90 or 110 ms of 100: single readings stay within 0..1, and the sum over any time is exact."""
    processors = Processors()
    for step in range(101):
        processors.add(step / 10, times(step / 10 + (0.01 if step % 2 else 0.0)), [], 1.0)
        assert processors.busy is None or 0 <= processors.busy.cores <= 1
    assert processors.seconds == pytest.approx(0.0)


def test_between_two_steps_nothing_is_due_and_a_clock_that_jumps_back_is() -> None:
    processors = Processors()
    assert processors.due(5.0)
    processors.add(5.0, times(1.0), [], 1.0)
    assert not processors.due(5.09)
    assert processors.due(5.11)
    assert processors.due(4.0)


def test_under_a_quota_the_lesser_room_counts() -> None:
    processors = Processors()
    quota = CpuState("cgroup /a", 2.0, 10.0)
    processors.add(0.0, times(*[0.0] * 64), [quota], 2.0)
    used = CpuState("cgroup /a", 2.0, 10.5)
    processors.add(1.0, times(*[0.1] * 64), [used], 2.0)  # others use 90 % of 64 CPUs: 6.4 are idle, for us 1.5
    assert processors.busy is not None
    assert processors.busy.cores == pytest.approx(0.5)
    processors.add(2.0, times(*[0.11] * 64), [CpuState("cgroup /a", 2.0, 11.0)], 2.0)  # 0.64 are idle
    assert processors.busy.cores == pytest.approx(1.36)


def test_a_quota_whose_usage_is_unknown_leaves_the_machines_idle_cpus() -> None:
    processors = Processors()
    for now, idle in ((0.0, 0.0), (1.0, 0.25)):
        processors.add(now, times(idle, idle, idle, idle), [CpuState("cgroup /a", 2.0, None)], 2.0)
    assert processors.busy is not None
    assert processors.busy.cores == pytest.approx(1.0)


# ------------------------------------------------------------------------------------------------------------ pressure


def test_pressure_is_the_kernels_average_until_there_is_a_second_of_our_own() -> None:
    window = PressureWindow()
    window.add(0.0, Pressure(0.4, 10.0))
    window.add(0.5, Pressure(0.41, 10.25))
    assert window.read() == 0.41
    window.add(1.0, Pressure(0.42, 10.8))
    assert window.read() == pytest.approx(0.8)


def test_a_stall_that_began_a_second_ago_shows_in_full() -> None:
    window = PressureWindow()
    for step in range(50):
        window.add(step / 5, Pressure(0.0, 0.0))
    for step in range(1, 11):
        window.add(9.8 + step / 5, Pressure(0.05, step / 5))
    assert window.read() == pytest.approx(1.0)


def test_a_group_that_was_made_anew_and_one_that_cannot_be_read() -> None:
    window = PressureWindow()
    window.add(0.0, Pressure(0.0, 10.0))
    window.add(2.0, Pressure(0.3, 1.0))
    assert window.read() == 0.3
    window.add(2.2, None)
    assert window.read() is None


def test_the_node_is_the_innermost_group_with_a_limit_else_the_top(tmp_path: Path) -> None:
    line = "some avg10={} avg60=0.00 avg300=0.00 total=0\n"
    inner, outer, proc = tmp_path / "top/a/b", tmp_path / "top", tmp_path / "proc"
    for place, suffix, share in ((inner, ".pressure", 1), (inner.parent, ".pressure", 2), (outer, ".pressure", 3)):
        place.mkdir(parents=True, exist_ok=True)
        (place / f"cpu{suffix}").write_text(line.format(share))
    (proc / "pressure").mkdir(parents=True)
    (proc / "pressure/cpu").write_text(line.format(4))
    unified = [Level(str(place), "") for place in (inner, inner.parent, outer)]
    pressures = Pressures(str(proc))

    def read(now: float, *limited: Path) -> float | None:
        return pressures.read(now, unified, frozenset(str(place) for place in limited))["pressure.cpu"]

    assert read(0.0) == 0.03
    assert read(1.0, inner.parent, outer) == 0.02
    assert read(1.1, inner) == 0.02  # nothing is due
    assert read(2.0, inner) == 0.01
    assert pressures.read(3.0, [], frozenset())["pressure.cpu"] == 0.04
    assert pressures.read(4.0, [], frozenset())["pressure.io"] is None


# ----------------------------------------------------------------------------------------------------------------- own


def reading(seconds: float) -> WorkerReading:
    return WorkerReading(rss=0, cpu=None, cpu_seconds=seconds, processes=1, state="running", exiting=False, members=())


def manager(root: Path, user: int, system: int, children: int) -> tuple[int, int]:
    (root / "7").mkdir(exist_ok=True)
    fields = f"7 (python) S 1 7 7 0 -1 0 0 0 0 0 {user} {system} {children} {children} 20 0 1 0 300 0 0"
    (root / "7/stat").write_text(fields)
    return 7, 300


def test_own_is_workers_exits_and_managers_over_the_same_window_as_busy(tmp_path: Path) -> None:
    own = OwnCpu(str(tmp_path))
    own.add(0.0, {"r.1": reading(5.0)}, [manager(tmp_path, 100, 50, 9000)], 30.0)
    own.exited([("r.2", 0.25), ("r.3", 0.25)])  # too short for any sweep
    told = own.add(1.0, {"r.1": reading(5.4)}, [manager(tmp_path, 105, 55, 9900)], 31.7)
    assert told.own == pytest.approx(0.4 + 0.5 + 0.1)
    assert told.foreign == pytest.approx(0.7)
    assert told.within(1.9) == pytest.approx(1.2)
    assert told.within(0.5) == 0.0


def test_a_worker_that_is_swept_and_exits_counts_once(tmp_path: Path) -> None:
    own = OwnCpu(str(tmp_path))
    own.add(0.0, {}, [], 0.0)
    own.add(0.5, {"r.1": reading(0.3)}, [], 0.5)
    own.exited([("r.1", 0.4)])
    told = own.add(1.0, {}, [], 1.0)
    assert own.seconds == pytest.approx(0.4)
    assert told.own == pytest.approx(0.2)  # 0.1 in the last half second


def test_foreign_load_is_unknown_while_busy_is_and_never_negative(tmp_path: Path) -> None:
    own = OwnCpu(str(tmp_path))
    own.add(0.0, {}, [], None)
    assert own.add(0.5, {"r.1": reading(0.3)}, [], 1.0).foreign is None
    own.add(1.0, {"r.1": reading(0.6)}, [], 1.0)
    assert own.add(1.5, {"r.1": reading(0.9)}, [], 1.1).foreign == 0.0


def test_a_manager_that_is_gone_or_another_process_adds_nothing(tmp_path: Path) -> None:
    own = OwnCpu(str(tmp_path))
    pid, start_time = manager(tmp_path, 100, 50, 0)
    own.add(0.0, {}, [(pid, start_time), (8, 1)], 0.0)
    manager(tmp_path, 400, 50, 0)
    told = own.add(1.0, {}, [(pid, start_time + 1)], 1.0)
    assert told.own == 0.0


def test_a_worker_whose_exit_nobody_tells_is_forgotten_after_a_while(tmp_path: Path) -> None:
    own = OwnCpu(str(tmp_path))
    own.add(0.0, {"r.1": reading(5.0)}, [], 0.0)
    for sweep in range(ABSENT + 1):
        assert "r.1" in own._counted
        own.add(1.0 + sweep, {}, [], 0.0)
    assert "r.1" not in own._counted
