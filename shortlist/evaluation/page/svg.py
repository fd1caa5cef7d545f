"""What every plot is made of: a frame, round ticks, marks.

Horizontal places are in per cent, vertical ones and type in pixels. Without a ``viewBox`` a plot takes the width it is
given while dots stay round and labels keep their size, so the same text is crisp on a desk and on a phone. Colours come
from the page's style sheet through classes; what a colour says is also said by shape, place or text.
"""

import math
from collections.abc import Sequence
from html import escape

# Around (0, 0), of about equal area; the page's style sheet has as many colours. More series than shapes start again.
_SHAPES = (
    '<circle r="5"/>',
    '<rect x="-4.5" y="-4.5" width="9" height="9"/>',
    '<path d="M0-6.3 6.3 0 0 6.3-6.3 0Z"/>',
    '<path d="M0-6 5.8 4.4-5.8 4.4Z"/>',
    '<path d="M0 6 5.8-4.4-5.8-4.4Z"/>',
    '<path d="M-6-2h4v-4h4v4h4v4h-4v4h-4v-4h-4Z"/>',
)


def frame(parts: Sequence[str], height: int | str, title: str = "") -> str:
    """Return a plot as text; without a title it is hidden from screen readers, because text beside it says the same."""
    said = f'role="img" aria-label="{escape(title)}"' if title else 'aria-hidden="true"'
    return f'<svg class="plot" width="100%" height="{height}" {said}>{"".join(parts)}</svg>'


def marker(number: int, *, hollow: bool = False) -> str:
    """Return the mark of a series, around (0, 0): its own shape, and the class of its colour."""
    return f'<g class="{colour(number)}{" hollow" if hollow else ""}">{_SHAPES[number % len(_SHAPES)]}</g>'


def colour(number: int) -> str:
    """Return the class of a series' colour."""
    return f"s{number % len(_SHAPES)}"


def legend_marker(number: int) -> str:
    """Return the mark of a series alone, for a legend."""
    return (
        f'<svg class="plot key" width="14" height="14" viewBox="-7 -7 14 14" aria-hidden="true">{marker(number)}</svg>'
    )


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


def log_ticks(low: float, high: float) -> list[float]:
    """Return numbers 1, 2, 5, 10, ... (1, 10, 100 over more than two decades) that enclose ``low`` to ``high``.

    Raises:
        ValueError: If ``low`` is not above 0.
    """
    if not low > 0:
        raise ValueError(f"a logarithmic axis needs values above 0, got {low}")
    factors = (1, 2, 5) if high / low <= 100 else (1,)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 2)
    steps = [factor * 10.0**power for power in powers for factor in factors]
    first = max(number for number, step in enumerate(steps) if step <= low * (1 + 1e-9))
    last = next(number for number, step in enumerate(steps) if step >= high * (1 - 1e-9) and number > first)
    return steps[first : last + 1]


def label(tick: float, ticks: Sequence[float]) -> str:
    """Write a tick with as many decimals as tell all of them apart."""
    return f"{tick:.{_decimals(ticks)}f}"


def signed_label(tick: float, ticks: Sequence[float]) -> str:
    """Write a tick with its sign, a real minus; 0 has none."""
    return f"{tick:+.{_decimals(ticks)}f}".replace("-", "−") if tick else "0"


def plain(value: float) -> str:
    """Write a number of any size: 0.05, 2, 150, 20k, 3M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= 10 * size or (letter == "M" and value >= size):
            return f"{value / size:.4g}{letter}"
    return f"{value:.4g}"


def _decimals(ticks: Sequence[float]) -> int:
    return next((count for count in range(6) if all(abs(round(t, count) - t) < 1e-9 for t in ticks)), 6)
