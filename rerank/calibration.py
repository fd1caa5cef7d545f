"""A score that is a probability: how often a product of such a score is a good one, learned on held-out pairs.

Two curves are tried, both rising, so that neither reorders anything:

- ``platt``: a sigmoid of the score, two numbers, for a few hundred pairs;
- ``isotonic``: the rising step function nearest to the outcomes, for thousands.

Which one is taken is decided by cross-validation over queries, and what is reported of the outcome is cross-validated
around that decision too: no pair is judged by a curve, or by a choice of curve, that saw its query.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from indexing.errors import SourceDataError
from rerank.folds import folds
from rerank.logistic import Values, fit_line, sigmoid

PLATT, ISOTONIC = "platt", "isotonic"

MINIMUM_PAIRS = 20
"""Pairs that it takes, and MINIMUM_EACH of them good and as many bad: less decides not even a base rate."""

MINIMUM_EACH = 5

MAX_KNOTS = 1000
"""Longest curve that is written or read; an isotonic curve of 100,000 pairs has some hundred."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """A rising curve from scores to probabilities.

    Attributes:
        kind: ``platt`` or ``isotonic``.
        good: Smallest grade that counts as good.
        scores: For ``isotonic`` the scores at which the curve bends, rising; for ``platt`` empty. float64 [m]
        probabilities: The curve's values there, never falling, in (0, 1), float64 [m]; straight between, flat beyond.
        slope: For ``platt``: log-odds per unit of the score, at least 0.
        intercept: For ``platt``: log-odds at score 0.
    """

    kind: str
    good: int
    scores: tuple[float, ...] = ()
    probabilities: tuple[float, ...] = ()
    slope: float = 0.0
    intercept: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what is no rising curve, wherever it came from."""
        if self.kind not in (PLATT, ISOTONIC):
            raise ValueError(f"expected a calibration of the kinds {PLATT} and {ISOTONIC}, got {self.kind!r}")
        if not np.isfinite([self.slope, self.intercept, *self.scores, *self.probabilities]).all():
            raise ValueError("a calibration must hold finite numbers")
        if self.slope < 0:
            raise ValueError(f"a calibration must not fall: its slope is {self.slope}")
        if self.kind == PLATT:
            return
        if not 1 <= len(self.scores) == len(self.probabilities) <= MAX_KNOTS:
            raise ValueError(
                f"expected 1 to {MAX_KNOTS} scores and as many probabilities, got {len(self.scores)} and "
                f"{len(self.probabilities)}"
            )
        if any(np.diff(self.scores) <= 0) or any(np.diff(self.probabilities) < 0):
            raise ValueError("the scores of a calibration must rise, and its probabilities must not fall")
        if self.probabilities[0] < 0 or self.probabilities[-1] > 1:
            raise ValueError(f"probabilities must lie in [0, 1], got {self.probabilities[0]}, {self.probabilities[-1]}")

    def apply(self, scores: npt.ArrayLike) -> Values:
        """Return the probability of each score, float64 [n]."""
        values = np.asarray(scores, np.float64)
        if self.kind == PLATT:
            return sigmoid(self.intercept + self.slope * values)
        return np.interp(values, self.scores, self.probabilities)


def fit_calibration(
    scores: npt.ArrayLike, is_good: npt.ArrayLike, queries: Sequence[Hashable], *, good: int, seed: int = 7
) -> Calibration:
    """Fit the curve that held-out pairs call for.

    Args:
        scores: Raw scores of pairs that no model was fitted on, [n].
        is_good: Whether the product of each is a good one, bool [n].
        queries: Whose pair each is, [n]; pairs of one query are never on both sides of a cross-validation.
        good: The grade that counts as good, to be kept with the curve.
        seed: Draws the folds.

    Raises:
        SourceDataError: If there are fewer than `MINIMUM_PAIRS` pairs, or fewer than `MINIMUM_EACH` good or bad ones.
        ValueError: If the lengths differ or a score is not finite.
    """
    values, outcomes = _checked(scores, is_good, queries)
    return _chosen(values, outcomes, _numbered(queries), good, seed)


def cross_fitted(
    scores: npt.ArrayLike, is_good: npt.ArrayLike, queries: Sequence[Hashable], *, good: int, seed: int = 7
) -> Values:
    """Return the probability of every pair by a curve that was fitted, and chosen, without its query; float64 [n].

    Takes and raises what `fit_calibration` does. A fold whose rest has no good or no bad pair gets the rest's rate.
    """
    values, outcomes = _checked(scores, is_good, queries)
    groups = _numbered(queries)

    def chosen(inside: npt.NDArray[np.bool_]) -> Calibration:
        return _chosen(values[inside], outcomes[inside], groups[inside], good, seed + 1)

    return _out_of_fold(values, groups, chosen, seed)


