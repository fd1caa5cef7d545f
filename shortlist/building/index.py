"""Third step: the FAISS index over a version's vectors, and the proof that it finds what exact search finds.

How wide an approximate index is searched is chosen here too, where the configuration leaves it open.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from indexing.auto import choose_index
from indexing.config import AutoConfig, IndexConfig
from indexing.errors import GateFailed
from indexing.exact import ExactIndex
from indexing.faiss_index import FaissIndex, build_index
from indexing.faiss_kinds import SEARCH_PARAMETERS
from indexing.recall import recall_at
from indexing.storage import FileDigest
from indexing.tuning import Tuning, tune
from indexing.types import FloatMatrix, IntVector, Neighbors, Vectors
from shortlist.progress import say
from shortlist.stored import freeze


@dataclass(frozen=True, slots=True)
class BuiltIndex:
    """An index that passed its gate.

    Attributes:
        files: Written files, relative names.
        summary: For the manifest: kind, parameters, reason, recall and how it was measured.
    """

    files: Mapping[str, FileDigest]
    summary: Mapping[str, Any]


def build_dense_index(
    config: IndexConfig,
    vectors: Vectors,
    *,
    tie_rank: IntVector,
    queries: FloatMatrix | None,
    queries_from: str,
    threads: int,
    device: str = "cpu",
    folder: Path,
) -> BuiltIndex:
    """Build, measure and write the index.

    Args:
        config: What to build; ``auto`` chooses and says why.
        vectors: Vectors of the version, in row order.
        tie_rank: Order of rows with equal scores, int64 [n].
        queries: Query vectors to measure recall with; ``None`` takes vectors of the version.
        queries_from: Where they came from, for the manifest.
        threads: Threads for training and adding; 0 means all.
        device: As for `build_index`.
        folder: Where to write.

    Raises:
        GateFailed: Recall against exact search is below ``config.recall_target``.
    """
    chosen, reason = config, "asked for"
    if isinstance(config, AutoConfig):
        choice = choose_index(config, count=vectors.count, dim=vectors.dim)
        chosen, reason = choice.config, choice.reason
    start = time.perf_counter()
    index = build_index(chosen, vectors, tie_rank=tie_rank, threads=threads, device=device)
    built_s = time.perf_counter() - start
    probes = queries if queries is not None else own_vectors(vectors, config.recall_queries)
    k, kind = min(config.recall_k, index.count), index.record.plan.kind
    exact = ExactIndex(vectors, tie_rank=tie_rank).search(probes, k)
    index, tuning = _operating_point(chosen, index, probes, exact, k)
    recall = recall_at(k, index.search(probes, k), exact)
    frozen = freeze("index", chosen)
    say(
        f"index: {kind} ({reason}), {built_s:.1f} s; {_searched(index)}recall@{config.recall_k} against exact search "
        f"{recall:.4f} on {len(probes)} queries ({queries_from})"
    )
    if recall < config.recall_target:
        raise GateFailed(
            f"recall@{config.recall_k} of {kind} is {recall:.4f}, below "
            f"index.recall_target={config.recall_target}; "
            "nothing was published: search wider (index.ef_search, index.probes, index.refine_factor) or choose "
            "index=flat"
        )
    measured = {"k": config.recall_k, "value": recall, "queries": len(probes), "queries_from": queries_from}
    summary = {"kind": kind, "config": frozen, "reason": reason, "recall": measured}
    if tuning is not None:
        summary["tuning"] = tuning.values(timed=False)
    return BuiltIndex(index.write(folder), summary)


def _operating_point(
    config: IndexConfig, index: FaissIndex, queries: FloatMatrix, exact: Neighbors, k: int
) -> tuple[FaissIndex, Tuning | None]:
    """Return the index at the cheapest parameters that reach the target, and the curve, where nobody set them."""
    effort = index.record.plan.effort
    if not effort or getattr(config, effort) or not config.recall_target:
        return index, None
    tuning = tune(index, queries, exact, k=k, target=config.recall_target)
    if tuning.chosen is not None:
        return index.tuned(**tuning.chosen.parameters), tuning
    best = max(tuning.points, key=lambda point: point.recall)  # the gate will say what is missing
    return index.tuned(**best.parameters), tuning


def _searched(index: FaissIndex) -> str:
    """Say how an index is searched, for a line of narration; nothing for one that has no say in it."""
    plan = index.record.plan
    return "".join(f"{name}={plan.parameters[name]:g}, " for name in sorted(SEARCH_PARAMETERS[plan.kind]))


def own_vectors(vectors: Vectors, count: int) -> FloatMatrix:
    """Return vectors of the version, evenly spread, to be asked as queries where there are no others."""
    rows = np.linspace(0, vectors.count - 1, num=min(count, vectors.count)).astype(np.int64)
    return vectors.take(rows)
