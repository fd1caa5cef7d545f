"""Search under filters, from all products to one in ten thousand, drawn at random and as a cluster of the vectors.

Every answer is held against exact search over the eligible rows: forbidden rows, missing rows, recall@10.
"""

from collections.abc import Callable

import numpy as np

from indexing import ArrayVectors, ExactIndex, recall_at
from indexing.config import HnswSq8Config, IndexConfig, IvfSq8Config
from indexing.faiss_index import FaissIndex
from indexing.types import BoolVector, FloatMatrix, Neighbors
from tools.bench.speed.jobs._built import tuned_index
from tools.bench.speed.jobs._embeddings import Embedded, catalogue
from tools.bench.speed.records import Compared, Measurement, Options, Plot, Quality, Row
from tools.bench.speed.stopwatch import Stopwatch

NAME = "filtered"
K, TARGET, RECALL = 10, 0.99, 0.98
SHARES = (1.0, 0.5, 0.2, 0.1, 0.05, 0.01, 0.001, 0.0001)
KINDS: dict[str, IndexConfig] = {"hnsw_sq8": HnswSq8Config(), "ivf_sq8": IvfSq8Config()}


def measure(options: Options) -> Measurement:
    """Build, tune for unfiltered search, then search under every filter."""
    count = options.number("filtered.count", 200_000, quick=3_000)
    asked = options.number("filtered.queries", 100, quick=10)
    embedded = catalogue(options, count, tuning=200, scoring=asked)
    stored, generator = ArrayVectors(embedded.vectors), np.random.default_rng(options.seed)
    exact = ExactIndex(stored)
    watch, rows, series = Stopwatch.of(options), list[Row](), dict[str, list[tuple[float, float]]]()
    for kind, config in KINDS.items():
        index, _ = tuned_index(options, kind, config, stored, embedded.tuning, target=TARGET)
        for name, draw in (("random", _random), ("correlated", _correlated)):
            for share in SHARES:
                eligible = draw(embedded, max(1, round(share * count)), generator)
                row, median = _row(watch, kind, name, share, index, exact, embedded.scoring, eligible)
                rows.append(row)
                series.setdefault(f"{kind}, {name}", []).append((share, median))
    plot = Plot(
        file="filtered",
        title=f"Time of a filtered query, {count:,} vectors, k={K}",
        x="share of products that the filter leaves",
        y="ms",
        series={name: tuple(points) for name, points in series.items()},
        log_x=True,
        log_y=True,
    )
    notes = (
        f"{embedded.facts['recipe']}. A correlated filter leaves the vectors nearest to one of them, drawn at random; "
        f"the queries are {asked} of Home Depot's (dev). Indexes are tuned for unfiltered recall@100 of {TARGET}.",
    )
    return Measurement(
        name=NAME, rows=tuple(rows), threads=1, noise=watch.noise(), plots=(plot,), notes=notes, facts=embedded.facts
    )


def _random(embedded: Embedded, rows: int, generator: np.random.Generator) -> BoolVector:
    eligible = np.zeros(len(embedded.vectors), dtype=np.bool_)
    eligible[generator.choice(len(eligible), rows, replace=False)] = True
    return eligible


def _correlated(embedded: Embedded, rows: int, generator: np.random.Generator) -> BoolVector:
    """Let through the neighbourhood of one vector: a category, which most queries are far from."""
    scores = embedded.vectors @ embedded.vectors[generator.integers(len(embedded.vectors))]
    eligible = np.zeros(len(scores), dtype=np.bool_)
    eligible[np.argpartition(-scores, rows - 1)[:rows]] = True
    return eligible


def _row(
    watch: Stopwatch,
    kind: str,
    name: str,
    share: float,
    index: FaissIndex,
    exact: ExactIndex,
    queries: FloatMatrix,
    eligible: BoolVector,
) -> tuple[Row, float]:
    """Check every answer, then time the same searches beside exact search of the eligible rows."""
    eligible.flags.writeable = False
    there = int(np.count_nonzero(eligible))
    answers = [index.search(query[np.newaxis], K, eligible=eligible) for query in queries]
    found = Neighbors(np.concatenate([a.scores for a in answers]), np.concatenate([a.rows for a in answers]))
    held = found.rows[found.rows >= 0]
    forbidden = int(np.count_nonzero(~eligible[held]))
    short = sum(len(np.unique(rows[rows >= 0])) < min(K, there) for rows in found.rows)
    recall = recall_at(K, found, exact.search(queries, K, eligible=eligible))
    times = watch.contest({"ours": [_ask(index, query[np.newaxis], eligible) for query in queries]})
    way = index.filter_plan(there, k=K).way.value
    row = Row(
        job=f"{kind}, {name} filter leaving {share:.2%} ({there:,}), k={K}",
        compared=Compared.alone,
        ours=times["ours"].percentile(f"by {way}", 50),
        quality=(
            Quality(name=f"recall@{K}", value=recall, at_least=RECALL),
            Quality(name="answers without a forbidden row, share", value=1.0 if not forbidden else 0.0, at_least=1.0),
            Quality(name="answers with every row there could be, share", value=1 - short / len(queries), at_least=1.0),
        ),
    )
    return row, times["ours"].percentile("", 50).median


def _ask(index: FaissIndex, query: FloatMatrix, eligible: BoolVector) -> Callable[[], object]:
    return lambda: index.search(query, K, eligible=eligible)
