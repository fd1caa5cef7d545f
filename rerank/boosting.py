"""Learning the trees of `rerank.corrected` with LightGBM, on queries that neither encoder nor cross-encoder learned.

How many trees is decided by a cross-validation over those queries: none unless some win, as `rerank.fusion.choose` says
what winning is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from indexing.errors import EnvironmentProblem
from rerank.features import FEATURES, with_rerank
from rerank.final import Convex
from rerank.folds import folds
from rerank.fusion import Choice, Doubles, FloatVector, choose, final_order, mixed, standardised
from rerank.trees import LEAF, Trees, read_trees
from retrieval.metrics import ndcg

K = 10
"""Cut-off of the nDCG that chooses."""

ROUNDS = (0, 25, 50, 100, 200)
"""Numbers of trees that are tried."""

SETTINGS: Mapping[str, Any] = {
    "objective": "lambdarank",
    "lambdarank_truncation_level": 2 * K,
    "learning_rate": 0.05,
    "num_leaves": 15,
    "min_data_in_leaf": 20,
    "lambda_l2": 1.0,
    "feature_fraction": 0.8,
    "use_missing": False,  # features are finite, and the trees' arrays know no third way
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}
"""Small trees, slowly learned: the guide's advice for few data (lightgbm.readthedocs.io, Parameters-Tuning)."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """A judged query as both stages see it.

    Attributes:
        product_ids: The candidates, best first.
        fixed: Their features without those of the cross-encoder, float64 [n, f].
        first: Their first-stage scores, float32 [n].
        cross: Their cross-encoder scores, float32 [n].
        grades: product_id -> grade of everything judged; what is missing counts as 0, as in every measure here.
    """

    product_ids: tuple[str, ...]
    fixed: Doubles
    first: FloatVector
    cross: FloatVector
    grades: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Boosted:
    """What was learned.

    Attributes:
        trees: None at all unless some won.
        ndcg: Trees tried -> mean nDCG@10 on queries that they did not learn from.
        choice: Of the number of trees, and what the choice is worth.
        gains: Feature -> its share of what all splits gained.
    """

    trees: Trees
    ndcg: Mapping[int, float]
    choice: Choice
    gains: Mapping[str, float]


def require_lightgbm() -> ModuleType:
    """Import LightGBM, which takes seconds.

    Raises:
        EnvironmentProblem: When it is not installed.
    """
    try:
        import lightgbm
    except ImportError as error:
        raise EnvironmentProblem(
            f"learning the trees of a final fusion needs lightgbm ({error}); "
            "install the extra: pip install 'shortlist[train]'"
        ) from error
    found: ModuleType = lightgbm
    return found


def boost(lessons: Sequence[Lesson], convex: Convex, *, seed: int = 7) -> Boosted:
    """Learn trees that correct a convex mix.

    Args:
        lessons: Queries with a grade above 0, at least one candidate each; none that any model learned from.
        convex: The mix that they correct.
        seed: Deals the queries out to folds, and draws the features that a tree may look at.

    Returns:
        The trees; none where fewer than `rerank.fusion.MINIMUM_QUERIES` queries are there, or no number of them wins.

    Raises:
        EnvironmentProblem: LightGBM is not installed.
    """
    library = require_lightgbm()
    measured = np.zeros((len(ROUNDS), max(1, len(lessons))))
    for held in folds(np.arange(len(lessons)), seed) if len(lessons) > 1 else ():
        booster = _fit(library, [lessons[place] for place in np.flatnonzero(~held).tolist()], convex, max(ROUNDS), seed)
        for place in np.flatnonzero(held).tolist():
            lesson = lessons[place]
            for row, rounds in enumerate(ROUNDS):
                said = _said(booster, lesson, rounds)
                measured[row, place] = _ndcg(lesson, _mixed(lesson, convex) + said)
    choice = choose(measured, seed=seed)
    rounds = ROUNDS[choice.place]
    means = {tried: float(mean) for tried, mean in zip(ROUNDS, measured.mean(axis=1), strict=True)}
    if not rounds:
        return Boosted(read_trees([], features=len(FEATURES)), means, choice, {})
    booster = _fit(library, lessons, convex, rounds, seed)
    gained = np.asarray(booster.feature_importance("gain"), dtype=np.float64)
    shares = gained / (gained.sum() or 1.0)
    return Boosted(
        trees=trees_of(booster.dump_model()),
        ndcg=means,
        choice=choice,
        gains={name: float(share) for name, share in zip(FEATURES, shares, strict=True) if share},
    )


def trees_of(dumped: Mapping[str, Any]) -> Trees:
    """Return the trees of LightGBM's ``dump_model``, which nests them.

    Raises:
        ValueError: A split of another kind than "at most a threshold".
    """
    return read_trees([_flat(tree["tree_structure"]) for tree in dumped["tree_info"]], features=len(FEATURES))


def _flat(root: Mapping[str, Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {name: [] for name in ("feature", "threshold", "left", "right", "value")}

    def add(node: Mapping[str, Any]) -> int:
        place = len(found["value"])
        is_leaf = "leaf_value" in node
        if not is_leaf and node["decision_type"] != "<=":
            raise ValueError(f"expected splits by a threshold, got {node['decision_type']!r}")
        values = (
            (LEAF, 0.0, place, place, node["leaf_value"])
            if is_leaf
            else (node["split_feature"], node["threshold"], 0, 0, node["internal_value"])
        )
        for name, value in zip(found, values, strict=True):
            found[name].append(value)
        if not is_leaf:
            found["left"][place] = add(node["left_child"])
            found["right"][place] = add(node["right_child"])
        return place

    add(root)
    return found


def _fit(library: ModuleType, lessons: Sequence[Lesson], convex: Convex, rounds: int, seed: int) -> Any:  # noqa: ANN401
    """Boost trees on top of the mix, which is where they begin."""
    labels = [lesson.grades.get(product_id, 0) for lesson in lessons for product_id in lesson.product_ids]
    learned = library.Dataset(
        np.concatenate([with_rerank(lesson.fixed, lesson.cross) for lesson in lessons]),
        label=labels,
        group=[len(lesson.product_ids) for lesson in lessons],
        init_score=np.concatenate([_mixed(lesson, convex) for lesson in lessons]),
        feature_name=list(FEATURES),
        free_raw_data=False,
    )
    gains = list(range(max(labels, default=0) + 1))  # linear, as nDCG is measured here
    return library.train({**SETTINGS, "label_gain": gains, "seed": seed}, learned, num_boost_round=rounds)


def _said(booster: Any, lesson: Lesson, rounds: int) -> Doubles:  # noqa: ANN401 - LightGBM's Booster
    if not rounds:  # LightGBM takes 0 for all
        return np.zeros(len(lesson.product_ids))
    rows = with_rerank(lesson.fixed, lesson.cross)
    return np.asarray(booster.predict(rows, num_iteration=rounds, raw_score=True), dtype=np.float64)


def _mixed(lesson: Lesson, convex: Convex) -> Doubles:
    parts = mixed(standardised(lesson.first), lesson.cross, weight=convex.weight)
    return parts["first"] + parts["rerank"]


def _ndcg(lesson: Lesson, scores: Doubles) -> float:
    order = final_order(scores, lesson.product_ids)
    return ndcg([lesson.product_ids[place] for place in order], lesson.grades, k=K)
