"""Queries to try a fresh index with: the catalogue's own, else the leading words of its titles.

Recall on real queries is lower than on product texts (the two towers' inputs differ), so titles are only the second
choice, and the manifest says which was used.
"""

from dataclasses import dataclass
from typing import TypeVar

from indexing.errors import InvalidQuery
from retrieval.catalog import Catalog
from retrieval.products import ProductTable
from retrieval.text import normalise_query

T = TypeVar("T")

TITLE_WORDS = 3
"""Shoppers type two to four words; the head of a title names brand and type."""


@dataclass(frozen=True, slots=True)
class QuerySample:
    """Query texts and where they came from."""

    texts: tuple[str, ...]
    origin: str


def sample_queries(catalog: Catalog, products: ProductTable, *, count: int) -> QuerySample:
    """Return up to ``count`` distinct query texts, evenly spread over what there is."""
    own = list(dict.fromkeys(query.text for query in catalog.queries()))
    if own:
        return QuerySample(tuple(_spread(own, count)), "the catalogue's queries")
    return title_queries(products, count=count)


def title_queries(products: ProductTable, *, count: int) -> QuerySample:
    """Return up to ``count`` distinct heads of titles, for want of real queries."""
    rows = _spread(list(range(products.count)), count)
    texts = (" ".join(products.get(row).title.split()[:TITLE_WORDS]) for row in rows)
    return QuerySample(tuple(dict.fromkeys(texts)), f"the first {TITLE_WORDS} words of titles")


def canary_queries(catalog: Catalog, products: ProductTable, *, count: int) -> tuple[str, ...]:
    """Return queries for the canary, normalised; those that a search would refuse are left out.

    There is always one, if only a letter.
    """
    texts = sample_queries(catalog, products, count=count).texts
    return tuple(dict.fromkeys(filter(None, map(_searchable, texts)))) or ("a",)


def _searchable(text: str) -> str:
    try:
        return normalise_query(text)
    except InvalidQuery:
        return ""


def _spread(values: list[T], count: int) -> list[T]:
    step = max(1, len(values) // count)
    return values[::step][:count]
