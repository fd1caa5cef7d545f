"""What scores tell: bins, grades in them, calibration, and the reasons why there is nothing to tell."""

import numpy as np
import pytest

from indexing.errors import SourceDataError
from shortlist.evaluation import EvaluationOptions, SystemRun, evaluate_runs
from shortlist.evaluation.paired import bootstrap_shares
from shortlist.evaluation.scores import MINIMUM_PAIRS, score_profile

# Ten queries, four products each; the score is the grade, and a little more for later queries.
QRELS = {f"q{q}": {f"p{p}": p for p in range(4)} for q in range(10)}
RUN = {f"q{q}": [(f"p{p}", p + q / 100) for p in (3, 2, 1, 0)] for q in range(10)}


def profile_of(run=RUN, qrels=QRELS, **settings):
    return score_profile(run, qrels, **({"k": 10, "good": 2, "trials": 200} | settings))


def test_bins_hold_equally_many_products_highest_scores_first():
    profile = profile_of()
    assert [of.products for of in profile.bins] == [10, 10, 10, 10]
    assert [(of.low, of.high) for of in profile.bins] == [(3.0, 3.09), (2.0, 2.09), (1.0, 1.09), (0.0, 0.09)]
    assert [of.grades for of in profile.bins] == [{3: 10}, {2: 10}, {1: 10}, {0: 10}]
    assert [of.good.mean for of in profile.bins] == [1.0, 1.0, 0.0, 0.0]
    assert profile.bins[0].mean == pytest.approx(3.045)
    assert (profile.judged, profile.unjudged, profile.absent) == (40, 0, "")
    assert (profile.brier, profile.calibration_error) == (None, None)


def test_only_judged_products_among_the_first_k_are_looked_at():
    qrels = {query_id: {"p3": 3, "p1": 1} for query_id in QRELS}
    profile = profile_of(qrels=qrels, k=3)
    assert (profile.judged, profile.unjudged) == (20, 10)
    assert [of.grades for of in profile.bins] == [{3: 10}, {1: 10}]


