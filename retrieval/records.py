"""The records that travel between the stages: what a shop has, what a shopper asks, what the engine answers.

Imports nothing but the standard library, so that every other module may import it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

Scalar: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Product:
    """One product of a catalogue.

    Attributes:
        product_id: The catalogue's own key; a string, so that leading zeros survive.
        title: What a shopper would read first; never empty.
        description: Running text, may be empty.
        brand: Maker, may be empty.
        category: Department or category path, may be empty.
        attributes: Named facts such as ``{"colour": "black"}``.
        price: In the catalogue's main currency unit (not cents), or ``None``.
        extra: Further columns kept for display and filters.
    """

    product_id: str
    title: str
    description: str = ""
    brand: str = ""
    category: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    price: float | None = None
    extra: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Query:
    """What a shopper typed."""

    query_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Judgment:
    """How well a product answers a query: 0 not at all, higher is better."""

    query_id: str
    product_id: str
    grade: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """A product that the first stage recalled.

    Attributes:
        product_id: The product.
        row: Its row in the generation that recalled it.
        score: Fused first-stage score; higher is better.
        rank: Place in the fused order, from 1.
        sources: Score of each source that found it, e.g. ``{"dense": 0.71, "lexical": 11.2}``.
    """

    product_id: str
    row: int
    score: float
    rank: int
    sources: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Hit:
    """A product of the final answer.

    Attributes:
        product_id: The product.
        rank: Place in the answer, from 1.
        score: Final score; higher is better; comparable within one answer only.
        stages: Score of every stage that saw it: ``dense``, ``lexical``, ``fusion``, ``student``, ``rerank``.
        product: The fields kept for display.
        probability: That it is a good match, comparable across queries; ``None`` where the cross-encoder did not see
            it, or was not calibrated on held-out queries.
    """

    product_id: str
    rank: int
    score: float
    stages: Mapping[str, float]
    product: Product
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class SearchResult:
    """An answer, all of it from one generation.

    Attributes:
        query: The query as it was searched: normalised, and corrected where the bundle corrects (``lexical.spelling``).
        hits: Best first; fewer than ``k`` when fewer products are eligible.
        generation: Name of the bundle version that answered.
        timings_ms: Milliseconds per stage and ``total``.
        degraded: Stages that were skipped or cut short to keep the deadline; empty when everything ran.
        warnings: What the caller should know (how far a stage came that was cut short), in words.
        abstained: Whether the answer says "no good match": the hits are the nearest there is, and probably not what was
            asked for. Never without a threshold learned on held-out queries.
        match_probability: That a good match is among the first hits; ``None`` where nothing was learned about it.
        reranked: How many candidates the cross-encoder scored, and how many it was to score; (0, 0) without one.
        respelt: Whether words of the query were corrected; ``search(..., spelling=False)`` searches for what was typed.
        cached: Whether it was given before and is given again; ``timings_ms`` are those of looking it up.
    """

    query: str
    hits: tuple[Hit, ...]
    generation: str
    timings_ms: Mapping[str, float]
    degraded: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    abstained: bool = False
    match_probability: float | None = None
    reranked: tuple[int, int] = (0, 0)
    respelt: bool = False
    cached: bool = False


Qrels: TypeAlias = dict[str, dict[str, int]]
"""query_id -> product_id -> grade."""

Run: TypeAlias = dict[str, list[tuple[str, float]]]
"""query_id -> (product_id, score), best first; scores need not be distinct."""
