"""Sizes, durations and shares, as people write and read them."""

import pytest

from loadkeeper import units
from loadkeeper.errors import SettingsError
from loadkeeper.model import Amount


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("512", 512),
        ("1k", 1024),
        ("200M", 200 << 20),
        ("1.5GiB", 3 << 29),
        ("2 gb", 2 << 30),
        ("1T", 1 << 40),
    ],
)
def test_sizes_are_powers_of_1024(text, expected):
    assert units.parse_size(text) == expected


@pytest.mark.parametrize("text", ["", "-1", "G", "1X", "1e9", "nan", "10%", "1 2"])
def test_what_is_no_size_says_how_to_write_one(text):
    with pytest.raises(SettingsError, match="write it as 200M"):
        units.parse_size(text)


@pytest.mark.parametrize(
    ("text", "expected"), [("10", 10), ("250ms", 0.25), ("5m", 300), ("1h30m", 5400), ("2d", 172800), ("0", 0)]
)
def test_durations_are_seconds(text, expected):
    assert units.parse_duration(text) == expected


@pytest.mark.parametrize("text", ["", "-1", "5 parsecs", "m", "1h-3"])
def test_what_is_no_duration_says_how_to_write_one(text):
    with pytest.raises(SettingsError, match="write it as 30s"):
        units.parse_duration(text)


def test_a_share_is_at_most_the_whole():
    assert units.parse_share("80%") == pytest.approx(0.8)
    with pytest.raises(SettingsError, match="more than there is"):
        units.parse_share("200%")


def test_memory_and_cpus_are_shares_or_figures():
    assert units.parse_memory("10%") == Amount(share=0.1)
    assert units.parse_memory("2G") == Amount(absolute=2 << 30)
    assert units.parse_cpus("3.5") == Amount(absolute=3.5)
    assert units.parse_cpus("90%").of(8) == pytest.approx(7.2)
    for wrong in ("0", "-1", "inf", "nan", "many"):
        with pytest.raises(SettingsError):
            units.parse_cpus(wrong)


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, "0 B"), (1023, "1023 B"), (12 << 10, "12 KiB"), (400 << 20, "400 MiB"), (1.84 * 2**30, "1.8 GiB")],
)
def test_sizes_for_people(count, expected):
    assert units.format_size(count) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.44, "0.4 s"), (12.3, "12 s"), (185, "3 min 5 s"), (120, "2 min"), (7800, "2 h 10 min")]
)
def test_durations_for_people(seconds, expected):
    assert units.format_duration(seconds) == expected
