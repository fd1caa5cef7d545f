"""Recall against speed: every kind of index over its search parameter, on the bundle's own vectors and queries."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from indexing.config import (
    FlatConfig,
    HnswConfig,
    HnswSq8Config,
    IndexConfig,
    IvfPqConfig,
    IvfRabitqConfig,
    IvfSq8Config,
)
from indexing.errors import ConfigError
from indexing.exact import ExactIndex
from indexing.faiss_index import FaissIndex, build_index
from indexing.recall import recall_at
from indexing.types import BoolVector, FloatMatrix, IntVector, Neighbors, VectorIndex, Vectors
from shortlist.cost import CostSweepConfig, IndexKind
from shortlist.evaluation.cost.noise import Judge
from shortlist.evaluation.cost.records import IndexCurve, IndexPoint, Skipped
from shortlist.evaluation.cost.turns import Task, Timed

DEFAULTS: Mapping[IndexKind, type[IndexConfig]] = {
    IndexKind.flat: FlatConfig,
    IndexKind.hnsw: HnswConfig,
    IndexKind.hnsw_sq8: HnswSq8Config,
    IndexKind.ivf_sq8: IvfSq8Config,
    IndexKind.ivf_pq: IvfPqConfig,
    IndexKind.ivf_rabitq: IvfRabitqConfig,
}


@dataclass(frozen=True, slots=True)
class MeasuredIndex:
    """An index that is measured.

    Attributes:
        index: The index, at its own parameters.
        own: It is the bundle's.
        build_s: Seconds that its build took.
    """

    index: FaissIndex
    own: bool
    build_s: float

    @property
    def kind(self) -> str:
        """Its kind."""
        return self.index.record.plan.kind


def every_index(
    config: CostSweepConfig,
    own: MeasuredIndex,
    vectors: Vectors,
    *,
    tie_rank: IntVector,
    threads: int,
    advance: Callable[[int], None],
) -> tuple[list[MeasuredIndex], list[Skipped]]:
    """Return the bundle's own index and one of every other kind asked for, built from the same vectors.

    Args:
        config: Names the kinds.
        own: The bundle's.
        vectors: What it holds.
        tie_rank: Orders equal scores, int64 [n].
        threads: For FAISS; 0 for what it has.
        advance: Told of every index that is done with.

    Returns:
        The indexes, the bundle's own first, and the kinds that cannot be built over such vectors.
    """
    found, skipped = [own], []
    for kind in config.kinds:
        if kind.name != own.kind:
            start = time.perf_counter()
            try:
                index = build_index(DEFAULTS[kind](), vectors, tie_rank=tie_rank, threads=threads)
            except ConfigError as error:
                skipped.append(Skipped(f"index {kind.name}", str(error)))
            else:
                found.append(MeasuredIndex(index, own=False, build_s=time.perf_counter() - start))
        advance(1)
    return found, skipped


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One index at one value of its parameter, ready to be timed.

    Attributes:
        measured: The index as it is.
        value: Of its parameter; 0 for a kind without one.
        chosen: It is the index's own value.
        recall: Mean recall.
        single: Asks one query after the other.
        batch: Asks all at once.
    """

    measured: MeasuredIndex
    value: int
    chosen: bool
    recall: float
    single: Task
    batch: Task


def curve_points(
    config: CostSweepConfig,
    indexes: Sequence[MeasuredIndex],
    vectors: Vectors,
    queries: FloatMatrix,
    tie_rank: IntVector,
) -> list[CurvePoint]:
    """Return the points of all curves with their recall, which is measured here, once, against exact search.

    Args:
        config: Values of the parameters, and the cut-off.
        indexes: What is searched.
        vectors: What they hold.
        queries: float32 [q, d].
        tie_rank: Orders equal scores, int64 [n].
    """
    k = min(config.index_k, vectors.count)
    exact = ExactIndex(vectors, tie_rank=tie_rank).search(queries, k)
    points = []
    for measured in indexes:
        name = measured.index.record.plan.effort
        chosen = int(measured.index.record.plan.parameters.get(name, 0))
        for value in _values(config, measured, chosen, k):
            index = measured.index.tuned(**{name: value}) if name else measured.index
            recall = recall_at(k, index.search(queries, k), exact)
            label = f"{measured.kind} {value}"
            points.append(
                CurvePoint(
                    measured,
                    value=value,
                    chosen=value == chosen,
                    recall=recall,
                    single=Task(label, one_by_one(index, queries, k)),
                    batch=Task(f"{label} batch", [partial(index.search, queries, k)]),
                )
            )
    return points


def _values(config: CostSweepConfig, measured: MeasuredIndex, chosen: int, k: int) -> list[int]:
    """Return the values to be measured, rising, the index's own among them."""
    match measured.index.record.plan.effort:
        case "ef_search":
            return sorted({chosen, *(max(value, k) for value in config.ef_search)})
        case "probes":
            lists = int(measured.index.record.plan.parameters["lists"])
            return sorted({chosen, *(max(1, round(share * lists)) for share in config.probe_shares)})
    return [0]


def one_by_one(
    index: VectorIndex, queries: FloatMatrix, k: int, *, eligible: BoolVector | None = None
) -> list[Callable[[], Neighbors]]:
    """Return a call for every query, float32 [q, d]."""
    return [partial(index.search, query[np.newaxis], k, eligible=eligible) for query in queries]


def curves(points: Sequence[CurvePoint], timed: Mapping[str, Timed], judge: Judge, *, k: int) -> tuple[IndexCurve, ...]:
    """Put what was measured together, one curve per index."""
    by_index: dict[str, list[CurvePoint]] = {}
    for point in points:
        by_index.setdefault(point.measured.kind, []).append(point)
    return tuple(_curve(of, timed, judge, k) for of in by_index.values())


def _curve(points: Sequence[CurvePoint], timed: Mapping[str, Timed], judge: Judge, k: int) -> IndexCurve:
    measured = points[0].measured
    record, size_bytes, queries = measured.index.record, measured.index.size_bytes, len(points[0].single.calls)
    parameter = record.plan.effort
    return IndexCurve(
        kind=measured.kind,
        own=measured.own,
        parameter=parameter,
        fixed={name: float(value) for name, value in record.plan.parameters.items() if name != parameter},
        k=min(k, record.count),
        queries=queries,
        count=record.count,
        build_s=measured.build_s,
        size_bytes=size_bytes,
        bytes_per_vector=size_bytes / record.count,
        mapped_bytes_per_vector=record.dim * np.dtype(np.float32).itemsize,
        points=tuple(
            IndexPoint(
                value=point.value,
                chosen=point.chosen,
                recall=point.recall,
                latency=judge.latency(timed[point.single.name]),
                queries_per_s=queries / (float(np.median(timed[point.batch.name].taken_ms)) / 1000),
            )
            for point in points
        ),
    )
