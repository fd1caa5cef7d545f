"""The final fusion: one score out of the first stage's and the cross-encoder's, and the weight between the two.

A cross-encoder that learned from few labels orders worse than the first stage it was meant to improve, and still adds
to it (Icecat's human grades: nDCG@10 .38 alone against .75 of the first stage). So its scores are mixed in, never put
in place of the first stage's, and its weight is 0 unless held-out queries say otherwise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from indexing.types import IntVector
from rerank.folds import folds
from retrieval.metrics import has_gain, ndcg

FloatVector: TypeAlias = npt.NDArray[np.float32]
Doubles: TypeAlias = npt.NDArray[np.float64]

WEIGHTS = tuple(step / 10 for step in range(11))
"""The weights tried. A finer grid would fit the noise: with 50 queries a mean nDCG@10 is known to about .02."""

MINIMUM_QUERIES = 10
"""Fewer held-out queries decide nothing: a standard error over n is itself off by 1/sqrt(2(n-1)), for 10 by 24 %."""


def final_scores(first: npt.ArrayLike, cross: npt.ArrayLike, *, weight: float) -> FloatVector:
    """Mix two stages' scores of one query's candidates: ``(1 - weight) * z(first) + weight * z(cross)``.

    Standardising per query makes the two scales comparable without knowing either, and leaves the order of each as it
    was.

    Args:
        first: First-stage scores, [n].
        cross: Cross-encoder scores of the same candidates in the same order, [n].
        weight: The cross-encoder's share, in [0, 1].

    Returns:
        float32 [n], in the order given; empty for no candidates. A stage that scores all candidates alike adds zeros.

    Raises:
        ValueError: If the lengths differ, a score is not finite, or the weight lies outside [0, 1].

    Source:
        Convex combination of standardised scores: Bruch, Gai, Ingber, "An Analysis of Fusion Functions for Hybrid
        Retrieval", ACM TOIS 42(1), 2023.
    """
    first, cross = np.asarray(first, dtype=np.float64), np.asarray(cross, dtype=np.float64)
    if first.shape != cross.shape:
        raise ValueError(f"both stages must score the same candidates, got {first.shape} and {cross.shape} scores")
    return partial_scores(first, cross, weight=weight)


def standardised(first: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the z-scores of one query's first-stage scores, [n], as `final_scores` mixes them.

    Raises:
        ValueError: If a score is not finite.
    """
    return _standardised(np.asarray(first, dtype=np.float64), "first-stage")


def partial_scores(first: npt.ArrayLike, cross: npt.ArrayLike, *, weight: float) -> FloatVector:
    """Mix the scores of the candidates that the cross-encoder has seen, when it has not seen all of them.

    As `final_scores`, with what is known: first-stage scores standardised over all n candidates, cross-encoder scores
    over the m that it has seen. With m = n that is `final_scores` itself.

    Args:
        first: First-stage scores of all candidates, [n].
        cross: Cross-encoder scores of the first m of them, [m].
        weight: The cross-encoder's share, in [0, 1].

    Returns:
        float32 [m].

    Raises:
        ValueError: If there are more cross-encoder scores than candidates, a score is not finite, or the weight lies
            outside [0, 1].
    """
    parts = mixed(standardised(first), cross, weight=weight)
    return (parts["first"] + parts["rerank"]).astype(np.float32)


def mixed(known: Doubles, cross: npt.ArrayLike, *, weight: float) -> dict[str, Doubles]:
    """Return the two summands of `partial_scores`, ``first`` and ``rerank``, each float64 [m].

    Args:
        known: First-stage scores of all candidates, standardised over them, [n].
        cross: Cross-encoder scores of the first m of them, [m].
        weight: The cross-encoder's share, in [0, 1].

    Raises:
        ValueError: As `partial_scores`.
    """
    cross = np.asarray(cross, dtype=np.float64)
    if len(cross) > len(known):
        raise ValueError(f"{len(cross)} candidates were scored of {len(known)}")
    if not 0 <= weight <= 1:
        raise ValueError(f"the fusion weight must lie in [0, 1], got {weight}")
    said = _standardised(cross, "cross-encoder")
    return {"first": (1 - weight) * known[: len(cross)], "rerank": weight * said}


