"""A sentence for every reason, with every figure that the why carries."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as some

from loadkeeper.model import Reason, Why
from loadkeeper.record.phrases import figure
from loadkeeper.record.sentences import present_reason, sentence

MIB, GIB = 1 << 20, 1 << 30
GAUGES = ["memory", "cpu", "workers-memory", "workers-cpu", "swap", "pressure.io", "celsius", ""]
WITHOUT_GAUGE = {
    Reason.WORK_DONE,
    Reason.JOBS,
    Reason.NEIGHBOUR,
    Reason.SILENT,
    Reason.NO_LOAD_MANAGER,
    Reason.SUSPENDED,
    Reason.CAP,
    Reason.PATIENCE,
    Reason.TIMEOUT,
    Reason.HALT,
    Reason.ORPHAN,
    Reason.OPERATOR,
}


def test_waiting_for_memory_as_people_read_it():
    why = Why(Reason.MEMORY, "memory", 1.8 * GIB, 2.0 * GIB, need=400 * MIB)
    expected = "waiting for memory: 1.8 GiB available, a gzip needs about 400 MiB, line 2.0 GiB"
    assert sentence(why, kind="gzip") == expected


def test_paused_for_memory_as_people_read_it():
    why = Why(Reason.MEMORY_PAUSE, "memory", 118 * MIB, 112 * MIB, need=160 * MIB, held=300 * MIB)
    expected = (
        "paused for memory: 118 MiB available, the pause line is 112 MiB; it goes on when about 352 MiB are available"
    )
    assert sentence(why) == expected


def test_what_was_decided_to_be_enough_comes_before_what_is_reckoned():
    why = Why(Reason.LEAD, "memory", 118 * MIB, 112 * MIB, need=160 * MIB, recovered=700 * MIB)
    assert sentence(why).endswith("it goes on when about 700 MiB are available")


def test_a_paused_worker_with_room_waits_for_its_turn():
    why = Why(Reason.MEMORY_PAUSE, "memory", 900 * MIB, 112 * MIB, need=160 * MIB)
    assert sentence(why).endswith("; it goes on in its turn, one worker at a time")


def test_ended_for_memory_as_people_read_it():
    why = Why(Reason.MEMORY_END, "memory", 40 * MIB, 56 * MIB, held=300 * MIB)
    expected = "ended for memory: 40 MiB available, the end line is 56 MiB, it held 300 MiB; its task is given back"
    assert sentence(why) == expected


def test_cpu_is_told_in_cores_and_a_pressure_in_shares():
    cpu = sentence(Why(Reason.CPU, "cpu", 1.7, 1.8, need=1.0), kind="xz")
    assert cpu == "waiting for CPU: 1.7 cores busy, an xz needs about 1 core, line 1.8 cores"
    assert sentence(Why(Reason.GAUGE, "pressure.io", 0.45, 0.3)) == "waiting for pressure.io: 45 %, line 30 %"


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_sentence_of_its_own(reason):
    bare = sentence(Why(reason))
    assert bare
    assert "None" not in bare
    others = {sentence(Why(other)) for other in Reason if other is not reason}
    shared = bare in others
    # what is told by gauge, reading and line alone has one sentence for all its reasons
    assert not shared or sentence(Why(reason, "memory", 1.0, 2.0)).startswith(
        ("waiting for", "paused for", "ended for")
    )


@pytest.mark.parametrize("gauge", GAUGES)
@pytest.mark.parametrize("reason", [r for r in Reason if r not in WITHOUT_GAUGE])
def test_gauge_reading_and_line_are_told(reason, gauge):
    told = sentence(Why(reason, gauge, 0.4, 0.6, need=0.5, held=7 * MIB, expected=0.1))
    if gauge:  # without a gauge the figures have no meaning
        if reason is not Reason.UNKNOWN:
            assert figure(gauge, 0.4) in told
        assert figure(gauge, 0.6) in told


@pytest.mark.parametrize("reason", [r for r in Reason if r not in WITHOUT_GAUGE])
def test_a_reading_that_is_not_known_is_not_made_up(reason):
    told = sentence(Why(reason, "memory", None, 112 * MIB))
    assert re.findall(r"\d+", told) in (["112"], ["112", "2"])  # `2 s`


numbers = some.none() | some.floats(0, 1e13)
whys = some.builds(
    Why, some.sampled_from(Reason), some.sampled_from(GAUGES), numbers, numbers, numbers, numbers, numbers, numbers
)


@given(whys, some.text())
def test_any_why_makes_one_line(why, kind):
    told = sentence(why, subject="main", kind=kind)
    assert "None" not in told.replace(kind, "")
    assert told.isprintable()
    assert "  " not in told
    assert not told.endswith((":", ",", ";"))
    assert ", ," not in told


def test_a_shell_line_is_not_taken_for_a_noun():
    why = Why(Reason.MEMORY, "memory", GIB, 2 * GIB, need=400 * MIB)
    assert "one more needs about 400 MiB" in sentence(why, kind="sort {} | uniq -c > {}.out")
    assert "one more of mailer needs" in sentence(why, subject="mailer")


def test_the_present_reason_names_the_worst_first():
    waiting = Why(Reason.MEMORY, "memory", GIB, 2 * GIB)
    paused = Why(Reason.MEMORY_PAUSE, "memory", 118 * MIB, 112 * MIB)
    ended = Why(Reason.MEMORY_END, "memory", 40 * MIB, 56 * MIB)
    assert present_reason(waiting, [paused], [ended]).startswith("1 ended for memory: 40 MiB available")
    assert present_reason(waiting, [paused, paused]) == (
        "2 paused for memory: 118 MiB available, the pause line is 112 MiB"
    )
    assert present_reason(waiting).startswith("waiting for memory")
    assert present_reason(Why(Reason.WORK_DONE)) == ""
    assert present_reason(None) == ""
