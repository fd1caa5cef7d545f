"""Resident memory of a process that searches at recall@100 >= .95; held against the graph over float32 vectors."""

import json
import subprocess
import sys

import numpy as np

from indexing import ArrayVectors, ExactIndex, recall_at
from indexing.config import HnswConfig, HnswSq8Config, IndexConfig, IvfRabitqConfig, IvfSq8Config
from tools.bench.speed.jobs._built import index_folder, tuned_index
from tools.bench.speed.jobs._embeddings import catalogue
from tools.bench.speed.records import Compared, Measurement, Options, Quality, Row, Side, Target
from tools.machine import ROOT

NAME = "searcher_memory"
K, TARGET = 100, 0.95
KINDS: dict[str, IndexConfig] = {
    "hnsw-16": HnswConfig(links=16),
    "hnsw_sq8": HnswSq8Config(),
    "ivf_sq8": IvfSq8Config(),
    "ivf_rabitq": IvfRabitqConfig(),
}


def measure(options: Options) -> Measurement:
    """Open each index in a process of its own, search it, and read what the process holds."""
    count = options.number("searcher_memory.count", 200_000, quick=3_000)
    asked = options.number("searcher_memory.queries", 200, quick=20)
    embedded = catalogue(options, count, tuning=asked, scoring=asked)
    stored = ArrayVectors(embedded.vectors)
    files = [options.work / f"memory-{count}-{name}.npy" for name in ("vectors", "queries")]
    for path, content in zip(files, (embedded.vectors, embedded.scoring), strict=True):
        np.save(path, content)
    exact = ExactIndex(stored).search(embedded.scoring, K)
    held, recalls = {}, {}
    for kind, config in KINDS.items():
        index, _ = tuned_index(options, kind, config, stored, embedded.tuning, target=TARGET)
        recalls[kind] = recall_at(K, index.search(embedded.scoring, K), exact)
        plan = index.record.plan
        chosen = {name: plan.parameters[name] for name in (plan.effort, "refine_factor") if name in plan.parameters}
        script = [sys.executable, "-m", "tools.bench.speed.jobs._searcher"]
        arguments = [str(index_folder(options, kind, count)), *map(str, files), json.dumps(chosen)]
        said = subprocess.run([*script, *arguments], capture_output=True, text=True, check=True, cwd=ROOT)
        held[kind] = json.loads(said.stdout)
    rows = [
        Row(
            job=f"{what} memory of a searcher, {count:,} x {stored.dim}, {kind}",
            compared=Compared.share,
            unit="MiB",
            ours=Side(name=f"Shortlist {kind}", values=(_mib(held[kind], parts),)),
            peer=Side(name="Shortlist hnsw, M 16, float32", values=(_mib(held["hnsw-16"], parts),)),
            target=Target(at_most=0.45) if kind == "hnsw_sq8" and what == "own" else None,
            quality=(Quality(name=f"recall@{K}", value=recalls[kind], at_least=TARGET - 0.005),),
        )
        for kind in KINDS
        if kind != "hnsw-16"
        for what, parts in (("own", ("own",)), ("own and mapped", ("own", "mapped")))
    ]
    note = (
        f"{embedded.facts['recipe']}. Memory is what a process holds more after opening an index and searching for "
        f"{asked} queries than before. Own memory is anonymous; mapped memory is the pages of the exact vectors that "
        "refinement touched, which the system may take back; they grow with the number of different products found."
    )
    return Measurement(name=NAME, rows=tuple(rows), threads=1, notes=(note,), facts=embedded.facts | {"held": held})


def _mib(held: dict[str, int], parts: tuple[str, ...]) -> float:
    return sum(held[part] for part in parts) / 2**20
