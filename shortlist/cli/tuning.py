"""What ``tune`` prints and draws: the curve of recall against time, and the point that was chosen."""

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING

from shortlist.evaluation.page.svg import nice_ticks

if TYPE_CHECKING:
    from indexing.tuning import Point
    from shortlist.jobs.tune import TuneReport

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 76, 24, 56, 60
"""Room for labels around the field, pixels."""

_STYLE = (
    "<style>text{fill:#16233a;font-size:12px}.title{font-size:14px;font-weight:600}.grid{stroke:#d5deeb}"
    ".mark{fill:#0072b2}.line{fill:none;stroke:#0072b2;stroke-width:1.8}.target{stroke:#d55e00;stroke-dasharray:6 4}"
    ".chosen{fill:none;stroke:#d55e00;stroke-width:2.5}@media(prefers-color-scheme:dark){text{fill:#e8eef8}"
    ".grid{stroke:#2a3a50}.mark{fill:#56b4e9}.line{stroke:#56b4e9}.target,.chosen{stroke:#f0874a}}</style>"
)


def tuning_text(report: "TuneReport") -> str:
    """Return the curve as a table, the chosen point marked, and what became of it."""
    tuning = report.tuning
    rows = [
        (
            "*" if point == tuning.chosen else "",
            settings_text(point.parameters),
            f"{point.recall:.4f}",
            f"{point.latency_us / 1000:.3f}",
            f"{point.cost_us / 1000:.3f}",
        )
        for point in tuning.points
    ]
    heads = ("", "searched with", f"recall@{tuning.k}", "ms a query", "ms expected")
    widths = [max(len(row[place]) for row in (heads, *rows)) for place in range(len(heads))]
    table = [
        "  ".join(cell.rjust(width) if place > 1 else cell.ljust(width) for place, (cell, width) in enumerate(cells))
        for cells in (list(zip(row, widths, strict=True)) for row in (heads, *rows))
    ]
    asked = f"{report.kind}: {tuning.queries} queries ({report.queries_from})"
    asked += f", recall@{tuning.k} of at least {tuning.target:g}"
    before = {name: report.before[name] for name in (tuning.chosen.parameters if tuning.chosen else {})}
    lines = [asked, *table, f"(* is chosen; it was {settings_text(before)})"]
    return "\n".join([*lines, f"published {report.version}" if report.version else "nothing was published"])


def settings_text(parameters: Mapping[str, int | float]) -> str:
    """Write search parameters as they are set: ``ef_search=120 refine_factor=1.5``."""
    return " ".join(f"{name}={value:g}" for name, value in parameters.items())


def tuning_plot(report: "TuneReport") -> str:
    """Draw recall against milliseconds a query, as an SVG file that stands alone."""
    tuning = report.tuning
    across = nice_ticks(0.0, max(point.latency_us for point in tuning.points) / 1000)
    up = nice_ticks(min(tuning.target, *(point.recall for point in tuning.points)), 1.0)

    def place(ms: float, recall: float) -> tuple[float, float]:
        x = LEFT + (ms - across[0]) / (across[-1] - across[0]) * (WIDTH - LEFT - RIGHT)
        return round(x, 1), round(HEIGHT - BOTTOM - (recall - up[0]) / (up[-1] - up[0]) * (HEIGHT - TOP - BOTTOM), 1)

    def at(point: "Point") -> tuple[float, float]:
        return place(point.latency_us / 1000, point.recall)

    title = f"{report.kind}: recall@{tuning.k} against time, {tuning.queries} queries"
    said = "; ".join(f"{settings_text(p.parameters)}: {p.recall:.4f} in {p.latency_us:.0f} µs" for p in tuning.points)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'aria-labelledby="title desc" font-family="system-ui, -apple-system, sans-serif">',
        f'<title id="title">{escape(title)}</title><desc id="desc">{escape(said)}</desc>{_STYLE}',
        f'<text class="title" x="{LEFT}" y="24">{escape(title)}</text>',
        *(_across(place(tick, up[0])[0], f"{tick:g}") for tick in across),
        *(_up(place(across[0], tick)[1], f"{tick:g}") for tick in up),
        f'<path class="target" d="M{LEFT} {place(0, tuning.target)[1]}H{WIDTH - RIGHT}"/>',
    ]
    for refine in dict.fromkeys(point.parameters.get("refine_factor") for point in tuning.points):
        places = [at(point) for point in tuning.points if point.parameters.get("refine_factor") == refine]
        parts.append(f'<path class="line" d="M{"L".join(f"{x} {y}" for x, y in places)}"/>')
        parts += [f'<circle class="mark" cx="{x}" cy="{y}" r="4"/>' for x, y in places]
    if tuning.chosen is not None:
        x, y = at(tuning.chosen)
        parts.append(f'<circle class="chosen" cx="{x}" cy="{y}" r="9"/>')
        parts.append(f'<text x="{x + 14}" y="{y + 22}">{escape(settings_text(tuning.chosen.parameters))}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 18}" text-anchor="middle">ms a query</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _across(x: float, label: str) -> str:
    line = f'<path class="grid" d="M{x} {TOP}V{HEIGHT - BOTTOM}"/>'
    return f'{line}<text x="{x}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{label}</text>'


def _up(y: float, label: str) -> str:
    line = f'<path class="grid" d="M{LEFT} {y}H{WIDTH - RIGHT}"/>'
    return f'{line}<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{label}</text>'
