"""A catalogue written as a BEIR folder, which most retrieval tools read: ``catalog=beir`` reads it back.

::

    corpus.jsonl         {"_id", "title", "text": the description, "metadata": brand, category, price, attributes, ...}
    queries.jsonl        {"_id", "text"}
    qrels/<split>.tsv    query-id, corpus-id, score, tab-separated, with this header

Source: the layout of github.com/beir-cellar/beir, wiki page "Load your custom dataset".
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexing import storage
from indexing.errors import ConfigError, SourceDataError
from retrieval.catalog import Catalog
from retrieval.records import Judgment, Product
from shortlist.evaluation.checks import check_ids

DEFAULT_SPLIT = "test"
"""Where judgments of a source without splits go; what BEIR's own loader reads when nobody names one."""

_LINES = 4096  # lines per write: a few MB


@dataclass(frozen=True, slots=True)
class BeirReport:
    """What was written.

    Attributes:
        folder: Where it lies.
        products: Lines of the corpus.
        queries: Lines of the queries.
        judgments: Split -> judgments.
        outside: Judgments of products that the catalogue does not hold; written, since BEIR allows them.
    """

    folder: str
    products: int
    queries: int
    judgments: dict[str, int]
    outside: int


def write_beir(catalog: Catalog, folder: Path) -> BeirReport:
    """Write products, queries and judgments of a catalogue; the folder appears whole or not at all.

    Args:
        catalog: Where they come from; its configured split is kept.
        folder: Must not exist.

    Raises:
        ConfigError: If the folder exists.
        SourceDataError: If the source breaks its contract, or an id holds white space.
        StorageError: If the file system refuses.
    """
    if folder.exists():
        raise ConfigError(f"{folder} exists; name a new folder with --out DIR")
    staging = folder.with_name(f".{folder.name}.staging")
    storage.remove_folder(staging)
    storage.make_folder(staging / "qrels")
    try:
        report = _write(catalog, staging, folder)
        storage.publish_folder(staging, folder)
    except BaseException:
        storage.remove_folder(staging)
        raise
    return report


def _write(catalog: Catalog, staging: Path, folder: Path) -> BeirReport:
    held: set[str] = set()

    def corpus() -> Iterator[dict[str, Any]]:
        for batch in catalog.products():
            for product in batch.products:
                held.add(product.product_id)
                yield _document(product)

    _write_lines(staging / "corpus.jsonl", map(_json_line, corpus()))
    queries = catalog.queries()
    check_ids((query.query_id for query in queries), "query", catalog.name)
    records = ({"_id": query.query_id, "text": query.text} for query in queries)
    _write_lines(staging / "queries.jsonl", map(_json_line, records))
    by_split = _by_split(catalog)
    for split, judgments in by_split.items():
        header = "query-id\tcorpus-id\tscore\n"
        rows = (f"{found.query_id}\t{found.product_id}\t{found.grade}\n" for found in judgments)
        _write_lines(staging / "qrels" / f"{split}.tsv", [header, *rows])
    return BeirReport(
        folder=str(folder),
        products=len(held),
        queries=len(queries),
        judgments={split: len(judgments) for split, judgments in by_split.items()},
        outside=sum(found.product_id not in held for judgments in by_split.values() for found in judgments),
    )


def _document(product: Product) -> dict[str, Any]:
    check_ids([product.product_id], "product", "corpus")
    facts = {
        "brand": product.brand,
        "category": product.category,
        "price": product.price,
        "attributes": dict(product.attributes),
        **product.extra,
    }
    known = {name: value for name, value in facts.items() if value not in (None, "", {})}
    return {"_id": product.product_id, "title": product.title, "text": product.description, "metadata": known}


def _by_split(catalog: Catalog) -> dict[str, list[Judgment]]:
    splits = catalog.splits()
    found: dict[str, list[Judgment]] = {}
    for judgment in catalog.judgments():
        split = splits.get(judgment.query_id, DEFAULT_SPLIT)
        if "/" in split or split.startswith("."):
            raise SourceDataError(f"a split becomes a file name, got {split!r} (query {judgment.query_id!r})")
        found.setdefault(split, []).append(judgment)
    return found


def _json_line(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n"


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    with storage.writer(path) as file:
        held: list[str] = []
        for line in lines:
            held.append(line)
            if len(held) == _LINES:
                file.write("".join(held).encode())
                held.clear()
        file.write("".join(held).encode())
