"""What an evaluation needs to know of the catalogue: which products there are, their titles, brands and words."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from indexing.errors import ConfigError
from retrieval.records import Product
from retrieval.suggestions import did_you_mean
from retrieval.words import words

_BATCH = 65536  # rows of four short columns: some 10 MB at a time


@dataclass(frozen=True, kw_only=True, slots=True)
class CatalogueFacts:
    """A catalogue, as far as an evaluation looks at it.

    Attributes:
        product_ids: Every product there is.
        titles: product_id -> title, of the judged products.
        categories: product_id -> category, of those judged products that have one.
        popularity: product_id -> number, of those judged products that have one; empty when none was asked for.
        brands: The words of every brand name.
        vocabulary: Every word that a query could match.
    """

    product_ids: Collection[str]
    titles: Mapping[str, str] = field(default_factory=dict)
    categories: Mapping[str, str] = field(default_factory=dict)
    popularity: Mapping[str, float] = field(default_factory=dict)
    brands: Collection[tuple[str, ...]] = ()
    vocabulary: Collection[str] = ()


def collect_facts(
    products: Iterable[Product],
    judged: Collection[str],
    *,
    popularity: str = "",
    vocabulary: Collection[str] | None = None,
) -> CatalogueFacts:
    """Read a catalogue once.

    Args:
        products: All of them.
        judged: Ids of the products whose titles are wanted.
        popularity: Name of the extra column that says how popular a product is; empty for none.
        vocabulary: The words of the catalogue, when somebody has them already; ``None`` collects those of titles,
            brands, categories and descriptions.

    Raises:
        ConfigError: If ``popularity`` is given and no judged product has a number there.
    """
    ids, collected, brands = set[str](), set[str](), set[str]()
    titles, categories, popular = dict[str, str](), dict[str, str](), dict[str, float]()
    for product in products:
        ids.add(product.product_id)
        brands.add(product.brand)
        if vocabulary is None:
            collected.update(words(" ".join((product.title, product.brand, product.category, product.description))))
        if product.product_id in judged:
            titles[product.product_id] = product.title
            if product.category:
                categories[product.product_id] = product.category
            value = product.extra.get(popularity)
            if isinstance(value, int | float) and not isinstance(value, bool):
                popular[product.product_id] = float(value)
    if popularity and not popular:
        raise ConfigError(f"popularity={popularity!r}: no judged product has a number in that column")
    return CatalogueFacts(
        product_ids=ids,
        titles=titles,
        categories=categories,
        popularity=popular,
        brands={tuple(words(brand)) for brand in brands if _tells(brand)},
        vocabulary=collected if vocabulary is None else vocabulary,
    )


def _tells(brand: str) -> bool:
    """Tell whether a brand can be recognised in a query: a single character, or a number, stands for much else."""
    named = words(brand)
    return bool(named) and not (len(named) == 1 and (len(named[0]) < 2 or named[0].isdigit()))


def stored_products(path: Path, *, extra: str = "") -> Iterator[Product]:
    """Stream id, title, brand and category of a bundle's products file, and one extra column.

    Raises:
        ConfigError: If there is no such extra column.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        columns = file.schema_arrow.names
        if extra and extra not in columns:
            hint = did_you_mean(extra, columns)
            raise ConfigError(f"popularity={extra!r} is no column of the bundle{hint} (kept: {', '.join(columns)})")
        wanted = ["product_id", "title", "brand", "category", *([extra] if extra else [])]
        for batch in file.iter_batches(batch_size=_BATCH, columns=wanted):
            for row in batch.to_pylist():
                yield Product(
                    product_id=row["product_id"],
                    title=row["title"],
                    brand=row["brand"] or "",
                    category=row["category"] or "",
                    extra={extra: row[extra]} if extra else {},
                )
