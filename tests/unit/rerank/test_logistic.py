"""Logistic regression: against scikit-learn, and what it refuses."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from rerank.logistic import fit_line, sigmoid


def examples(seed=3, count=60):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, 3)) * [1.0, 5.0, 0.2]
    odds = features @ [1.0, -0.3, 4.0] + 0.5
    return features, (rng.random(count) < sigmoid(odds)).astype(float), rng.uniform(0.2, 3.0, count)


@pytest.mark.parametrize("ridge", [0.1, 1.0, 30.0])
def test_the_line_is_scikit_learns_to_five_digits(ridge):
    features, targets, weights = examples()
    found = fit_line(features, targets, ridge=ridge, weights=weights)
    oracle = LogisticRegression(C=1 / ridge, tol=1e-10, max_iter=10_000).fit(features, targets, sample_weight=weights)
    assert found.coefficients == pytest.approx(oracle.coef_[0], rel=1e-5, abs=1e-6)
    assert found.intercept == pytest.approx(oracle.intercept_[0], rel=1e-5, abs=1e-6)


def test_uncertain_targets_count_as_the_share_of_both_outcomes_that_they_are():
    features = np.array([[0.0], [1.0]])
    split = fit_line(features.repeat(4, axis=0), np.array([1, 0, 0, 0, 1, 1, 1, 0.0]), ridge=0.5)
    shared = fit_line(features, np.array([0.25, 0.75]), ridge=0.5, weights=np.array([4.0, 4.0]))
    assert shared.log_odds(features) == pytest.approx(split.log_odds(features), rel=1e-8)


def test_separable_examples_have_a_finite_line_and_one_outcome_alone_a_flat_one():
    apart = fit_line(np.array([[-1.0], [1.0]]), np.array([0.0, 1.0]), ridge=1.0)
    assert 0.1 < apart.coefficients[0] < 10
    alike = fit_line(np.array([[-1.0], [1.0]]), np.array([1.0, 1.0]), ridge=1.0)
    assert abs(alike.coefficients[0]) < 1e-6
    assert sigmoid(alike.intercept) > 0.99


def test_sigmoid_overflows_at_neither_end():
    assert sigmoid([-1000.0, 0.0, 1000.0]).tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize(
    ("features", "targets", "weights", "message"),
    [
        (np.zeros((0, 1)), np.zeros(0), None, r"got shapes \(0, 1\), \(0,\) and \(0,\)"),
        (np.zeros((2, 1)), np.zeros(3), None, r"got shapes \(2, 1\), \(3,\) and \(3,\)"),
        (np.full((2, 1), np.nan), np.zeros(2), None, "must be finite"),
        (np.zeros((2, 1)), np.zeros(2), np.array([1.0, 0.0]), "weights above 0"),
        (np.zeros((2, 1)), np.array([0.0, 2.0]), None, r"\[0, 1\], got 0.0 to 2.0"),
    ],
)
def test_what_cannot_be_fitted_is_refused(features, targets, weights, message):
    with pytest.raises(ValueError, match=message):
        fit_line(features, targets, ridge=1.0, weights=weights)
