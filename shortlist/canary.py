"""The canary of a bundle: what a version must answer, stored when it was built and asked whenever it is opened.

A digest proves that files are unchanged; the canary proves that what they compute is. Another library version, another
precision or another processor may move a score a little, and must not move it out of the stored tolerance; an index, a
table or a model that does not belong to the others answers something else.

Stored are a few queries with their vectors, the first ten products of each by vector, by words and fused, a digest of
the fields of these products, and the cross-encoder's score of a few pairs. The searches start from the stored vectors,
so that they do not depend on who encodes.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from indexing import storage
from indexing.errors import ArtifactCorrupt, FingerprintMismatch, ShortlistError
from indexing.storage import FileDigest
from indexing.types import FloatMatrix, FloatVector
from retrieval.products import ProductTable
from retrieval.records import Candidate
from retrieval.retriever import Retriever
from retrieval.text import TextTemplate

FORMAT = 1

Encode = Callable[[Sequence[str]], FloatMatrix]
"""Query texts -> float32 [n, d] of unit length."""

Score = Callable[[str, Sequence[str]], FloatVector]
"""Query and product texts -> raw scores of the cross-encoder, float32 [n]."""

DEPTH = 10
"""Products stored per search: what a shopper sees first."""

APPROXIMATE_OVERLAP = 0.9
"""Share of the stored products that an approximate index must find again: its search follows sums that another
processor takes in another order, and a product at the edge may be one that it does not meet there."""

PAIR_QUERIES = 4
"""Queries whose pairs are scored: eight pairs, one batch."""

TOLERANCES = {"dense": 1e-5, "lexical": 1e-5, "fused": 1e-4}
"""Largest difference of a score, relative to scores above 1. Sums in another order differ by 1e-7; standardising a list
of nearly equal cosines before fusing makes up to a hundred times that of it."""

LOOSE_FUSED = 0.05
"""The same for fused scores over an approximate index: one candidate more or less moves every standardised score."""


@dataclass(frozen=True, slots=True)
class Found:
    """One search: product ids, best first, and their scores, float32 [n]."""

    product_ids: tuple[str, ...]
    scores: FloatVector

    @classmethod
    def of(cls, candidates: Sequence[Candidate]) -> "Found":
        """Keep ids and scores of candidates."""
        scores = np.array([candidate.score for candidate in candidates], dtype=np.float32)
        return cls(tuple(candidate.product_id for candidate in candidates), scores)

    def decided(self, tolerance: float) -> set[str]:
        """Return the products that are in the list for certain: all, unless they tie with where it was cut."""
        if len(self.product_ids) < DEPTH:
            return set(self.product_ids)
        cut = self.scores[-1] + _slack(float(self.scores[-1]), tolerance)
        return {product_id for product_id, score in zip(self.product_ids, self.scores, strict=True) if score > cut}


@dataclass(frozen=True, slots=True)
class Pair:
    """A query and a product, with the cross-encoder's raw score."""

    query: str
    product_id: str
    score: float


@dataclass(frozen=True, slots=True)
class Canary:
    """What a version answered when it was built.

    Attributes:
        queries: Query texts, normalised.
        vectors: Their vectors, float32 [q, d].
        searches: ``dense``, ``lexical`` and ``fused`` -> one search per query.
        products: product_id -> digest of its fields, for every product in the searches.
        pairs: Scored pairs; none without a cross-encoder.
    """

    queries: tuple[str, ...]
    vectors: FloatMatrix
    searches: Mapping[str, tuple[Found, ...]]
    products: Mapping[str, str]
    pairs: tuple[Pair, ...] = ()


def record_canary(
    queries: Sequence[str],
    vectors: FloatMatrix,
    retriever: Retriever,
    products: ProductTable,
    *,
    template: TextTemplate,
    score: Score | None,
) -> Canary:
    """Ask a version that has just been built.

    Args:
        queries: Normalised texts, at least one.
        vectors: Their vectors, float32 [q, d].
        retriever: The first stage.
        products: The products it returns.
        template: Renders a product for the cross-encoder.
        score: The cross-encoder; ``None`` for none.
    """
    searches = _searches(queries, vectors, retriever)
    found = {product_id for searched in searches.values() for search in searched for product_id in search.product_ids}
    pairs: list[Pair] = []
    if score is not None:
        for query, product_ids in _pairs(queries, searches["dense"]):
            scores = _scores(score, query, product_ids, products, template)
            pairs += [Pair(query, *scored) for scored in zip(product_ids, scores, strict=True)]
    digests = {product_id: product_digest(products, product_id) for product_id in sorted(found)}
    return Canary(tuple(queries), vectors, searches, digests, tuple(pairs))


