"""Queries without a shopper: made from what products say of themselves, each with the facts that a product must have.

A template takes some facts of a product (its category, brand, an attribute, a model number, telling words of its title)
and writes them as a shopper would: in another order, with a typo, a unit in another form, a synonym that the catalogue
itself uses. Which products answer such a query is known exactly, namely those that have all its facts, so none of them
is ever pushed away; a label could not be more certain, only more like a shopper.

The templates follow what shoppers type: type alone, brand and type, attribute and type, model number, title words.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from indexing.errors import SourceDataError
from indexing.types import IntVector
from retrieval.noise import QueryNoise
from retrieval.records import Product
from retrieval.training_config import SyntheticConfig
from retrieval.words import words

Fact = tuple[str, str]
"""(field, value): ``("word", "wireless")``, ``("brand", "acme")``, ``("colour", "red")``."""

_MODEL = re.compile(r"\b(?=\w*\d)(?=\w*[A-Za-z])[\w-]{4,}\b")
"""Letters and digits in one word, as model numbers have."""

_LEAF = re.compile(r"[>/|]")
LONGEST_VALUE = 30
"""Letters of an attribute's value that a shopper would still type."""


@dataclass(frozen=True, slots=True)
class SyntheticQuery:
    """A made query.

    Attributes:
        text: As it is asked.
        template: Which template made it: ``category``, ``brand``, ``attribute``, ``model`` or ``title``.
        product_id: The product it was made from.
        facts: What a product must have to answer it.
    """

    text: str
    template: str
    product_id: str
    facts: frozenset[Fact]


class FactIndex:
    """Which products have which facts."""

    def __init__(self, products: Sequence[Product]) -> None:
        """Read the facts of every product: the words of its title, brand, category and short attribute values."""
        self.product_ids = [product.product_id for product in products]
        self._row = {product_id: row for row, product_id in enumerate(self.product_ids)}
        found: dict[Fact, list[int]] = {}
        for row, product in enumerate(products):
            for fact in facts_of(product):
                found.setdefault(fact, []).append(row)
        self._rows: dict[Fact, IntVector] = {fact: np.array(rows, dtype=np.int64) for fact, rows in found.items()}

    def count(self, fact: Fact) -> int:
        """Return how many products have a fact."""
        return len(self._rows.get(fact, ()))

    def having(self, facts: frozenset[Fact]) -> IntVector:
        """Return the rows of the products that have all of some facts, ascending; all products for no facts."""
        nothing = np.empty(0, dtype=np.int64)
        rarest, *others = sorted((self._rows.get(fact, nothing) for fact in facts), key=len) or [
            np.arange(len(self.product_ids))
        ]
        for rows in others:
            rarest = rarest[np.isin(rarest, rows, assume_unique=True)]
        return rarest

    def rows(self, product_ids: Sequence[str]) -> IntVector:
        """Return the rows of some products."""
        return np.array([self._row[name] for name in product_ids], dtype=np.int64)


