"""Trees learned where the mix is blind, none where there is nothing to learn, and never judged on what they learned."""

import numpy as np
import pytest

from rerank.boosting import ROUNDS, Lesson, boost
from rerank.features import FEATURES
from rerank.final import Convex
from rerank.fusion import MINIMUM_QUERIES

WORDS = FEATURES.index("title_words")


def lessons(count, *, told, seed=0):
    """Queries whose good products show in ``title_words`` alone, if ``told``; both stages guess."""
    rng = np.random.default_rng(seed)
    found = []
    for query in range(count):
        ids = tuple(f"q{query}-{place:02d}" for place in range(24))
        grades = rng.permutation([3, 3, 2, 2, 1, 1, *[0] * 18])
        fixed = np.zeros((24, len(FEATURES)))
        fixed[:, WORDS] = grades / 3 if told else rng.random(24)
        first, cross = (np.sort(rng.normal(size=24))[::-1].astype(np.float32), rng.normal(size=24).astype(np.float32))
        found.append(Lesson(ids, fixed, first, cross, dict(zip(ids, grades.tolist(), strict=True))))
    return found


def test_trees_find_what_the_mix_does_not_see_and_are_judged_on_queries_they_did_not_learn_from():
    found = boost(lessons(40, told=True), Convex(0.5))
    assert len(found.trees.roots) in ROUNDS[1:]
    assert found.ndcg[len(found.trees.roots)] > found.ndcg[0] + 0.2
    assert found.choice.nested_gain > 0.2
    assert found.gains["title_words"] == pytest.approx(1, abs=0.1)


def test_noise_gives_no_trees_though_they_would_fit_what_they_learned_from():
    found = boost(lessons(40, told=False), Convex(0.5))
    assert (len(found.trees.roots), found.choice.gain, found.gains) == (0, 0.0, {})
    assert all(found.ndcg[rounds] < found.ndcg[0] + 0.05 for rounds in ROUNDS)


def test_the_same_seed_gives_the_same_trees_and_too_few_queries_give_none():
    one, other = (boost(lessons(20, told=True), Convex(0.0), seed=5) for _ in range(2))
    assert one.trees.plain() == other.trees.plain() != []
    few = boost(lessons(MINIMUM_QUERIES - 1, told=True), Convex(0.5))
    assert len(few.trees.roots) == len(boost([], Convex(0.5)).trees.roots) == 0
