"""Whether probabilities can be relied on: by hand, and where chance alone looks like an error."""

import numpy as np
import pytest

from rerank.reliability import debiased_calibration_error, reliability


def test_brier_score_and_skill_of_four_pairs_worked_by_hand():
    found = reliability([0.8, 0.4, 0.6, 0.0], [True, False, False, False], ["a", "a", "b", "c"])
    assert found.brier == pytest.approx((0.04 + 0.16 + 0.36 + 0.0) / 4)
    assert found.skill == pytest.approx(1 - 0.14 / (0.25 * 0.75))
    assert (found.pairs, found.rate) == (4, 0.25)


def test_the_base_rate_has_no_skill_knowing_all_has_all_and_one_outcome_allows_none():
    outcomes, queries = [True, False, False, False], range(4)
    assert reliability([0.25] * 4, outcomes, queries).skill == pytest.approx(0)
    assert reliability(outcomes, outcomes, queries).skill == 1
    assert reliability([0.5] * 4, [True] * 4, queries).skill == 0


def test_the_interval_holds_the_skill_and_is_wider_when_pairs_of_a_query_are_alike():
    rng = np.random.default_rng(2)
    outcomes = np.repeat(rng.random(50) < 0.5, 8)
    claimed = np.clip(outcomes * 0.4 + 0.3 + np.repeat(rng.normal(0, 0.2, 50), 8), 0, 1)
    together = reliability(claimed, outcomes, np.repeat(np.arange(50), 8))
    apart = reliability(claimed, outcomes, range(400))
    assert together.skill == apart.skill
    assert together.skill_interval[0] < together.skill < together.skill_interval[1]
    widths = [np.diff(found.skill_interval)[0] for found in (together, apart)]
    assert widths[0] > 1.5 * widths[1]


def test_what_chance_puts_into_a_calibration_error_is_taken_out_and_a_true_error_is_not():
    rng = np.random.default_rng(0)
    squared = {"plain": [], "debiased": [], "off": []}
    for _ in range(40):
        claimed = rng.random(200)
        outcomes = (rng.random(200) < claimed).astype(float)
        bins = np.array_split(np.argsort(claimed), 10)
        plain = [(claimed[of].mean() - outcomes[of].mean()) ** 2 for of in bins]
        squared["plain"].append(np.mean(plain))
        squared["debiased"].append(debiased_calibration_error(claimed, outcomes) ** 2)
        squared["off"].append(debiased_calibration_error(claimed * 0.5, outcomes))
    assert np.mean(squared["plain"]) > 0.006
    assert np.mean(squared["debiased"]) < 0.003
    assert np.mean(squared["off"]) == pytest.approx(np.sqrt(1 / 12), abs=0.02)  # root mean square of half of U(0, 1)


def test_equal_probabilities_are_judged_together_in_whatever_order_they_come():
    claimed = np.repeat([0.25, 0.75], 20)
    outcomes = np.repeat([1.0, 0.0, 1.0, 0.0], [5, 15, 15, 5])  # a quarter and three quarters: nothing is off
    assert debiased_calibration_error(claimed, outcomes) == 0


def test_fewer_than_two_pairs_have_no_calibration_error():
    assert debiased_calibration_error(np.array([0.3]), np.array([1.0])) == 0


@pytest.mark.parametrize(
    ("claimed", "outcomes", "queries", "message"),
    [
        ([], [], [], r"at least one, got \(0,\)"),
        ([0.1], [True, False], [1, 2], r"got \(1,\), \(2,\) and 2"),
        ([0.1, 1.2], [True, False], [1, 2], "got 0.1 to 1.2"),
    ],
)
def test_what_are_no_probabilities_of_as_many_outcomes_is_refused(claimed, outcomes, queries, message):
    with pytest.raises(ValueError, match=message):
        reliability(claimed, outcomes, queries)
