"""One step of the growth measurement, in a process of its own, so that its memory is its own.

``python -m tools.bench.speed.growth STEP --count N --folder DIR --out FILE`` writes one JSON document: seconds, memory.
The catalogue is made up: 12 words a product, drawn with Zipf's weights (1 / rank) from 30,000 made-up words of two to
four syllables, 37 tokens on average; vectors of 384 dimensions around 256 centres (`jobs._inputs.clustered_vectors`).
"""

import argparse
import itertools
import json
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from indexing.types import FloatMatrix
from tools.bench.speed.jobs._inputs import clustered_vectors
from tools.bench.speed.stopwatch import Stopwatch

DIM, WORDS_EACH, VOCABULARY = 384, 12, 30_000
QUERIES = 64
"""Queries of a round, two words and a vector each; none is asked twice, so that no cache answers."""
K = 10
_SYLLABLES = [onset + vowel for onset in "bdfgklmnprstvz" for vowel in "aeiou"]
_CHUNK = 50_000  # products made and written at a time: 77 MB of vectors


def vocabulary(seed: int) -> list[str]:
    """Return `VOCABULARY` distinct made-up words of two to four syllables."""
    generator = np.random.default_rng(seed)
    words: dict[str, None] = {}
    while len(words) < VOCABULARY:
        words["".join(generator.choice(_SYLLABLES, generator.integers(2, 5)))] = None
    return list(words)


def texts(count: int, *, seed: int, words_each: int = WORDS_EACH) -> Iterator[str]:
    """Yield ``count`` texts of ``words_each`` words, the same for one seed however many are asked for in all."""
    words = np.array(vocabulary(seed))
    weights = 1 / np.arange(1, len(words) + 1)
    generator = np.random.default_rng(seed + 1)
    for first in range(0, count, _CHUNK):
        size = min(_CHUNK, count - first)
        chosen = generator.choice(len(words), (size, words_each), p=weights / weights.sum())
        yield from (" ".join(row) for row in words[chosen])


def write_catalogue(folder: Path, count: int, *, seed: int) -> None:
    """Write ``products.parquet`` with ids, titles and vectors."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    stream = texts(count, seed=seed)
    schema = pa.schema({"product_id": pa.string(), "title": pa.string(), "vector": pa.list_(pa.float32())})
    with pq.ParquetWriter(folder / "products.parquet", schema) as writer:
        for first in range(0, count, _CHUNK):
            size = min(_CHUNK, count - first)
            vectors = clustered_vectors(size, DIM, seed=seed + first)
            flat = pa.array(vectors.ravel())
            lists = pa.ListArray.from_arrays(pa.array(np.arange(size + 1, dtype=np.int32) * DIM), flat)
            ids = [f"p{number:08d}" for number in range(first, first + size)]
            writer.write_table(pa.table([ids, list(itertools.islice(stream, size)), lists], schema=schema))


def encode(count: int, *, threads: int, seed: int) -> dict[str, Any]:
    """Encode with the default encoder, all of them once, after a hundred that are not timed."""
    from retrieval.config import EncoderConfig, RuntimeConfig
    from retrieval.encoder import DualEncoder

    encoder = DualEncoder.open(EncoderConfig(), RuntimeConfig(device="cpu", threads=threads))
    given = list(texts(count, seed=seed))
    encoder.encode_products(given[:100])
    start = time.perf_counter()
    encoder.encode_products(given)
    return {"encode_s": time.perf_counter() - start}


def build(folder: Path, *, threads: int, index: str) -> dict[str, Any]:
    """Build a bundle from a catalogue with vectors: everything but the encoding; seconds per stage."""
    from shortlist.building.job import build as build_bundle
    from shortlist.compose import load_config
    from shortlist.config import BuildConfig

    overrides = ["encoder=none", f"index={index}", f"runtime.threads={threads}"]
    start = time.perf_counter()
    report = build_bundle(load_config(BuildConfig, overrides), source=folder / "source", out=folder / "bundle")
    taken = time.perf_counter() - start
    return {"build_s": taken, "stages_s": dict(report.seconds), "index": dict(report.index)}


def search(folder: Path, count: int, *, threads: int, seed: int, rounds: int) -> dict[str, Any]:
    """Open the bundle and ask it queries one at a time, words and vectors both; the vector comes with the query."""
    from shortlist import SearchEngine

    asked = QUERIES * (rounds + 1) * 2  # the untimed ones of every turn included
    queries = list(texts(asked, seed=seed + 2, words_each=2))
    own = clustered_vectors(min(count, _CHUNK), DIM, seed=seed)  # those of the first products, moved a little
    generator = np.random.default_rng(seed + 3)
    near = (
        own[generator.integers(0, len(own), asked)] + generator.standard_normal((asked, DIM), dtype=np.float32) * 0.02
    )
    vectors = dict(zip(queries, near / np.linalg.norm(near, axis=1, keepdims=True), strict=True))

    def tower(given: Sequence[str]) -> FloatMatrix:
        return np.stack([vectors.get(text, near[0]) for text in given]).astype(np.float32)

    start = time.perf_counter()
    engine = SearchEngine.open(folder / "bundle", threads=threads, encoder=tower, probe=False)
    open_s = time.perf_counter() - start
    stream = itertools.cycle(queries)
    watch = Stopwatch(rounds=rounds, seed=seed)
    times = watch.contest({"search": [lambda: engine.search(next(stream), k=K)] * QUERIES})
    side = times["search"].percentile("search", 50)
    return {"open_s": open_s, "p50_ms": side.values, "noise": watch.noise(), "resident_mib": _resident_mib()}


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one step and write what it measured."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("step", choices=("catalogue", "encode", "build", "search"))
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--index", default="auto")
    given = parser.parse_args(arguments)
    match given.step:
        case "catalogue":
            write_catalogue(given.folder / "source", given.count, seed=given.seed)
            measured: dict[str, Any] = {}
        case "encode":
            measured = encode(given.count, threads=given.threads, seed=given.seed)
        case "build":
            measured = build(given.folder, threads=given.threads, index=given.index)
        case _:
            measured = search(given.folder, given.count, threads=given.threads, seed=given.seed, rounds=given.rounds)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    given.out.write_text(json.dumps({"peak_mib": peak_mib, **measured}, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
