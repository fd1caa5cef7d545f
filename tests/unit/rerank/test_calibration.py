"""Scores that are probabilities: both curves by value, nothing judged by what it was fitted on, nothing that falls."""

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from indexing.errors import SourceDataError
from rerank.calibration import Calibration, cross_fitted, fit_calibration
from rerank.folds import folds
from rerank.logistic import sigmoid
from rerank.reliability import reliability


def pairs(count=2000, *, curve=lambda scores: sigmoid(2 * scores - 1), seed=5, per_query=10):
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=count)
    return scores, rng.random(count) < curve(scores), np.arange(count) // per_query


def test_scores_that_are_log_odds_get_back_the_sigmoid_that_made_the_outcomes():
    found = fit_calibration(*pairs(), good=2)
    assert (found.kind, found.good) == ("platt", 2)
    assert (found.slope, found.intercept) == (pytest.approx(2, abs=0.25), pytest.approx(-1, abs=0.15))
    assert found.apply([0.5]) == pytest.approx(sigmoid([found.intercept + found.slope * 0.5]))


def test_a_curve_with_steps_is_found_to_be_no_sigmoid_and_equals_scikit_learns():
    scores, is_good, queries = pairs(curve=lambda s: np.select([s < -0.5, s < 0.8], [0.05, 0.6], 0.65))
    found = fit_calibration(scores, is_good, queries, good=1)
    assert found.kind == "isotonic"
    margin = 1 / (len(scores) + 2)
    oracle = IsotonicRegression(y_min=margin, y_max=1 - margin, out_of_bounds="clip").fit(scores, is_good)
    beyond = np.array([-9.0, 9.0])
    asked = np.concatenate([scores, beyond, (scores[1:] + scores[:-1]) / 2])
    assert found.apply(asked) == pytest.approx(oracle.predict(asked), abs=1e-9)


def test_probabilities_never_fall_with_the_score_and_are_never_certain():
    for curve in (lambda s: (s > 0).astype(float), lambda s: np.full(len(s), 0.5)):
        found = fit_calibration(*pairs(300, curve=curve), good=1)
        values = found.apply(np.linspace(-5, 5, 500))
        assert (np.diff(values) >= 0).all()
        assert values.min() > 0
        assert values.max() < 1


def test_a_score_that_says_the_opposite_becomes_the_base_rate_and_reorders_nothing():
    scores, is_good, queries = pairs(200, curve=lambda s: sigmoid(-3 * s))
    found = fit_calibration(scores, is_good, queries, good=1)
    assert np.ptp(found.apply([-2.0, 2.0])) < 0.05
    assert found.apply([0.0])[0] == pytest.approx(is_good.mean(), abs=0.05)


def test_probabilities_fitted_across_queries_do_not_know_the_outcomes_they_are_judged_by():
    skills_in, skills_out = [], []
    for seed in range(8):  # scores that say nothing: whatever skill there seems to be was read off the outcomes
        scores, is_good, queries = pairs(120, curve=lambda s: np.full(len(s), 0.4), seed=seed)
        own = IsotonicRegression(out_of_bounds="clip").fit(scores, is_good).predict(scores)
        skills_in.append(reliability(own, is_good, queries).skill)
        skills_out.append(reliability(cross_fitted(scores, is_good, queries, good=1), is_good, queries).skill)
    assert np.mean(skills_in) > 0.04
    assert np.mean(skills_out) < 0.0


@pytest.mark.parametrize("seed", range(3))
def test_what_came_true_for_a_query_does_not_move_its_own_probabilities_and_moves_the_others(seed):
    scores, is_good, queries = pairs(200, seed=seed)
    own = queries == 4
    other = np.where(own, ~is_good, is_good)
    before, after = (cross_fitted(scores, of, queries, good=1) for of in (is_good, other))
    assert before[own].tolist() == after[own].tolist()
    assert np.abs(before - after).max() > 0


def test_folds_part_all_examples_by_group_and_leave_none_empty():
    groups = np.array([0, 0, 1, 2, 2, 2, 3])
    parts = list(folds(groups, 3, count=5))
    assert len(parts) == 4
    assert np.sum(parts, axis=0).tolist() == [1] * 7
    for part in parts:
        assert part.any()
        assert not set(groups[part]) & set(groups[~part])


def test_the_seed_decides_the_folds():
    groups = np.arange(40)
    one, same, other = ([tuple(part) for part in folds(groups, seed)] for seed in (1, 1, 2))
    assert one == same != other


@pytest.mark.parametrize(
    ("count", "good", "message"),
    [(40, 0, "got 40, 0 of them good"), (40, 40, "got 40, 40 of them good"), (19, 9, "takes 20 judged.*got 19, 9")],
)
def test_pairs_of_one_outcome_or_too_few_are_refused_with_their_counts(count, good, message):
    with pytest.raises(SourceDataError, match=message):
        fit_calibration(np.arange(count), np.arange(count) < good, range(count), good=1)


def test_scores_that_are_not_finite_and_lengths_that_differ_are_refused():
    with pytest.raises(ValueError, match="1 of 30 scores are NaN or infinite"):
        fit_calibration([np.inf, *range(29)], np.arange(30) < 9, range(30), good=1)
    with pytest.raises(ValueError, match=r"got \(30,\), \(29,\) and 30"):
        cross_fitted(range(30), np.arange(29) < 9, range(30), good=1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "beta", "good": 1}, "platt and isotonic, got 'beta'"),
        ({"kind": "platt", "good": 1, "slope": -1.0}, "its slope is -1.0"),
        ({"kind": "platt", "good": 1, "slope": float("nan")}, "finite"),
        ({"kind": "isotonic", "good": 1}, "got 0 and 0"),
        ({"kind": "isotonic", "good": 1, "scores": (1.0, 1.0), "probabilities": (0.1, 0.2)}, "must rise"),
        ({"kind": "isotonic", "good": 1, "scores": (1.0, 2.0), "probabilities": (0.3, 0.2)}, "must not fall"),
        ({"kind": "isotonic", "good": 1, "scores": (1.0, 2.0), "probabilities": (0.3, 1.2)}, "got 0.3, 1.2"),
    ],
)
def test_a_curve_that_is_none_is_refused_wherever_it_came_from(fields, message):
    with pytest.raises(ValueError, match=message):
        Calibration(**fields)
