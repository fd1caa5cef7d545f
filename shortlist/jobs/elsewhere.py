"""Queries for what a shop does not sell, made of queries for what it does.

What sets the products of a query apart from all others, usually the kind of thing that is asked for, is replaced by a
word of the encoder's own vocabulary that neither a product nor a query of the shop holds: ``blue garden chair`` becomes
``blue garden violin``. A model number becomes another one that does not exist. So no other shop and no label is needed,
and the word means something to the encoder.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from retrieval.records import Product
from retrieval.words import words

SHARED = 0.8
"""A word of the query that so large a share of its graded products holds says what kind of thing they are."""

SHORTEST = 4
"""Letters of a foreign word: shorter ones of a vocabulary are seldom things."""


TRIES = 20
"""Numbers drawn in search of one that does not exist."""


class Elsewhere:
    """Makes such queries; the same for the same query and seed."""

    def __init__(
        self, vocabulary: Iterable[str], products: Iterable[Product], queries: Iterable[str], *, seed: int
    ) -> None:
        """Find the words that are foreign to a shop.

        Args:
            vocabulary: Words that the encoder knows as wholes.
            products: Of the shop.
            queries: Of its shoppers.
            seed: Draws.
        """
        known = {word for product in products for word in words(_text(product))}
        known |= {word for query in queries for word in words(query)}
        self._known = known
        self._foreign = sorted(
            {word for word in vocabulary if len(word) >= SHORTEST and word.isascii() and word.isalpha()} - known
        )
        self._seed = seed

    def query(self, text: str, graded: Sequence[Product]) -> str | None:
        """Return a query like ``text`` for something that the shop does not have.

        Args:
            text: A normalised query.
            graded: Its products of a grade above 0.

        Returns:
            ``None`` where no word of the query is shared by its products, or no foreign word is known.
        """
        asked, held = text.split(), [set(words(_text(product))) for product in graded]
        shared = [
            place
            for place, word in enumerate(asked)
            if graded and sum(_holds(holder, word) for holder in held) >= SHARED * len(held)
        ]
        rng = np.random.default_rng([self._seed, *text.encode("utf-8", "replace")])
        other = self._other(asked[shared[0]], rng) if shared else None
        if other is None:
            return None
        asked[shared[0]] = other
        return " ".join(word for place, word in enumerate(asked) if place not in shared[1:])

    def _other(self, word: str, rng: np.random.Generator) -> str | None:
        if any(sign.isdigit() for sign in word):
            for _ in range(TRIES):
                number = "".join(str(rng.integers(10)) if sign.isdigit() else sign for sign in word)
                if not self._known.issuperset(words(number)):
                    return number
            return None
        return self._foreign[int(rng.integers(len(self._foreign)))] if self._foreign else None


def _holds(holder: set[str], word: str) -> bool:
    parts = words(word)
    return bool(parts) and all(part in holder for part in parts)


def _text(product: Product) -> str:
    stated = " ".join(f"{name} {value}" for name, value in (product.attributes or {}).items())
    return " ".join((product.title, product.brand, product.category, product.description, stated))