def test_equal_scores_share_a_bin():
    run = {q: [("p3", 1.0 + number // 9), ("p2", 1.0), ("p1", 0.0)] for number, q in enumerate(QRELS)}
    profile = profile_of(run)
    assert [(of.low, of.high, of.products) for of in profile.bins] == [(1.0, 2.0, 20), (0.0, 0.0, 10)]


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        ({}, f"only 0 judged products are among its first ones, fewer than {2 * MINIMUM_PAIRS}"),
        ({"q0": RUN["q0"]}, "only 4 judged products"),
        ({q: [(p, 1 / (60 + rank)) for rank, (p, _) in enumerate(of)] for q, of in RUN.items()}, "made of ranks"),
        ({q: [(p, float(n == 0)) for p, _ in of] for n, (q, of) in enumerate(RUN.items())}, "too few different"),
    ],
)  # fmt: skip
def test_scores_that_tell_nothing_say_why(run, reason):
    profile = profile_of(run)
    assert reason in profile.absent
    assert profile.bins == ()


def test_probabilities_are_held_against_what_came_true():
    # Of ten products with .75, seven are good; of ten with .25, three.
    qrels = {f"q{q}": {"a": 2 if q < 7 else 0, "b": 3 if q < 3 else 1} for q in range(10)}
    run = {f"q{q}": [("a", 0.75), ("b", 0.25)] for q in range(10)}
    profile = profile_of(run, qrels, is_probability=True)
    assert [(of.mean, of.products, of.good.mean) for of in profile.bins] == [(0.75, 10, 0.7), (0.25, 10, 0.3)]
    assert profile.calibration_error == pytest.approx(0.05)
    assert profile.brier == pytest.approx((7 * 0.25**2 + 3 * 0.75**2 + 7 * 0.25**2 + 3 * 0.75**2) / 20)
    assert profile.skill.mean == pytest.approx(1 - profile.brier / 0.25)
    assert profile.skill.interval.low < profile.skill.mean < profile.skill.interval.high
    assert profile.debiased_error == 0  # .05 is less than chance puts there with so few products


def test_a_probability_on_the_edge_of_two_bins_belongs_to_the_upper_one_and_one_to_the_last():
    qrels = {f"q{q}": {"a": 1, "b": 1, "c": 1} for q in range(10)}
    run = {f"q{q}": [("a", 1.0), ("b", 0.5), ("c", 0.0)] for q in range(10)}
    profile = profile_of(run, qrels, is_probability=True, good=1)
    assert [(of.low, of.products) for of in profile.bins] == [(1.0, 10), (0.5, 10), (0.0, 10)]


def test_probabilities_of_nothing_have_no_calibration():
    profile = profile_of({}, is_probability=True)
    assert "only 0 judged products" in profile.absent
    assert (profile.brier, profile.calibration_error, profile.bins) == (None, None, ())
    assert (profile.skill, profile.debiased_error) == (None, None)


def test_probabilities_beside_the_scores_are_held_against_what_came_true_in_place_of_them():
    beside = {query_id: {product_id: 0.5 for product_id, _ in answer[:1]} for query_id, answer in RUN.items()}
    runs = {"s": SystemRun(RUN, probability_of=3, probabilities=beside)}
    evaluation = evaluate_runs("toy", QRELS, runs, options=EvaluationOptions(trials=10))
    plain = evaluate_runs("toy", QRELS, {"s": SystemRun(RUN)}, options=EvaluationOptions(trials=10))
    assert evaluation.systems["s"].means == plain.systems["s"].means
    profile = evaluation.scores["s"]
    assert (profile.is_probability, profile.good) == (True, 3)
    assert profile.judged + profile.unjudged == len(RUN)
    beside[next(iter(RUN))][RUN[next(iter(RUN))][0][0]] = 1.5
    with pytest.raises(SourceDataError, match=r"claim to be probabilities.* got 1\.5"):
        evaluate_runs("toy", QRELS, runs, options=EvaluationOptions(trials=10))


def test_a_claimed_probability_outside_its_range_is_refused():
    with pytest.raises(
        SourceDataError, match=r"the scores of 's' claim to be probabilities.* got 3\.0 for product 'p3'"
    ):
        evaluate_runs("toy", QRELS, {"s": SystemRun(RUN, probability_of=2)}, options=EvaluationOptions(trials=10))


def test_an_evaluation_profiles_every_system_and_takes_the_claim_at_its_word():
    run = {query_id: [(product_id, score / 4) for product_id, score in answer] for query_id, answer in RUN.items()}
    runs = {"scored": SystemRun(RUN), "claimed": SystemRun(run, probability_of=3)}
    evaluation = evaluate_runs("toy", QRELS, runs, options=EvaluationOptions(trials=10))
    assert (evaluation.scores["scored"].good, evaluation.scores["scored"].is_probability) == (2, False)
    assert evaluation.scores["scored"].k == 10
    assert (evaluation.scores["claimed"].good, evaluation.scores["claimed"].is_probability) == (3, True)


# --- intervals of shares ----------------------------------------------------------------------------------------------


def test_the_interval_of_a_share_is_that_of_resampled_queries():
    part = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 1.0]])
    whole = np.array([[2.0, 2.0], [4.0, 2.0], [3.0, 1.0]])
    found = bootstrap_shares(part, whole, trials=2000, seed=3)
    # The slow twin: draw rows, add, divide.
    generator = np.random.default_rng(3)
    drawn = generator.integers(0, 3, size=(2000, 3))
    shares = part[drawn].sum(axis=1) / whole[drawn].sum(axis=1)
    low, high = np.quantile(shares, [0.025, 0.975], axis=0)
    assert [of.low for of in found] == pytest.approx(low)
    assert [of.high for of in found] == pytest.approx(high)


def test_a_share_of_nothing_is_anything():
    (interval,) = bootstrap_shares(np.zeros((3, 1)), np.zeros((3, 1)), trials=50)
    assert (interval.low, interval.high) == (0.0, 1.0)
