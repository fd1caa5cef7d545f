"""Plots as plain SVG text: horizontal places in per cent, vertical ones and type in pixels.

Without a ``viewBox`` a plot takes the width it is given while dots stay round and labels keep their size, so the same
text is crisp on a desk and on a phone. Colours come from the page's style sheet through classes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_ROW = 52
_AXIS = 26
_BARS_HEIGHT = 236
# More bars than pixels of a phone's width cannot be told apart, and each costs 60 bytes.
MOST_BARS = 600


@dataclass(frozen=True, slots=True)
class IntervalRow:
    """One line of an interval plot: a value between two ends, and whether it is the one to look at."""

    label: str
    value: float
    low: float
    high: float
    emphasised: bool = False


def interval_plot(rows: Sequence[IntervalRow], *, title: str) -> str:
    """Draw values with their intervals, one under the other on a common axis.

    The axis does not start at 0: places are compared, not lengths.

    Args:
        rows: From top to bottom; none gives an empty plot.
        title: What a screen reader says.
    """
    ticks = nice_ticks(min((row.low for row in rows), default=0), max((row.high for row in rows), default=1))
    height = _ROW * len(rows)

    def place(value: float) -> str:
        return f"{2 + 96 * (value - ticks[0]) / (ticks[-1] - ticks[0]):.3f}%"

    parts = [
        f'<line class="grid" x1="{place(tick)}" x2="{place(tick)}" y1="4" y2="{height}"/>'
        f'<text class="tick" x="{place(tick)}" y="{height + 18}" text-anchor="middle">{_label(tick, ticks)}</text>'
        for tick in ticks
    ]
    for number, row in enumerate(rows):
        kind = "mark emphasised" if row.emphasised else "mark"
        top = _ROW * number
        parts.append(
            f'<g class="{kind}"><title>{escape(row.label)}: {row.value:.4f}, {row.low:.4f} to {row.high:.4f}</title>'
            f'<text class="name" x="0" y="{top + 19}">{escape(row.label)}</text>'
            f'<text class="value" x="100%" y="{top + 19}" text-anchor="end">{row.value:.3f}</text>'
            f'<line class="whisker" x1="{place(row.low)}" x2="{place(row.high)}" y1="{top + 35}" y2="{top + 35}"/>'
            f'<circle class="dot" cx="{place(row.value)}" cy="{top + 35}" r="5.5"/></g>'
        )
    return _plot(parts, height + _AXIS, title)


def gain_bars(gains: Sequence[float], *, title: str) -> str:
    """Draw one bar per query, largest gain first, around a zero line.

    More than ``MOST_BARS`` gains are thinned to that many, evenly by rank; first and last stay.

    Args:
        gains: Differences in any order.
        title: What a screen reader says.
    """
    ordered = _thinned(sorted(gains, reverse=True))
    ticks = nice_ticks(min(0.0, *ordered, -0.05), max(0.0, *ordered, 0.05)) if ordered else [-1.0, 0.0, 1.0]
    inner = _BARS_HEIGHT - 20

    def place(value: float) -> float:
        return 10 + inner * (ticks[-1] - value) / (ticks[-1] - ticks[0])

    parts = [_level_line(place(tick), "zero" if tick == 0 else "grid") for tick in ticks]
    step = 100 / max(1, len(ordered))
    # Gaps between few bars read better; between many they only flicker.
    width = step * (0.8 if len(ordered) <= 150 else 1.0)
    for number, gain in enumerate(ordered):
        top, bottom = sorted((place(gain), place(0.0)))
        if bottom - top >= 0.05:
            kind = "gain" if gain > 0 else "loss"
            parts.append(
                f'<rect class="{kind}" x="{number * step:.3f}%" width="{width:.3f}%" y="{top:.1f}" '
                f'height="{bottom - top:.1f}"/>'
            )
    parts += [
        f'<text class="tick" x="100%" y="{place(tick) - 4:.1f}" text-anchor="end">{_signed(tick, ticks)}</text>'
        for tick in ticks[:-1]
        if tick > 0
    ]
    parts += [
        f'<text class="tick" x="0" y="{place(tick) - 4:.1f}">{_signed(tick, ticks)}</text>'
        for tick in ticks
        if tick < 0
    ]
    return _plot(parts, _BARS_HEIGHT, title)


def nice_ticks(low: float, high: float, *, about: int = 4) -> list[float]:
    """Return round numbers, evenly spaced, that enclose ``low`` to ``high``; always at least two."""
    # Equal values may differ in their last bit, which no label could tell.
    span = high - low if high - low > 1e-9 * max(abs(high), 1.0) else max(abs(high), 1.0) * 0.1
    rough = span / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * (1 - 1e-9))
    first = math.floor(low / step + 1e-9)
    last = max(first + 1, math.ceil(high / step - 1e-9))
    return [round(number * step, 12) + 0.0 for number in range(first, last + 1)]


def _thinned(ordered: list[float]) -> list[float]:
    if len(ordered) <= MOST_BARS:
        return ordered
    return [ordered[round(number * (len(ordered) - 1) / (MOST_BARS - 1))] for number in range(MOST_BARS)]


def _label(tick: float, ticks: Sequence[float]) -> str:
    return f"{tick:.{_decimals(ticks)}f}"


def _signed(tick: float, ticks: Sequence[float]) -> str:
    return f"{tick:+.{_decimals(ticks)}f}".replace("-", "−")


def _decimals(ticks: Sequence[float]) -> int:
    """Return how many decimals tell the ticks apart."""
    return next((count for count in range(6) if all(abs(round(t, count) - t) < 1e-9 for t in ticks)), 6)


def _level_line(top: float, kind: str) -> str:
    return f'<line class="{kind}" x1="0" x2="100%" y1="{top:.1f}" y2="{top:.1f}"/>'


def _plot(parts: Sequence[str], height: int, title: str) -> str:
    opening = f'<svg class="plot" width="100%" height="{height}" role="img" aria-label="{escape(title)}">'
    return f"{opening}{''.join(parts)}</svg>"
