"""The machine's noise: what the control task tells about each point, and how near two latencies may be to be equal."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from shortlist.evaluation.cost.records import Latency, Noise, Percentiles
from shortlist.evaluation.cost.turns import Call, Timed

SIDE = 256
"""Of the control task's matrices: .1 ms on two cores, and enough to be split among the threads: a neighbour on any core
shows, as it does in the models' own products."""

QUIET_PERCENTILE = 10
"""Of all control times: what the work takes undisturbed. The least of them would be luck."""

TAIL = 2.0
"""A point whose control task took this many times the quiet time at p95 has no p95 or p99 of its own."""


def control_task() -> Call:
    """Return the control task: the same product of two matrices by torch, with the threads that the models use."""
    import torch

    matrix = torch.full((SIDE, SIDE), 1 / SIDE)
    product = torch.empty_like(matrix)

    def run() -> None:
        torch.mm(matrix, matrix, out=product)

    return run


@dataclass(frozen=True, slots=True)
class Judge:
    """Says how disturbed a point was.

    Attributes:
        quiet_ms: What the control task takes undisturbed.
        tolerance: How much slower its median may be beside a point that is not noisy.
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
        noisy = control.p50 > self.quiet_ms * (1 + self.tolerance) or control.p95 > self.quiet_ms * TAIL
        return Latency(
            calls=len(timed.taken_ms), p50=taken.p50, p95=taken.p95, p99=taken.p99, control=control, noisy=noisy
        )

    def rule(self) -> str:
        """Say in words when a point is noisy."""
        return (
            f"a point is noisy when the control task beside it took more than {1 + self.tolerance:g} times the quiet "
            f"{self.quiet_ms:.3f} ms at p50, or more than {TAIL:g} times at p95"
        )

    def noise(self, measured: Mapping[str, Timed]) -> Noise:
        """Sum up all points."""
        everything = [value for timed in measured.values() for value in timed.control_ms]
        control = percentiles(everything)
        return Noise(
            task=f"the product of two {SIDE} x {SIDE} matrices in float32, with the threads that the models use",
            rule=self.rule(),
            calls=len(everything),
            quiet=self.quiet_ms,
            control=control,
            spread=control.p95 / control.p50 - 1,
            margin=max(deviations(list(measured.values()))),
            noisy=sum(self.latency(timed).noisy for timed in measured.values()),
            points=len(measured),
        )


def percentiles(values: Sequence[float]) -> Percentiles:
    """Return p50, p95 and p99, interpolated between neighbours as numpy does."""
    p50, p95, p99 = (float(value) for value in np.percentile(values, [50, 95, 99]))
    return Percentiles(p50, p95, p99)


def deviations(measured: Sequence[Timed]) -> list[float]:
    """Return how far each point's control median lies from the middle of all, relative, 0 or more.

    Beside every point the same control task ran. However its medians differ, the work does not: what is left after
    taking turns is how far the points' own medians may be off, too.
    """
    medians = np.array([np.median(timed.control_ms) for timed in measured])
    return [float(value) for value in np.abs(medians / np.median(medians) - 1)]
