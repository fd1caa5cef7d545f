"""Whether an answer holds a good match at all, and the probability below which it says that it does not.

A small logistic model over what the first hits show together (`rerank.answer`), fitted on held-out queries: each as
the shop answers it, and again as if the shop did not have what it asks for, its good products taken out before the
search. Both are answers of the engine itself, so no query has to be made up and no other shop is needed.

The threshold comes with the precision that it had on queries which neither the model nor the choice of the threshold
had seen: of the answers called "no good match", how many were none.
"""

import itertools
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from indexing.errors import SourceDataError
from rerank.answer import EARLIER, FIRST_STAGE, RERANKED
from rerank.folds import folds
from rerank.logistic import Line, Values, fit_line, sigmoid

RIDGE = 1.0
"""Shrinks coefficients of standardised features: worth one example against each of them."""

MINIMUM_QUERIES = 20
"""Fewer, on either side, cannot state a precision: one answer wrongly withheld is 5 % of them."""

FEATURES = frozenset({*FIRST_STAGE, *RERANKED, *EARLIER})

_Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class AnswerExample:
    """An answer of the engine to a held-out query.

    Attributes:
        query: Whose it is; answers to one query stay together in every cross-validation.
        features: Of `rerank.answer.answer_features`.
        has_match: Whether a good product is among the hits.
    """

    query: Hashable
    features: Mapping[str, float]
    has_match: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """How a model did on queries that neither it nor its threshold was fitted on.

    Attributes:
        answers: Answers with a good match.
        misses: Answers without one.
        auc: Probability that an answer with a match has a higher one than an answer without.
        withheld: Share of the answers with a match that were called "no good match".
        noticed: Share of the answers without a match that were.
        precision: Share of the answers called so that had none, where ``share`` of all have none.
    """

    answers: int
    misses: int
    auc: float
    withheld: float
    noticed: float
    precision: float


@dataclass(frozen=True, slots=True)
class AnswerModel:
    """The probability that an answer holds a good match, from some of its features.

    Attributes:
        features: Names, in the order of the numbers.
        centre: What each is reduced by, float64 [f].
        spread: What each is then divided by, above 0, float64 [f].
        coefficients: Log-odds per standard deviation, float64 [f].
        intercept: Log-odds of an average answer.
        threshold: Below this probability there is no good match; 0 never says so.
    """

    features: tuple[str, ...]
    centre: tuple[float, ...]
    spread: tuple[float, ...]
    coefficients: tuple[float, ...]
    intercept: float
    threshold: float

    def __post_init__(self) -> None:
        """Refuse what cannot be computed, wherever it came from."""
        lengths = {len(self.features), len(self.centre), len(self.spread), len(self.coefficients)}
        if len(lengths) != 1 or not self.features or len(set(self.features)) != len(self.features):
            raise ValueError("expected one centre, spread and coefficient for each of one or more distinct features")
        if unknown := sorted(set(self.features) - FEATURES):
            raise ValueError(f"unknown feature {unknown[0]!r}; known are {', '.join(sorted(FEATURES))}")
        numbers = [*self.centre, *self.spread, *self.coefficients, self.intercept, self.threshold]
        if not np.isfinite(numbers).all() or min(self.spread) <= 0 or not 0 <= self.threshold <= 1:
            raise ValueError("expected finite numbers, every spread above 0, and a threshold in [0, 1]")

    def probability(self, features: Mapping[str, float]) -> float:
        """Return the probability of a good match.

        Raises:
            KeyError: If a feature is missing.
        """
        row = (np.array([features[name] for name in self.features]) - self.centre) / self.spread
        return float(sigmoid(self.intercept + row @ np.array(self.coefficients)))


@dataclass(frozen=True, slots=True)
class Abstention:
    """When an answer says that it has no good match.

    Attributes:
        good: Smallest grade that counts as a good match.
        precision: What the thresholds were chosen for.
        share: Share of all queries that is taken to have no good match; a precision means nothing without it.
        first_stage: For answers that the cross-encoder has not seen.
        reranked: For answers that it has; ``None`` where it weighs nothing and is never asked.
    """

    good: int
    precision: float
    share: float
    first_stage: AnswerModel
    reranked: AnswerModel | None = None

    def model_for(self, features: Mapping[str, float]) -> AnswerModel:
        """Return the model that knows all about an answer with these features."""
        if self.reranked is not None and set(self.reranked.features) <= features.keys():
            return self.reranked
        return self.first_stage