def check_tower(canary: Canary, encode: Encode, *, cosine: float) -> float:
    """Encode the stored queries again and return the smallest cosine to the stored vectors.

    Args:
        canary: Of the version.
        encode: The query tower that will serve.
        cosine: Smallest cosine that counts as the same vector.

    Raises:
        FingerprintMismatch: Another dimension, or a cosine below ``cosine``.
    """
    try:
        vectors = encode(list(canary.queries))
    except ShortlistError:
        raise
    except Exception as error:  # a vocabulary and a network that do not fit, for one: libraries have no error for that
        raise FingerprintMismatch(
            f"the query tower cannot encode the bundle's stored queries: {type(error).__name__}: {str(error)[:200]}; "
            "open the bundle with the encoder it was built with, or rebuild"
        ) from error
    if vectors.shape != canary.vectors.shape:
        raise FingerprintMismatch(
            f"the query tower gives vectors of {vectors.shape[1]} dimensions, the index has {canary.vectors.shape[1]}; "
            "open the bundle with the encoder it was built with, or rebuild"
        )
    smallest = float(np.min(np.sum(vectors * canary.vectors, axis=1)))
    if not smallest >= cosine:
        raise FingerprintMismatch(
            f"the query tower does not reproduce the bundle's stored queries: smallest cosine {smallest:.6f}, at "
            f"least {cosine} "
            "expected; open the bundle with the encoder and precision it was built with, or rebuild"
        )
    return smallest


def check_first_stage(canary: Canary, retriever: Retriever, products: ProductTable, *, overlap: float) -> int:
    """Search for the stored queries again and return how many searches were compared.

    Args:
        canary: Of the version.
        retriever: The first stage that will serve.
        products: Its products.
        overlap: Smallest share of the stored products that must be found again: 1 for an exact index, where every
            score must agree as well.

    Raises:
        ArtifactCorrupt: Another product, another score, or other fields of a product; the message names the search.
    """
    for product_id, digest in canary.products.items():
        if product_id not in products or product_digest(products, product_id) != digest:
            raise ArtifactCorrupt(
                f"product {product_id!r} is not what it was when the version was built; an altered products.parquet "
                "or another bundle's: rebuild with: shortlist build"
            )
    searches = _searches(canary.queries, canary.vectors, retriever)
    for name, stored in canary.searches.items():
        tolerance = LOOSE_FUSED if name == "fused" and overlap < 1 else TOLERANCES[name]
        needed = 1.0 if name == "lexical" else overlap
        _compare(name, canary.queries, stored, searches[name], tolerance=tolerance, overlap=needed)
    return sum(len(stored) for stored in canary.searches.values())


def check_reranker(
    canary: Canary, score: Score, products: ProductTable, template: TextTemplate, *, spread: float
) -> float:
    """Score the stored pairs again and return the largest difference, as a share of the stored scores' spread.

    Args:
        canary: Of the version.
        score: The cross-encoder that will serve.
        products: Of the version.
        template: Renders a product.
        spread: Largest difference allowed, as a share of the standard deviation of the stored scores, which is the
            unit that the final fusion works in.

    Raises:
        FingerprintMismatch: A score moved further, or there are no stored pairs to compare with.
    """
    if not canary.pairs:
        raise FingerprintMismatch(
            "the bundle stores no scored pairs for its cross-encoder; rebuild with: shortlist build"
        )
    deviation = float(np.std([pair.score for pair in canary.pairs])) or 1.0
    worst = 0.0
    for pair in canary.pairs:
        if pair.product_id not in products:
            raise ArtifactCorrupt(f"the stored pairs name product {pair.product_id!r}, which the version does not hold")
        try:
            found = float(_scores(score, pair.query, [pair.product_id], products, template)[0])
        except ShortlistError:
            raise
        except Exception as error:  # as for the tower
            raise FingerprintMismatch(
                f"the cross-encoder cannot score the bundle's stored pairs: {type(error).__name__}: "
                f"{str(error)[:200]}; rebuild with: shortlist build"
            ) from error
        apart = abs(found - pair.score) / deviation
        if not apart <= spread:
            raise FingerprintMismatch(
                f"the cross-encoder does not reproduce the bundle's stored scores: {pair.query!r} with product "
                f"{pair.product_id!r} scored {pair.score:.4f} when it was built and {found:.4f} now, {apart:.2f} "
                f"standard deviations apart, at most {spread} expected; open the bundle with the precision it was "
                "built with, or rebuild"
            )
        worst = max(worst, apart)
    return worst


