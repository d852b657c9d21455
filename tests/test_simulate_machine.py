"""The simulated node behaves as the real one was measured."""

import time

import pytest

from loadkeeper.errors import UsageError
from loadkeeper.model import Outcome, WorkerState
from loadkeeper.simulate import simulate
from loadkeeper.simulate.bound import lower_bound
from loadkeeper.simulate.cores import overhead, progress, thread_speed, use
from loadkeeper.simulate.machine import Machine, Process
from loadkeeper.simulate.shapes import NAMED, shape
from loadkeeper.simulate.work import Work
from loadkeeper.simulate.world import draw_tasks, read_world

GIB = 1 << 30


def _world(**more) -> dict:
    mix = {"seconds": 10, "memory": "1G", "shape": "flat"} | more.pop("mix", {})
    pool = {"name": "a", "tasks": 4, "mix": [mix]} | more.pop("pool", {})
    node = {"cpus": 4, "memory": "8G", "base": "1G"} | more.pop("node", {})
    return {"name": "small", "node": node, "pools": [pool], "noise": 0.0, **more}


def _machine(slots: int = 1, **more) -> tuple[Machine, Work]:
    world = read_world(_world(**more))
    machine = Machine(world, 1)
    work = Work(world, machine, 1)
    work.slots["a"] = slots
    machine.advance(0.001)
    work.refill()
    return machine, work


def _first(machine: Machine) -> Process:
    return next(iter(machine.workers.values()))


# -------------------------------------------------------------------------------------------------------- shapes, cores


@pytest.mark.parametrize("name", sorted(NAMED))
def test_shapes_stay_between_nothing_and_their_peak_and_reach_it(name: str) -> None:
    curve = shape(name)
    shares = [curve.share(step / 1000) for step in range(1001)]
    assert min(shares) >= 0
    assert max(shares) == pytest.approx(1.0, abs=0.01)
    assert curve.mean() == pytest.approx(sum(shares) / len(shares), abs=0.01)


def test_a_shape_of_points() -> None:
    assert shape([[0, 0.5], [1, 1]]).share(0.5) == 0.75
    assert shape("ramp").reaches(0.8) == pytest.approx(0.8)
    for wrong in ("round", [[1, 0], [0, 1]], [], [[0]]):
        with pytest.raises(UsageError):
            shape(wrong)


def test_threads_share_the_cores_fairly() -> None:
    assert thread_speed([(1.0, 8)], 0, 8) == 1.0
    assert thread_speed([(1.0, 16)], 0, 8) == 0.5
    assert thread_speed([(1.0, 8)], 8, 8) == 0.5
    speed = thread_speed([(0.1, 160)], 0, 8)
    assert 160 * use(0.1, speed) == pytest.approx(8, rel=1e-3)
    assert progress(0.1, speed) > 0.45  # slowed only in the part that wants CPU
    assert overhead(16, 8) == pytest.approx(0.98)


# ------------------------------------------------------------------------------------------------------------- signals


def test_a_pause_takes_effect_after_its_delay_and_frees_nothing() -> None:
    machine, _ = _machine(acts={"stop": 0.05}, mix={"shape": "ramp"})
    machine.advance(2.0)
    worker = _first(machine)
    machine.pause(worker)
    machine.advance(2.04)
    assert worker.state is WorkerState.RUNNING
    assert worker.obeyed == pytest.approx(0.04, abs=0.01)
    machine.advance(3.0)
    held = worker.rss
    assert worker.state is WorkerState.PAUSED
    assert worker.obeyed == pytest.approx(0.05, abs=0.001)
    machine.advance(9.0)
    assert worker.rss == held > 0
    machine.go_on(worker)
    machine.advance(10.0)
    assert worker.rss > held
    assert worker.paused_for == pytest.approx(6.95, abs=0.01)


def test_a_killed_worker_shows_nothing_before_its_memory_is_back() -> None:
    machine, _ = _machine(acts={"kill": [0.1, 0.1]})
    machine.advance(2.0)
    worker = _first(machine)
    machine.kill(worker, Outcome.GIVEN_BACK)
    machine.advance(2.05)
    assert (worker.shown, machine.used()) == (0, 2 * GIB)
    machine.advance(2.101)
    assert worker.n not in machine.workers


def test_a_term_is_followed_by_a_kill_when_the_grace_is_over() -> None:
    machine, _ = _machine(pool={"exit_after": [60, 60], "grace": 3}, acts={"kill": [0.1, 0.1]})
    machine.advance(1.0)
    worker = _first(machine)
    machine.pause(worker)
    machine.advance(1.1)
    machine.end(worker, Outcome.GIVEN_BACK)
    machine.advance(4.0)
    assert worker.state is WorkerState.ENDING
    machine.advance(4.3)
    assert worker.n not in machine.workers


def test_a_worker_takes_memory_at_a_limited_speed() -> None:
    machine, _ = _machine(acts={"touch": "500M", "start": 0.0})
    machine.advance(1.0)
    assert _first(machine).rss == pytest.approx(500 * (1 << 20), rel=0.05)