def _checked(
    scores: npt.ArrayLike, is_good: npt.ArrayLike, queries: Sequence[Hashable]
) -> tuple[Values, npt.NDArray[np.bool_]]:
    values, outcomes = np.asarray(scores, np.float64), np.asarray(is_good, np.bool_)
    if values.ndim != 1 or values.shape != outcomes.shape or len(queries) != len(values):
        raise ValueError(
            f"expected as many scores, outcomes and queries, got {values.shape}, {outcomes.shape} and {len(queries)}"
        )
    if not np.isfinite(values).all():
        raise ValueError(f"{int((~np.isfinite(values)).sum())} of {values.size} scores are NaN or infinite")
    count, positive = len(values), int(outcomes.sum())
    if count < MINIMUM_PAIRS or min(positive, count - positive) < MINIMUM_EACH:
        raise SourceDataError(
            f"a calibration takes {MINIMUM_PAIRS} judged held-out pairs, {MINIMUM_EACH} of them good and "
            f"{MINIMUM_EACH} bad; got {count}, {positive} of them good: hold out more queries, or change which grade "
            "counts as good"
        )
    return values, outcomes


def _numbered(queries: Sequence[Hashable]) -> npt.NDArray[np.int64]:
    number: dict[Hashable, int] = {}
    return np.array([number.setdefault(query, len(number)) for query in queries], np.int64)


def _out_of_fold(
    values: Values,
    groups: npt.NDArray[np.int64],
    fit: Callable[[npt.NDArray[np.bool_]], Calibration],
    seed: int,
) -> Values:
    found = np.empty(len(values))
    for held in folds(groups, seed):
        found[held] = fit(~held).apply(values[held])
    return found


def _chosen(
    values: Values, outcomes: npt.NDArray[np.bool_], groups: npt.NDArray[np.int64], good: int, seed: int
) -> Calibration:
    """Fit the kind with the smaller cross-validated squared error; Platt's where there is one query, and on a tie."""
    fits = {PLATT: _platt, ISOTONIC: _isotonic}
    if len(np.unique(groups)) == 1:
        return _platt(values, outcomes, good)
    errors = {}
    for kind, fit in fits.items():
        found = _out_of_fold(values, groups, lambda inside, fit=fit: fit(values[inside], outcomes[inside], good), seed)  # type: ignore[misc]
        errors[kind] = float(np.mean((found - outcomes) ** 2))
    kind = min(errors, key=lambda kind: errors[kind])
    return fits[kind](values, outcomes, good)


def _platt(values: Values, outcomes: npt.NDArray[np.bool_], good: int) -> Calibration:
    """Fit a sigmoid to smoothed outcomes, so that separable pairs do not make certainties.

    Source: Platt, "Probabilistic Outputs for Support Vector Machines", 1999, section 2.2 (the targets); Lin, Lin,
    Weng, "A Note on Platt's Probabilistic Outputs", Machine Learning 68, 2007 (the method of fitting them).
    """
    positive = int(outcomes.sum())
    negative = len(outcomes) - positive
    targets = np.where(outcomes, (positive + 1) / (positive + 2), 1 / (negative + 2))
    centre, spread = float(values.mean()), float(values.std())
    if spread > 0:
        line = fit_line(((values - centre) / spread)[:, None], targets, ridge=1e-6)
        slope = float(line.coefficients[0]) / spread
        if slope > 0:
            return Calibration(PLATT, good, slope=slope, intercept=line.intercept - slope * centre)
    rate = (positive + 1) / (len(outcomes) + 2)  # a score that says nothing, or the wrong thing: the base rate
    return Calibration(PLATT, good, slope=0.0, intercept=float(np.log(rate / (1 - rate))))


def _isotonic(values: Values, outcomes: npt.NDArray[np.bool_], good: int) -> Calibration:
    """Fit the rising function with the least squared error, kept off 0 and 1 by one imagined pair of each outcome.

    Source: pool adjacent violators: Ayer, Brunk, Ewing, Reid, Silverman, Annals of Mathematical Statistics 26(4), 1955;
    as a calibration: Zadrozny, Elkan, KDD 2002.
    """
    distinct, places = np.unique(values, return_inverse=True)
    counts = np.bincount(places).astype(np.float64)
    sums = np.bincount(places, weights=outcomes.astype(np.float64))
    blocks: list[list[float]] = []  # sum, count, first place, last place
    for place, (total, count) in enumerate(zip(sums, counts, strict=True)):
        blocks.append([total, count, place, place])
        while len(blocks) > 1 and blocks[-2][0] * blocks[-1][1] >= blocks[-1][0] * blocks[-2][1]:
            last = blocks.pop()
            blocks[-1] = [blocks[-1][0] + last[0], blocks[-1][1] + last[1], blocks[-1][2], last[3]]
    margin = 1 / (len(values) + 2)
    knots: dict[float, float] = {}
    for total, count, first, last_place in blocks:
        height = min(max(total / count, margin), 1 - margin)
        knots |= {float(distinct[int(first)]): height, float(distinct[int(last_place)]): height}
    scores, probabilities = tuple(knots), tuple(knots.values())
    if len(scores) > MAX_KNOTS:  # a curve so fine is noise between its neighbours
        kept = np.unique(np.linspace(0, len(scores) - 1, MAX_KNOTS).astype(int))
        scores, probabilities = tuple(scores[i] for i in kept), tuple(probabilities[i] for i in kept)
    return Calibration(ISOTONIC, good, scores=scores, probabilities=probabilities)
