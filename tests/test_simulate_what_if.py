"""A run that was becomes a world, and what another node would have made of it is foretold.

The simulator stands for the real node here: what it shows `decide` is what a black box keeps, and it can be asked for
the truth. Real runs are in `test_moments`.
"""

from typing import Any

import pytest

from loadkeeper.errors import UsageError
from loadkeeper.model import Amount, Limits
from loadkeeper.simulate import simulate
from loadkeeper.simulate.recorded import Recorded, Recorder, limits_of
from loadkeeper.simulate.what_if import changed, what_if
from loadkeeper.simulate.world import Pool, read_limits, read_world

GIB = 1 << 30


def world(**more: Any) -> dict[str, Any]:
    mix = {"seconds": {"uniform": [4, 8]}, "memory": {"uniform": ["200M", "900M"]}, "shape": "plateau"}
    pool = {"name": "a", "tasks": 40, "mix": [mix | more.pop("sort", {})], **more.pop("pool", {})}
    return {"name": "w", "node": {"cpus": 4, "memory": "8G", "base": "300M"}, "pools": [pool], **more}


def record(given: dict[str, Any], run: str = "run") -> Recorded:
    recorder = Recorder(run)
    simulate(given, watch=lambda seen, before, _decision, _after: recorder.look(seen, before))
    made = recorder.made()
    assert made is not None
    return made


@pytest.mark.parametrize(
    "given",
    [
        world(),
        world(sort={"shape": "ramp"}),
        world(sort={"cpu": 0.3, "memory": "50M"}),
        world(sort={"threads": 3, "memory": "100M"}, pool={"tasks": 12}),
        world(sort={"seconds": {"uniform": [0.05, 0.3]}, "memory": "20M"}, pool={"tasks": 300}),
        world(pool={"max_workers": 2, "tasks": 20}),
        world(pool={"limits": {"workers_memory": "2G"}}),
        world(foreign=[{"from": 5, "until": 30, "memory": "3G", "ramp": 2, "threads": 1.5}]),
    ],
    ids=["plateau", "ramp", "waiting", "threads", "short", "two at most", "budget", "others"],
)
def test_played_as_it_was_it_takes_as_long(given):
    truth = simulate(given)
    recorded = record(given)
    assert recorded.tasks == len(truth.tasks)
    assert recorded.makespan == pytest.approx(truth.makespan, rel=0.05, abs=0.3)
    told = what_if(recorded, {"memory": "+0"})
    assert abs(told.error) < (0.25 if given["pools"][0]["mix"][0].get("threads") else 0.1)
    assert told.likely == pytest.approx(truth.makespan, rel=0.1)


@pytest.mark.parametrize(
    ("changes", "node", "pool"),
    [
        ({"cpus": "8"}, {"cpus": 8}, {}),
        ({"cpus": "-2"}, {"cpus": 2}, {}),
        ({"memory": "2G"}, {"memory": "2G"}, {}),
        ({"memory": "+8G", "cpus": "+12"}, {"memory": "16G", "cpus": 16}, {}),
        ({"jobs": "1"}, {}, {"max_workers": 1}),
        ({"limit.cpu": "50%"}, {}, {"limits": {"cpu": "50%"}}),
        ({"limit.workers-memory": "1G"}, {}, {"limits": {"workers_memory": "1G"}}),
    ],
)
def test_another_node_is_foretold(changes, node, pool):
    """The truth lies in the range that is told, or within a tenth of it."""
    given = world()
    told = what_if(record(given), changes)
    truth = simulate({**given, "node": {**given["node"], **node}, "pools": [{**given["pools"][0], **pool}]}).makespan
    assert told.likely is not None
    assert 0.9 * told.least <= truth <= 1.1 * told.most
    assert told.likely == pytest.approx(truth, rel=0.25)
    assert told.least <= told.likely <= told.most


def test_without_others():
    given = world(foreign=[{"from": 0, "until": 200, "threads": 3}])
    told = what_if(record(given), {"others": "none"})
    truth = simulate({**given, "foreign": []}).makespan
    assert told.likely == pytest.approx(truth, rel=0.25)  # what a worker would take is not seen on a full node
    assert told.likely < 0.7 * told.real


def test_what_would_never_end_is_said():
    """A task that alone needs what others leave."""
    given = world(sort={"memory": "600M"}, pool={"tasks": 3}, foreign=[{"from": 0, "memory": "5G"}])
    told = what_if(record(given), {"memory": "5600M"})
    assert told.likely is None or told.buried


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"memory": "much"}, "is not a size"),
        ({"memory": "-9G"}, "leaves less than"),
        ({"cpus": "-4"}, "leaves none"),
        ({"cpus": "many"}, "cores"),
        ({"disk": "2"}, "known are memory"),
        ({"others": "half"}, "it is none"),
        ({"limit.colour": "red"}, "colour"),
        ({"jobs": "0"}, "from 1"),
    ],
)
def test_bad_changes(changes, said):
    with pytest.raises(UsageError, match=said):
        changed(record(world(pool={"tasks": 3})), changes)


def test_limits_come_through_a_world_unchanged():
    for limits in (
        Limits(),
        Limits(memory=None, cpu=None),
        Limits(cpu=Amount(share=0.5), cpu_promised=True, memory=Amount(absolute=3.0 * GIB), memory_gap=5),
        Limits(workers_memory=Amount(share=0.25), workers_cpu=Amount(absolute=1.5), memory_need=1 << 30),
        Limits(memory_per_worker=77, swap=Amount(share=0.2), max_pause=30.0, give_up=None),
    ):
        assert read_limits(Pool(name="a", tasks=1, limits=limits_of(limits))) == limits


def test_a_record_is_a_world_that_can_be_read():
    recorded = record(world(foreign=[{"from": 3, "until": 9, "memory": "2G"}]))
    assert read_world(recorded.world).group == "recorded"


def test_attempts_that_were_ended_are_no_tasks():
    spike = world(sort={"shape": "spike", "memory": "3G"}, pool={"tasks": 16, "limits": {"memory_per_worker": "2G"}})
    truth = simulate(spike)
    assert truth.given_back > 0, "nobody is ended in this world"
    assert record(spike).tasks == len(truth.tasks)


def test_a_record_that_begins_in_the_middle_says_so():
    recorder = Recorder("run")
    simulate(world(), watch=lambda seen, before, *_: recorder.look(seen, before) if seen.now > 15 else None)
    made = recorder.made()
    assert made is not None
    assert made.late
    assert made.tasks < 40
    assert Recorder("run").made() is None
