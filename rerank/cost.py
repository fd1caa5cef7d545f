"""What a micro-batch of pairs costs here: a fixed part and a part per token, fitted at opening, followed afterwards.

    milliseconds = pace * (batch_ms + token_ms * tokens)

Tokens are those the network computes on: pairs times the longest of them. The line is fitted to measured batches of
several sizes. What moves while serving is the pace, because other work on the machine slows all batches alike.
"""

import math
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from itertools import combinations

from rerank.reranker import Reranker
from rerank.stepping import steps_of

CALIBRATION_PAIRS = (1, 2, 4, 8)
"""Sizes of the batches measured: a short micro-batch to a long one."""

CALIBRATION_RUNS = 5
"""Times each is measured: the first allocates and others may be disturbed, so the median counts."""

CAUTION = 0.9
"""Share of the batches that should end within what is predicted. At the median every other last batch would be late."""

STEP = 0.04
"""How far one observation moves the logarithm of the pace: a twofold slow-down is followed within 20 batches, and a
single batch that the system stalled for a second moves it no further than one that was late by a hair."""

FIXED_SHARE = 0.1
"""What of a micro-batch's time its fixed part may be: the price of stopping often."""


class BatchCost:
    """Predicts the milliseconds of micro-batches; safe to share between threads.

    Attributes:
        batch_ms: Fixed part of a batch at pace 1.
        token_ms: Part per token at pace 1.
        lane: Held by whoever has the network compute, so that waiting for it can be given up in time.
    """

    def __init__(self, batch_ms: float, token_ms: float) -> None:
        """Take a fitted line.

        Raises:
            ValueError: A part is negative or not finite, or both are 0.
        """
        if not (0 <= batch_ms < math.inf and 0 <= token_ms < math.inf and batch_ms + token_ms > 0):
            raise ValueError(f"a cost has parts of 0 or more, not both 0, got batch_ms={batch_ms} token_ms={token_ms}")
        self.batch_ms = batch_ms
        self.token_ms = token_ms
        self.lane = threading.Lock()
        self._pace = 0.0  # its logarithm
        self._moving = threading.Lock()

    @property
    def pace(self) -> float:
        """How much longer batches take than when they were measured; 1 at first."""
        return math.exp(self._pace)

    @property
    def step_tokens(self) -> float:
        """Tokens of a micro-batch whose fixed part is `FIXED_SHARE` of it."""
        return self.batch_ms * (1 / FIXED_SHARE - 1) / self.token_ms if self.token_ms else math.inf

    def predict_ms(self, tokens: float, *, batches: int = 1) -> float:
        """Return the milliseconds within which `CAUTION` of such batches end."""
        return self.pace * (batches * self.batch_ms + tokens * self.token_ms)

    def affordable_tokens(self, left_ms: float) -> float:
        """Return how many tokens one batch may have to end within so many milliseconds; below 0 when none does."""
        spare_ms = left_ms / self.pace - self.batch_ms
        return spare_ms / self.token_ms if self.token_ms else math.copysign(math.inf, spare_ms)

    def observe(self, tokens: float, taken_ms: float) -> None:
        """Learn from a batch that was run.

        Source:
            Following a quantile by steps of one size, whatever the distance: Ma, Muthukrishnan, Sandler, "Frugal
            streaming for estimating quantiles", 2013, section 3; here on the logarithm, with steps in the proportion of
            the quantile, so that in balance `CAUTION` of the batches end in time.
        """
        with self._moving:
            late = taken_ms > self.predict_ms(tokens)
            self._pace += STEP * (CAUTION if late else CAUTION - 1) / CAUTION


def calibrate(
    reranker: Reranker, query: str, texts: Sequence[str], *, clock: Callable[[], float] = time.perf_counter
) -> BatchCost:
    """Measure batches of several sizes on a catalogue's own texts and fit their cost.

    Args:
        reranker: What is measured.
        query: Of usual length.
        texts: At least one; used again from the first when they are few.
        clock: Seconds.

    Raises:
        ValueError: There is no text.
    """
    if not texts:
        raise ValueError("calibrating needs at least one text, got none")
    steps = steps_of(reranker)
    points = []
    for size in CALIBRATION_PAIRS:
        batch = steps.prepare(query, [texts[place % len(texts)] for place in range(size)])
        taken_ms = []
        for _ in range(CALIBRATION_RUNS):
            start = clock()
            steps.score(batch)
            taken_ms.append((clock() - start) * 1000)
        points.append((steps.tokens(batch), statistics.median(taken_ms)))
    return BatchCost(*fit_line(points))


def fit_line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Fit (tokens, milliseconds) by a line with no negative part: its height at 0 tokens and its slope.

    Source:
        Theil and Sen: the median of the slopes between all pairs of points, then the median of the heights; a point in
        four may be anywhere (Sen, "Estimates of the regression coefficient based on Kendall's tau", JASA 1968).
    """
    slopes = [(b - a) / (y - x) for (x, a), (y, b) in combinations(points, 2) if x != y]
    slope = max(0.0, statistics.median(slopes)) if slopes else 0.0
    height = max(0.0, statistics.median(taken - slope * tokens for tokens, taken in points))
    if height + slope == 0:  # a clock too coarse to see it
        height = 1e-6
    return height, slope
