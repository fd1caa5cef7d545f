"""Hard negatives that are safe in a catalogue: what the current system ranks high for a query and nothing says it fits.

In a shop most of what ranks high and was never judged does fit, and pushing it away makes a model worse (RocketQA, Qu
et al., NAACL 2021: 36.4 falls to 26.0 MRR@10 with unfiltered negatives). So a candidate must pass every veto:

- it has no grade above 0, and no product of its variant group has one;
- its text is not that of a positive;
- it scores below a margin under the median positive of the query, in the model that mines (NV-Retriever, Moreira et
  al., 2024: a margin relative to the positive, 95 % there);
- it lacks a word or a number of the query: a product that holds all of them (type, brand, attributes, sizes) is a match
  until somebody says otherwise;
- where there is a cross-encoder, it scores below the median positive there too.

How many good products pass all the same is measured, not assumed: see `mine`.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from indexing.types import FloatVector
from retrieval.training_config import MiningConfig
from retrieval.words import words

SPARE = 4
"""Times as many candidates as are wanted go to the cross-encoder, which takes some out."""

PairScores = Callable[[str, Sequence[str]], FloatVector]
"""(query, product texts) -> a score per product, higher is better: a cross-encoder."""


@dataclass(frozen=True, slots=True)
class Labels:
    """What is known of the queries.

    Attributes:
        positives: Query text -> product ids with a grade above 0.
        variants: product_id -> name of its variant group.
    """

    positives: Mapping[str, Sequence[str]]
    variants: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Candidates:
    """What the miners found for one query.

    Attributes:
        query: Its text.
        product_ids: Candidates, distinct.
        scores: Score of each in the dense model, float32.
        positives: Score of each of the query's positives there.
    """

    query: str
    product_ids: Sequence[str]
    scores: FloatVector
    positives: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class MiningReport:
    """What mining did.

    Attributes:
        queries: Queries with at least one negative.
        negatives: Negatives found.
        vetoes: Veto -> candidates that it took out (the first that applies counts).
        hidden: Known positives that were hidden to be counted.
        mined_anyway: Of those, how many came out as negatives.
    """

    queries: int
    negatives: int
    vetoes: Mapping[str, int]
    hidden: int = 0
    mined_anyway: int = 0

    @property
    def false_negatives(self) -> tuple[float, float, float]:
        """Share of hidden positives that were mined and its 95 % interval; 0, 0 and 1 when none was hidden."""
        return (self.mined_anyway / self.hidden if self.hidden else 0.0, *wilson(self.mined_anyway, self.hidden))


@dataclass(frozen=True, slots=True)
class _Vetoes:
    """The vetoes of one query."""

    known: frozenset[str]
    groups: frozenset[str]
    texts: frozenset[str]
    words: frozenset[str]
    ceiling: float

    def veto(self, name: str, text: str, variant: str | None, score: float) -> str:
        """Return why a candidate may not be a negative, or nothing."""
        if name in self.known or text in self.texts:
            return "known to fit"
        if variant in self.groups:
            return "variant of one that fits"
        if score >= self.ceiling:
            return "too close to the positives"
        if self.words and self.words <= set(words(text)):
            return "holds every word of the query"
        return ""


class Miner:
    """Applies the vetoes, one query at a time, and counts them."""

    def __init__(
        self,
        config: MiningConfig,
        *,
        texts: Mapping[str, str],
        labels: Labels,
        cross_encoder: PairScores | None = None,
    ) -> None:
        """Prepare.

        Args:
            config: Margins and counts.
            texts: product_id -> text, of the whole catalogue.
            labels: What is known.
            cross_encoder: Scores pairs for the last veto; ``None`` leaves it out.
        """
        self._config = config
        self._texts = texts
        self._labels = labels
        self._cross_encoder = cross_encoder
        self.vetoes: dict[str, int] = {}

    def mine(self, candidates: Candidates, *, hide: frozenset[str] = frozenset()) -> list[str]:
        """Return the negatives of a query, hardest first, at most ``config.per_query``.

        Args:
            candidates: What ranks high for it.
            hide: Positives that are to be treated as unknown.
        """
        known = [name for name in self._labels.positives.get(candidates.query, ()) if name not in hide]
        ceiling = self._ceiling([score for name, score in candidates.positives.items() if name not in hide])
        judge = _Vetoes(
            known=frozenset(known),
            groups=frozenset(self._labels.variants[name] for name in known if name in self._labels.variants),
            texts=frozenset(self._texts[name] for name in known if name in self._texts),
            words=frozenset(words(candidates.query)) if self._config.word_veto else frozenset(),
            ceiling=ceiling,
        )
        enough = self._config.per_query * (SPARE if self._cross_encoder else 1)
        passed: list[str] = []
        for place in np.lexsort((np.asarray(candidates.product_ids), -candidates.scores)):
            name = candidates.product_ids[place]
            variant = self._labels.variants.get(name)
            veto = judge.veto(name, self._texts[name], variant, float(candidates.scores[place]))
            if veto:
                self.vetoes[veto] = self.vetoes.get(veto, 0) + 1
                continue
            passed.append(name)
            if len(passed) >= enough:
                break
        return self._beneath(candidates.query, known, passed)[: self._config.per_query]

    def _ceiling(self, positives: Sequence[float]) -> float:
        """Return the score that a negative must stay under: a margin below the median positive."""
        return self._config.margin * float(np.median(positives)) if positives else -math.inf

    def _beneath(self, query: str, known: Sequence[str], passed: list[str]) -> list[str]:
        """Leave out what the cross-encoder takes for as good as the median positive."""
        if self._cross_encoder is None or not passed or not known:
            return passed
        texts = [self._texts[name] for name in (*known, *passed)]
        scores = self._cross_encoder(query, texts)
        middle = float(np.median(scores[: len(known)]))
        kept = [name for name, score in zip(passed, scores[len(known) :], strict=True) if score < middle]
        self.vetoes["good to the cross-encoder"] = self.vetoes.get("good to the cross-encoder", 0) + (
            len(passed) - len(kept)
        )
        return kept


def mine(
    miner: Miner,
    stream: Iterator[Candidates],
    *,
    labels: Labels,
    hidden_share: float,
    seed: int,
) -> tuple[dict[str, list[str]], MiningReport]:
    """Mine a stream of queries, and measure on the way how often a good product is mined.

    A share of the queries with two positives or more is mined a second time with one positive hidden, chosen by the
    seed: whether that one comes out as a negative is known, because it is good. The second mining is thrown away.

    Args:
        miner: Applies the vetoes.
        stream: One query at a time; nothing but the results is kept.
        labels: What is known.
        hidden_share: Share of those queries that are mined twice, in [0, 1].
        seed: Chooses them.

    Returns:
        Query text -> product ids, hardest first, queries without any left out; and the report.
    """
    found: dict[str, list[str]] = {}
    hidden = mined_anyway = 0
    for number, candidates in enumerate(stream):
        rng = np.random.default_rng([seed, number])
        negatives = miner.mine(candidates)
        if negatives:
            found[candidates.query] = negatives
        known = sorted(set(labels.positives.get(candidates.query, ())) & candidates.positives.keys())
        if len(known) > 1 and rng.random() < hidden_share:
            one = known[int(rng.integers(len(known)))]
            counted = dict(miner.vetoes)
            hidden += 1
            mined_anyway += one in miner.mine(candidates, hide=frozenset({one}))
            miner.vetoes = counted
    report = MiningReport(
        queries=len(found),
        negatives=sum(map(len, found.values())),
        vetoes=dict(sorted(miner.vetoes.items())),
        hidden=hidden,
        mined_anyway=mined_anyway,
    )
    return found, report


def wilson(hits: int, trials: int, *, z: float = 1.96) -> tuple[float, float]:
    """Return the 95 % interval of a share; 0 to 1 without trials.

    Source: Wilson, JASA 22(158), 1927; it holds its coverage at few trials and shares near 0, where the usual one does
    not (Brown, Cai, DasGupta, Statistical Science 16(2), 2001).
    """
    if not trials:
        return 0.0, 1.0
    share = hits / trials
    scale = 1 + z**2 / trials
    centre = (share + z**2 / (2 * trials)) / scale
    reach = z * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2)) / scale
    return max(0.0, centre - reach), min(1.0, centre + reach)
