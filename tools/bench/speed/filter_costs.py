"""Measure the constants of `indexing.filter_plan` on this machine; in processor time, so other work disturbs little.

    python -m tools.bench.speed.filter_costs

Each constant is the slope of a time over a count (rows gathered, vectors selected, places in a beam) at two dimensions,
so fixed costs fall out; a line through the dimensions gives what is printed: nanoseconds, fixed and per dimension.
"""

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from indexing import ArrayVectors, build_index
from indexing.config import (
    FlatConfig,
    HnswConfig,
    HnswSq8Config,
    IndexConfig,
    IvfPqConfig,
    IvfRabitqConfig,
    IvfSq8Config,
)
from indexing.faiss_index import FaissIndex
from indexing.scores import score_rows
from indexing.threads import set_budget
from indexing.types import FloatMatrix
from tools.bench.speed.jobs._inputs import clustered_vectors

COUNT, DIMS, REPEATS = 20_000, (128, 384), 15
KINDS: dict[str, IndexConfig] = {
    "flat": FlatConfig(),
    "hnsw": HnswConfig(links=32),
    "hnsw_sq8": HnswSq8Config(),
    "ivf_sq8": IvfSq8Config(),
    "ivf_pq": IvfPqConfig(),
    "ivf_rabitq": IvfRabitqConfig(),
}


def main() -> int:
    """Measure everything and print it."""
    set_budget(1)
    lines: dict[str, list[float]] = {}
    for dim in DIMS:
        vectors = clustered_vectors(COUNT + REPEATS, dim, seed=7)
        stored, queries = ArrayVectors(vectors[:COUNT]), vectors[COUNT:]
        lines.setdefault("gather", []).append(_gather_ns(stored))
        lines.setdefault("dot", []).append(_dot_ns(stored, queries))
        for kind, config in KINDS.items():
            index = build_index(config, stored, threads=2)
            set_budget(1)
            member, selected = _selected_ns(index, queries)
            lines.setdefault(f"{kind} member", []).append(member)
            lines.setdefault(f"{kind} selected", []).append(selected)
            if index.record.plan.effort == "ef_search":
                lines.setdefault(f"{kind} step", []).append(_step_ns(index, queries))
            print(f"{dim} {kind}", file=sys.stderr, flush=True)
    for name, (low, high) in lines.items():
        slope = (high - low) / (DIMS[1] - DIMS[0])
        print(f"{name:20} fixed {low - slope * DIMS[0]:8.1f}  per dim {slope:7.3f}  at {DIMS[1]}: {high:8.1f} ns")
    return 0


def _median_ns(calls: Sequence[Callable[[], object]]) -> float:
    taken = []
    for call in calls:
        start = time.thread_time_ns()
        call()
        taken.append(time.thread_time_ns() - start)
    return statistics.median(taken)


def _gather_ns(stored: ArrayVectors) -> float:
    generator = np.random.default_rng(1)

    def calls(size: int) -> list[Callable[[], object]]:
        return [partial(stored.take, generator.integers(0, COUNT, size)) for _ in range(REPEATS)]

    return _slope(calls, 500, 4_000)


def _dot_ns(stored: ArrayVectors, queries: FloatMatrix) -> float:
    return _slope(
        lambda size: [lambda query=query: score_rows(query, stored.matrix[:size]) for query in queries], 500, 4_000
    )


def _selected_ns(index: FaissIndex, queries: FloatMatrix) -> tuple[float, float]:
    """Return nanoseconds of asking the selector about a vector, and of comparing one that is selected."""
    generator, proposer = np.random.default_rng(2), index._proposer

    def calls(size: int) -> list[Callable[[], object]]:
        selected = np.zeros(COUNT, dtype=np.bool_)
        selected[generator.choice(COUNT, size, replace=False)] = True
        return [lambda query=query: proposer.ask_among(selected, query[np.newaxis], 24) for query in queries]

    each = _slope(calls, 600, 12_000)
    return max(0.0, (_median_ns(calls(600)) - 600 * each) / COUNT), each


def _step_ns(index: FaissIndex, queries: FloatMatrix) -> float:
    def calls(ef: int) -> list[Callable[[], object]]:
        proposer = index.tuned(ef_search=ef)._proposer
        return [lambda query=query: proposer.ask(query[np.newaxis], 100) for query in queries]

    return _slope(calls, 100, 800)


def _slope(calls: Callable[[int], list[Callable[[], object]]], few: int, many: int) -> float:
    for size in (few, many):
        _median_ns(calls(size))
    low = statistics.median(_median_ns(calls(few)) for _ in range(3))
    high = statistics.median(_median_ns(calls(many)) for _ in range(3))
    return (high - low) / (many - few)


if __name__ == "__main__":
    sys.exit(main())
