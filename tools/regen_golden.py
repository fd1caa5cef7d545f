"""Write the files in ``tests/golden`` that every later release must still read: a bundle, and an index of every kind.

They are made once per format and kept as they were written: the tests open them with the code of the day. So nothing
that exists is overwritten. A new format gets new folders beside the old ones, and so do later kinds of index::

    python -m tools.regen_golden --format 2
    python -m tools.regen_golden --kinds codes
"""

import argparse
import contextlib
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from indexing.config import (
    FlatConfig,
    HnswConfig,
    HnswSq8Config,
    IndexConfig,
    IvfPqConfig,
    IvfRabitqConfig,
    IvfSq8Config,
)
from indexing.faiss_index import build_index
from indexing.vectors import ArrayVectors
from rerank.config import CrossEncoderConfig
from retrieval.config import (
    BadRows,
    EncoderConfig,
    LexicalConfig,
    RuntimeConfig,
    TabularCatalog,
    TextConfig,
    ZscoreConfig,
)
from retrieval.records import Product, SearchResult
from shortlist.building.job import build
from shortlist.config import BuildConfig
from shortlist.engine import SearchEngine
from shortlist.manifest import FORMAT
from tools.machine import ROOT
from tools.reliability.harness.models import TINY, write_encoder
from tools.reliability.harness.tiny import write_cross_encoder

QUERIES = ("red mouse", "blue wireless keyboard", "café lamp", "红色 sofa", "usb", "steel shelf 7")
KINDS: dict[str, IndexConfig] = {
    "flat": FlatConfig(),
    "hnsw": HnswConfig(links=4),
    "ivf_sq8": IvfSq8Config(lists=8),
    "ivf_pq": IvfPqConfig(lists=8, code_bytes=4),
}

