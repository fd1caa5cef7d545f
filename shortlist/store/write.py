"""Write the store as files that the tabular catalogue reader takes: products, queries, judgments, splits."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from indexing import storage
from shortlist.store.judgments import StoreJudgment, judge
from shortlist.store.listings import Listing
from shortlist.store.queries import StoreQuery, make_queries
from shortlist.store.shop import open_shop
from shortlist.store.splits import SPLITS, read_splits


@dataclass(frozen=True, slots=True)
class StoreReport:
    """What was written.

    Attributes:
        folder: Where.
        products: Rows of ``products.parquet``.
        types: Product types.
        brands: Brands.
        variant_groups: Makes; the variants of one share a group.
        queries: Split -> queries.
        judgments: Grade -> rows of ``judgments.csv``.
        files: File name -> SHA-256.
    """

    folder: Path
    products: int
    types: int
    brands: int
    variant_groups: int
    queries: dict[str, int]
    judgments: dict[int, int]
    files: dict[str, str]


def write_store(folder: Path, *, seed: int = 7) -> StoreReport:
    """Write the built-in store into a folder, over the files of an earlier one; the same bytes for the same seed.

    ``products.parquet`` (its bytes also depend on the version of pyarrow), ``queries.csv``, ``judgments.csv`` (complete
    above grade 0, with near misses of grade 0; a pair that is not listed has grade 0) and ``splits.csv``.

    Args:
        folder: Made if it does not exist.
        seed: Draws makes, variants and queries. The splits do not depend on it: they are frozen in ``splits.json``.

    Raises:
        StorageError: If a file cannot be written.
    """
    shop = open_shop(seed)
    queries = make_queries(shop, read_splits(), seed)
    judgments = [judgment for query in queries for judgment in judge(query, shop, seed)]
    contents = {
        "products.parquet": _parquet(shop.listings),
        "queries.csv": _queries_csv(queries),
        "judgments.csv": _judgments_csv(judgments),
        "splits.csv": _csv(("query_id", "split"), ((query.query_id, query.split) for query in queries)),
    }
    storage.make_folder(folder)
    files = {name: storage.replace_bytes(folder / name, content).sha256 for name, content in contents.items()}
    sizes = Counter(query.split for query in queries)
    return StoreReport(
        folder=folder,
        products=len(shop.listings),
        types=len(shop.types),
        brands=len(shop.of_brand),
        variant_groups=len({listing.variant_group for listing in shop.listings}),
        queries={split: sizes[split] for split in SPLITS},
        judgments=dict(sorted(Counter(judgment.grade for judgment in judgments).items())),
        files=files,
    )


def _parquet(listings: Sequence[Listing]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = ("product_id", "title", "description", "brand", "price", "variant_group", "stock")
    table = pa.table({name: [getattr(listing, name) for listing in listings] for name in columns})
    categories = [f"{listing.department} > {listing.type}" for listing in listings]
    attributes = pa.array([list(_attributes(x).items()) for x in listings], pa.map_(pa.string(), pa.string()))
    table = table.add_column(4, "category", pa.array(categories)).append_column("attributes", attributes)
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def _attributes(listing: Listing) -> dict[str, str]:
    """Return the listing's facts in the house language, as the shop's own data sheet has them."""
    named = {"model": listing.model, "fits": listing.fits}
    facets = {facet: term.house for facet, term in listing.facets.items()}
    return {**{name: value for name, value in named.items() if value}, **facets}


def _queries_csv(queries: Sequence[StoreQuery]) -> bytes:
    header = ("query_id", "text", "template", "synonym_group", "kind", "answerable")
    return _csv(
        header, ((q.query_id, q.text, q.template, q.synonym_group, q.kind, str(q.answerable).lower()) for q in queries)
    )


def _judgments_csv(judgments: Iterable[StoreJudgment]) -> bytes:
    return _csv(("query_id", "product_id", "grade"), ((j.query_id, j.product_id, j.grade) for j in judgments))


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()
