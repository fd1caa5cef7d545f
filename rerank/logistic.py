"""Logistic regression with a ridge, by Newton's method: a few hundred examples, a handful of features, no library."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

STEPS, TOLERANCE = 100, 1e-10
"""Newton steps at most (ten are usual; the halving of a step that does not lower the loss guards the others), and the
largest change of a coefficient that ends them."""


@dataclass(frozen=True, slots=True)
class Line:
    """Log-odds as a linear function: ``intercept + features @ coefficients``.

    Attributes:
        intercept: Log-odds where all features are 0.
        coefficients: One per feature, float64 [f].
    """

    intercept: float
    coefficients: Values

    def log_odds(self, features: Values) -> Values:
        """Return the log-odds of every row of ``features`` [n, f], float64 [n]."""
        odds: Values = self.intercept + np.asarray(features, np.float64) @ self.coefficients
        return odds


def sigmoid(log_odds: npt.ArrayLike) -> Values:
    """Turn log-odds into probabilities, float64, without overflow."""
    odds = np.asarray(log_odds, np.float64)
    small = np.exp(-np.abs(odds))
    return np.where(odds >= 0, 1 / (1 + small), small / (1 + small))


def fit_line(features: Values, targets: Values, *, ridge: float, weights: Values | None = None) -> Line:
    """Fit log-odds to targets.

    Minimises ``sum(weights * cross-entropy) + ridge / 2 * |coefficients|^2``; the intercept is not shrunk. The loss is
    convex, so there is one answer, and the order of the examples does not change it beyond rounding.

    Args:
        features: float64 [n, f].
        targets: In [0, 1], float64 [n]; between the two for targets that are themselves uncertain.
        ridge: At least 0; above 0, separable examples have a finite answer too.
        weights: Of every example, above 0; ``None`` for 1 each.

    Raises:
        ValueError: If there is no example, a number is not finite, a target lies outside [0, 1], or the lengths differ.

    Source:
        Hastie, Tibshirani, Friedman, "The Elements of Statistical Learning", 2nd edition, section 4.4.1.
    """
    rows = np.asarray(features, np.float64)
    aims = np.asarray(targets, np.float64)
    each = np.ones(len(aims)) if weights is None else np.asarray(weights, np.float64)
    _check(rows, aims, each)
    design = np.column_stack([np.ones(len(rows)), rows])
    shrink = np.diag([0.0, *[ridge] * rows.shape[1]])
    shrink[0, 0] = 1e-12  # keeps the system solvable when every target is 0 or 1 and the intercept runs away

    def loss(at: Values) -> float:
        odds = design @ at
        return float(each @ (np.logaddexp(0, odds) - aims * odds) + at @ shrink @ at / 2)

    found = np.zeros(design.shape[1])
    for _ in range(STEPS):
        expected = sigmoid(design @ found)
        gradient = design.T @ (each * (expected - aims)) + shrink @ found
        curve = design.T @ (design * (each * expected * (1 - expected))[:, None]) + shrink
        step = np.linalg.lstsq(curve, gradient, rcond=None)[0]
        before, share = loss(found), 1.0
        while share > 1e-6 and loss(found - share * step) > before:
            share /= 2
        found = found - share * step
        if np.abs(share * step).max() < TOLERANCE:
            break
    return Line(intercept=float(found[0]), coefficients=found[1:])


def _check(rows: Values, aims: Values, each: Values) -> None:
    if rows.ndim != 2 or not len(rows) or aims.shape != (len(rows),) or each.shape != (len(rows),):
        raise ValueError(
            f"expected one row of features, one target and one weight per example, got shapes {rows.shape}, "
            f"{aims.shape} and {each.shape}"
        )
    if not (np.isfinite(rows).all() and np.isfinite(each).all() and (each > 0).all()):
        raise ValueError("features and weights must be finite, and weights above 0")
    if not ((aims >= 0) & (aims <= 1)).all():
        raise ValueError(f"targets must lie in [0, 1], got {aims.min()} to {aims.max()}")
