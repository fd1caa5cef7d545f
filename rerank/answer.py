"""What the first hits of an answer show together, as numbers: whether a good match is among them is read off these.

No single one of them tells. A cosine or a BM25 score is high where the query is short; a shopper's word that no product
holds may be a synonym or a thing that the shop does not sell; a cross-encoder is sure of a wrong brand, which is why
names are looked at by themselves (`retrieval.names`). So they are weighed together (`rerank.abstention`), and each is
such that it means the same for every query and every catalogue.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from rerank.logistic import Values
from retrieval.names import Brands, bears, bears_code, codes
from retrieval.words import parts, words

LOOKED_AT = 10
"""Hits that are looked at: what a shopper sees first."""

FIRST_STAGE = (
    *("dense_best", "dense_mean", "words_best", "words_any"),
    *("brand_best", "brand_first", "codes_best", "codes_first"),
)
"""Features of every answer; those of an answer that was reranked have `RERANKED` too."""

EARLIER = ("codes_any",)
"""Features that models learned before makers were looked at; computed for the bundles that have them."""

RERANKED = ("rerank_best", "rerank_mean", "rerank_gap")


_Name = TypeVar("_Name")


@dataclass(frozen=True, slots=True)
class Shown:
    """One hit of an answer.

    Attributes:
        stages: Score of every stage that saw it.
        text: The product's text, as the cross-encoder reads it.
        brand: The product's maker, which that text may leave out; empty when unknown.
    """

    stages: Mapping[str, float]
    text: str
    brand: str = ""


def answer_features(query: str, shown: Sequence[Shown], brands: Brands) -> dict[str, float]:
    """Return the features of an answer by name: those of `FIRST_STAGE` and `EARLIER`, and `RERANKED` where it was.

    =====================  ============================================================================================
    ``dense_best, _mean``  highest and mean cosine; a hit that was found by its words alone counts as the lowest cosine
    ``words_best``         largest share of the query's words that one hit holds
    ``words_any``          share of the query's words that some hit holds
    ``brand_best``         largest share of the makers asked for that one hit bears; 1 when the query names none
    ``brand_first``        the same of the first hit
    ``codes_best, _first`` the same two of model numbers
    ``codes_any``          share of the words that may be model numbers which some hit holds; 1 when there are none
    ``rerank_best, _mean`` highest and mean score of the cross-encoder
    ``rerank_gap``         how far the highest lies above the mean, in standard deviations; 0 when all are alike
    =====================  ============================================================================================

    Args:
        query: Normalised query.
        shown: The hits, best first; those after the first `LOOKED_AT` do not matter.
        brands: The makers that the catalogue knows.

    Returns:
        Finite numbers; for no hits or no words, what an answer without any likeness has (0).
    """
    first = shown[:LOOKED_AT]
    in_order = words(query)
    asked = set(in_order)
    texts = [words(hit.text) for hit in first]
    held = [asked & set(text) for text in texts]
    anywhere: set[str] = set().union(*held)
    numbers = codes(asked)
    dense = _filled([hit.stages.get("dense") for hit in first])
    found = {
        "dense_best": float(dense.max()),
        "dense_mean": float(dense.mean()),
        "words_best": max(map(len, held), default=0) / max(1, len(asked)),
        "words_any": len(anywhere) / max(1, len(asked)),
        **_names("brand", brands.asked(in_order), lambda: list(map(_with_brand, texts, first)), bears),
        "codes_any": len(anywhere & numbers) / len(numbers) if numbers else 1.0,
        **_names("codes", numbers, lambda: [parts(hit.text) for hit in first], bears_code),
    }
    if first and all("rerank" in hit.stages for hit in first):
        scores = np.array([hit.stages["rerank"] for hit in first], np.float64)
        best, mean, spread = float(scores.max()), float(scores.mean()), float(scores.std())
        gap = (best - mean) / spread if best > mean else 0.0
        found |= {"rerank_best": best, "rerank_mean": mean, "rerank_gap": gap}
    return found


def _names(
    kind: str,
    asked: set[_Name],
    hits: Callable[[], list[list[str]]],
    is_borne: Callable[[Sequence[str], _Name], bool],
) -> dict[str, float]:
    """Return the largest share of the names that one hit bears, and that of the first hit; most queries name none."""
    shares = [sum(is_borne(hit, name) for name in asked) / len(asked) for hit in hits()] if asked else [1.0]
    return {f"{kind}_best": max(shares, default=0.0), f"{kind}_first": next(iter(shares), 0.0)}


def _with_brand(text: list[str], hit: Shown) -> list[str]:
    return [*text, "", *words(hit.brand)]  # no word is empty, so no name reaches across


def _filled(scores: Sequence[float | None]) -> Values:
    """Return scores with the lowest in place of what is missing; a 0 when all are."""
    there = [score for score in scores if score is not None]
    lowest = min(there, default=0.0)
    return np.array([lowest if score is None else score for score in scores] or [0.0], np.float64)
