"""Rounds on the living kernel, in a memory group of 1 GiB: no kernel kill, nothing lost, faster than one by one.

Everything is inside the group, both managers too, as in a container. Needs root and a memory controller of version 1.
"""

import pytest
from support.memory_group import memory_group, parent
from support.program import Program
from support.rounds import LIMIT, Job, Round, by_loadkeeper, by_xargs, jobs, mixed

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(parent() is None, reason="needs root and a memory controller of version 1"),
]
FASTER = 0.75
"""Of the time that one at a time takes."""


@pytest.fixture
def group():
    with memory_group(LIMIT) as made:
        yield made


def lossless(came: Round, work: list[Job]) -> None:
    assert came.kernel_kills == 0, came
    assert (came.code, came.done) == (0, len(work)), came


def a_round(root, seed: int, record_property) -> None:
    work = mixed(seed)
    with memory_group(LIMIT) as group:
        one_by_one = by_xargs(group, work, 1)
    with memory_group(LIMIT) as group:
        two_at_once = by_xargs(group, work, 2)
    with memory_group(LIMIT) as group:
        program = Program(root / "p")
        ours = by_loadkeeper(group, program, work)
        program.close()
    told = (
        f"one by one {one_by_one.seconds:.1f} s; xargs -P2 {two_at_once.seconds:.1f} s, "
        f"{two_at_once.kernel_kills} killed, {len(work) - two_at_once.done} lost; ours {ours.seconds:.1f} s, "
        f"{ours.seconds / one_by_one.seconds:.2f} of one by one, {ours.kernel_kills} killed; {ours.last_line}"
    )
    record_property("measured", told)
    lossless(one_by_one, work)
    assert two_at_once.kernel_kills > 0, f"the round is too easy to show anything: {two_at_once}"
    assert two_at_once.done < len(work)
    lossless(ours, work)
    assert ours.seconds <= FASTER * one_by_one.seconds, f"{ours.seconds / one_by_one.seconds:.2f} of one by one"


@pytest.mark.parametrize("seed", [1])
def test_forty_tasks_of_40_to_700_mib(tmp_path, seed, record_property):
    a_round(tmp_path, seed, record_property)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2, 24))
def test_forty_tasks_of_40_to_700_mib_more_of_them(tmp_path, seed, record_property):
    a_round(tmp_path, seed, record_property)


def test_a_task_that_can_never_fit_is_buried_and_all_others_are_done(program, group):
    work = jobs(7, 16)
    work.insert(5, Job("ramp", 1536, 0.8))
    came = by_loadkeeper(group, program, work)
    assert came.kernel_kills == 0, came
    assert (came.code, came.done) == (1, 16), came
    assert "1 buried" in came.last_line


# -------------------------------------------------------------------------------------- what was seen on a real kernel


def populating(shape: str, seed: int) -> list[Job]:
    """Four workers at a tenth of a core, and beside them others, each of which takes half of all at once."""
    return [*(Job("idle", 40 + 5 * n, 6.0) for n in range(4)), *(Job(shape, 512, 0.3 + 0.02 * seed) for _ in range(6))]


@pytest.mark.parametrize("shape", ["populate", "huge"])
def test_half_of_all_memory_populated_at_once_beside_four_workers(program, group, shape):
    """Two of them at most, which is one too many."""
    work = populating(shape, 0)
    lossless(by_loadkeeper(group, program, work, "-j6"), work)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 21))
@pytest.mark.parametrize("shape", ["populate", "huge"])
def test_half_of_all_memory_populated_at_once_more_of_them(program, group, shape, seed, record_property):
    """As many at once as the load manager lets in, of a kind that nobody knows yet."""
    work = populating(shape, seed)
    came = by_loadkeeper(group, program, work)
    record_property("measured", str(came))
    lossless(came, work)


def test_850_mib_are_taken_though_950_are_dirty(program, group):
    """Reclaim waits for dirty pages, it does not kill: they are available."""
    work = [Job("soak", 800, 0.3)]
    lossless(by_loadkeeper(group, program, work), work)


def test_big_files_that_are_written_beside_each_other(program, group):
    work = [Job("dirty", 300 + n, 0.5) for n in range(8)]
    lossless(by_loadkeeper(group, program, work), work)


@pytest.mark.parametrize("shape", ["tmpfs", "forks", "populated", "spike"])
def test_growth_of_every_kind(program, group, shape):
    """What a tmpfs holds is in no worker's size and does not go when it is stopped; children that share count once."""
    work = jobs(3, 12, [shape])
    lossless(by_loadkeeper(group, program, work), work)


def test_five_forks_that_share_what_their_parent_holds(program, group):
    """Five processes that share 200 MiB hold 200 MiB: four such workers fit beside each other."""
    work = [Job("forks", 300, 1.0) for _ in range(10)]
    came = by_loadkeeper(group, program, work)
    lossless(came, work)
    assert "given back" not in came.last_line, came


def test_a_first_wave_of_an_unknown_kind(program, group):
    work = [Job("ramp", 500, 0.8) for _ in range(12)]
    lossless(by_loadkeeper(group, program, work), work)