def fit_answers(
    examples: Sequence[AnswerExample],
    names: Sequence[str],
    *,
    precision: float,
    share: float,
    seed: int = 7,
) -> tuple[AnswerModel, Evidence]:
    """Fit a model and its threshold, and say how well both do on queries that they have not seen.

    The threshold notices as many answers without a match as it can while the answers called "no good match" are right
    often enough. Of the answerable queries one more than seen counts as withheld, so that a short list cannot promise
    what it cannot show.

    Args:
        examples: Answers with and without a match.
        names: Features that the model may use.
        precision: Wanted of the threshold, in (0, 1).
        share: Share of the queries taken to have no good match, in (0, 1).
        seed: Draws the folds.

    Returns:
        The model fitted to all examples; the evidence from cross-validation, in which model and threshold were fitted
        anew without the queries they were tried on.

    Raises:
        SourceDataError: If fewer than `MINIMUM_QUERIES` answers have a match, or have none.
    """
    rows = np.array([[example.features[name] for name in names] for example in examples], np.float64)
    matches = np.array([example.has_match for example in examples], np.bool_)
    if min(matches.sum(), (~matches).sum()) < MINIMUM_QUERIES:
        raise SourceDataError(
            f"a threshold of 'no good match' takes {MINIMUM_QUERIES} answers with a good match and as many without; "
            f"got {int(matches.sum())} and {int((~matches).sum())}: hold out more queries"
        )
    number: dict[Hashable, int] = {}
    groups = np.array([number.setdefault(example.query, len(number)) for example in examples], np.int64)
    tried, called = np.empty(len(rows)), np.zeros(len(rows), np.bool_)
    for held in folds(groups, seed):
        rest = ~held
        line, threshold = _fitted(rows[rest], matches[rest], groups[rest], precision, share, seed + 1)
        tried[held] = line.probabilities(rows[held])
        called[held] = tried[held] < threshold
    line, threshold = _fitted(rows, matches, groups, precision, share, seed + 1)
    model = AnswerModel(
        features=tuple(names),
        centre=tuple(line.centre.tolist()),
        spread=tuple(line.spread.tolist()),
        coefficients=tuple(line.line.coefficients.tolist()),
        intercept=line.line.intercept,
        threshold=threshold,
    )
    return model, _evidence(tried, called, matches, share)


def area_under_curve(high: npt.ArrayLike, low: npt.ArrayLike) -> float:
    """Return the probability that a number of ``high`` is above one of ``low``; equal ones count half.

    Source:
        Hanley, McNeil, "The meaning and use of the area under a ROC curve", Radiology 143(1), 1982.
    """
    above, below = np.asarray(high, np.float64), np.sort(np.asarray(low, np.float64))
    wins = np.searchsorted(below, above, side="left") + np.searchsorted(below, above, side="right")
    return float(wins.sum() / (2 * len(above) * len(below)))


@dataclass(frozen=True, slots=True)
class _Standardised:
    """A line over standardised features."""

    centre: Values
    spread: Values
    line: Line

    def probabilities(self, rows: Values) -> Values:
        return sigmoid(self.line.log_odds((rows - self.centre) / self.spread))


def _fitted(
    rows: Values, matches: _Flags, groups: npt.NDArray[np.int64], precision: float, share: float, seed: int
) -> tuple[_Standardised, float]:
    """Fit the line to all, and the threshold to probabilities of lines that had not seen the query."""
    tried = np.empty(len(rows))
    for held in folds(groups, seed):
        tried[held] = _line(rows[~held], matches[~held]).probabilities(rows[held])
    return _line(rows, matches), _threshold(tried, matches, precision, share)


def _line(rows: Values, matches: _Flags) -> _Standardised:
    """Fit with both sides of equal weight in all: how many answers were made without a match says nothing."""
    centre, spread = rows.mean(axis=0), rows.std(axis=0)
    spread = np.where(spread > 1e-9, spread, 1.0)
    sides = [max(1, int(np.count_nonzero(matches == side))) for side in (False, True)]
    weights = np.where(matches, len(rows) / 2 / sides[1], len(rows) / 2 / sides[0])
    line = fit_line((rows - centre) / spread, matches.astype(np.float64), ridge=RIDGE, weights=weights)
    return _Standardised(centre, spread, line)


def _threshold(tried: Values, matches: _Flags, precision: float, share: float) -> float:
    """Return the lowest of the thresholds that are precise enough and notice most; 0 where none is."""
    answers, misses, distinct = np.sort(tried[matches]), np.sort(tried[~matches]), np.unique(tried)
    best, most = 0.0, 0.0
    for below, above in itertools.pairwise(distinct):
        withheld = (np.searchsorted(answers, above) + 1) / (len(answers) + 1)
        noticed = float(np.searchsorted(misses, above) / max(1, len(misses)))
        if noticed > most and _precision(withheld, noticed, share) >= precision:
            best, most = float(below + above) / 2, noticed
    return best


def _precision(withheld: float, noticed: float, share: float) -> float:
    called = share * noticed + (1 - share) * withheld
    return share * noticed / called if called else 1.0


def _evidence(tried: Values, called: _Flags, matches: _Flags, share: float) -> Evidence:
    withheld, noticed = float(called[matches].mean()), float(called[~matches].mean())
    return Evidence(
        answers=int(matches.sum()),
        misses=int((~matches).sum()),
        auc=area_under_curve(tried[matches], tried[~matches]),
        withheld=withheld,
        noticed=noticed,
        precision=_precision(withheld, noticed, share),
    )
