"""The paired test and the intervals against exact enumeration, hand-worked cases and known truths."""

from itertools import product

import numpy as np
import pytest

from shortlist.evaluation.paired import (
    bootstrap_interval,
    bootstrap_intervals,
    detectable_difference,
    differences,
    holm,
    randomisation_p,
    randomisation_ps,
)


def exact_p(difference):
    """Return the share of all sign patterns whose sum is at least as far from 0 as the observed one."""
    patterns = np.array(list(product([1, -1], repeat=len(difference))))
    sums = np.abs(patterns @ np.array(difference))
    return np.mean(sums >= abs(sum(difference)) - 1e-10)


@pytest.mark.parametrize(
    "difference",
    [
        [0.5],
        [0.1, 0.2, 0.3],
        [0.1, 0.1, 0.1, 0.1, 0.1, 0.1],
        [0.3, -0.1, 0.2, 0.0, 0.4],
        [0.25, -0.25, 0.5, -0.5],
        [0.02, 0.31, -0.08, 0.11, 0.27, 0.05, -0.02, 0.4, 0.09, 0.13],
    ],
)
def test_randomisation_p_is_the_share_of_all_sign_patterns_within_its_sampling_error(difference):
    trials = 20_000
    exact = exact_p(difference)
    error = 4 * np.sqrt(exact * (1 - exact) / trials) + 2 / trials
    assert randomisation_p(np.array(difference), trials=trials) == pytest.approx(exact, abs=error)


def test_six_equal_gains_are_significant_by_two_patterns_in_64():
    assert exact_p([0.1] * 6) == 2 / 64
    assert randomisation_p(np.full(6, 0.1), trials=50_000) == pytest.approx(2 / 64, abs=0.004)


def test_p_counts_the_observed_pattern_and_is_never_0():
    assert randomisation_p(np.linspace(0.1, 0.9, 200), trials=99) == 1 / 100


@pytest.mark.parametrize("difference", [[], [0.0, 0.0, 0.0]])
def test_no_difference_gives_a_p_of_1(difference):
    assert randomisation_p(np.array(difference)) == 1.0


def test_the_sign_of_the_difference_does_not_matter_to_p():
    difference = np.random.default_rng(3).normal(0.05, 0.2, 60)
    assert randomisation_p(difference) == randomisation_p(-difference)


def test_p_is_the_same_whatever_the_block_size(monkeypatch):
    difference = np.random.default_rng(5).normal(0.03, 0.2, 40)
    whole = randomisation_p(difference, trials=2_000)
    monkeypatch.setattr("shortlist.evaluation.paired._BLOCK_CELLS", 40 * 64)
    assert randomisation_p(difference, trials=2_000) == pytest.approx(whole, abs=0.03)


def test_a_and_a_are_told_apart_about_5_times_in_100():
    generator = np.random.default_rng(11)
    alarms = 0
    for seed in range(400):
        # Two systems of equal worth on 60 queries: the same difficulty, independent noise, many exact ties.
        difficulty = generator.uniform(0, 1, 60)
        scores = np.clip(difficulty + generator.normal(0, 0.15, (2, 60)), 0, 1).round(1)
        alarms += randomisation_p(scores[1] - scores[0], trials=999, seed=seed) <= 0.05
    # Binomial(400, .05): 20 expected, standard deviation 4.4; three of them either way.
    assert 7 <= alarms <= 33


def test_a_real_gain_of_a_fifth_of_its_spread_is_found_over_400_queries():
    difference = np.random.default_rng(2).normal(0.04, 0.2, 400)
    assert randomisation_p(difference) < 0.01


def test_the_interval_of_the_mean_agrees_with_the_normal_one_on_many_values():
    values = np.random.default_rng(7).normal(0.6, 0.2, 500)
    interval = bootstrap_interval(values)
    half_width = 1.96 * values.std() / np.sqrt(500)
    assert interval.low == pytest.approx(values.mean() - half_width, abs=0.001)
    assert interval.high == pytest.approx(values.mean() + half_width, abs=0.001)


def test_the_interval_covers_the_true_mean_about_95_times_in_100():
    generator = np.random.default_rng(13)
    covered = 0
    for seed in range(300):
        interval = bootstrap_interval(generator.beta(2, 2, 80), trials=500, seed=seed)
        covered += interval.low <= 0.5 <= interval.high
    # Binomial(300, .95): 285 expected, standard deviation 3.8; the percentile interval is a little narrow.
    assert 272 <= covered <= 297


def test_all_columns_share_their_resamples_so_a_shifted_column_has_a_shifted_interval():
    values = np.random.default_rng(1).uniform(0, 1, 50)
    first, second = bootstrap_intervals(np.stack([values, values + 1], axis=1), trials=500)
    assert second.low == pytest.approx(first.low + 1)
    assert second.high == pytest.approx(first.high + 1)


