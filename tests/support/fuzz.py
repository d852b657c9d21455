"""Hostile input: drawn from a seed, by spoiling what is right."""

import struct
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import msgspec

NASTY: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 255, 4096, 1 << 22, 1 << 31, (1 << 31) - 1, -(1 << 31), 1 << 53, 1 << 62,
    (1 << 63) - 1, -(1 << 63), (1 << 64) - 1, 0.0, -0.0, 0.5, -0.5, 1e-308, 5e-324, 1e12, 1e18, 1e300, 1e308, -1e308,
    float("nan"), float("inf"), float("-inf"),
    "", " ", "0", "-1", "1", "nan", "inf", "-inf", "1e999", "off", "never", "10%", "101%", "-5%", "2G", "9" * 400,
    "9" * 40 + "P", "1" * 5000, "a/b", "../..", "/", "a\0b", "a\nb", "\x1b[2J", "\ud800", "r1", "r1.1", "r1/main",
    "memory", "pressure.io", "x" * 70, "é" * 300, "\N{FULLWIDTH DIGIT ONE}", "١", "1_000", "+5", "0x10", "$(id)",
    b"", b"\xff\xfe", b"a" * 100, [], {}, [[]], {"": None}, [None], {"share": 0.5, "absolute": 1}, {"share": None},
)  # fmt: skip
"""What a number, a text, a name may be mistaken for."""


def spoil(random: Random, value: Any) -> Any:
    """A tree of lists and dicts with one to three of its parts replaced, taken away, doubled, renamed or buried."""
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        value = _spoiled(random, value)
    return value


def _spoiled(random: Random, value: Any) -> Any:
    if isinstance(value, dict) and value and random.random() < 0.9:
        return _spoiled_dict(random, dict(value))
    if isinstance(value, list | tuple) and value and random.random() < 0.9:
        return _spoiled_list(random, list(value))
    kind = random.random()
    if kind < 0.04:
        return _deep(random, value)
    if kind < 0.3 and isinstance(value, int | float) and not isinstance(value, bool):
        return random.choice((-value, value * 2, value + 1, value * 1e6, value / 3, float(value), str(value)))
    return random.choice(NASTY)


def _spoiled_dict(random: Random, value: dict[Any, Any]) -> dict[Any, Any]:
    key = random.choice(list(value))
    kind = random.random()
    if kind < 0.75:
        value[key] = _spoiled(random, value[key])
    elif kind < 0.83:
        del value[key]
    elif kind < 0.91:
        value[random.choice([one for one in NASTY if isinstance(one, str | int)])] = value[key]
    else:
        value[key] = value[random.choice(list(value))]
    return value


def _spoiled_list(random: Random, value: list[Any]) -> list[Any]:
    place = random.randrange(len(value))
    kind = random.random()
    if kind < 0.75:
        value[place] = _spoiled(random, value[place])
    elif kind < 0.83:
        del value[place]
    elif kind < 0.95:
        value.insert(place, value[place])
    else:
        value = value * random.choice((2, 2, 2, 50))
    return value


def _deep(random: Random, value: Any) -> Any:
    for _ in range(random.choice((2, 5, 30, 30, 30, 3000))):
        value = [value] if random.random() < 0.5 else {"a": value}
    return value


def spoil_bytes(random: Random, content: bytes) -> bytes:
    """Bits turned, pieces cut off, taken out, doubled or put in."""
    made = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 5))):
        if not made:
            return bytes(random.randrange(256) for _ in range(random.randrange(20)))
        place, length = random.randrange(len(made)), random.choice((1, 2, 8, 100))
        kind = random.randrange(6)
        if kind < 2:
            made[place] ^= 1 << random.randrange(8)
        elif kind == 2:
            del made[place:]
        elif kind == 3:
            del made[place : place + length]
        elif kind == 4:
            made[place:place] = made[place : place + length] * random.choice((1, 3))
        else:
            made[place:place] = random.choice((b"\xff\xff\xff\xff", b"\0", b"\n", b"\xc3\x28", b"\xdd\xff\xff\xff\xff"))
    return bytes(made)


def packed(random: Random, value: Any) -> bytes:
    """msgpack as nobody's encoder makes it: keys doubled, numbers of any width, texts that are no UTF-8."""
    try:
        return _packed(random, value)
    except RecursionError:
        return b"\x91" * 5000


def _packed(random: Random, value: Any) -> bytes:
    if isinstance(value, dict):
        pairs = [(_packed(random, key), _packed(random, one)) for key, one in value.items()]
        if pairs and random.random() < 0.02:
            pairs.append(random.choice(pairs))
        return b"\xdf" + struct.pack(">I", len(pairs)) + b"".join(key + one for key, one in pairs)
    if isinstance(value, list | tuple):
        return b"\xdd" + struct.pack(">I", len(value)) + b"".join(_packed(random, one) for one in value)
    if isinstance(value, str):
        raw = value.encode("utf-8", "surrogatepass")
        return b"\xdb" + struct.pack(">I", len(raw)) + raw
    if isinstance(value, int) and not isinstance(value, bool) and not -(1 << 63) <= value < 1 << 64:
        value = float(value) if abs(value) < 1 << 1000 else float("inf")
    if isinstance(value, float) and random.random() < 0.1 and abs(value) < 1e38:
        return b"\xca" + struct.pack(">f", value)
    return msgspec.msgpack.encode(value)


def frame(random: Random, message: Any) -> bytes:
    """A message's bytes, spoiled in its parts, its bytes, or both."""
    tree = msgspec.msgpack.decode(msgspec.msgpack.encode(message))
    kind = random.random()
    if kind < 0.75:
        tree = spoil(random, tree)
    made = packed(random, tree)
    return spoil_bytes(random, made) if kind > 0.65 else made


def text(random: Random, right: Sequence[str]) -> str:
    """A word that may be a setting, or nearly."""
    kind = random.random()
    if kind < 0.2:
        return str(random.choice(NASTY))
    word = random.choice(right)
    if kind < 0.3:
        return word + random.choice(right)
    if kind < 0.4:
        return word.replace("1", "9" * random.choice((3, 25, 400)))
    return spoil_bytes(random, word.encode()).decode("utf-8", "surrogateescape")


def resident(pid: int | str = "self") -> int:
    """Bytes that a process holds."""
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096


def many(cases: int, one: Callable[[Random], Any], seed: str) -> tuple[int, int]:
    """Cases of a seed each, so that one that fails can be had again; (how many were accepted, bytes that memory has
    grown by since a fifth of them were done)."""
    accepted = begun = 0
    for number in range(cases):
        if number == cases // 5:
            begun = resident()
        random = Random(f"{seed} {number}")
        try:
            accepted += bool(one(random))
        except BaseException as error:
            error.add_note(f"case {number} of {seed!r}")
            raise
    return accepted, resident() - begun
