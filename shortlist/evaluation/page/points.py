"""A plot of points and curves in two dimensions."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import pairwise

from shortlist.evaluation.page.axes import Axis
from shortlist.evaluation.page.svg import colour, frame, marker

_TOP, _BOTTOM = 22, 42  # pixels for the upper axis' title, and for tick labels and title of the lower one
_LEFT, _RIGHT = 12.0, 95.0  # per cent; labels of the upright axis stand left of the first, also on a phone


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One mark.

    Attributes:
        x: Its place.
        y: The same, upwards.
        title: What pointing at it says.
        label: A few characters beside it.
        hollow: An outline only.
        low: Lower end of an interval of ``y``.
        high: Upper end; both or neither.
    """

    x: float
    y: float
    title: str
    label: str = ""
    hollow: bool = False
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """Points of one kind.

    Attributes:
        number: Decides shape and colour; a legend lists them from 0.
        points: The points.
        joined: A line joins them, in their order.
    """

    number: int
    points: Sequence[Point]
    joined: bool = False


def point_plot(
    series: Sequence[Series],
    *,
    x: Axis,
    y: Axis,
    title: str,
    height: int = 300,
    diagonal: bool = False,
    trail: Sequence[Point] = (),
) -> str:
    """Draw series of points; one at 0 or below has no place on a logarithmic axis and is left out.

    Args:
        series: What is drawn.
        x: The level axis.
        y: The upright one.
        title: What a screen reader says.
        height: Pixels.
        diagonal: Draw the line on which both are equal; the axes then should have the same ends.
        trail: Points of any series that a broken line joins, in this order.
    """
    plane = _Plane(x, y, height)
    series = [replace(one, points=[p for p in one.points if x.holds(p.x) and y.holds(p.y)]) for one in series]
    parts = _axes(plane)
    if diagonal:
        parts.append(plane.line("zero", (x.ticks[0], y.ticks[0]), (x.ticks[-1], y.ticks[-1])))
    parts += [plane.line("trail", (a.x, a.y), (b.x, b.y)) for a, b in pairwise(trail)]
    for one in series:
        if one.joined:
            parts += [
                plane.line(f"curve {colour(one.number)}", (a.x, a.y), (b.x, b.y)) for a, b in pairwise(one.points)
            ]
    return frame([*parts, *_marks(plane, series)], height, title)


@dataclass(frozen=True, slots=True)
class _Plane:
    """Where values lie: across in per cent, down in pixels."""

    x: Axis
    y: Axis
    height: int

    def across(self, value: float) -> float:
        return _LEFT + (_RIGHT - _LEFT) * self.x.share(value)

    def down(self, value: float) -> float:
        return _TOP + (self.height - _TOP - _BOTTOM) * (1 - self.y.share(value))

    def line(self, kind: str, begin: tuple[float, float], end: tuple[float, float]) -> str:
        return (
            f'<line class="{kind}" x1="{self.across(begin[0]):.2f}%" y1="{self.down(begin[1]):.1f}" '
            f'x2="{self.across(end[0]):.2f}%" y2="{self.down(end[1]):.1f}"/>'
        )


def _axes(plane: _Plane) -> list[str]:
    x, y = plane.x, plane.y
    upright = [
        plane.line("grid", (x.ticks[0], tick), (x.ticks[-1], tick))
        + _tick(f"{_LEFT - 2}%", plane.down(tick) + 4, "end", y.text(tick))
        for tick in y.ticks
    ]
    level = [
        plane.line("grid", (tick, y.ticks[0]), (tick, y.ticks[-1]))
        + _tick(f"{plane.across(tick):.2f}%", plane.height - _BOTTOM + 17, "middle", x.text(tick))
        for tick in x.ticks
    ]
    titles = [_tick("0", 12, "start", y.title), _tick(f"{_RIGHT}%", plane.height - 6, "end", x.title)]
    return [*upright, *level, *titles]


def _tick(left: str, top: float, anchor: str, text: str) -> str:
    return f'<text class="tick" x="{left}" y="{top:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _marks(plane: _Plane, series: Sequence[Series]) -> list[str]:
    """Draw outlines first and labels last, so that what counts lies on top."""
    numbered = [(one.number, point) for one in series for point in one.points]
    numbered.sort(key=lambda pair: not pair[1].hollow)
    reaches = [
        plane.line("reach", (point.x, point.low), (point.x, point.high))
        for _, point in numbered
        if point.low is not None and point.high is not None
    ]
    marks = [
        _at(plane, point, f"<title>{escape(point.title)}</title>{marker(number, hollow=point.hollow)}")
        for number, point in numbered
    ]
    taken: list[tuple[float, float]] = []
    pins = [_at(plane, point, _pin(plane, point, taken)) for _, point in numbered if point.label]
    return [*reaches, *marks, *pins]


def _at(plane: _Plane, point: Point, content: str) -> str:
    """Carry a shape to a place in per cent, which a nested plot can and a transform cannot."""
    left, top = f"{plane.across(point.x):.2f}%", f"{plane.down(point.y):.1f}"
    return f'<svg x="{left}" y="{top}" overflow="visible">{content}</svg>'


def _pin(plane: _Plane, point: Point, taken: list[tuple[float, float]]) -> str:
    """Write a label beside a mark, on the first of four sides where no other label is; note where it went."""
    left, top = plane.across(point.x), plane.down(point.y)
    sides = [(x, y) for y in (-7, 16) for x in (8, -8)]
    # A phone shows 1 % as some 3 pixels, and a label is 8 to 16 wide.
    places = [(left + x / 3, top + y) for x, y in sides]
    free = [n for n, (x, y) in enumerate(places) if all(abs(x - a) > 5 or abs(y - b) > 13 for a, b in taken)]
    number = free[0] if free else 0
    taken.append(places[number])
    x, y = sides[number]
    anchor = "start" if x > 0 else "end"
    return f'<text class="pin" x="{x}" y="{y}" text-anchor="{anchor}">{escape(point.label)}</text>'
