"""Sizes, durations, shares: one parser and one formatter for each. Numbers stay numbers until a person reads them."""

import re

from .errors import SettingsError
from .model import Amount

_NUMBER = re.compile(r"[+-]?[0-9]{1,100}")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgtp]?)(?:i?b)?", re.IGNORECASE)
_SIZES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_SHARE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*%")
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h|d)?", re.IGNORECASE)
_DURATIONS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


LARGEST_SIZE = 1 << 60
"""Bytes: an exbibyte. What is larger is a slip of the hand, and would leave the integers of messages and files."""
LONGEST_DURATION = 100 * 366 * 86400.0
"""Seconds: a century."""
MOST_NUMBER = 10**12
MOST_CORES = 1e6
SHOWN = 60
"""Characters of what somebody wrote that an error repeats."""


def parse_size(text: str) -> int:
    """Bytes from ``2G``, ``200M``, ``1.5GiB`` or a bare number; powers of 1024. Raises SettingsError."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise SettingsError(f"{_short(text)} is not a size; write it as 200M, 2G or 1.5GiB")
    size = float(match[1]) * _SIZES[match[2].lower()]
    if size > LARGEST_SIZE:
        raise SettingsError(f"{_short(text)} is more than any memory; a size goes to {LARGEST_SIZE >> 50} PiB")
    return int(size)


def parse_number(text: str, least: int | None = None) -> int:
    """A whole number, of at least so much. Raises SettingsError."""
    digits = text.strip()
    number = int(digits) if _NUMBER.fullmatch(digits) else None
    if number is None or (least is not None and number < least):
        raise SettingsError(f"{_short(text)} is not a whole number{'' if least is None else f' from {least}'}")
    if abs(number) > MOST_NUMBER:
        raise SettingsError(f"{_short(text)} is more than anybody counts; a number goes to {MOST_NUMBER}")
    return number


def parse_duration(text: str) -> float:
    """Seconds from ``30s``, ``5m``, ``250ms`` or a bare number; parts add up: ``1h30m``. Raises SettingsError."""
    rest, total = text.strip(), 0.0
    if not rest:
        raise SettingsError("an empty text is not a duration; write it as 30s, 5m or 1h30m")
    while rest:
        match = _DURATION.match(rest)
        if match is None:
            raise SettingsError(f"{_short(text)} is not a duration; write it as 30s, 5m or 1h30m")
        total += float(match[1]) * _DURATIONS[(match[2] or "s").lower()]
        rest = rest[match.end() :].strip()
    if total > LONGEST_DURATION:
        raise SettingsError(f"{_short(text)} is more than a century; write a time as 30s, 5m or 1h30m")
    return total


def parse_share(text: str) -> float:
    """A share 0..1 from ``80%``. Raises SettingsError, for more than 100 % too."""
    match = _SHARE.fullmatch(text.strip())
    if match is None:
        raise SettingsError(f"{_short(text)} is not a share; write it as 80%")
    share = float(match[1]) / 100
    if share > 1:
        raise SettingsError(f"{_short(text)} is more than there is; a share goes from 0% to 100%")
    return share


def parse_memory(text: str) -> Amount:
    """``10%`` or ``2G``. Raises SettingsError."""
    return Amount(share=parse_share(text)) if "%" in text else Amount(absolute=float(parse_size(text)))


def parse_cpus(text: str) -> Amount:
    """``90%`` of all CPUs, or a number of cores: ``3.5``. Raises SettingsError."""
    if "%" in text:
        if not (share := parse_share(text)):
            raise SettingsError(f"{_short(text)} is no CPU at all; write a share as 90% or a number of cores as 3.5")
        return Amount(share=share)
    try:
        cores = float(text)
    except ValueError:
        raise SettingsError(
            f"{_short(text)} is neither a share nor a number of cores; write it as 90% or 3.5"
        ) from None
    if not 0 < cores <= MOST_CORES:
        raise SettingsError(f"{_short(text)} cores is not possible; write a share as 90% or a number of cores as 3.5")
    return Amount(absolute=cores)


def _short(text: str) -> str:
    return repr(text if len(text) <= SHOWN else text[: SHOWN - 2] + "..")


def parse_some_duration(text: str) -> float:
    """A duration above zero. Raises SettingsError."""
    seconds = parse_duration(text)
    if not seconds > 0:
        raise SettingsError(f"{_short(text)} is no time at all; write it as 30s, 5m or 1h30m")
    return seconds


def parse_some_memory(text: str) -> Amount:
    """A share or size above zero. Raises SettingsError."""
    amount = parse_memory(text)
    if not amount.of(1.0):
        raise SettingsError(f"{_short(text)} is no memory at all; write it as 10% or 2G")
    return amount


def parse_some_size(text: str) -> int:
    """A size above zero. Raises SettingsError."""
    size = parse_size(text)
    if not size:
        raise SettingsError(f"{_short(text)} is no memory at all; write it as 200M or 2G")
    return size


def format_size(count: float) -> str:
    """``1.8 GiB``, ``400 MiB``, ``12 KiB``, ``0 B``: three figures at most, for people."""
    value, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB"]
    while abs(value) >= 1023.5 and len(units) > 1:
        value /= 1024
        units.pop(0)
    precise = abs(value) < 9.95 and units[0] not in ("B", "KiB")
    return f"{value:.1f} {units[0]}" if precise else f"{value:.0f} {units[0]}"


def format_duration(seconds: float) -> str:
    """``0.4 s``, ``12 s``, ``3 min 5 s``, ``2 h 10 min``, for people."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def format_share(share: float) -> str:
    """``37 %``, for people."""
    return f"{share * 100:.0f} %"


def format_cores(cores: float) -> str:
    """``1.5 cores``, ``1 core``, for people."""
    text = f"{cores:.1f}".removesuffix(".0")
    return f"{text} core" if text == "1" else f"{text} cores"
