"""Directions of a plot: where a value lies between two ends, on a linear scale, a logarithmic one, or one of misses."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shortlist.evaluation.page.svg import label, log_ticks, nice_ticks, plain

_RECALL_TICKS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.99, 0.999, 1.0)
# Half of the smallest miss that can be told from none in 1,000 places; it gives recall 1 a place on the scale.
_NO_MISS = 5e-4


@dataclass(frozen=True, slots=True)
class Axis:
    """One direction of a plot.

    Attributes:
        title: What it shows, with the unit.
        ticks: Rising; the first and the last are its ends.
        text: Writes a tick.
        scale: What is even along the axis.
        above: Values must lie above this to have a place.
    """

    title: str
    ticks: Sequence[float]
    text: Callable[[float], str]
    scale: Callable[[float], float] = float
    above: float = -math.inf

    def holds(self, value: float) -> bool:
        """Tell whether a value has a place."""
        return value > self.above

    def share(self, value: float) -> float:
        """Return where a value lies between the ends: 0 to 1."""
        first, last = self.scale(self.ticks[0]), self.scale(self.ticks[-1])
        return (self.scale(value) - first) / (last - first)


def linear_axis(title: str, values: Sequence[float]) -> Axis:
    """Return an axis with round ticks around the values."""
    ticks = nice_ticks(min(values), max(values))
    return Axis(title, ticks, lambda tick: label(tick, ticks))


def log_axis(title: str, values: Sequence[float]) -> Axis:
    """Return an axis of powers around the values above 0; others have no place on it."""
    shown = [value for value in values if value > 0] or [1.0]
    return Axis(title, log_ticks(min(shown), max(shown)), plain, scale=math.log, above=0.0)


def recall_axis(title: str, values: Sequence[float]) -> Axis:
    """Return an axis on which halving what is missed is the same step everywhere; it ends at 1, with nothing missed.

    From .90 to .95 is as much better as from .98 to .99, and what matters of an index lies above .9.
    """
    start = max(tick for tick in _RECALL_TICKS if tick <= min(*values, 0.9))
    # From far below, .95 has no room beside .9 on a phone.
    ticks = [tick for tick in _RECALL_TICKS if tick >= start and (tick != 0.95 or start >= 0.8)]
    return Axis(title, ticks, lambda tick: f"{tick:g}", scale=lambda recall: -math.log(1 - recall + _NO_MISS))
