"""What one decision costs, by the number of workers, and how that grows: at a look that brings a sweep of all workers'
memory, and at one between two sweeps. Two out of three looks of a busy node are between."""

import time
from collections.abc import Iterator, Mapping
from html import escape
from math import log10
from statistics import median

from msgspec.structs import replace
from support.looks import GIB, MIB, seen, worker

from loadkeeper.decide import Kind, Memory, decide

COUNTS = (1, 10, 100, 1000, 10000)
SWEEP, BETWEEN = "with a sweep", "between sweeps"
LOOKS = 12
WARM = 3
"""Looks that are not counted."""
WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 720, 400, 70, 60, 150, 50
COLOURS = {SWEEP: "#2563eb", BETWEEN: "#059669"}
LEAST, MOST = 1e-5, 0.2
"""Seconds, of the picture."""


def costs(count: int) -> dict[str, float]:
    """Seconds of a decision with so many workers of a known kind on a node that has room for no more."""
    kind = Kind(peaks=tuple(range(300 * MIB, 364 * MIB, MIB)), fill=0.8, fills=64, cpu=0.2, count=64)
    memory, took = Memory(kinds={"a": kind}), {SWEEP: [], BETWEEN: []}
    node = {"total": 16 * GIB * max(1, count // 50), "cpus": float(max(8, count // 4)), "busy": count / 6}
    for look in range(LOOKS):
        workers = [worker(n, 200 + (n * 7 + look) % 100, cpu=0.2, cpu_seconds=float(look)) for n in range(count)]
        swept = seen(0.5 + look / 2, 320.0 * count, workers, **node)
        for which, shown in ((SWEEP, swept), *((BETWEEN, replace(swept, now=swept.now + at)) for at in (0.1, 0.2))):
            began = time.perf_counter()
            _, memory = decide(shown, memory)
            took[which].append(time.perf_counter() - began)
    return {SWEEP: median(took[SWEEP][WARM:]), BETWEEN: median(took[BETWEEN][2 * WARM :])}


# -------------------------------------------------------------------------------------------------------------- picture


def picture(found: Mapping[int, Mapping[str, float]], title: str) -> str:
    """SVG: seconds over workers, both by powers of ten."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif"'
        ' font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        '<text x="16" y="26" font-size="16" font-weight="bold">What one decision costs</text>',
        f'<text x="16" y="44" fill="#475569">{escape(title)}</text>',
        *_grid(),
    ]
    for which, colour in COLOURS.items():
        points = [(_x(count), _y(took[which])) for count, took in sorted(found.items())]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
        x, y = points[-1]
        parts.append(f'<text x="{x + 8:.1f}" y="{y + 4:.1f}" fill="{colour}">{which}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _grid() -> Iterator[str]:
    for count in COUNTS:
        x = _x(count)
        yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="#e2e8f0"/>'
        yield f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{count:,}</text>'
    for seconds, name in ((1e-5, "10 µs"), (1e-4, "100 µs"), (1e-3, "1 ms"), (1e-2, "10 ms"), (1e-1, "100 ms")):
        y = _y(seconds)
        yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e2e8f0"/>'
        yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{name}</text>'
    yield f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 12}" text-anchor="middle">workers</text>'


def _x(count: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * log10(count) / log10(COUNTS[-1])


def _y(seconds: float) -> float:
    share = (log10(seconds) - log10(LEAST)) / (log10(MOST) - log10(LEAST))
    return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * share