def final_order(scores: npt.ArrayLike, product_ids: Sequence[str]) -> IntVector:
    """Return the positions best first, int64 [n]: by score, equal scores by product_id in code-point order.

    Raises:
        ValueError: If there are not as many scores as product_ids.
    """
    values = np.asarray(scores, dtype=np.float32)
    positions = sorted(range(len(product_ids)), key=lambda i: product_ids[i])
    if values.shape != (len(positions),):
        raise ValueError(
            f"expected one score per candidate: {len(positions)} product_ids, scores of shape {values.shape}"
        )
    by_id = np.array(positions, dtype=np.int64)
    return by_id[np.argsort(-values[by_id], kind="stable")]


@dataclass(frozen=True, slots=True)
class HeldOutQuery:
    """A judged query that no model was fitted on, as both stages scored it.

    Attributes:
        product_ids: The first stage's candidates, best first.
        first: Their first-stage scores, float32 [n].
        cross: Their cross-encoder scores, float32 [n].
        grades: product_id -> grade of everything judged for this query, recalled or not; what is missing counts as 0.
    """

    product_ids: tuple[str, ...]
    first: FloatVector
    cross: FloatVector
    grades: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several ways to rank, chosen over the first of them on held-out queries.

    Attributes:
        place: Its place among those tried; 0, the first, unless another won.
        gain: Its mean over that of the first.
        standard_error: Of that, over queries.
        nested_gain: Mean over that of the first where each query is ranked in the way that the others of a
            cross-validation choose: what the choice is worth on queries that had no part in it.
        nested_error: Standard error of that.
    """

    place: int
    gain: float
    standard_error: float
    nested_gain: float
    nested_error: float


def choose(measured: npt.NDArray[np.float64], *, seed: int = 7) -> Choice:
    """Choose the way with the highest mean among those that win over the first; the first where none does.

    A way wins when its mean paired difference to the first is above the standard error of that difference, which keeps
    the first where the evidence is thin. Of equal ones the earlier is taken.

    Args:
        measured: A measure of every way on every query, float64 [w, q], at least one of each.
        seed: Deals the queries out to the folds of the nested gain; the choice does not depend on it.

    Returns:
        The choice; the first way when there are fewer than `MINIMUM_QUERIES` queries.

    Source:
        The one-standard-error rule: Breiman, Friedman, Olshen, Stone, "Classification and Regression Trees", 1984,
        section 3.4.3.
    """
    differences = measured - measured[0]
    gains, errors = _paired(differences)
    chosen = _winner(differences)
    nested_gain, nested_error = _paired(_nested(differences, seed)[None])
    return Choice(
        place=chosen,
        gain=float(gains[chosen]),
        standard_error=float(errors[chosen]),
        nested_gain=float(nested_gain[0]),
        nested_error=float(nested_error[0]),
    )


@dataclass(frozen=True, slots=True)
class WeightChoice:
    """The weight for the final fusion and what it was chosen from.

    Attributes:
        weight: The cross-encoder's share, in [0, 1]; 0 when it did not win.
        queries: Held-out queries with a grade above 0, which is what the means are over.
        ndcg: Weight tried -> mean nDCG@10.
        gain: Mean nDCG@10 at ``weight`` minus that at 0.
        standard_error: Of that gain, over queries; 0 at weight 0.
        nested_gain: Mean nDCG@10 over that at 0 where each query is ranked with the weight that the others of a
            cross-validation choose: what the choice is worth on queries that had no part in it.
        nested_error: Standard error of that.
    """

    weight: float
    queries: int
    ndcg: Mapping[float, float]
    gain: float
    standard_error: float
    nested_gain: float
    nested_error: float

    def record(self) -> dict[str, object]:
        """Return what ``final_fusion.json`` holds, as JSON values."""
        return {
            "weight": self.weight,
            "chosen_on": "held-out queries",
            "queries": self.queries,
            "nDCG@10": {f"{weight:.1f}": value for weight, value in self.ndcg.items()},
            "gain": self.gain,
            "standard_error": self.standard_error,
            "nested_gain": self.nested_gain,
            "nested_error": self.nested_error,
        }


def best_weight(held_out: Sequence[HeldOutQuery], *, k: int = 10, seed: int = 7) -> WeightChoice:
    """Choose the cross-encoder's weight on held-out queries.

    The weight of the highest mean nDCG@k among those that win over weight 0, the smallest of equals; 0 when none wins
    (`choose` says what winning is).

    Args:
        held_out: Queries no model was fitted on; those without a grade above 0 are left out.
        k: Cut-off of nDCG (linear gains, ideal over all judged products).
        seed: Deals the queries out to the folds of the nested gain; the choice does not depend on it.

    Returns:
        The choice; weight 0 when fewer than ``MINIMUM_QUERIES`` queries can be scored.
    """
    judged = [query for query in held_out if has_gain(query.grades)]
    if not judged:
        return WeightChoice(0.0, queries=0, ndcg={}, gain=0.0, standard_error=0.0, nested_gain=0.0, nested_error=0.0)
    measured = np.array([[_ndcg(query, weight, k) for query in judged] for weight in WEIGHTS])
    means, choice = measured.mean(axis=1), choose(measured, seed=seed)
    return WeightChoice(
        weight=WEIGHTS[choice.place],
        queries=len(judged),
        ndcg={weight: float(mean) for weight, mean in zip(WEIGHTS, means, strict=True)},
        gain=choice.gain,
        standard_error=choice.standard_error,
        nested_gain=choice.nested_gain,
        nested_error=choice.nested_error,
    )


def _winner(differences: npt.NDArray[np.float64]) -> int:
    """Return the place of the weight that wins over that of weight 0, given paired differences [w, q]."""
    if differences.shape[1] < MINIMUM_QUERIES:
        return 0
    gains, errors = _paired(differences)
    # Rounded, so that sums taken in another order do not decide between equal weights; argmax takes the first,
    # smallest.
    return int(np.argmax(np.where(gains > errors, gains.round(12), 0.0)))


def _nested(differences: npt.NDArray[np.float64], seed: int) -> npt.NDArray[np.float64]:
    """Return each query's difference at the weight that the queries of the other folds choose, float64 [q]."""
    found = np.zeros(differences.shape[1])
    for held in folds(np.arange(differences.shape[1]), seed):
        found[held] = differences[_winner(differences[:, ~held]), held]
    return found


def _paired(differences: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return mean and standard error of each row of [w, q]; a single query has an error of 0."""
    queries = differences.shape[1]
    deviation = differences.std(axis=1, ddof=1) if queries > 1 else np.zeros(len(differences))
    return differences.mean(axis=1), deviation / np.sqrt(queries)


def _standardised(scores: npt.NDArray[np.float64], name: str) -> npt.NDArray[np.float64]:
    if not np.isfinite(scores).all():
        raise ValueError(f"{int((~np.isfinite(scores)).sum())} of {scores.size} {name} scores are NaN or infinite")
    # Compared by range: the deviation of equal numbers is not always exactly 0, and dividing by 1e-17 would make an
    # order.
    if scores.size == 0 or scores.max() == scores.min():
        return np.zeros_like(scores)
    z: npt.NDArray[np.float64] = (scores - scores.mean()) / scores.std()
    return z


def _ndcg(query: HeldOutQuery, weight: float, k: int) -> float:
    order = final_order(final_scores(query.first, query.cross, weight=weight), query.product_ids)
    return ndcg([query.product_ids[position] for position in order], query.grades, k=k)
