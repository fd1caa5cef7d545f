"""What a search costs beyond FAISS's own call: the same index, the same parameters, k = 100, one thread."""

from collections.abc import Callable
from typing import Any

import numpy as np

from indexing import ArrayVectors
from indexing.config import FlatConfig, HnswConfig, HnswSq8Config, IndexConfig
from indexing.faiss_index import FaissIndex
from indexing.types import FloatMatrix
from tools.bench.speed.jobs._built import tuned_index
from tools.bench.speed.jobs._embeddings import catalogue
from tools.bench.speed.records import Compared, Measurement, Options, Row, Target
from tools.bench.speed.stopwatch import Stopwatch

NAME = "overhead"
K, TARGET = 100, 0.95
KINDS: dict[str, IndexConfig] = {"flat": FlatConfig(), "hnsw": HnswConfig(links=16), "hnsw_sq8": HnswSq8Config()}
LIMIT = (
    "k + 4 rows are scored again on the exact vectors, by one call of FAISS, which makes scores the same for every "
    "kind, batch and number of threads; that is a third of what is left, the checks of the query a sixth, looking for "
    "ties a tenth, the rest is Python, whose code has left the caches by the time that a graph has been walked "
    "(docs/decisions/0027-one-inner-product.md)"
)


def measure(options: Options) -> Measurement:
    """Search through Shortlist and through FAISS alone, in turns.

    FAISS's own way to the same answer from codes is `IndexRefineFlat`, which scores what the codes propose on the exact
    vectors; so that is what a search of codes is held against, and the call without refinement is told beside it.
    """
    import faiss

    library: Any = faiss
    count = options.number("overhead.count", 200_000, quick=3_000)
    asked = options.number("overhead.queries", 200, quick=20)
    embedded = catalogue(options, count, tuning=asked, scoring=asked)
    stored = ArrayVectors(embedded.vectors)
    watch, rows = Stopwatch.of(options), []
    for kind, config in KINDS.items():
        index, _ = tuned_index(
            options, f"{kind}-16" if kind == "hnsw" else kind, config, stored, embedded.tuning, target=TARGET
        )
        raw, parameters = index._proposer.index, index._proposer.parameters
        peers = {f"faiss {type(raw).__name__}": (raw, parameters)}
        if not index.record.plan.is_exact:
            refined = library.IndexRefineFlat(raw, library.swig_ptr(stored.matrix))
            refined.own_fields = False
            refining = library.IndexRefineSearchParameters(
                k_factor=index.record.plan.refine_factor, base_index_params=parameters
            )
            peers = {"faiss IndexRefineFlat": (refined, refining)} | peers
        calls = {"ours": [_ours(index, query[np.newaxis]) for query in embedded.scoring]}
        calls |= {
            name: [_raw(each, query[np.newaxis], settings) for query in embedded.scoring]
            for name, (each, settings) in peers.items()
        }
        times = watch.contest(calls)
        searched = ", ".join(f"{name} {value:g}" for name, value in sorted(index.record.plan.parameters.items()))
        rows += [
            Row(
                job=f"overhead over {name}, {count:,} x {stored.dim}, k={K}, one query at a time",
                compared=Compared.share,
                ours=times["ours"].side(f"Shortlist {kind} ({searched})" if searched else f"Shortlist {kind}"),
                peer=times[name].side(name),
                target=Target(at_most=1.10) if place == 0 else None,
                work=len(embedded.scoring),
                per="queries",
                limited_by=LIMIT,
            )
            for place, name in enumerate(peers)
        ]
    return Measurement(name=NAME, rows=tuple(rows), threads=1, noise=watch.noise(), notes=(embedded.facts["recipe"],))


def _ours(index: FaissIndex, query: FloatMatrix) -> Callable[[], object]:
    return lambda: index.search(query, K)


def _raw(index: Any, query: FloatMatrix, parameters: Any) -> Callable[[], object]:  # noqa: ANN401 - faiss has no types
    return lambda: index.search(query, K, params=parameters)