def product_digest(products: ProductTable, product_id: str) -> str:
    """Return the SHA-256 of a product's fields as JSON with sorted keys."""
    fields = asdict(products.get(products.row_of(product_id)))
    text = json.dumps(fields, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


# --- the file ---------------------------------------------------------------------------------------------------------


def write_canary(path: Path, canary: Canary) -> FileDigest:
    """Write the canary as JSON; its scores are the exact float32 numbers."""
    searches = {
        name: [{"product_ids": list(found.product_ids), "scores": _plain(found.scores)} for found in searched]
        for name, searched in canary.searches.items()
    }
    content = {
        "format": FORMAT,
        "queries": list(canary.queries),
        "vectors": [_plain(row) for row in canary.vectors],
        "searches": searches,
        "products": dict(canary.products),
        "pairs": [asdict(pair) for pair in canary.pairs],
    }
    return storage.write_json(path, content)


def read_canary(path: Path) -> Canary:
    """Read what `write_canary` wrote.

    Raises:
        ArtifactNotFound: There is no such file.
        ArtifactCorrupt: It does not parse, or holds something else.
    """
    content: Any = storage.read_json(path)
    try:
        if content["format"] != FORMAT or content.keys() != {"format", *Canary.__dataclass_fields__}:
            raise ValueError(f"expected format {FORMAT} with {', '.join(Canary.__dataclass_fields__)}")
        canary = Canary(
            queries=tuple(_text(query) for query in content["queries"]),
            vectors=np.asarray(content["vectors"], dtype=np.float32),
            searches={name: tuple(_read_found(search) for search in content["searches"][name]) for name in TOLERANCES},
            products={_text(product_id): _text(digest) for product_id, digest in content["products"].items()},
            pairs=tuple(
                Pair(_text(pair["query"]), _text(pair["product_id"]), float(pair["score"])) for pair in content["pairs"]
            ),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ArtifactCorrupt(f"{path} holds no canary: {error}; rebuild with: shortlist build") from error
    lengths = {len(canary.queries), *(len(searched) for searched in canary.searches.values())}
    if canary.vectors.ndim != 2 or lengths != {len(canary.vectors)} or not canary.queries:
        raise ArtifactCorrupt(
            f"{path}: {len(canary.queries)} queries, but vectors of shape {list(canary.vectors.shape)} and searches of "
            f"{sorted(lengths)}; rebuild with: shortlist build"
        )
    return canary


def _read_found(values: Any) -> Found:  # noqa: ANN401 - parsed JSON
    found = Found(tuple(_text(name) for name in values["product_ids"]), np.asarray(values["scores"], dtype=np.float32))
    if found.scores.shape != (len(found.product_ids),):
        raise ValueError(f"a search has {len(found.product_ids)} products and scores of shape {found.scores.shape}")
    return found


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, got {value!r:.80}")
    return value


def _plain(numbers: Iterable[np.float32]) -> list[float]:
    return [float(number) for number in numbers]


# --- asking and comparing ---------------------------------------------------------------------------------------------


def _searches(queries: Sequence[str], vectors: FloatMatrix, retriever: Retriever) -> dict[str, tuple[Found, ...]]:
    answers = {
        "dense": retriever.retrieve_vectors(vectors, depth=DEPTH),
        "lexical": retriever.retrieve(queries, depth=DEPTH, sources=["lexical"]),
        "fused": retriever.retrieve_vectors(vectors, depth=DEPTH, texts=queries),
    }
    return {name: tuple(Found.of(recall.candidates) for recall in recalls) for name, recalls in answers.items()}


def _pairs(queries: Sequence[str], dense: Sequence[Found]) -> Iterable[tuple[str, list[str]]]:
    """Yield queries with the product they found first and the one that the next query found first, so scores differ."""
    first = [found.product_ids[0] for found in dense if found.product_ids]
    for place, query in enumerate(queries[: min(PAIR_QUERIES, len(first))]):
        yield query, list(dict.fromkeys([first[place], first[(place + 1) % len(first)]]))


def _scores(
    score: Score, query: str, product_ids: Sequence[str], products: ProductTable, template: TextTemplate
) -> list[float]:
    texts = [template.render(products.get(products.row_of(product_id))) for product_id in product_ids]
    return _plain(score(query, texts))


def _compare(
    name: str,
    queries: Sequence[str],
    stored: Sequence[Found],
    found: Sequence[Found],
    *,
    tolerance: float,
    overlap: float,
) -> None:
    """Hold the searches of one kind against the stored ones; see `check_first_stage`."""
    kept, differing, example = 0, 0, ""
    for query, before, now in zip(queries, stored, found, strict=True):
        scores = dict(zip(now.product_ids, _plain(now.scores), strict=True))
        for product_id, score in zip(before.product_ids, _plain(before.scores), strict=True):
            moved = abs(scores.get(product_id, score) - score)
            if not moved <= _slack(score, tolerance):
                raise ArtifactCorrupt(
                    f"the stored search for {query!r} ({name}) is not answered as when the version was built: product "
                    f"{product_id!r} scored {score:.6g} then and {scores[product_id]:.6g} now; an index, its vectors "
                    "or a setting was altered: rebuild with: shortlist build"
                )
        lost = before.decided(tolerance) - set(now.product_ids)
        new = now.decided(tolerance) - set(before.product_ids)
        kept += len(set(before.product_ids) & set(now.product_ids))
        differing += max(len(lost), len(new))
        example = example or ", ".join(f"{query!r} lost {product_id!r}" for product_id in sorted(lost)[:1])
    if differing > (1 - overlap) * (kept + differing):
        raise ArtifactCorrupt(
            f"{differing} of {kept + differing} products of the stored searches ({name}) are others than when the "
            f"version was built{f', such as {example}' if example else ''}; an index, its vectors or a setting was "
            "altered: rebuild with: shortlist build"
        )


def _slack(score: float, tolerance: float) -> float:
    return tolerance * max(1.0, abs(score))
