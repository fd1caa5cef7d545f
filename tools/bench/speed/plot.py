"""A plot as an SVG file that stands alone in Markdown: light and dark, shapes that say what colours say."""

import math
from collections.abc import Callable, Sequence
from html import escape
from itertools import chain

from shortlist.evaluation.page.svg import log_ticks, nice_ticks, plain
from tools.bench.speed.records import Plot

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 76, 24, 40, 60
"""Room for labels around the field, pixels."""
LEGEND_LINE = 20
"""Height of a line of the legend, which stands below all else, pixels."""

# Okabe & Ito's colours for people who see fewer of them (Color Universal Design, 2008), lighter ones on dark ground.
LIGHT = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56607a")
DARK = ("#56b4e9", "#f0874a", "#3cc79b", "#e3a5c7", "#e6c84f", "#aab4c8")
SHAPES = (
    '<circle r="4.5"/>',
    '<rect x="-4" y="-4" width="8" height="8"/>',
    '<path d="M0-5.8 5.8 0 0 5.8-5.8 0Z"/>',
    '<path d="M0-5.5 5.3 4-5.3 4Z"/>',
    '<path d="M0 5.5 5.3-4-5.3-4Z"/>',
    '<path d="M-5-1.7h3.3v-3.3h3.4v3.3h3.3v3.4h-3.3v3.3h-3.4v-3.3h-3.3Z"/>',
)
Place = Callable[[float], float]


def draw(plot: Plot) -> str:
    """Return the SVG of a plot.

    Raises:
        ValueError: If it has no points, or an axis is logarithmic and a value is not above 0.
    """
    points = [point for series in plot.series.values() for point in series]
    if not points:
        raise ValueError(f"{plot.file}: expected at least one point, got none")
    across, x_ticks = _axis([x for x, _ in points], LEFT, WIDTH - RIGHT, log=plot.log_x)
    up, y_ticks = _axis([y for _, y in points], HEIGHT - BOTTOM, TOP, log=plot.log_y)
    said = "; ".join(f"{name}: {', '.join(f'{x:g} {y:g}' for x, y in points)}" for name, points in plot.series.items())
    height = round(_legend_places(list(plot.series))[-1][1]) + LEGEND_LINE // 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-labelledby="title desc" font-family="system-ui, -apple-system, sans-serif">',
        f'<title id="title">{escape(plot.title)}</title>',
        f'<desc id="desc">{escape(plot.x)} across, {escape(plot.y)} upwards. {escape(said)}</desc>',
        _style(),
        *_frame(plot, across, up, x_ticks, y_ticks),
        *chain.from_iterable(_series(number, points, across, up) for number, points in enumerate(plot.series.values())),
        *_legend(list(plot.series)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _axis(values: Sequence[float], start: float, end: float, *, log: bool) -> tuple[Place, list[float]]:
    """Return where a value lies, in pixels, and the ticks."""
    low, high = min(values), max(values)
    ticks = log_ticks(low, high) if log else nice_ticks(min(low, 0.0) if low < high / 2 else low, high)
    scale: Place = math.log10 if log else float
    first, last = scale(ticks[0]), scale(ticks[-1])
    return lambda value: start + (scale(value) - first) / (last - first) * (end - start), ticks


def _style() -> str:
    light = "".join(f".s{n}{{fill:{c};stroke:{c}}}" for n, c in enumerate(LIGHT))
    dark = "".join(f".s{n}{{fill:{c};stroke:{c}}}" for n, c in enumerate(DARK))
    return (
        "<style>text{fill:#16233a;font-size:12px}.title{font-size:14px;font-weight:600}.grid{stroke:#d5deeb}"
        f"path.line{{fill:none;stroke-width:1.8}}{light}"  # by its tag too, or its series' colour fills it
        f"@media(prefers-color-scheme:dark){{text{{fill:#e8eef8}}.grid{{stroke:#2a3a50}}{dark}}}</style>"
    )


def _frame(plot: Plot, across: Place, up: Place, x_ticks: Sequence[float], y_ticks: Sequence[float]) -> list[str]:
    """Return title, grid and labels."""
    parts = [f'<text class="title" x="{LEFT}" y="18">{escape(plot.title)}</text>']
    for tick in x_ticks:
        x = round(across(tick), 1)
        parts.append(f'<path class="grid" d="M{x} {TOP}V{HEIGHT - BOTTOM}"/>')
        parts.append(f'<text x="{x}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{plain(tick)}</text>')
    for tick in y_ticks:
        y = round(up(tick), 1)
        parts.append(f'<path class="grid" d="M{LEFT} {y}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{plain(tick)}</text>')
    middle_x, middle_y = (LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2
    parts.append(f'<text x="{middle_x}" y="{HEIGHT - 18}" text-anchor="middle">{escape(plot.x)}</text>')
    turned = f"translate(18 {middle_y}) rotate(-90)"
    parts.append(f'<text transform="{turned}" text-anchor="middle">{escape(plot.y)}</text>')
    return parts


def _series(number: int, points: Sequence[tuple[float, float]], across: Place, up: Place) -> list[str]:
    places = [(round(across(x), 1), round(up(y), 1)) for x, y in points]
    style = f"s{number % len(SHAPES)}"
    path = "L".join(f"{x} {y}" for x, y in places)
    marks = [f'<g class="{style}" transform="translate({x} {y})">{SHAPES[number % len(SHAPES)]}</g>' for x, y in places]
    return [f'<path class="{style} line" d="M{path}"/>', *marks]


def _legend(names: Sequence[str]) -> list[str]:
    """Return the names with their marks, in lines below the plot; widths are those of an average letter."""
    parts = []
    for number, (name, (x, y)) in enumerate(zip(names, _legend_places(names), strict=True)):
        shape = SHAPES[number % len(SHAPES)]
        parts.append(f'<g class="s{number % len(SHAPES)}" transform="translate({x:.0f} {y - 4:.0f})">{shape}</g>')
        parts.append(f'<text x="{x + 10:.0f}" y="{y:.0f}">{escape(name)}</text>')
    return parts


def _legend_places(names: Sequence[str]) -> list[tuple[float, float]]:
    """Return where each name of the legend stands; one that does not fit into a line begins the next."""
    places, x, y = [], float(LEFT + 6), float(HEIGHT + 4)
    for name in names:
        wide = 34 + 6.4 * len(name)
        if x + wide > WIDTH and x > LEFT + 6:
            x, y = float(LEFT + 6), y + LEGEND_LINE
        places.append((x, y))
        x += wide
    return places
