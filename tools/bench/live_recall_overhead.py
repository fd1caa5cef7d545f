"""Measure what watching recall costs the searches that are watched.

Blocks of searches with and without a watch take turns on one engine, so that both meet the same weather. The queries
are titles of the bundle's products, cut to a few words. What counts is the ratio.
"""

import argparse
import sys
import time
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from shortlist import SearchEngine
from shortlist.monitoring.recall import RecallState

QUANTILES = (0.5, 0.95, 0.99)
SEED = 7


def draw_queries(engine: SearchEngine, count: int) -> list[str]:
    """Return the first words of so many titles, between two and five of them."""
    titles = pq.read_table(engine.bundle.folder / "products.parquet", columns=["title"])["title"].to_pylist()
    generator = np.random.default_rng(SEED)
    drawn = generator.choice(len(titles), size=min(count, len(titles)), replace=False)
    return [" ".join(titles[row].split()[: generator.integers(2, 6)]) for row in drawn]


def search_all(engine: SearchEngine, queries: list[str]) -> list[float]:
    """Return the milliseconds of each search, the reranker left out."""
    taken_ms = []
    for query in queries:
        start = time.perf_counter()
        engine.search(query, rerank=False)
        taken_ms.append((time.perf_counter() - start) * 1000)
    return taken_ms


def measure(
    engine: SearchEngine, queries: list[str], *, rounds: int, sample: float, load: float
) -> tuple[list[float], list[float], list[RecallState]]:
    """Return milliseconds without and with a watch, and what each watch came to."""
    without, watched, states = list[float](), list[float](), list[RecallState]()
    search_all(engine, queries)
    for seed in range(rounds):
        without += search_all(engine, queries)
        with engine.watch_recall(sample=sample, load=load, seed=seed) as watch:
            watched += search_all(engine, queries)
            states.append(watch.state())
    return without, watched, states


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--queries", type=int, default=500, help="searches in a block")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--load", type=float, default=0.1)
    arguments = parser.parse_args()
    engine = SearchEngine.open(arguments.bundle, rerank=False)
    queries = list(islice(cycle(draw_queries(engine, arguments.queries)), arguments.queries))
    print(f"{engine.product_count} products, {arguments.rounds} blocks of {len(queries)} searches each way")
    print("  sampled      search, ms    p50      p95      p99")
    for sample in (0.01, 0.1, 1.0):
        without, watched, states = measure(engine, queries, rounds=arguments.rounds, sample=sample, load=arguments.load)
        before, after = np.quantile(without, QUANTILES), np.quantile(watched, QUANTILES)
        checked, dropped = (sum(getattr(state, name) for state in states) for name in ("checked", "dropped"))
        for name, values in (("without", before), ("watched", after), ("ratio", after / before)):
            print(f"  {sample:>7.0%}      {name:<9} " + " ".join(f"{value:>8.3f}" for value in values))
        print(f"               {checked} checked, {dropped} dropped for want of room")
    return 0


if __name__ == "__main__":
    sys.exit(main())