def test_memory_that_no_reading_shows_is_used_all_the_same() -> None:
    machine, _ = _machine(mix={"hidden": 0.4})
    machine.advance(3.0)
    assert _first(machine).shown == pytest.approx(0.6 * GIB, rel=0.01)
    assert machine.used() == pytest.approx(2 * GIB, rel=0.01)


def test_dirty_pages_stall_a_stop() -> None:
    machine, _ = _machine(mix={"writes": "1G"}, disk="1M")
    machine.advance(5.0)
    assert machine.dirty > 0.2 * machine.memory
    worker = _first(machine)
    late = []
    for _ in range(8):
        machine.pause(worker)
        machine.advance(machine.now + 1.0)
        late.append(worker.obeyed)
        machine.go_on(worker)
        if not machine.workers:
            break
    assert 0.1 < max(late) <= 0.66


# -------------------------------------------------------------------------------------------------------- out of memory


def test_the_kernel_kills_the_biggest_and_its_task_begins_again_until_it_has_failed() -> None:
    result = simulate(_world(mix={"memory": "9G", "shape": "ramp"}, pool={"tasks": 1}), 1, policy="fixed", most=1)
    assert (result.kernel_kills, result.failed, result.finished) == (4, 1, True)
    assert result.tasks[0].ended_at is None


def test_swap_takes_the_pages_of_paused_workers_first() -> None:
    machine, _ = _machine(slots=4, mix={"memory": "2200M"}, node={"swap": "8G"})
    machine.advance(4.0)
    slowed = _first(machine).speed
    for worker in list(machine.workers.values())[1:]:
        machine.pause(worker)
    machine.advance(5.0)
    assert machine.swapped() > 0
    assert _first(machine).speed > slowed


# -------------------------------------------------------------------------------------------------------------- bounds


def test_the_bound_is_the_greatest_of_memory_cpu_and_the_longest_task() -> None:
    def bound(**more) -> float:
        world = read_world(_world(**more))
        return lower_bound(world, draw_tasks(world, 1))

    assert bound() == pytest.approx(10.0, rel=0.01)
    assert bound(pool={"tasks": 40}) == pytest.approx(100.0, rel=0.01)
    assert bound(mix={"memory": "6G"}, pool={"tasks": 10}) == pytest.approx(600 / (0.9 * 8 - 1), rel=0.01)
    assert bound(pool={"tasks": 8, "max_workers": 2}) == pytest.approx(40.0, rel=0.01)
    assert bound(pool={"tasks": 8}, foreign=[{"until": 1000, "threads": 2}]) == pytest.approx(40.0, rel=0.01)
    assert bound(mix={"memory": "70G", "shape": "ramp"}, pool={"tasks": 1}) == pytest.approx(1.0, rel=0.01)


# --------------------------------------------------------------------------------------------------------- the whole


def test_the_same_seed_gives_the_same_and_another_gives_another() -> None:
    world = _world(mix={"memory": {"uniform": ["500M", "2G"]}, "shape": "ramp"}, pool={"tasks": 20}, noise=0.001)
    assert simulate(world, 3) == simulate(world, 3)
    assert simulate(world, 3).tasks != simulate(world, 4).tasks


def test_the_same_seed_draws_the_same_tasks_for_every_policy() -> None:
    world = _world(mix={"seconds": {"lognormal": [5, 0.5]}, "memory": {"pareto": ["100M", 1.5, "2G"]}})
    ours, theirs = simulate(world, 1), simulate(world, 1, policy="fixed", most=2)
    assert [(t.seconds, t.memory) for t in ours.tasks] == [(t.seconds, t.memory) for t in theirs.tasks]


@pytest.mark.parametrize(
    ("broken", "named"),
    [
        ({"node": {"cpus": 4}}, "memory"),
        ({"pools": [{"name": "a", "tasks": 1}]}, "mix"),
        ({"colour": "red"}, "colour"),
        ({"pools": [{"name": "a", "tasks": 1, "mix": [{"seconds": {"normal": [1, 2]}, "memory": 1}]}]}, "normal"),
        ({"pools": [{"name": "a", "tasks": 1, "mix": [{"seconds": 1, "memory": "1Q"}]}]}, "1Q"),
        ({"pools": [{"name": "a", "tasks": 1, "limits": {"x": 1}, "mix": [{"seconds": 1, "memory": 1}]}]}, "x"),
    ],
)
def test_what_is_no_world_is_said_where(broken: dict, named: str) -> None:
    with pytest.raises(UsageError, match=named):
        simulate(_world() | broken, 1)


def test_a_hundred_workers_run_much_faster_than_real_time() -> None:
    mix = {"seconds": {"uniform": [20, 40]}, "memory": "1G"}
    world = _world(node={"cpus": 100, "memory": "256G"}, pool={"tasks": 200}, mix=mix)
    began = time.perf_counter()
    result = simulate(world, 1)
    assert result.makespan_ratio < 1.7  # two waves, and the way up to a hundred
    assert result.makespan / (time.perf_counter() - began) > 10
