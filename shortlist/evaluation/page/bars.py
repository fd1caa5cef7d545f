"""Plots of one line each, for cells of a table, and the bars of all queries.

The rows of such a table share one axis; names and numbers stand in the cells beside, where they wrap and are read
aloud.
"""

from collections.abc import Sequence

from shortlist.evaluation.page.svg import frame, label, nice_ticks, signed_label

_AXIS = 18
_BARS_HEIGHT = 236
# More bars than pixels of a phone's width cannot be told apart, and each costs 60 bytes.
MOST_BARS = 600
# Below this share of the width a digit does not fit into a part, on a phone.
_SMALLEST_LABELLED = 0.07


def interval_row(value: float, low: float, high: float, ticks: Sequence[float], *, emphasised: bool = False) -> str:
    """Draw a value between two ends; the axis need not start at 0, since places are compared, not lengths."""
    parts = [
        f'<line class="whisker" x1="{_place(low, ticks)}" x2="{_place(high, ticks)}"/>',
        f'<circle class="dot" cx="{_place(value, ticks)}" r="5.5"/>',
    ]
    return _row(parts, ticks, kind="emphasised" if emphasised else "")


def difference_row(value: float, low: float, high: float, ticks: Sequence[float], *, solid: bool) -> str:
    """Draw a difference as a bar from 0, with its interval; a bar that is not solid is an outline."""
    left, right = sorted((_at(value, ticks), _at(0.0, ticks)))
    kind = ("gain" if value > 0 else "loss") + ("" if solid else " faint")
    parts = [
        f'<rect class="{kind}" x="{left:.2f}%" width="{right - left:.2f}%" y="-6" height="12"/>',
        f'<line class="reach" x1="{_place(low, ticks)}" x2="{_place(high, ticks)}"/>',
        *(
            f'<line class="reach" x1="{_place(end, ticks)}" x2="{_place(end, ticks)}" y1="-4" y2="4"/>'
            for end in (low, high)
        ),
    ]
    return _row(parts, ticks)


def axis_row(ticks: Sequence[float], *, signs: bool = False) -> str:
    """Draw the labels of the axis that the rows above share; of many or of signed ticks only some."""
    write = signed_label if signs else label
    step = 2 if len(ticks) > 5 else 1
    # With signs 0 is what a reader looks for, and the ends where they are not too near to it.
    shown = [t for t in (ticks[0], 0.0, ticks[-1]) if t == 0 or abs(t) > (ticks[-1] - ticks[0]) / 5]
    parts = [
        f'<text class="tick" x="{_place(tick, ticks)}" y="13" text-anchor="middle">{write(tick, ticks)}</text>'
        for tick in (dict.fromkeys(shown) if signs else ticks[::step])
    ]
    return frame(parts, _AXIS)


def shares_row(shares: Sequence[tuple[str, str, float]]) -> str:
    """Draw shares that add up to 1, side by side over the whole width.

    Args:
        shares: Text inside, class of the colour, share in [0, 1].
    """
    parts, left = [], 0.0
    for text, kind, share in shares:
        if share > 0:
            parts.append(f'<rect class="{kind}" x="{100 * left:.2f}%" width="{100 * share:.2f}%" y="-10" height="20"/>')
        if share >= _SMALLEST_LABELLED:
            middle = 100 * (left + share / 2)
            parts.append(f'<text class="on {kind}" x="{middle:.2f}%" y="4.5" text-anchor="middle">{text}</text>')
        left += share
    return _row(parts)


def amounts_row(amounts: Sequence[tuple[str, float]]) -> str:
    """Draw amounts end to end from the left.

    Args:
        amounts: Class of the colour, share of the width in [0, 1].
    """
    parts, left = [], 0.0
    for kind, share in amounts:
        parts.append(f'<rect class="{kind}" x="{100 * left:.2f}%" width="{100 * share:.2f}%" y="-6" height="12"/>')
        left += share
    return _row(parts)


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

    parts = [
        f'<line class="{"zero" if tick == 0 else "grid"}" x1="0" x2="100%" y1="{place(tick):.1f}" '
        f'y2="{place(tick):.1f}"/>'
        for tick in ticks
    ]
    step = 100 / max(1, len(ordered))
    # Gaps between few bars read better; between many they only flicker.
    is_many = len(ordered) > 150
    width, crisp = (step, " crisp") if is_many else (step * 0.8, "")
    for number, gain in enumerate(ordered):
        top, bottom = sorted((place(gain), place(0.0)))
        if bottom - top >= 0.05:
            kind = "gain" if gain > 0 else "loss"
            parts.append(
                f'<rect class="{kind}{crisp}" x="{number * step:.3f}%" width="{width:.3f}%" y="{top:.1f}" '
                f'height="{bottom - top:.1f}"/>'
            )
    parts += [
        f'<text class="tick" x="{"100%" if tick > 0 else "0"}" y="{place(tick) - 4:.1f}" '
        f'text-anchor="{"end" if tick > 0 else "start"}">{signed_label(tick, ticks)}</text>'
        for tick in ticks[:-1]
        if tick != 0
    ]
    return frame(parts, _BARS_HEIGHT, title)


def _row(parts: Sequence[str], ticks: Sequence[float] = (), *, kind: str = "") -> str:
    """Fill a cell of any height, the parts around its middle; lines of the grid meet those of the rows beside."""
    signed = len(ticks) > 0 and ticks[0] < 0 < ticks[-1]
    grid = (
        f'<line class="{"zero" if signed and tick == 0 else "grid"}" x1="{_place(tick, ticks)}" '
        f'x2="{_place(tick, ticks)}" y1="0" y2="100%"/>'
        for tick in ticks
    )
    middle = f'<svg y="50%" overflow="visible" class="{kind}">{"".join(parts)}</svg>'
    return frame([*grid, middle], "100%")


def _at(value: float, ticks: Sequence[float]) -> float:
    return 2 + 96 * (value - ticks[0]) / (ticks[-1] - ticks[0])


def _place(value: float, ticks: Sequence[float]) -> str:
    return f"{_at(value, ticks):.2f}%"


def _thinned(ordered: list[float]) -> list[float]:
    if len(ordered) <= MOST_BARS:
        return ordered
    return [ordered[round(number * (len(ordered) - 1) / (MOST_BARS - 1))] for number in range(MOST_BARS)]
