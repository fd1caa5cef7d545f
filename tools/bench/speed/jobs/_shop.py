"""A bundle of Icecat with a trained cross-encoder, and queries for it; made once in the scratch folder and kept.

Where the data is not there, and on a quick run, the built-in store takes its place.
"""

import csv
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from indexing import storage
from retrieval.catalog import Catalog, open_catalog
from shortlist import CacheConfig, SearchEngine
from shortlist.compose import load_config
from shortlist.config import BuildConfig
from shortlist.training_config import TrainRerankerConfig
from tools.bench.speed.records import Options

WEIGHT = 0.5
"""Share of the cross-encoder in the final fusion, set by hand: what is measured is time, and how an answer that was cut
short approaches the whole one. Icecat's few queries would leave it at 0."""


FAST = "runtime.precision=auto"
"""How the shop is made; what is measured says so itself."""

QUICK_QUERIES = 24


@dataclass(frozen=True, slots=True)
class Shop:
    """What a job measures on.

    Attributes:
        name: In words, for the table.
        bundle: Its live version has a cross-encoder.
        queries: Judged queries that the cross-encoder was not trained on: text -> product_id -> grade.
        trained_on: How many judged queries it was trained on.
    """

    name: str
    bundle: Path
    queries: Mapping[str, Mapping[str, int]]
    trained_on: int

    def open(self, *, rerank: bool, cache: CacheConfig | None = None, precision: str = "auto") -> SearchEngine:
        """Open the bundle, by default with nothing remembered."""
        return SearchEngine.open(self.bundle, rerank=rerank, cache=cache or CacheConfig.off(), precision=precision)


def open_shop(options: Options) -> Shop:
    """Return the shop, built and trained when it is not there yet."""
    source, overrides, name = _source(options)
    root = options.work / ("shop-quick" if options.quick else "shop-icecat" if name == "Icecat" else "shop-built-in")
    judged = _judged(open_catalog(load_config(BuildConfig, overrides).catalog, source))
    held_out = {query: grades for query, grades in judged.items() if hashlib.md5(query.encode()).digest()[0] % 2}
    if not (root / "bundle" / "CURRENT").exists():
        _make(root, source, overrides, {query: judged[query] for query in judged.keys() - held_out.keys()}, options)
    return Shop(name, root / "bundle", held_out, len(judged) - len(held_out))


def more_queries(engine: SearchEngine, count: int, *, seed: int) -> list[str]:
    """Return distinct made-up queries: the first two to five words of titles, drawn with the seed, lower-case."""
    generator = np.random.default_rng(seed)
    rows = generator.permutation(engine.product_count)
    found: dict[str, None] = {}
    products = engine._generation.products
    for row in rows:
        words = products.get(int(row)).title.lower().split()
        found[" ".join(words[: int(generator.integers(2, 6))])[:100]] = None
        if len(found) == count:
            break
    return list(found)


def _source(options: Options) -> tuple[Path, list[str], str]:
    icecat = options.data / "icecat"
    if icecat.is_dir() and not options.quick:
        return icecat, ["catalog=icecat"], "Icecat"
    from shortlist.store.write import write_store

    store = options.work / ("store-quick" if options.quick else "store")
    if not (store / "products.parquet").exists():
        write_store(store)
        (store / "splits.csv").unlink()  # queries are parted here as Icecat's are, which has no splits
        if options.quick:
            _cut(store)
    return store, ["catalog=demo"], "built-in store"


def _cut(store: Path) -> None:
    """Keep what is judged for a few queries: quick to encode, to train on and to search."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    def rewrite(name: str, keep: Callable[[dict[str, str]], bool]) -> list[dict[str, str]]:
        with (store / name).open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if keep(row)]
        with (store / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)
        return rows

    queries = {row["query_id"] for row in rewrite("judgments.csv", lambda row: True)}
    kept = set(sorted(queries)[:QUICK_QUERIES])
    judged = {row["product_id"] for row in rewrite("judgments.csv", lambda row: row["query_id"] in kept)}
    rewrite("queries.csv", lambda row: row["query_id"] in kept)
    table = pq.read_table(store / "products.parquet")
    pq.write_table(
        table.filter(pc.is_in(table["product_id"], pc.cast(sorted(judged), "string"))), store / "products.parquet"
    )


def _judged(catalog: Catalog) -> dict[str, dict[str, int]]:
    """Return every judged query with a grade above 0."""
    texts = {query.query_id: query.text for query in catalog.queries()}
    found: dict[str, dict[str, int]] = {}
    for judgment in catalog.judgments():
        found.setdefault(texts[judgment.query_id], {})[judgment.product_id] = judgment.grade
    return {text: grades for text, grades in found.items() if max(grades.values()) > 0}


def _make(
    root: Path, source: Path, overrides: list[str], train: Mapping[str, Mapping[str, int]], options: Options
) -> None:
    from shortlist.building.job import build
    from shortlist.jobs.training import run_train_reranker

    storage.remove_folder(root)
    first, whole = root / "first-stage", root / "bundle"
    if not (first / "CURRENT").exists():
        build(load_config(BuildConfig, [*overrides, FAST]), source=source, out=first)
    catalog = open_catalog(load_config(BuildConfig, overrides).catalog, source)
    ids = {query.text: query.query_id for query in catalog.queries()}
    with (root / "train.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("query_id", "product_id", "grade"))
        rows.writerows(
            (ids[text], product_id, grade) for text, grades in train.items() for product_id, grade in grades.items()
        )
    small = ["trainer.layers=1", "trainer.max_per_grade=1"] if options.quick else []
    config = load_config(TrainRerankerConfig, [*overrides, *small, FAST])
    run_train_reranker(config, source=source, bundle=first, out=root / "reranker", judgments=root / "train.csv")
    (first / "CURRENT").parent.rename(whole)  # the vectors are there: only the version is made anew
    reranker = ["reranker=cross_encoder", f"reranker.model={root / 'reranker'}", f"reranker.weight={WEIGHT}"]
    build(load_config(BuildConfig, [*overrides, *reranker, FAST]), source=source, out=whole)
