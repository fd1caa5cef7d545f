"""What learned trees look at: numbers about one query's candidates, from both stages, the texts and the catalogue.

=====================  ================================================================================================
``first, first_rank``  first-stage score, standardised over the candidates, and its place from 1
``dense``              cosine; a candidate that was found by its words alone counts as the lowest of the others
``lexical``            BM25 score as a share of the highest; 0 where no word was found
``rerank``             cross-encoder score, raw: the expected gain where it was trained so
``rerank_z, _rank``    the same standardised over the candidates that it saw, and the place among them from 1
``title_words``        share of the query's distinct words that the title holds; so for brand, category, attributes and
                       all fields together (``words``)
``codes``              share of the query's words that may be model numbers which any field holds; 1 when it has none
``quantities``         share of its numbers with units which any field holds, however written; 1 when it has none
``price``              logarithm of (1 + price), less the median of the candidates'; 0 where unknown
``popularity``         logarithm of (1 + the column that says it); 0 where unknown
``query_words``        distinct words of the query
=====================  ================================================================================================

All are finite, and none but those of the cross-encoder depends on how many candidates it saw.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rerank.fusion import Doubles, standardised
from rerank.pairs import MAX_PRODUCT_CHARS
from retrieval.names import codes
from retrieval.quantities import quantities
from retrieval.records import Candidate, Product
from retrieval.words import WORDS_VERSION, words

RERANK = ("rerank", "rerank_z", "rerank_rank")
FIELDS = ("title", "brand", "category", "attributes")
FEATURES = (
    *("first", "first_rank", "dense", "lexical"),
    *RERANK,
    *(f"{'attribute' if field == 'attributes' else field}_words" for field in FIELDS),
    *("words", "codes", "quantities", "price", "popularity", "query_words"),
)
"""Columns in their order."""

MEANING = f"1, words {WORDS_VERSION}"
"""Changes with every change of what a feature means, so that trees learned from another meaning are refused."""


def fixed_features(
    query: str, candidates: Sequence[Candidate], products: Sequence[Product], *, popularity: str = ""
) -> Doubles:
    """Return the features of a query's candidates, those of the cross-encoder left at 0.

    Args:
        query: Normalised query.
        candidates: Best first.
        products: Theirs, in the same order.
        popularity: Attribute or kept column whose number says how popular a product is; empty for none.

    Returns:
        float64 [n, len(FEATURES)].
    """
    columns = {
        "first": standardised([candidate.score for candidate in candidates]),
        "first_rank": np.arange(1, len(candidates) + 1),
        "dense": _filled([candidate.sources.get("dense") for candidate in candidates]),
        "lexical": _shares([candidate.sources.get("lexical", 0.0) for candidate in candidates]),
        "price": _relative([product.price for product in products]),
        "popularity": np.array([_popularity(product, popularity) for product in products]),
    }
    rows = np.zeros((len(candidates), len(FEATURES)))
    for name, values in columns.items():
        rows[:, FEATURES.index(name)] = values
    covered = [name for name in FEATURES if name.endswith("words") or name in ("codes", "quantities")]
    places = [FEATURES.index(name) for name in covered]
    asked, measured = set(words(query)), quantities(query)
    for row, product in zip(rows, products, strict=True):
        found = _coverage(asked, measured, product)
        row[places] = [found[name] for name in covered]
    return rows


def with_rerank(fixed: Doubles, cross: npt.ArrayLike) -> Doubles:
    """Return the features of the first m candidates, given their raw cross-encoder scores, float64 [m, features].

    Raises:
        ValueError: If there are more scores than candidates, or one is not finite.
    """
    cross = np.asarray(cross, dtype=np.float64)
    if len(cross) > len(fixed):
        raise ValueError(f"{len(cross)} candidates were scored of {len(fixed)}")
    rows = fixed[: len(cross)].copy()
    ranks = np.empty(len(cross))
    ranks[np.argsort(-cross, kind="stable")] = np.arange(1, len(cross) + 1)
    for name, values in zip(RERANK, (cross, standardised(cross), ranks), strict=True):
        rows[:, FEATURES.index(name)] = values
    return rows


def number_of(product: Product, column: str) -> float | None:
    """Return an attribute or a kept column as a finite number; ``None`` where it is missing or none."""
    value = product.attributes.get(column, product.extra.get(column)) if column else None
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _coverage(asked: set[str], measured: set[tuple[str, str]], product: Product) -> dict[str, float]:
    texts = {
        "title": product.title,
        "brand": product.brand,
        "category": product.category,
        "attribute": " . ".join(f"{name} {value}" for name, value in product.attributes.items()),
    }
    description = product.description[:MAX_PRODUCT_CHARS]
    held = {name: asked & set(words(text)) for name, text in texts.items()}
    anywhere: set[str] = set().union(*held.values())
    if anywhere != asked:  # the longest text is read for what is missing elsewhere
        anywhere |= asked & set(words(description))
    every = " . ".join((*texts.values(), description)) if measured else ""
    named = codes(asked)
    count = max(1, len(asked))
    return {
        **{f"{name}_words": len(found) / count for name, found in held.items()},
        "words": len(anywhere) / count,
        "codes": len(anywhere & named) / len(named) if named else 1.0,
        "quantities": len(measured & quantities(every)) / len(measured) if measured else 1.0,
        "query_words": float(len(asked)),
    }


def _popularity(product: Product, column: str) -> float:
    return math.log1p(max(0.0, number_of(product, column) or 0.0))


def _filled(scores: Sequence[float | None]) -> Doubles:
    lowest = min((score for score in scores if score is not None), default=0.0)
    return np.array([lowest if score is None else score for score in scores], dtype=np.float64)


def _shares(scores: Sequence[float]) -> Doubles:
    highest = max(scores, default=0.0)
    return np.array(scores, dtype=np.float64) / (highest if highest > 0 else 1.0)


def _relative(prices: Sequence[float | None]) -> Doubles:
    known = [math.log1p(max(0.0, price)) for price in prices if price is not None and math.isfinite(price)]
    middle = float(np.median(known)) if known else 0.0
    return np.array(
        [
            0.0 if price is None or not math.isfinite(price) else math.log1p(max(0.0, price)) - middle
            for price in prices
        ],
        dtype=np.float64,
    )
