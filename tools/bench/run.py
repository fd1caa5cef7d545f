"""Measure what a search costs on this machine, each part beside its peer, and keep the numbers under the commit's name.

Shortlist and the peer take turns on the same input, so that both meet the same weather; what counts is the ratio of the
medians. Results go to ``tools/bench/results/<commit>.json`` and are never edited by hand.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from indexing.config import FlatConfig, HnswConfig, IndexConfig, IvfPqConfig, IvfSq8Config
from indexing.exact import ExactIndex
from indexing.faiss_index import build_index
from indexing.recall import recall_at
from indexing.types import FloatMatrix
from indexing.vectors import ArrayVectors
from retrieval.config import EncoderConfig, RuntimeConfig
from retrieval.encoder import DualEncoder
from tools.machine import ROOT, commit, machine

RESULTS = ROOT / "tools" / "bench" / "results"
SEED = 7
WORDS = (
    "wireless",
    "black",
    "steel",
    "keyboard",
    "mouse",
    "sofa",
    "charger",
    "with",
    "for",
    "large",
    "portable",
    "lamp",
)
INDEX_KINDS: dict[str, IndexConfig] = {
    "flat": FlatConfig(),
    "hnsw": HnswConfig(),
    "ivf_sq8": IvfSq8Config(),
    "ivf_pq": IvfPqConfig(),
}


def median_ms(ours: Callable[[], object], peer: Callable[[], object], *, rounds: int) -> tuple[float, float]:
    """Run both in turns, after one round that does not count, and return their median milliseconds."""
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 1):
        for taken, run in zip(times, (ours, peer), strict=True):
            start = time.perf_counter()
            run()
            if number:
                taken.append((time.perf_counter() - start) * 1000)
    return statistics.median(times[0]), statistics.median(times[1])


def clustered_vectors(count: int, dim: int) -> FloatMatrix:
    """Return seeded unit vectors around a few hundred centres, as catalogues have departments; float32 [count, dim]."""
    generator = np.random.default_rng(SEED)
    centres = generator.standard_normal((256, dim))
    vectors = centres[generator.integers(0, len(centres), count)] + generator.standard_normal((count, dim))
    return np.ascontiguousarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def bench_index(count: int, *, rounds: int) -> list[dict[str, Any]]:
    """Search one query at a time in every kind of index; the peer is faiss's own flat index, one query at a time."""
    import faiss

    vectors = clustered_vectors(count + 64, 384)
    stored, queries = ArrayVectors(vectors[:count]), vectors[count:]
    peer = faiss.IndexFlatIP(stored.dim)
    peer.add(stored.matrix)
    exact = ExactIndex(stored).search(queries, 100)
    measured = []
    for kind, config in INDEX_KINDS.items():
        start = time.perf_counter()
        index = build_index(config, stored)
        build_s = time.perf_counter() - start

        def ours(index: Any = index) -> None:  # noqa: ANN401 - bound now, for every kind its own
            for query in queries:
                index.search(query[np.newaxis], 100)

        def theirs() -> None:
            for query in queries:
                peer.search(query[np.newaxis], 100)

        ours_ms, peer_ms = (each / len(queries) for each in median_ms(ours, theirs, rounds=rounds))
        recall = recall_at(100, index.search(queries, 100), exact)
        row = comparison(f"search {kind}, {count} vectors", ours_ms, peer_ms, peer="faiss IndexFlatIP")
        measured.append({**row, "recall@100": round(recall, 4), "build_s": round(build_s, 2)})
    return measured


def bench_encode(count: int, *, rounds: int) -> list[dict[str, Any]]:
    """Encode product texts of mixed length; the peer is sentence-transformers' own encode with its defaults."""
    from sentence_transformers import SentenceTransformer

    encoder = DualEncoder.open(EncoderConfig(), RuntimeConfig(device="cpu"))
    peer = SentenceTransformer(str(encoder.folder), device="cpu")
    generator = np.random.default_rng(SEED)
    texts = [" ".join(generator.choice(WORDS, generator.integers(3, 60))) for _ in range(count)]
    ours_ms, peer_ms = median_ms(
        lambda: encoder.encode_products(texts), lambda: peer.encode(texts, show_progress_bar=False), rounds=rounds
    )
    row = comparison(f"encode {count} product texts", ours_ms, peer_ms, peer="SentenceTransformer.encode")
    return [{**row, "texts_per_s": round(count / ours_ms * 1000, 1)}]


def comparison(name: str, ours_ms: float, peer_ms: float, *, peer: str) -> dict[str, Any]:
    """Return one row of the result; a ratio above 1 means that Shortlist is faster."""
    return {
        "name": name,
        "ours_ms": round(ours_ms, 3),
        "peer": peer,
        "peer_ms": round(peer_ms, 3),
        "ratio": round(peer_ms / ours_ms, 3),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table, write the result file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs; writes no file")
    quick = parser.parse_args(arguments).quick
    count, texts, rounds = (2_000, 64, 3) if quick else (50_000, 1_000, 7)
    rows = [*bench_encode(texts, rounds=rounds), *bench_index(count, rounds=rounds)]
    for row in rows:
        extra = ", ".join(
            f"{key} {value}" for key, value in row.items() if key in ("recall@100", "build_s", "texts_per_s")
        )
        print(f"{row['name']:<34} {row['ours_ms']:>9} ms  {row['peer']} {row['peer_ms']} ms  x{row['ratio']}  {extra}")
    if not quick:
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{commit()}.json"
        path.write_text(
            json.dumps({"machine": machine(), "seed": SEED, "rows": rows}, indent=1) + "\n", encoding="utf-8"
        )
        print(f"written to {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
