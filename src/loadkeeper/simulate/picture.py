"""A simulation as a picture: memory and CPU stacked by worker over time, the lines, pauses shaded, ends marked."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from html import escape

from ..decide.lines import node_lines
from ..decide.parameters import DEFAULT
from ..units import format_cores, format_duration, format_size
from .recording import Moment, Recording, Standing
from .result import Result

Panel = tuple[int, int]
"""Where it begins, and how high it is."""
Point = tuple[float, float, float, bool]
"""Of a band: x, its lower and its upper edge as shares of the panel, whether the worker stands."""
WIDTH, HEIGHT = 960, 560
LEFT, RIGHT, TOP = 76, 16, 54
MEMORY = (TOP, 300)
CPU = (TOP + 300 + 34, 120)
HUES = (210, 30, 140, 285, 350, 60, 180, 320)
"""One for each pool, in turn."""
LEGEND = (
    "colours: workers, by pool · grey: the system and other programs · hatched: paused · "
    "✕ ended, its task given back · ● killed by the kernel"
)
STYLE = """
text{font:12px sans-serif;fill:#222}.small{font-size:11px;fill:#555}.axis{stroke:#888;fill:none}.grid{stroke:#ddd}
.others{fill:#c9c9c9}.paused{fill:url(#hatch);stroke:none}.ended{stroke:#b00020;stroke-width:2;fill:none}
.killed{fill:#b00020}.hold{stroke:#c80}.pause{stroke:#a3c}.end{stroke:#b00020}.line{stroke-width:1;stroke-dasharray:5 3}
"""


def draw(recording: Recording, result: Result, limits_of_node: bool = True) -> str:
    """SVG. ``limits_of_node``: the lines of the load manager are drawn; a peer has others."""
    moments = recording.moments
    scale = _Scale(moments)
    parts = [*_frame(result), *_axes(scale)]
    parts += _panel(recording, scale, MEMORY, scale.memory, _memory)
    parts += _panel(recording, scale, CPU, scale.cpus, _cores)
    if limits_of_node:
        parts += _lines(recording, scale)
    parts += _marks(recording, scale)
    return "\n".join([*parts, "</svg>"]) + "\n"


class _Scale:
    """From seconds, bytes and cores to places in the picture."""

    def __init__(self, moments: Sequence[Moment]) -> None:
        self.until = max(moments[-1].at, 1e-9)
        self.memory = max(moment.total for moment in moments)
        self.cpus = max(moment.cpus for moment in moments)

    def x(self, at: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * at / self.until

    @staticmethod
    def y(panel: Panel, share: float) -> float:
        top, height = panel
        return top + height * (1 - min(1.0, max(0.0, share)))


def _memory(standing: Standing) -> float:
    return standing.memory


def _cores(standing: Standing) -> float:
    return standing.cores


# -------------------------------------------------------------------------------------------------------------- parts


def _frame(result: Result) -> Iterator[str]:
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
    yield f"<style>{STYLE}</style>"
    yield '<defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    yield '<rect width="6" height="6" fill="#fff" fill-opacity=".55"/>'
    yield '<path d="M0 0V6" stroke="#333" stroke-width="1.6"/>'
    yield "</pattern></defs>"
    yield f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>'
    told = [
        f"{format_duration(result.makespan)}, {result.makespan_ratio:.2f} times the lower bound",
        _count(result.kernel_kills, "killed by the kernel"),
        _count(result.ended, "ended"),
        _count(result.pauses, "pauses" if result.pauses != 1 else "pause"),
    ]
    yield f'<text x="{LEFT}" y="20" font-weight="bold">{escape(result.world)}, {escape(result.policy)}</text>'
    yield f'<text x="{LEFT}" y="38">{escape("; ".join(part for part in told if part))}</text>'


def _count(count: int, what: str) -> str:
    return f"{count} {what}" if count else ""


def _axes(scale: _Scale) -> Iterator[str]:
    for panel, name, top in ((MEMORY, "memory", format_size(scale.memory)), (CPU, "CPU", format_cores(scale.cpus))):
        begin, height = panel
        middle = begin + height // 2
        yield f'<text x="8" y="{middle}">{name}</text><text class="small" x="8" y="{middle + 15}">{top}</text>'
        for quarter in range(5):
            y = begin + height * quarter / 4
            yield f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>'
    bottom = CPU[0] + CPU[1]
    for place in range(6):
        at = scale.until * place / 5
        anchor = "end" if place == 5 else "middle" if place else "start"
        x = scale.x(at)
        yield f'<text class="small" x="{x:.1f}" y="{bottom + 16}" text-anchor="{anchor}">{format_duration(at)}</text>'


def _panel(
    recording: Recording, scale: _Scale, panel: Panel, whole: float, amount: Callable[[Standing], float]
) -> Iterator[str]:
    """Bands, one on the other in the order in which the workers were started; at the bottom the others."""
    bands: dict[int, list[Point]] = {}
    others: list[Point] = []
    before: set[int] = set()
    for moment in recording.moments:
        x = scale.x(moment.at)
        if before != moment.workers.keys():  # somebody came or went: the others move there, not on the way
            for n in before:
                bands[n].append((x, *bands[n][-1][1:]))
        before = set(moment.workers)
        level = (moment.others if amount is _memory else moment.others_cores) / whole
        others.append((x, 0.0, level, False))
        for n in sorted(moment.workers):
            standing = moment.workers[n]
            top = level + amount(standing) / whole
            bands.setdefault(n, []).append((x, level, top, standing.paused))
            level = top
    yield f'<path class="others" d="{_band(others, panel)}"/>'
    colours = _colours(recording)
    for n, points in bands.items():
        yield f'<path fill="{colours[n]}" d="{_band(points, panel)}"/>'
    if amount is _memory:
        for points in bands.values():
            for run in _paused_runs(points):
                yield f'<path class="paused" d="{_band(run, panel)}"/>'


def _band(points: Sequence[Point], panel: Panel) -> str:
    """There along the top, back along the bottom; one moment alone is a column of half a pixel."""
    if len(points) == 1:
        x, low, high, paused = points[0]
        points = [points[0], (x + 0.5, low, high, paused)]
    there = [f"{x:.1f} {_Scale.y(panel, high):.1f}" for x, _, high, _ in points]
    back = [f"{x:.1f} {_Scale.y(panel, low):.1f}" for x, low, _, _ in reversed(points)]
    return "M" + "L".join([*there, *back]) + "Z"


def _paused_runs(
    points: Iterable[Point],
) -> Iterator[list[Point]]:
    run: list[Point] = []
    for point in points:
        if point[3]:
            run.append(point)
        elif run:
            yield run
            run = []
    if run:
        yield run


def _colours(recording: Recording) -> dict[int, str]:
    """A hue for each pool; neighbours differ in lightness."""
    pools = list(dict.fromkeys(recording.pools.values()))
    found = {}
    for n, pool in recording.pools.items():
        hue = HUES[pools.index(pool) % len(HUES)]
        found[n] = f"hsl({hue},{55 + n % 2 * 12}%,{50 + n % 3 * 11}%)"
    return found


def _lines(recording: Recording, scale: _Scale) -> Iterator[str]:
    """Where the load manager's lines stand, as the memory that is then in use; their names where they do not touch."""
    told = 0.0
    for name in ("end", "pause", "hold"):
        path: list[str] = []
        last = 0.0
        for moment in recording.moments:
            lines = node_lines(recording.limits, int(moment.total), DEFAULT)
            at = getattr(lines, name)
            if at is None:
                continue
            y = _Scale.y(MEMORY, (moment.total - at) / scale.memory)
            if not path or y != last:
                path.append(f"{'L' if path else 'M'}{scale.x(moment.at):.1f} {y:.1f}")
                last = y
        if path:
            path.append(f"H{WIDTH - RIGHT}")
            yield f'<path class="line {name}" fill="none" d="{"".join(path)}"/>'
            told = max(last + 4, told + 11)
            yield f'<text class="small" x="{LEFT - 4}" y="{told:.1f}" text-anchor="end">{name}</text>'


def _marks(recording: Recording, scale: _Scale) -> Iterator[str]:
    """A cross where the policy ended a worker, a spot where the kernel killed one; the panel's edge in front."""
    top, _ = MEMORY
    for at, _ in recording.ended:
        x, y = scale.x(at), top + 8
        yield f'<path class="ended" d="M{x - 4:.1f} {y - 4}l8 8m0-8l-8 8"/>'
    for at, _ in recording.killed:
        yield f'<circle class="killed" cx="{scale.x(at):.1f}" cy="{top + 8}" r="4"/>'
    for begin, high in (MEMORY, CPU):
        yield f'<rect class="axis" x="{LEFT}" y="{begin}" width="{WIDTH - LEFT - RIGHT}" height="{high}"/>'
    y = CPU[0] + CPU[1] + 36
    yield f'<text class="small" x="{LEFT}" y="{y}">{LEGEND}</text>'