def test_a_constant_has_an_interval_of_no_width_and_nothing_has_0():
    constant = bootstrap_interval(np.full(10, 0.25), trials=200)
    assert (constant.low, constant.high, constant.level) == (0.25, 0.25, 0.95)
    nothing = bootstrap_interval(np.array([]))
    assert (nothing.low, nothing.high) == (0.0, 0.0)


def test_a_level_outside_0_to_1_is_refused():
    with pytest.raises(ValueError, match=r"level must be in \(0, 1\), got 95"):
        bootstrap_interval(np.array([1.0]), level=95)


def test_tests_that_share_their_sign_patterns_have_the_p_of_each_alone():
    generator = np.random.default_rng(4)
    columns = generator.normal(0.02, 0.2, (50, 3))
    columns[:, 2] = 0.0
    assert randomisation_ps(columns) == [randomisation_p(columns[:, number]) for number in range(3)]


def test_a_query_outside_a_slice_changes_nothing_when_it_counts_0():
    difference = np.array([0.3, -0.1, 0.2, 0.25, 0.4, 0.1])
    padded = np.concatenate([difference, np.zeros(20)])
    assert randomisation_p(padded, trials=20_000) == pytest.approx(exact_p(list(difference)), abs=0.01)


def test_holm_multiplies_by_what_is_left_and_never_falls_back():
    # By hand: .01 * 4, then .02 * 3, then .04 * 2 = .08, then .05 * 1 = .05, which may not fall below .08.
    assert holm([0.02, 0.05, 0.01, 0.04]) == pytest.approx([0.06, 0.08, 0.04, 0.08])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


def test_holm_with_weights_spends_most_on_the_weightiest_and_passes_it_on():
    # By hand: .01 / .5 = .02 leads; then weight .5 is left for two of .25: .02 / .25 * .5 = .04, then .3 / .25 * .25.
    assert holm([0.01, 0.02, 0.3], [0.5, 0.25, 0.25]) == pytest.approx([0.02, 0.04, 0.3])
    assert holm([0.2, 0.01], [0.5, 0.5]) == pytest.approx(holm([0.2, 0.01]))


@pytest.mark.parametrize("weights", [[1.0], [1.0, 0.0], [1.0, -1.0]])
def test_holm_refuses_weights_that_do_not_fit(weights):
    with pytest.raises(ValueError, match="expected a weight above 0 for each of 2 tests"):
        holm([0.1, 0.2], weights)


def test_holm_agrees_with_its_definition_by_rejecting_one_after_another():
    generator = np.random.default_rng(9)
    for _ in range(200):
        ps = generator.uniform(0, 0.2, 6).round(3)
        alpha = 0.05
        rejected = set()
        for rank, test in enumerate(np.argsort(ps, kind="stable")):
            if ps[test] > alpha / (6 - rank):
                break
            rejected.add(int(test))
        assert {test for test, p in enumerate(holm(list(ps))) if p <= alpha + 1e-12} == rejected


def test_the_detectable_difference_is_2_8_standard_errors():
    difference = np.random.default_rng(3).normal(0, 0.2, 400)
    expected = (1.959964 + 0.841621) * difference.std(ddof=1) / 20
    assert detectable_difference(difference) == pytest.approx(expected, rel=1e-6)
    assert detectable_difference(difference, alpha=0.01) > expected
    assert detectable_difference(np.array([0.5])) == 0.0


def test_a_difference_of_the_detectable_size_is_found_in_about_four_cases_of_five():
    generator = np.random.default_rng(21)
    size = detectable_difference(generator.normal(0, 0.2, 100_000)) * np.sqrt(100_000 / 150)
    found = sum(randomisation_p(generator.normal(size, 0.2, 150), trials=499, seed=n) <= 0.05 for n in range(200))
    # Binomial(200, .8): 160 expected, standard deviation 5.7.
    assert 137 <= found <= 183


def test_systems_measured_on_other_queries_are_not_compared():
    with pytest.raises(
        ValueError, match=r"same queries on both sides, got 2 and 2, 2 of them on one side only, such as \['q2', 'q3'\]"
    ):
        differences({"q1": 0.1, "q2": 0.2}, {"q1": 0.1, "q3": 0.2})


def test_equal_seeds_give_equal_numbers_and_other_seeds_others():
    difference = np.random.default_rng(5).normal(0.02, 0.2, 100)
    assert randomisation_p(difference, seed=1) == randomisation_p(difference, seed=1)
    assert bootstrap_interval(difference, seed=1) == bootstrap_interval(difference, seed=1)
    assert bootstrap_interval(difference, seed=1) != bootstrap_interval(difference, seed=2)
