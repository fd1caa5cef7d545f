"""What the plots of cost share: their form, and how milliseconds and bytes are written."""

from collections.abc import Sequence
from dataclasses import dataclass

from shortlist.evaluation.cost.records import Latency
from shortlist.evaluation.page.svg import legend_marker
from shortlist.evaluation.page.tables import NumberTable

_SPACE = "\u00a0"  # a line does not break between a number and its unit


@dataclass(frozen=True, kw_only=True, slots=True)
class CostPlot:
    """A plot with what is needed to read it.

    Attributes:
        title: Its heading.
        notes: Sentences above it.
        legend: Mark and name of every series.
        plot: The plot itself.
        pinned: What the numbers in the plot stand for, from 1.
        tables: Everything behind it.
    """

    title: str
    notes: tuple[str, ...]
    legend: tuple[tuple[str, str], ...]
    plot: str
    pinned: tuple[str, ...]
    tables: tuple[NumberTable, ...]


def legend_of(names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return mark and name of every series, in the order they are drawn."""
    return tuple((legend_marker(number), name) for number, name in enumerate(names))


def ms(value: float) -> str:
    """Write milliseconds with as many decimals as they deserve."""
    written = f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"
    return f"{written}{_SPACE}ms"


def p50(latency: Latency) -> str:
    """Write the median, and whether the machine was disturbed meanwhile."""
    return f"{ms(latency.p50)} (noisy)" if latency.noisy else ms(latency.p50)


def bytes_text(count: int) -> str:
    """Write a number of bytes in the unit that fits."""
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if abs(count) >= size:
            return f"{count / size:,.1f}{_SPACE}{unit}".replace("-", "−")
    return f"{count}{_SPACE}B"