LATER_KINDS: dict[str, dict[str, IndexConfig]] = {
    "codes": {
        "hnsw_sq8": HnswSq8Config(links=4),
        "ivf_rabitq": IvfRabitqConfig(lists=8),
        "ivf_rabitq_1_bit": IvfRabitqConfig(lists=8, bits=1),
    }
}
"""Kinds that came after the first files of a format were written: the name of their folder -> them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write both folders."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "tests" / "golden", help="where the folders go")
    parser.add_argument("--format", type=int, default=FORMAT, help="number in the folders' names")
    parser.add_argument("--kinds", choices=LATER_KINDS, help="write only the indexes of these later kinds")
    options = parser.parse_args(arguments)
    if options.kinds:
        folder = options.out / f"indexes_v{options.format}_{options.kinds}"
        _require_new(parser, folder)
        write_indexes(folder, LATER_KINDS[options.kinds])
        return 0
    bundle, indexes = (options.out / f"{name}_v{options.format}" for name in ("bundle", "indexes"))
    for folder in (bundle, indexes):
        _require_new(parser, folder)
    write_bundle(bundle)
    write_indexes(indexes, KINDS)
    return 0


def _require_new(parser: argparse.ArgumentParser, folder: Path) -> None:
    if folder.exists():
        parser.error(f"{folder} exists, and what was written once is kept; a new format gets a new --format")


def write_bundle(folder: Path) -> None:
    """Build a bundle with every kind of file, upsert and delete, and write what it answers beside it."""
    out = folder.resolve()
    with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(scratch):  # no path of this machine in any file
        models = [write_encoder(Path("tower"), seed=11, size=TINY), write_cross_encoder(Path("reranker"))]
        for model in models:
            (model / "README.md").unlink()  # half of the model's bytes
        config = BuildConfig(
            catalog=TabularCatalog(name="golden", keep=["*"], on_bad_rows=BadRows.quarantine),
            text=TextConfig(fields=["title", "brand", "attributes.colour", "description"], labels=True),
            encoder=EncoderConfig(model=str(models[0]), query_prompt="mouse ", query_max_tokens=0),
            lexical=LexicalConfig(),
            index=FlatConfig(),
            fusion=ZscoreConfig(),
            reranker=CrossEncoderConfig(model=str(models[1]), weight=0.5),
            runtime=RuntimeConfig(device="cpu", threads=1),
            segment_texts=8,
            canary_queries=4,
        )
        build(config, source=_write_catalogue(Path("catalogue")), out=out)
    with SearchEngine.open(folder, device="cpu", threads=1) as engine:
        engine.upsert([Product(product_id="g99", title="wireless steel lamp", brand="Norvik", price=3.5)])
        engine.delete(["g03"])
    with SearchEngine.open(folder, device="cpu", threads=1) as engine:
        _write_json(folder.with_name(f"{folder.name}.json"), answers(engine))
    for lock in folder.rglob("LOCK"):
        lock.unlink()
    shutil.rmtree(folder / "cache", ignore_errors=True)


def answers(engine: SearchEngine) -> dict[str, Any]:
    """Return what an engine answers to every query, in every way there is."""
    found: dict[str, Any] = {"products": engine.product_count, "generation": engine.generation}
    for query in QUERIES:
        found[f"search {query}"] = _plain(engine.search(query, k=6))
        found[f"first stage {query}"] = _plain(engine.search(query, k=6, rerank=False))
    found["filtered"] = _plain(engine.search(QUERIES[0], k=6, filters=[("price", "<", 8.0), ("in_stock", "==", True)]))
    found["similar"] = _plain(engine.similar("g05", k=4))
    found["product"] = asdict(engine.product("g05"))
    return found


def write_indexes(folder: Path, kinds: Mapping[str, IndexConfig]) -> None:
    """Write an index of every one of these kinds over the same vectors, queries, and what each index finds."""
    vectors, queries = drawn(300, seed=1), drawn(5, seed=2)
    folder.mkdir(parents=True)
    (folder / "vectors.f32").write_bytes(vectors.astype("<f4").tobytes())
    (folder / "queries.f32").write_bytes(queries.astype("<f4").tobytes())
    found = {}
    for kind, config in kinds.items():
        index = build_index(config, ArrayVectors(vectors), threads=1)
        index.write(folder / kind)
        neighbors = index.search(queries, 10)
        found[kind] = {"rows": neighbors.rows.tolist(), "scores": neighbors.scores.tolist()}
    _write_json(folder / "found.json", found)


def drawn(count: int, *, seed: int) -> np.ndarray:
    """Return unit vectors of 8 dimensions, float32 [count, 8]."""
    rows = np.random.default_rng(seed).normal(size=(count, 8))
    return np.ascontiguousarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def _plain(result: SearchResult) -> list[dict[str, Any]]:
    return [
        {"product_id": hit.product_id, "score": hit.score, "stages": dict(hit.stages), "title": hit.product.title}
        for hit in result.hits
    ]


def _write_catalogue(folder: Path) -> Path:
    """Write twelve products and a bad row, with every type of column, letters beyond ASCII among them."""
    folder.mkdir()
    kinds = ("red mouse", "blue keyboard", "black wireless sofa", "café lamp", "红色 steel shelf", "usb chair")
    colours = ("red", "blue", "black")
    titles = [f"{kinds[number % 6]} {colours[number % 3]} {number}" for number in range(12)] + [""]
    columns = {
        "product_id": [f"g{number:02d}" for number in range(13)],
        "title": titles,
        "description": [f"A {title} made of steel" if number % 4 else "" for number, title in enumerate(titles)],
        "brand": ["Norvik" if number % 2 else "Acme" for number in range(13)],
        "category": ["home" if number % 3 else None for number in range(13)],
        "price": [number + 0.5 if number % 5 else None for number in range(13)],
        "attributes": pa.array(
            [[("colour", colours[number % 3]), ("size", str(number))] for number in range(13)],
            pa.map_(pa.string(), pa.string()),
        ),
        "in_stock": [number % 3 != 0 for number in range(13)],
        "rating": pa.array(range(13), pa.int64()),
        "weight": [number / 3 for number in range(13)],
    }
    pq.write_table(pa.table(columns), folder / "products.parquet")
    queries = "".join(f"q{number},{query}\n" for number, query in enumerate(QUERIES))
    (folder / "queries.csv").write_text(f"query_id,text\n{queries}", encoding="utf-8")
    return folder


def _write_json(path: Path, value: Any) -> None:  # noqa: ANN401 - any JSON value
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
