"""What is learned of kinds, and the claims that follow."""

from random import Random

import pytest
from support.looks import GIB, MIB, History, gone, knowing, pool, seen, worker

from loadkeeper.decide import DEFAULT, Kind, Memory
from loadkeeper.decide.kinds import Guess, Likeness, bounded, usual
from loadkeeper.decide.memory import Claim
from loadkeeper.model import Limits, Outcome


def _claim(peaks: list[int], held: int) -> tuple[float, float]:
    claim = Likeness(Kind(peaks=tuple(peaks)), DEFAULT).claim(held)
    assert claim is not None
    return claim.likely, claim.expected


def _by_hand(peaks: list[int], held: int) -> tuple[float, float]:
    """The rule as it is written down: lives alike, their quantile and mean."""
    like = sorted(max(held, peak) for peak in peaks if peak >= 0.8 * held)
    return like[-(-3 * len(like) // 4) - 1], sum(like) / len(like)


def test_claims_agree_with_the_rule_written_out() -> None:
    peaks = [7, 30, 30, 42, 55, 61, 80, 100, 101, 250]
    for held in (0, 5, 29, 30, 37, 38, 60, 99, 120, 300):
        likely, expected = _claim(peaks, held)
        assert (likely, round(expected, 6)) == (_by_hand(peaks, held)[0], round(_by_hand(peaks, held)[1], 6)), held


def test_small_workers_are_not_charged_for_giants_but_a_giant_is_recognised() -> None:
    peaks = [200] * 27 + [6000] * 3
    assert _claim(peaks, 100)[0] == 200
    assert _claim(peaks, 1000)[0] == 6000


def test_bigger_than_all_before() -> None:
    assert _claim([100, 200], 1000) == (1250.0, 1120.0)


def test_nothing_learned_is_no_claim() -> None:
    assert Likeness(Kind(), DEFAULT).claim(5) is None


def test_the_first_guess_fades_while_workers_live_on() -> None:
    guess = Guess(biggest=0, oldest=0, total=16 * GIB, cpus=8)
    assert guess.claim(0, 0, DEFAULT).expected == GIB / 2
    assert guess._replace(oldest=10.0).claim(0, 0, DEFAULT).expected == GIB / 8
    assert guess._replace(biggest=GIB, oldest=100.0).claim(0, 0, DEFAULT).expected == 1.1 * GIB
    assert guess._replace(oldest=100.0).claim(GIB, 50 * MIB, DEFAULT).likely == GIB + 500 * MIB


def test_a_claim_is_at_least_the_floor_and_at_most_the_cap() -> None:
    claim = Likeness(Kind(peaks=(100,)), DEFAULT).claim(0)
    assert claim is not None
    assert bounded(claim, 150, None) == Claim(150, 150)
    assert bounded(claim, 0, 60) == Claim(60, 60)


def test_usual_is_a_quarter_of_the_way_from_the_fill_to_the_peak() -> None:
    assert usual(Kind(fill=0.4), DEFAULT) == 0.4 + 0.25 * 0.6


# ---------------------------------------------------------------------------------------------------------- learning


def _learn(*exits, memory=None) -> Kind:
    history = History(memory)
    history.look(seen(1.0, 8000, exits=exits))
    return history.memory.kinds["a"]


def test_an_exit_teaches_its_peak() -> None:
    assert _learn(gone(1, 300), gone(2, 100)).peaks == (300 * MIB, 100 * MIB)


def test_a_peak_of_zero_is_no_sample() -> None:
    kind = _learn(gone(1, 0, cpu_seconds=0.0, active=0.001))
    assert (kind.peaks, kind.count) == ((), 1)


def test_what_sweeps_saw_counts_where_the_exit_says_less() -> None:
    history = History()
    history.look(seen(1.0, 8000, [worker(1, 700)]))
    history.look(seen(1.1, 8000, exits=[gone(1, 0)]))
    assert history.memory.kinds["a"].peaks == (700 * MIB,)


def test_only_the_last_64_lives_count() -> None:
    kind = _learn(*(gone(n, 100 + n % 7 + n / 100) for n in range(100)))
    assert len(kind.peaks) == 64
    assert kind.peaks[-1] == int((100 + 99 % 7 + 0.99) * MIB)


def test_a_kind_that_has_changed_is_known_anew_after_six_lives() -> None:
    """An upgrade doubles the need, or halves it: what was learned before is forgotten, however much it was."""
    for before, after in ((300, 600), (600, 300)):
        lives = [gone(n, before + n % 11) for n in range(64)]
        for more in range(1, 8):
            kind = _learn(*lives, *(gone(100 + n, after + n % 5) for n in range(more)))
            right = _claim(list(kind.peaks), 0)[1] == pytest.approx(after * MIB, rel=0.1)
            assert right is (more >= 6), f"{more} lives"


def test_what_overlaps_is_no_change() -> None:
    random = Random(1)
    kind = Kind()
    for n in range(500):  # two humps, drawn at random: runs of six of one of them come again and again
        kind = _learn(gone(n, random.choice([100, 900]) + random.random()), memory=Memory(kinds={"a": kind}))
        assert len(kind.peaks) == min(n + 1, 64) or n < 12


def test_an_ended_life_is_a_lower_bound_only() -> None:
    cut = {"outcome": Outcome.GIVEN_BACK}
    assert _learn(gone(1, 50, **cut), memory=knowing(100)).peaks == (100 * MIB,)
    assert _learn(gone(1, 150, **cut), memory=knowing(100)).peaks == (100 * MIB, 150 * MIB)
    assert _learn(gone(1, 50, killed_by_kernel=True, outcome=Outcome.FAILED), memory=knowing(100)).peaks == (100 * MIB,)


def test_fill_is_the_mean_over_the_peak_within_bounds() -> None:
    fills = [_learn(*(gone(n, 100, mean=mean * MIB) for n in range(40))).fill for mean in (1, 50, 100)]
    assert fills[0] == 0.3
    assert 0.49 < fills[1] < 0.52
    assert fills[2] == 1.0


def test_cpu_is_learned_from_sweeps_while_the_node_has_idle_cpu() -> None:
    history = History()
    for step in range(40):
        history.look(seen(step / 10, 8000, [worker(n, 10, cpu=0.1) for n in range(8)], busy=0.8))
    assert abs(history.memory.kinds["a"].cpu - 0.1) < 0.01
    for step in range(40, 80):  # a full node: what they get says nothing about what they want
        history.look(seen(step / 10, 8000, [worker(n, 10, cpu=0.05) for n in range(8)], busy=8.0))
    assert abs(history.memory.kinds["a"].cpu - 0.1) < 0.01
    for step in range(80, 120):  # ... but that they want no less
        history.look(seen(step / 10, 8000, [worker(n, 10, cpu=2.0) for n in range(4)], busy=8.0))
    assert history.memory.kinds["a"].cpu > 1.9


def test_memory_need_is_reserved_instead_of_what_was_learned() -> None:
    history = History(knowing(100))
    limits = Limits(memory_need=3 * GIB)
    decision = history.look(seen(1.0, 2048 + 1640, [worker(1, 10)], pools=(pool(limits=limits),)))
    why = decision.pools["run/a"].why
    assert why is not None
    assert why.need == 3 * GIB


def test_kinds_have_an_end_and_the_youngest_stay() -> None:
    """A load manager that is a service for years meets names without end."""
    history = History()
    names = [f"k{n}" for n in range(DEFAULT.kinds + 50)]
    for step, name in enumerate(names, 1):
        history.look(seen(float(step), 8000, exits=(gone(1, 50, kind="old"), gone(2, 50, kind=name))))
    known = history.memory.kinds
    assert len(known) == DEFAULT.kinds
    assert {"old", names[-1]} <= known.keys()
    assert "k0" not in known
