"""A plot of points and curves in two dimensions."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise

from shortlist.evaluation.page.svg import frame, label, log_ticks, marker, nice_ticks, plain

_TOP, _BOTTOM = 22, 42  # pixels for the upper axis' title, and for tick labels and title of the lower one
_LEFT, _RIGHT = 12.0, 95.0  # per cent; labels of the upright axis stand left of the first, also on a phone


@dataclass(frozen=True, slots=True)
class Axis:
    """One direction of a plot.

    Attributes:
        title: What it shows, with the unit.
        ticks: Rising; the first and the last are its ends.
        is_log: Equal factors are equally far apart.
        text: Writes a tick.
    """

    title: str
    ticks: Sequence[float]
    is_log: bool
    text: Callable[[float], str]

    def share(self, value: float) -> float:
        """Return where a value lies between the ends: 0 to 1."""
        scale: Callable[[float], float] = math.log if self.is_log else float
        first, last = scale(self.ticks[0]), scale(self.ticks[-1])
        return (scale(value) - first) / (last - first)


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
    """Points of one kind: they share shape and colour, and a line when ``joined``."""

    name: str
    points: Sequence[Point] = field(default_factory=tuple)
    joined: bool = False


def linear_axis(title: str, values: Sequence[float]) -> Axis:
    """Return an axis with round ticks around the values."""
    ticks = nice_ticks(min(values), max(values))
    return Axis(title, ticks, False, lambda tick: label(tick, ticks))


def log_axis(title: str, values: Sequence[float]) -> Axis:
    """Return an axis of powers around the values, which must be above 0."""
    return Axis(title, log_ticks(min(values), max(values)), True, plain)


def point_plot(
    series: Sequence[Series], *, x: Axis, y: Axis, title: str, height: int = 300, diagonal: bool = False
) -> str:
    """Draw series of points.

    Args:
        series: The number of a series decides its shape; joined ones are joined in the order of their points.
        x: The level axis.
        y: The upright one.
        title: What a screen reader says.
        height: Pixels.
        diagonal: Draw the line on which both are equal; the axes then should have the same ends.
    """

    def across(value: float) -> float:
        return _LEFT + (_RIGHT - _LEFT) * x.share(value)

    def down(value: float) -> float:
        return _TOP + (height - _TOP - _BOTTOM) * (1 - y.share(value))

    def line(kind: str, begin: tuple[float, float], end: tuple[float, float]) -> str:
        return (
            f'<line class="{kind}" x1="{across(begin[0]):.3f}%" y1="{down(begin[1]):.1f}" '
            f'x2="{across(end[0]):.3f}%" y2="{down(end[1]):.1f}"/>'
        )

    ends = x.ticks[0], x.ticks[-1]
    parts = [
        line("grid", (ends[0], tick), (ends[1], tick))
        + f'<text class="tick" x="{_LEFT - 2}%" y="{down(tick) + 4:.1f}" text-anchor="end">{y.text(tick)}</text>'
        for tick in y.ticks
    ]
    parts += [
        line("grid", (tick, y.ticks[0]), (tick, y.ticks[-1]))
        + f'<text class="tick" x="{across(tick):.3f}%" y="{height - _BOTTOM + 17}" text-anchor="middle">'
        f"{x.text(tick)}</text>"
        for tick in x.ticks
    ]
    parts.append(f'<text class="tick" x="0" y="12">{escape(y.title)}</text>')
    parts.append(f'<text class="tick" x="{_RIGHT}%" y="{height - 6}" text-anchor="end">{escape(x.title)}</text>')
    if diagonal:
        parts.append(line("zero", (x.ticks[0], y.ticks[0]), (x.ticks[-1], y.ticks[-1])))
    for number, one in enumerate(series):
        if one.joined:
            parts += [line(f"curve s{number % 6}", (a.x, a.y), (b.x, b.y)) for a, b in pairwise(one.points)]
    for number, one in enumerate(series):
        for point in one.points:
            if point.low is not None and point.high is not None:
                parts.append(line("reach", (point.x, point.low), (point.x, point.high)))
            parts.append(_mark(number, point, across(point.x), down(point.y)))
    return frame(parts, height, title)


def _mark(number: int, point: Point, left: float, top: float) -> str:
    """A nested plot carries a shape to a place in per cent, which no transform can."""
    is_far = left > (_LEFT + _RIGHT) / 2
    text = (
        f'<text class="pin" x="{-8 if is_far else 8}" y="-7" text-anchor="{"end" if is_far else "start"}">'
        f"{escape(point.label)}</text>"
        if point.label
        else ""
    )
    return (
        f'<svg x="{left:.3f}%" y="{top:.1f}" overflow="visible"><title>{escape(point.title)}</title>'
        f"{marker(number, hollow=point.hollow)}{text}</svg>"
    )
