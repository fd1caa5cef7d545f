"""Which ways of answering are worth having: nobody else is at least as good and as fast, as far as can be told."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shortlist.evaluation.cost.noise import Judge, deviations
from shortlist.evaluation.cost.price import cost_per_million
from shortlist.evaluation.cost.records import Frontier, FrontierPoint, Latency, Price
from shortlist.evaluation.cost.turns import Timed
from shortlist.evaluation.cost.ways import Way
from shortlist.evaluation.paired import DoubleMatrix, bootstrap_intervals
from shortlist.evaluation.records import Estimate, PerQuery


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredWay:
    """A way with everything that was measured of it.

    Attributes:
        way: The way.
        values: query_id -> the quality.
        timed: Its calls.
        machine_s: Seconds of the machine per query.
        memory_bytes: Of the parts it needs; ``None`` where they were not measured.
    """

    way: Way
    values: PerQuery
    timed: Timed
    machine_s: float
    memory_bytes: int | None


def frontier(
    measured: Sequence[MeasuredWay],
    judge: Judge,
    price: Price,
    *,
    measure: str,
    timed: int,
    trials: int,
    seed: int,
) -> Frontier:
    """Put the points together, with who dominates whom.

    Args:
        measured: At least one way; all have values for the same queries, in the same order.
        judge: Turns calls into percentiles.
        price: Of the machine.
        measure: Name of the quality.
        timed: Number of queries that were timed.
        trials: Resamples of the intervals.
        seed: Of the resamples.
    """
    values = np.array([list(found.values.values()) for found in measured]).T
    latencies = [judge.latency(found.timed) for found in measured]
    p50 = [latency.p50 for latency in latencies]
    off = deviations([found.timed for found in measured])
    dominators = dominated_by(values, p50, off, trials=trials, seed=seed)
    means = values.mean(axis=0)
    best = max(range(len(measured)), key=lambda place: (means[place], -p50[place]))
    own = bootstrap_intervals(values, trials=trials, seed=seed)
    against = bootstrap_intervals(values - values[:, [best]], trials=trials, seed=seed)
    names = [found.way.name for found in measured]
    over = ["" if other is None else names[other] for other in dominators]
    as_good = [place for place, interval in enumerate(against) if interval.high >= 0]
    points = tuple(
        _point(
            found,
            latency=latencies[place],
            quality=Estimate(float(means[place]), own[place]),
            against_best=Estimate(float(means[place] - means[best]), against[place]),
            dominator=over[place],
            price=price,
        )
        for place, found in enumerate(measured)
    )
    return Frontier(
        measure=measure,
        queries=len(values),
        timed=timed,
        margin=max(off),
        best=names[best],
        cheapest_as_good=names[min(as_good, key=lambda place: p50[place])],
        points=points,
    )


def _point(
    found: MeasuredWay,
    *,
    latency: Latency,
    quality: Estimate,
    against_best: Estimate,
    dominator: str,
    price: Price,
) -> FrontierPoint:
    way = found.way
    return FrontierPoint(
        name=way.name,
        system=way.system.name,
        index="" if way.index is None else way.index.kind,
        own_index=way.index is not None and way.index.own,
        depth=way.depth,
        layers=way.layers,
        all_layers=way.all_layers,
        precision=way.precision,
        quality=quality,
        latency=latency,
        machine_s=found.machine_s,
        cost_per_million=cost_per_million(found.machine_s, price),
        memory_bytes=found.memory_bytes,
        optimal=not dominator,
        dominated_by=dominator,
        against_best=against_best,
    )


def dominated_by(
    values: DoubleMatrix, p50: Sequence[float], off: Sequence[float], *, trials: int, seed: int
) -> list[int | None]:
    """Return for every point one that dominates it, or ``None``.

    One point dominates another when it is at least as good and at least as fast as measured, and in one of the two
    better than noise explains: faster by more than both medians may be off, or better on these queries by an interval
    of the paired difference that lies above 0. Points that noise cannot tell apart do not dominate each other.

    Args:
        values: One row per query, one column per point, float64 [q, n].
        p50: Latency of each point.
        off: How far each of these may be off, relative (`noise.deviations`).
        trials: Resamples of the intervals.
        seed: Of the resamples.

    Returns:
        Of several that dominate, the best one, of equally good ones the fastest.
    """
    means = values.mean(axis=0)
    rivals = [
        (place, other)
        for place in range(len(p50))
        for other in range(len(p50))
        if other != place and means[other] >= means[place] and p50[other] <= p50[place]
    ]
    if not rivals:
        return [None] * len(p50)
    differences = np.stack([values[:, other] - values[:, place] for place, other in rivals], axis=1)
    gains = bootstrap_intervals(differences, trials=trials, seed=seed)
    found: list[int | None] = [None] * len(p50)
    for (place, other), gain in zip(rivals, gains, strict=True):
        if gain.low > 0 or p50[other] * (1 + off[place] + off[other]) < p50[place]:
            known = found[place]
            if known is None or (means[other], -p50[other]) > (means[known], -p50[known]):
                found[place] = other
    return found
