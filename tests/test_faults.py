"""Faults at random moments: nothing is lost, nobody is left, and what was told as done is not done again."""

import pytest
from faults.__main__ import rounds, summary

LONG = 1000
BATCH = 100


def hold(seed, count):
    done = list(rounds(seed, count, beside=2))
    problems = [f"seed {round.seed} ({', '.join(round.faults)}): {round.problems}" for round in done if round.problems]
    assert not problems, "\n".join(problems)
    return done


@pytest.mark.timeout(300)
def test_twenty_rounds():
    done = hold(1, 20)
    assert sum(len(round.faults) for round in done) >= 20, summary(done)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("batch", range(LONG // BATCH))
def test_a_thousand_rounds(batch, record_property):
    done = hold(10_000 + batch * BATCH, BATCH)
    record_property("measured", "; ".join(summary(done)))