class TemplateMask:
    """Tells which products of a batch answer its synthetic queries: `retrieval.pairs.AlsoFits`, exact."""

    def __init__(self, index: FactIndex, queries: Sequence[SyntheticQuery]) -> None:
        """Keep the facts by text; queries of one text are answered by what answers any of them."""
        self._index = index
        self._facts: dict[str, set[frozenset[Fact]]] = {}
        for query in queries:
            self._facts.setdefault(query.text, set()).add(query.facts)

    def __call__(self, queries: Sequence[str], product_ids: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Return bool [q, p]: True where the product has all facts of the query; False for a query that is not ours."""
        rows = self._index.rows(product_ids)
        fits = np.zeros((len(queries), len(rows)), dtype=bool)
        for number, text in enumerate(queries):
            for facts in self._facts.get(text, ()):
                fits[number] |= np.isin(rows, self._index.having(facts))
        return fits


def facts_of(product: Product) -> set[Fact]:
    """Return the facts of a product."""
    found: set[Fact] = {("word", word) for word in words(product.title)}
    found |= {("brand", product.brand.lower())} if product.brand else set()
    found |= {("category", leaf.lower())} if (leaf := category_leaf(product.category)) else set()
    for name, value in product.attributes.items():
        if 0 < len(value) <= LONGEST_VALUE:
            found.add((name, value.lower()))
    return found


def category_leaf(category: str) -> str:
    """Return the last part of a category path (``Home > Kitchen > Kettles`` gives ``Kettles``)."""
    return _LEAF.split(category)[-1].strip()


def synthesise(
    products: Sequence[Product], index: FactIndex, config: SyntheticConfig, *, synonyms: Mapping[str, str] | None = None
) -> list[SyntheticQuery]:
    """Make queries, ``config.per_product`` for each of ``config.products`` products drawn with the seed.

    Args:
        products: The catalogue.
        index: Its facts.
        config: How many, and how noisy.
        synonyms: Word -> word that the catalogue uses in its place; see `find_synonyms`.

    Raises:
        SourceDataError: When no product gives a query.
    """
    rng = np.random.default_rng(config.seed)
    noise = QueryNoise()
    found: dict[tuple[str, str], SyntheticQuery] = {}
    for row in rng.permutation(len(products))[: config.products]:
        made = list(_templates(products[row], index, rng))
        for place in rng.permutation(len(made))[: config.per_product]:
            template, text, facts = made[place]
            written = _written(text, rng, noise, config, synonyms or {})
            query = SyntheticQuery(written, template, products[row].product_id, facts)
            found.setdefault((written, query.product_id), query)
    if not found:
        raise SourceDataError(f"none of {len(products)} products gives a query: titles without words")
    return list(found.values())


def find_synonyms(titles: Sequence[str], *, vocabulary: int = 2000, cosine: float = 0.55) -> dict[str, str]:
    """Return words that stand in each other's place in titles: like neighbours, hardly ever in one title.

    Two words are synonyms here when each is the other's nearest by the cosine of their neighbours' positive pointwise
    mutual information, at ``cosine`` or more, and they share fewer titles than chance would give. Words with a digit
    are left out: another number is another product.

    Args:
        titles: Of the whole catalogue.
        vocabulary: The most frequent words looked at.
        cosine: Least similarity.

    Source: PPMI and its cosine as in Levy, Goldberg, Dagan, TACL 3, 2015, sections 2.1 and 7.
    """
    split = [[word for word in words(title) if word.isalpha()] for title in titles]
    common = [word for word, _ in Counter(word for title in split for word in set(title)).most_common(vocabulary)]
    row_of = {word: row for row, word in enumerate(common)}
    near = np.zeros((len(common), len(common)), dtype=np.float32)
    together = np.zeros_like(near)
    for title in split:
        rows = [row_of[word] for word in title if word in row_of]
        for left, right in pairwise(rows):
            near[left, right] += 1
            near[right, left] += 1
        distinct = np.unique(np.array(rows, dtype=np.int64))
        together[np.ix_(distinct, distinct)] += 1
    if not near.any():
        return {}
    ppmi = np.maximum(
        0, np.log(np.maximum(near * near.sum(), 1e-9) / np.maximum(np.outer(near.sum(1), near.sum(0)), 1))
    )
    unit = ppmi / np.maximum(np.linalg.norm(ppmi, axis=1, keepdims=True), 1e-9)
    alike = unit @ unit.T
    frequency = together.diagonal().copy()
    alike[together > np.outer(frequency, frequency) / max(1, len(titles))] = 0
    np.fill_diagonal(alike, 0)
    best = alike.argmax(axis=1)
    mutual = [row for row, other in enumerate(best) if best[other] == row and alike[row, other] >= cosine]
    return {common[row]: common[best[row]] for row in mutual}


def _templates(
    product: Product, index: FactIndex, rng: np.random.Generator
) -> Iterator[tuple[str, str, frozenset[Fact]]]:
    """Yield template, text and facts of the queries that a product gives."""
    leaf, brand = category_leaf(product.category).lower(), product.brand.lower()
    kind: Fact = ("category", leaf)
    if leaf:
        yield "category", leaf, frozenset({kind})
    if brand and leaf:
        yield "brand", f"{brand} {leaf}", frozenset({kind, ("brand", brand)})
    attributes = [(name, value.lower()) for name, value in product.attributes.items() if _typed(value)]
    if attributes and leaf:
        name, value = attributes[int(rng.integers(len(attributes)))]
        yield "attribute", f"{value} {leaf}", frozenset({kind, (name, value)})
    models = [word for word in _MODEL.findall(product.title) if index.count(("word", word.lower())) <= 3]
    if models:
        model = models[int(rng.integers(len(models)))].lower()
        yield "model", f"{brand} {model}".strip(), frozenset(("word", word) for word in words(model))
    yield from _title_spans(product, index, rng)


def _typed(value: str) -> bool:
    return 0 < len(value) <= LONGEST_VALUE and any(letter.isalpha() for letter in value)


def _title_spans(
    product: Product, index: FactIndex, rng: np.random.Generator
) -> Iterator[tuple[str, str, frozenset[Fact]]]:
    """Yield two queries of two to four words of the title, in their order, telling words more often than others."""
    written = [word for word in re.findall(r"[\w./\"'-]+", product.title.lower()) if words(word)]
    if len(written) < 2:
        return
    total = len(index.product_ids)
    weights = np.array(
        [np.log(1 + total / (1 + min(index.count(("word", part)) for part in words(word)))) for word in written]
    )
    for _ in range(2):
        count = min(len(written), int(rng.integers(2, 5)))
        places = np.sort(rng.choice(len(written), size=count, replace=False, p=weights / weights.sum()))
        chosen = [written[place] for place in places]
        yield "title", " ".join(chosen), frozenset(("word", part) for word in chosen for part in words(word))


def _written(
    text: str, rng: np.random.Generator, noise: QueryNoise, config: SyntheticConfig, synonyms: Mapping[str, str]
) -> str:
    """Write a query as a shopper might: words in another order, a synonym, a typo or another form of a unit."""
    parts = text.split()
    if len(parts) > 1 and rng.random() < config.shuffle_share:
        parts = [parts[place] for place in rng.permutation(len(parts))]
    if synonyms and rng.random() < config.synonym_share:
        parts = [synonyms.get(part, part) for part in parts]
    text = " ".join(parts)
    if rng.random() < config.noise_share:
        (text,) = noise.twins([text], seed=int(rng.integers(2**31)))
    return text
