"""The machine's noise: what the control task tells about each point, and how near two latencies may be to be equal."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from indexing.types import FloatVector
from shortlist.evaluation.cost.records import Latency, Noise, Percentiles
from shortlist.evaluation.cost.turns import Call, Timed

ROWS, DIM, TIMES = 1024, 64, 32
"""Of the control task: 256 KiB, which stay in a core's own cache, for a quarter of a millisecond. On one thread,
because threads that share work wait for each other by spinning, and would be in the way of the calls."""

QUIET_PERCENTILE = 10
"""Of all control times: what the work takes undisturbed. The least of them would be luck."""

TAIL = 2.0
"""A point whose control task took this many times the quiet time at p95 has no p95 or p99 of its own."""


def control_task() -> Call:
    """Return the control task: always the same inner products, of which searches are made too."""
    matrix = np.full((ROWS, DIM), 1 / DIM, dtype=np.float32)
    vector, products = np.ones(DIM, dtype=np.float32), np.empty(ROWS, dtype=np.float32)

    def run() -> FloatVector:
        for _ in range(TIMES):
            np.vecdot(matrix, vector, out=products)
        return products

    return run


@dataclass(frozen=True, slots=True)
class Judge:
    """Says how disturbed a point was.

    Attributes:
        quiet_ms: What the control task takes undisturbed.
        tolerance: How much slower it may be on average beside a point that is not noisy.
    """

    quiet_ms: float
    tolerance: float

    @classmethod
    def of(cls, measured: Iterable[Timed], *, tolerance: float) -> Self:
        """Learn what is quiet from everything that was measured; at least one call."""
        everything = [value for timed in measured for value in timed.control_ms]
        return cls(quiet_ms=float(np.percentile(everything, QUIET_PERCENTILE)), tolerance=tolerance)

    def latency(self, timed: Timed) -> Latency:
        """Return the percentiles of one point beside those of its control task."""
        taken, control = percentiles(timed.taken_ms), percentiles(timed.control_ms)
        slowdown = float(np.mean(timed.control_ms)) / self.quiet_ms - 1
        return Latency(
            calls=len(timed.taken_ms),
            p50=taken.p50,
            p95=taken.p95,
            p99=taken.p99,
            control=control,
            slowdown=slowdown,
            noisy=slowdown > self.tolerance or control.p95 > self.quiet_ms * TAIL,
        )

    def rule(self) -> str:
        """Say in words when a point is noisy."""
        return (
            f"a point is noisy when the control task between its calls took more than {1 + self.tolerance:g} times the "
            f"quiet {self.quiet_ms:.3f} ms on average, or more than {TAIL:g} times at p95"
        )

    def noise(self, measured: Mapping[str, Timed], *, others: float | None) -> Noise:
        """Sum up all points; ``others`` are the cores that other processes kept busy."""
        everything = [value for timed in measured.values() for value in timed.control_ms]
        control = percentiles(everything)
        return Noise(
            task=f"{TIMES} times the inner products of {ROWS:,} vectors with one, {DIM} numbers each, on one thread",
            rule=self.rule(),
            calls=len(everything),
            quiet=self.quiet_ms,
            control=control,
            spread=control.p95 / control.p50 - 1,
            slowdown=float(np.mean(everything)) / self.quiet_ms - 1,
            others=others,
            margin=max(deviations(list(measured.values()))),
            noisy=sum(self.latency(timed).noisy for timed in measured.values()),
            points=len(measured),
        )


def percentiles(values: Sequence[float]) -> Percentiles:
    """Return p50, p95 and p99, interpolated between neighbours as numpy does."""
    p50, p95, p99 = (float(value) for value in np.percentile(values, [50, 95, 99]))
    return Percentiles(p50, p95, p99)


def deviations(measured: Sequence[Timed]) -> list[float]:
    """Return how far the control task between each point's calls was off the middle of all, relative, 0 or more.

    It is the same work everywhere. However its means differ, the work does not: what is left after taking turns is how
    far the points' own times may be off, too.
    """
    means = np.array([np.mean(timed.control_ms) for timed in measured])
    return [float(value) for value in np.abs(means / np.median(means) - 1)]
