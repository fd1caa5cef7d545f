"""The stretches of a product's text, and how near each is to a query by the dual encoder.

A product has one vector for its whole text, which says that it is near a query and not what in it is. Encoded by
itself, each field, and each sentence of running text, has a nearness of its own.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from indexing.types import FloatMatrix, FloatVector
from retrieval.records import Product
from retrieval.text import TextTemplate

_WHOLE = ("title", "brand", "category", "price")
"""Fields that are names and numbers: a full stop in them ends no sentence."""

_SENTENCE_END = re.compile(r"(?<=[.!?;])\s+|(?<=[。！？；])|\n+")


@runtime_checkable
class ProductTower(Protocol):
    """What is needed of a dual encoder; a function that encodes queries alone does not have it."""

    def encode_products(self, texts: Sequence[str]) -> FloatMatrix:
        """Return the unit vectors of product texts, float32 [n, d]."""

    def read_chars(self, text: str) -> int:
        """Return how many characters of a product text are read before it is cut."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A field of a product, or a sentence of one.

    Attributes:
        field: As the text template names it; one attribute is ``attributes.<name>``.
        text: As the encoder reads it.
        cosine: To the query, in [-1, 1], the passage encoded by itself.
        is_read: Whether it lies within what the encoder reads of the whole text; what does not cannot be found by it.
    """

    field: str
    text: str
    cosine: float
    is_read: bool


def nearest_passages(
    tower: ProductTower, template: TextTemplate, product: Product, query: FloatVector
) -> tuple[Passage, ...]:
    """Split the text of a product and bring the passages nearest to a query to the front.

    Args:
        tower: Encodes the passages as products.
        template: Renders the product.
        product: The product.
        query: The query's unit vector, float32 [d].

    Returns:
        Every passage, nearest first, equal ones in the order of the text; empty for a product without text.
    """
    text = template.render(product)
    spans = [
        (field, first, end)
        for field, start, stop in template.parts(product)
        for first, end in _split(field, text, start, stop)
    ]
    if not spans:
        return ()
    cosines = tower.encode_products([text[first:end] for _, first, end in spans]) @ query
    read = tower.read_chars(text)
    order = np.argsort(-cosines, kind="stable")
    found = [(spans[place], float(cosines[place])) for place in order.tolist()]
    return tuple(Passage(field, text[first:end], cosine, first < read) for (field, first, end), cosine in found)


def _split(field: str, text: str, start: int, stop: int) -> list[tuple[int, int]]:
    """Cut one part of a text into sentences: first character and the one after the last, white space left out."""
    if field in _WHOLE or field.startswith("attributes."):
        return [(start, stop)]
    cuts = [(found.start(), found.end()) for found in _SENTENCE_END.finditer(text, start, stop)]
    edges = [start, *(edge for cut in cuts for edge in cut), stop]
    return [(first, end) for first, end in zip(edges[::2], edges[1::2], strict=True) if text[first:end].strip()]
