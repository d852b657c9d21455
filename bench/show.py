"""A run of the benchmarks as a table for the terminal, and as a picture."""

from collections.abc import Iterator
from html import escape

from .figures import OURS, Measure
from .history import Entry

WIDTH, BAR, ROW, LEFT = 960, 420, 22, 300
OUR_COLOUR, THEIR_COLOUR = "#2563eb", "#94a3b8"


def table(one: Entry) -> Iterator[str]:
    """Lines."""
    yield f"loadkeeper bench, {one.title}"
    machine = one.machine
    yield f"{_machine(one)}, {machine.memory >> 30} GiB, Python {machine.python}; {one.rounds} rounds"
    yield "; ".join(f"{name}: {version}" for name, version in one.peers.items())
    for measure in one.measures.values():
        yield ""
        yield f"{measure.name}: {measure.what}"
        yield from _rows(measure)


def _rows(measure: Measure) -> Iterator[str]:
    for side in measure.samples:
        least, most = measure.spread(side)
        ratio = measure.times_better(side)
        line = f"  {side:<40} {_figure(measure.median(side)):>9} {measure.unit:<11}"
        line += f" {_figure(least):>8} to {_figure(most):<8}"
        line += f" ours is {ratio:.2f} x as good" if ratio is not None else ""
        line += f"  ({measure.notes[side]})" if side in measure.notes else ""
        yield line.rstrip()
    for side, note in measure.notes.items():
        if side not in measure.samples:
            yield f"  {side:<40} {note}"


def _machine(one: Entry) -> str:
    return f"{one.machine.cpus} cores of {one.machine.processor}, Linux {one.machine.kernel}"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


# ---------------------------------------------------------------------------------------------------------- picture


def picture(one: Entry) -> str:
    """SVG: a bar for each side's median, a thin line for its spread; each measure has its own scale."""
    parts: list[str] = []
    y = 58
    for measure in one.measures.values():
        if measure.samples:
            parts += _group(measure, y)
            y += ROW * (len(measure.samples) + 2)
    told = f"{_machine(one)}; medians of {one.rounds} rounds, lines from least to most"
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 10}" font-family="sans-serif"'
        ' font-size="13">',
        f'<rect width="{WIDTH}" height="{y + 10}" fill="white"/>',
        f'<text x="16" y="26" font-size="16" font-weight="bold">loadkeeper bench, {escape(one.title)}</text>',
        f'<text x="16" y="44" fill="#475569">{escape(told)}</text>',
    ]
    return "\n".join([*head, *parts, "</svg>"]) + "\n"


def _group(measure: Measure, y: int) -> list[str]:
    most = max(max(measure.spread(side)) for side in measure.samples) or 1.0
    aim = "more is better" if measure.more_is_better else "less is better"
    parts = [
        f'<text x="16" y="{y + 16}" font-weight="bold">{escape(measure.what)}</text>',
        f'<text x="{WIDTH - 16}" y="{y + 16}" text-anchor="end" fill="#475569">{escape(measure.unit)}, {aim}</text>',
    ]
    for place, side in enumerate(measure.samples, 1):
        top = y + ROW * place + 4
        middle, (low, high) = measure.median(side), measure.spread(side)
        long, left, right = (max(0.0, BAR * value / most) for value in (middle, low, high))
        ours = side.startswith((OURS, "load manager", "process manager"))
        ratio = measure.times_better(side)
        told = _figure(middle) + (f"   ours is {ratio:.2f} x as good" if ratio is not None else "")
        colour = OUR_COLOUR if ours else THEIR_COLOUR
        parts += [
            f'<text x="{LEFT - 8}" y="{top + 13}" text-anchor="end">{escape(side)}</text>',
            f'<rect x="{LEFT}" y="{top}" width="{max(long, 1):.1f}" height="16" fill="{colour}"/>',
            f'<line x1="{LEFT + left:.1f}" x2="{LEFT + right:.1f}" y1="{top + 8}" y2="{top + 8}" stroke="#0f172a"/>',
            f'<text x="{LEFT + max(long, right) + 8:.1f}" y="{top + 13}">{escape(told)}</text>',
        ]
    return parts
