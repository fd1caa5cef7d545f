"""Product texts with fields left out, so that an encoder learns to do without those that a new product lacks."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from retrieval.config import TextConfig
from retrieval.records import Product
from retrieval.text import TextTemplate

DROPPED: Mapping[str, float] = {"attributes": 0.3, "description": 0.3, "category": 0.15, "brand": 0.15}
"""Share of renderings without a field, each attribute by itself; the title always stays. Chosen by how often catalogues
lack them, not measured; a recipe that uses them measures what they are worth."""


def renderings(
    products: Iterable[Product], config: TextConfig, *, copies: int = 4, seed: int = 7
) -> dict[str, tuple[str, ...]]:
    """Return product_id -> its texts with fields left out, distinct and none of them the whole text.

    Args:
        products: Products to render.
        config: The text template.
        copies: Renderings drawn per product; equal ones count once, so a product of a title alone has none.
        seed: Draws, together with the place of the product.
    """
    template = TextTemplate(config)
    found: dict[str, tuple[str, ...]] = {}
    for number, product in enumerate(products):
        rng = np.random.default_rng([seed, number])
        texts = dict.fromkeys(template.render(_dropped(product, rng)) for _ in range(copies))
        texts.pop(template.render(product), None)
        if texts:
            found[product.product_id] = tuple(texts)
    return found


def _dropped(product: Product, rng: np.random.Generator) -> Product:
    """Return a product without the fields that chance takes."""
    kept = {name: value for name, value in product.attributes.items() if rng.random() >= DROPPED["attributes"]}
    lost = {name: rng.random() < DROPPED[name] for name in ("description", "category", "brand")}
    return replace(
        product,
        attributes=kept,
        description="" if lost["description"] else product.description,
        category="" if lost["category"] else product.category,
        brand="" if lost["brand"] else product.brand,
    )
