"""The operating point of an index: the cheapest search parameters that find what exact search finds.

The parameter that trades recall for speed (`Plan.effort`) and, where codes are refined, how many are, are swept
against the exact answer to the same queries. Every point is kept: the curve says what more recall would cost. What a
point costs is expected from `indexing.filter_plan` and not taken from the clock, so that the same build makes the same
choice; the clock's word stands beside it.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from indexing.faiss_index import FaissIndex
from indexing.faiss_kinds import Plan
from indexing.filter_plan import scan_us, unfiltered_us
from indexing.recall import recall_at
from indexing.types import FloatMatrix, Neighbors

_BEAMS = (1.0, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 6.0, 8.0)
"""Beam widths in units of k; FAISS 1.15 takes no beam below the number of rows it returns."""

_PROBE_STEPS = 24  # values from one list to all of them, evenly spaced by ratio
_REFINES = (1.0, 1.5, 2.0, 4.0, 8.0)
_ENOUGH = 0.5  # the sweep goes on until it has halved what the target leaves to be missed, so that the curve has a top


@dataclass(frozen=True, slots=True)
class Point:
    """Search parameters, what they find and what they take.

    Attributes:
        parameters: As for `FaissIndex.tuned`.
        recall: Mean recall at k against exact search, counted by score.
        scans: Queries that found fewer than k rows and were completed by an exact scan.
        cost_us: Expected microseconds of one query, its share of the scans included.
        latency_us: Median microseconds that one query by itself took.
    """

    parameters: Mapping[str, int | float]
    recall: float
    scans: int
    cost_us: float
    latency_us: float


@dataclass(frozen=True, slots=True)
class Tuning:
    """A curve and the point that was chosen on it.

    Attributes:
        k: Cut-off of recall.
        target: Recall asked for.
        queries: How many it is the mean of.
        points: In the order they were measured: rising effort for each refinement.
        chosen: The cheapest point that reaches the target; ``None`` when none does.
    """

    k: int
    target: float
    queries: int
    points: tuple[Point, ...]
    chosen: Point | None

    def values(self, *, timed: bool = True) -> dict[str, Any]:
        """Return JSON values; without what the clock said, they are the same for the same index and queries."""
        values = asdict(self)
        if not timed:
            for point in (*values["points"], *filter(None, [values["chosen"]])):
                del point["latency_us"]
        return values


def tune(
    index: FaissIndex,
    queries: FloatMatrix,
    exact: Neighbors,
    *,
    k: int,
    target: float,
    advance: Callable[[int], None] = lambda _: None,
) -> Tuning:
    """Sweep the search parameters of an index.

    Args:
        index: Built; its own parameters are one of the points.
        queries: float32 [q, d], q >= 1.
        exact: What exact search finds for them, [q, >=k].
        k: Cut-off of recall, at most the number of rows.
        target: Recall that the chosen point reaches.
        advance: Told of every point.
    """
    points: list[Point] = []
    for row in grid(index.record.plan, k=k, count=index.record.distinct):
        for parameters in row:
            points.append(_measured(index.tuned(**parameters), parameters, queries, exact, k))
            advance(1)
            if points[-1].recall >= 1 - (1 - target) * _ENOUGH and not points[-1].scans:
                break
    return Tuning(k=k, target=target, queries=len(queries), points=tuple(points), chosen=cheapest(points, target))


def cheapest(points: Sequence[Point], target: float) -> Point | None:
    """Return the point of least expected cost that reaches the target, of equals the first; ``None`` if none does."""
    reaching = [point for point in points if point.recall >= target]
    return min(reaching, key=lambda point: point.cost_us, default=None)


def grid(plan: Plan, *, k: int, count: int) -> list[list[dict[str, int | float]]]:
    """Return the points to be measured, a row of rising effort for each refinement; the plan's own among them.

    Args:
        plan: The index as it is.
        k: Cut-off of recall.
        count: Distinct vectors in it.
    """
    if not plan.effort:
        return [[{}]]
    own = plan.parameters[plan.effort]
    if plan.effort == "ef_search":
        efforts = sorted({min(round(k * beam), max(count, k)) for beam in _BEAMS} | {int(own)})
    else:
        lists = int(plan.parameters["lists"])
        efforts = sorted(
            {max(1, round(lists ** (step / _PROBE_STEPS))) for step in range(_PROBE_STEPS + 1)} | {int(own)}
        )
    if "refine_factor" not in plan.parameters:
        return [[{plan.effort: effort} for effort in efforts]]
    refines = sorted({*_REFINES, float(plan.refine_factor)})
    return [[{plan.effort: effort, "refine_factor": refine} for effort in efforts] for refine in refines]


def _measured(
    index: FaissIndex, parameters: Mapping[str, int | float], queries: FloatMatrix, exact: Neighbors, k: int
) -> Point:
    """Ask one query after the other, as a shop does, and take the median."""
    scores, rows = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
    taken, scans = [], 0
    for place in range(len(queries)):
        start = time.perf_counter()
        found, scanned = index.search_counting_scans(queries[place : place + 1], k)
        taken.append(time.perf_counter() - start)
        scans += scanned
        scores[place], rows[place] = found.scores[0], found.rows[0]
    record = index.record
    searched = index.proposer.holding(k, count=record.distinct).plan
    cost_us = unfiltered_us(searched, count=record.distinct, dim=record.dim, k=k)
    cost_us += scans / len(queries) * scan_us(rows=record.count, dim=record.dim)
    recall = recall_at(k, Neighbors(scores, rows), exact)
    return Point(parameters, recall, scans, round(cost_us, 1), round(float(np.median(taken)) * 1e6, 1))
