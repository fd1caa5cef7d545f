"""What can be done to a search: misspelt queries, products that repeat the query, products that name another brand.

Queries are attacked by accident, products on purpose. Nothing here trains; it makes the inputs of a report.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from retrieval.noise import misspell, rewrite_unit
from retrieval.records import Product, Query

STUFFED = "stuffed:"
SWAPPED = "swapped:"
"""Starts of the ids of products that an attack adds; no judgment knows them, so they earn nothing."""


def misspelt(queries: Sequence[Query], *, edits: int, seed: int) -> list[Query]:
    """Return the same queries with so many single-letter edits each, drawn with the seed and the place."""
    return [
        replace(query, text=misspell(query.text, np.random.default_rng([seed, number]), edits=edits))
        for number, query in enumerate(queries)
    ]


def other_units(queries: Sequence[Query], *, seed: int) -> list[Query]:
    """Return the same queries with one unit in another form, where there is one."""
    return [
        replace(query, text=rewrite_unit(query.text, np.random.default_rng([seed, number])))
        for number, query in enumerate(queries)
    ]


def stuffed(queries: Sequence[Query], products: Sequence[Product], *, seed: int) -> list[Product]:
    """Return one product per query whose title repeats the query twice around the title of another, random product."""
    rng = np.random.default_rng(seed)
    found = []
    for number, query in enumerate(queries):
        victim = products[int(rng.integers(len(products)))]
        title = f"{query.text} {victim.title} {query.text}"
        found.append(replace(victim, product_id=f"{STUFFED}{number}", title=title))
    return found


def brand_swapped(
    good: Sequence[Sequence[str]], products: Mapping[str, Product], *, seed: int
) -> tuple[list[Product], list[int]]:
    """Return copies of good products under another brand, and for each the number of the query it is meant to fool.

    Args:
        good: Per query, ids of its good products; the first with a brand in its title is copied.
        products: product_id -> product.
        seed: Draws the other brand out of those of the catalogue.
    """
    rng = np.random.default_rng(seed)
    brands = sorted({product.brand for product in products.values() if product.brand})
    copies, fooled = [], []
    for number, names in enumerate(good):
        for name in names:
            product = products.get(name)
            if product is None or not product.brand or product.brand.lower() not in product.title.lower():
                continue
            others = [brand for brand in brands if brand.lower() != product.brand.lower()]
            if others:
                other = others[int(rng.integers(len(others)))]
                at = product.title.lower().index(product.brand.lower())
                title = product.title[:at] + other + product.title[at + len(product.brand) :]
                copies.append(replace(product, product_id=f"{SWAPPED}{number}", title=title, brand=other))
                fooled.append(number)
                break
    return copies, fooled
