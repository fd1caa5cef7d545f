"""Indexes over the same vectors, built once and kept in the work folder with the seconds their build took."""

import json
import shutil
import time
from pathlib import Path

from indexing import ArrayVectors, ExactIndex, build_index, open_index
from indexing.config import IndexConfig
from indexing.faiss_index import FaissIndex
from indexing.threads import set_budget
from indexing.tuning import tune
from indexing.types import FloatMatrix
from tools.bench.speed.records import Options


def tuned_index(
    options: Options, name: str, config: IndexConfig, stored: ArrayVectors, queries: FloatMatrix, *, target: float
) -> tuple[FaissIndex, float]:
    """Return an index at the cheapest point that reaches recall@100 of ``target``, for one thread, and its build time.

    Args:
        options: Threads of the build; the index is kept in ``options.work``.
        name: Of the index there; one of the same name is opened when it is of the same vectors.
        config: What to build.
        stored: The vectors.
        queries: To choose the point with, float32 [q, d].
        target: Recall; 0 leaves the index as it is.
    """
    folder = index_folder(options, name, stored.count)
    record = folder.with_suffix(".json")
    if record.is_file():
        index = open_index(folder, stored)
    else:
        shutil.rmtree(folder, ignore_errors=True)
        start = time.perf_counter()
        index = build_index(config, stored, threads=options.threads)
        record.write_text(json.dumps({"seconds": time.perf_counter() - start}), encoding="utf-8")
        index.write(folder)
    built_s = float(json.loads(record.read_text(encoding="utf-8"))["seconds"])
    set_budget(1)
    if target and index.record.plan.effort:
        exact = ExactIndex(stored).search(queries, 100)
        tuning = tune(index, queries, exact, k=100, target=target)
        best = tuning.chosen or max(tuning.points, key=lambda point: point.recall)
        index = index.tuned(**best.parameters)
    return index, built_s


def index_folder(options: Options, name: str, count: int) -> Path:
    """Return where `tuned_index` keeps an index."""
    return options.work / f"index-{name}-{count}-{options.seed}-{options.threads}"
