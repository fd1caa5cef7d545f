"""Searching every kind of index with its defaults, one query at a time; the peer is faiss's own flat index."""

from importlib import metadata

import numpy as np

from indexing.config import FlatConfig, HnswConfig, IndexConfig, IvfPqConfig, IvfSq8Config
from indexing.exact import ExactIndex
from indexing.faiss_index import build_index
from indexing.recall import recall_at
from indexing.types import FloatMatrix, VectorIndex
from indexing.vectors import ArrayVectors
from tools.bench.speed.jobs._inputs import clustered_vectors
from tools.bench.speed.records import Compared, Measurement, Options, Quality, Row
from tools.bench.speed.stopwatch import Stopwatch

NAME = "index"
KINDS: dict[str, IndexConfig] = {
    "flat": FlatConfig(),
    "hnsw": HnswConfig(),
    "ivf_sq8": IvfSq8Config(),
    "ivf_pq": IvfPqConfig(),
}
K, QUERIES, DIM = 100, 64, 384


def measure(options: Options) -> Measurement:
    """Search made-up vectors, with recall beside it."""
    import faiss

    count = options.number("index.count", 50_000, quick=2_000)
    vectors = clustered_vectors(count + QUERIES, DIM, seed=options.seed)
    stored, queries = ArrayVectors(vectors[:count]), vectors[count:]
    peer = faiss.IndexFlatIP(DIM)
    peer.add(stored.matrix)
    exact = ExactIndex(stored).search(queries, K)
    built = {kind: build_index(config, stored, threads=options.threads) for kind, config in KINDS.items()}
    watch = Stopwatch.of(options)
    times = watch.contest(
        {kind: lambda index=index: _each(index, queries) for kind, index in built.items()}
        | {"peer": lambda: [peer.search(query[np.newaxis], K) for query in queries]}
    )
    name = f"faiss {metadata.version('faiss-cpu')} IndexFlatIP"
    rows = tuple(
        Row(
            job=f"search {kind}, {count:,} x {DIM}, k={K}, one query at a time",
            compared=Compared.faster,
            ours=times[kind].side(f"Shortlist, index={kind}"),
            peer=times["peer"].side(name),
            work=QUERIES,
            per="queries",
            quality=(Quality(name=f"recall@{K}", value=recall_at(K, index.search(queries, K), exact)),),
        )
        for kind, index in built.items()
    )
    note = f"made-up vectors around 256 centres, seed {options.seed}; queries are drawn like the vectors."
    return Measurement(name=NAME, rows=rows, threads=options.threads, noise=watch.noise(), notes=(note,))


def _each(index: VectorIndex, queries: FloatMatrix) -> None:
    for query in queries:
        index.search(query[np.newaxis], K)
