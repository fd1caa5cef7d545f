"""Real embeddings and as many made from them as are wanted, by a stated recipe; real queries to search for.

The embeddings are all-MiniLM-L6-v2's of every Home Depot title and every Icecat text, encoded once and kept in the work
folder. ``catalogue`` makes further vectors where more are wanted: each lies among the nearest neighbours of a real one.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from indexing.types import FloatMatrix
from retrieval.catalog import open_catalog
from retrieval.text import TextTemplate
from shortlist.compose import load_config
from shortlist.config import BuildConfig
from tools.bench.speed.records import Options

SETS = ("homedepot", "icecat")
NEIGHBOURS = 8
RECIPE = (
    "vectors: the distinct MiniLM embeddings of 54,667 Home Depot titles and 19,406 Icecat texts, then as many made "
    f"from them as are missing: a real vector and its {NEIGHBOURS} nearest are mixed with Dirichlet(1) weights, a "
    "normal draw with the covariance of the nine about their mean is added, and the sum is scaled to unit length; in a "
    "random order"
)
_BLOCK = 4096


@dataclass(frozen=True, slots=True)
class Embedded:
    """What is searched, and for what.

    Attributes:
        vectors: float32 [n, d], unit length.
        tuning: Queries to choose operating points with (Home Depot, train), float32 [q, d].
        scoring: Queries to measure with (Home Depot, dev), float32 [q, d].
        facts: How they came about.
    """

    vectors: FloatMatrix
    tuning: FloatMatrix
    scoring: FloatMatrix
    facts: dict[str, Any]


def catalogue(options: Options, count: int, *, tuning: int = 500, scoring: int = 500) -> Embedded:
    """Return ``count`` vectors and real queries, the same for the same seed.

    Raises:
        FileNotFoundError: If the development data is not there.
    """
    parts = [_kept(options, name) for name in SETS]
    real = np.unique(np.concatenate([products for products, _, _ in parts]), axis=0)
    generator = np.random.default_rng(options.seed)
    real = real[generator.permutation(len(real))]
    vectors = real[:count] if count <= len(real) else np.concatenate([real, _made(real, count - len(real), generator)])
    vectors = np.ascontiguousarray(vectors[generator.permutation(len(vectors))])
    _, queries, texts = parts[0]
    is_dev = np.array([int(hashlib.md5(text.encode()).hexdigest(), 16) % 10 == 0 for text in texts])
    train, dev = (generator.permutation(np.flatnonzero(side)) for side in (~is_dev, is_dev))
    facts = {"recipe": RECIPE, "real": len(real), "count": count, "seed": options.seed}
    return Embedded(vectors, queries[train[:tuning]], queries[dev[:scoring]], facts)


def _made(real: FloatMatrix, count: int, generator: np.random.Generator) -> FloatMatrix:
    """Make further vectors by the recipe."""
    import faiss

    graph: Any = faiss.IndexHNSWFlat(real.shape[1], 16, faiss.METRIC_INNER_PRODUCT)
    graph.add(real)
    graph.hnsw.efSearch = 64
    made = np.empty((count, real.shape[1]), dtype=np.float32)
    for first in range(0, count, _BLOCK):
        chosen = generator.integers(0, len(real), min(_BLOCK, count - first))
        _, near = graph.search(real[chosen], NEIGHBOURS + 1)
        around = real[near]  # [b, 9, d]
        weights = generator.dirichlet(np.ones(NEIGHBOURS + 1), len(chosen)).astype(np.float32)
        noise = generator.standard_normal((len(chosen), NEIGHBOURS + 1), dtype=np.float32) / np.sqrt(NEIGHBOURS)
        centred = around - around.mean(axis=1, keepdims=True)
        rows = np.einsum("bn,bnd->bd", weights, around) + np.einsum("bn,bnd->bd", noise, centred)
        made[first : first + len(chosen)] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return made


def _kept(options: Options, name: str) -> tuple[FloatMatrix, FloatMatrix, list[str]]:
    """Return products' and queries' vectors and the queries' texts, encoding them when nobody has."""
    folder = options.work / "embeddings"
    files = [folder / f"{name}_{part}" for part in ("products.npy", "queries.npy", "query_texts.json")]
    if not all(path.is_file() for path in files):
        _encode(options, name, folder)
    texts: list[str] = json.loads(files[2].read_text(encoding="utf-8"))
    return np.load(files[0]), np.load(files[1]), texts


def _encode(options: Options, name: str, folder: Path) -> None:
    from retrieval.encoder import DualEncoder

    if not (options.data / name).is_dir():
        raise FileNotFoundError(f"expected the development data in {options.data / name} (--data)")
    folder.mkdir(parents=True, exist_ok=True)
    config = load_config(BuildConfig, [f"catalog={name}", "runtime=default", f"runtime.threads={options.threads}"])
    catalog, template = open_catalog(config.catalog, options.data / name), TextTemplate(config.text)
    encoder = DualEncoder.open(config.encoder, config.runtime)
    texts = [query.text for query in catalog.queries()]
    np.save(folder / f"{name}_queries.npy", encoder.encode_queries(texts))
    products = [template.render(product) for batch in catalog.products() for product in batch.products]
    np.save(folder / f"{name}_products.npy", encoder.encode_products(products))
    (folder / f"{name}_query_texts.json").write_text(json.dumps(texts), encoding="utf-8")
