"""The plain measures against values worked by hand."""

import math
from functools import partial

import pytest

from retrieval.metrics import (
    average_precision,
    by_rank,
    condensed,
    exponential_gains,
    has_gain,
    judged_share,
    mean_over,
    ndcg,
    recall,
    reciprocal_rank,
)

# Five judged products; "u1" and "u2" stand for products nobody judged.
GRADES = {"a": 3, "b": 2, "c": 1, "d": 0, "e": 2}
RANKED = ["u1", "b", "d", "a", "u2", "c"]


def test_ndcg_is_the_discounted_gain_over_the_ideal_one():
    gained = 2 / math.log2(3) + 3 / math.log2(5) + 1 / math.log2(7)
    ideal = 3 + 2 / math.log2(3) + 2 / math.log2(4) + 1 / math.log2(5)
    assert ndcg(RANKED, GRADES, k=10) == pytest.approx(gained / ideal, abs=1e-15)


def test_ndcg_cuts_both_the_ranking_and_the_ideal_at_k():
    ideal = 3 + 2 / math.log2(3)
    assert ndcg(RANKED, GRADES, k=2) == pytest.approx((2 / math.log2(3)) / ideal, abs=1e-15)


def test_ideal_gain_counts_products_the_system_did_not_find():
    assert ndcg(["c"], {"c": 1, "a": 3}, k=1) == pytest.approx(1 / 3)


def test_exponential_gains_weigh_grade_3_seven_times_grade_1():
    gains = exponential_gains([0, 1, 2, 3])
    assert gains == {0: 0.0, 1: 1.0, 2: 3.0, 3: 7.0}
    ideal = 7 + 1 / math.log2(3)
    assert ndcg(["c", "a"], {"a": 3, "c": 1}, k=2, gains=gains) == pytest.approx((1 + 7 / math.log2(3)) / ideal)


def test_gains_may_be_fractions_and_need_not_name_grade_0():
    assert ndcg(["x", "s"], {"s": 10, "e": 100}, k=2, gains={100: 1.0, 10: 0.1}) == pytest.approx(
        (0.1 / math.log2(3)) / (1 + 0.1 / math.log2(3))
    )


def test_without_a_cutoff_the_whole_ranking_and_the_whole_ideal_count():
    gained = 2 / math.log2(3) + 3 / math.log2(5) + 1 / math.log2(7)
    ideal = 3 + 2 / math.log2(3) + 2 / math.log2(4) + 1 / math.log2(5)
    assert ndcg(RANKED, GRADES, k=None) == pytest.approx(gained / ideal, abs=1e-15)


def test_a_discount_by_rank_and_a_fixed_ideal_give_the_figure_of_cheat_at_search():
    # Exact at ranks 1 and 3, Partial at 2; the ideal is Exact at all ten ranks: 3 * (1 + 1/2 + ... + 1/10) = 8.787.
    grades = {"a": 2, "b": 1, "c": 2}
    found = ndcg(["a", "b", "c"], grades, k=10, gains={0: 0, 1: 1, 2: 3}, discount=by_rank, ideal_grade=2)
    assert found == pytest.approx((3 + 1 / 2 + 3 / 3) / 8.7869, abs=1e-5)


def test_a_fixed_ideal_without_a_cutoff_is_refused():
    with pytest.raises(ValueError, match="an ideal of grade 2 at every place needs a cut-off, got k=None"):
        ndcg(["a"], {"a": 2}, k=None, ideal_grade=2)


def test_a_grade_without_a_gain_is_refused():
    with pytest.raises(ValueError, match=r"every grade that occurs, got \{1: 1.0\} and met grade 2"):
        ndcg(["a"], {"a": 2}, k=1, gains={1: 1.0})


def test_a_negative_grade_is_refused():
    with pytest.raises(ValueError, match="grades must be 0 or more, got -2"):
        ndcg(["a"], {"a": -2, "b": 1}, k=1)


@pytest.mark.parametrize("grade", [-1, 31, 100])
def test_exponential_gains_refuse_grades_that_drown_the_others(grade):
    with pytest.raises(ValueError, match=rf"grades in 0\.\.30, got \[{grade}\]"):
        exponential_gains([0, 1, grade])


def test_recall_counts_the_grades_from_min_grade_up():
    assert recall(RANKED, GRADES, k=100, min_grade=2) == pytest.approx(2 / 3)
    assert recall(RANKED, GRADES, k=3, min_grade=2) == pytest.approx(1 / 3)
    assert recall(RANKED, GRADES, k=100) == pytest.approx(3 / 4)


def test_recall_is_0_when_no_product_reaches_min_grade():
    assert recall(["a"], {"a": 1}, k=10, min_grade=2) == 0.0


def test_reciprocal_rank_finds_the_first_good_product():
    assert reciprocal_rank(RANKED, GRADES) == 1 / 2
    assert reciprocal_rank(RANKED, GRADES, min_grade=3) == 1 / 4
    assert reciprocal_rank(["u1", "d"], GRADES) == 0.0


def test_average_precision_divides_by_all_good_products_not_only_the_found_ones():
    # Good products stand at ranks 2, 4 and 6; "e" is never found.
    assert average_precision(RANKED, GRADES) == pytest.approx((1 / 2 + 2 / 4 + 3 / 6) / 4)
    assert average_precision(RANKED, GRADES, min_grade=3) == pytest.approx(1 / 4)
    assert average_precision(RANKED, {"d": 0}) == 0.0


def test_judged_share_counts_grade_0_as_judged_and_measures_a_short_ranking_over_its_length():
    assert judged_share(RANKED, GRADES, k=4) == 3 / 4
    assert judged_share(RANKED, GRADES, k=10) == pytest.approx(4 / 6)
    assert judged_share([], GRADES, k=10) == 0.0


def test_condensed_keeps_the_order_and_only_what_was_judged():
    assert condensed(RANKED, GRADES) == ["b", "d", "a", "c"]


def test_condensed_ndcg_of_a_perfect_order_hidden_by_unjudged_products_is_1():
    ranked = ["u1", "a", "u2", "b", "c"]
    grades = {"a": 3, "b": 2, "c": 1}
    assert ndcg(condensed(ranked, grades), grades, k=10) == 1.0
    assert ndcg(ranked, grades, k=10) < 0.75


def test_an_empty_ranking_scores_0_everywhere():
    assert (
        ndcg([], GRADES, k=10)
        == recall([], GRADES, k=10)
        == reciprocal_rank([], GRADES)
        == average_precision([], GRADES)
        == 0.0
    )


def test_a_query_graded_0_throughout_scores_0():
    assert ndcg(["d"], {"d": 0}, k=10) == 0.0
    assert not has_gain({"d": 0})
    assert has_gain({"d": 0, "a": 1})


@pytest.mark.parametrize(
    "measure",
    [partial(ndcg, k=10), partial(recall, k=10), reciprocal_rank, average_precision, partial(judged_share, k=10)],
)
def test_a_product_ranked_twice_is_refused_not_paid_twice(measure):
    with pytest.raises(ValueError, match=r"each product once, got 'a' at ranks 1 and 3"):
        measure(["a", "b", "a"], GRADES)


@pytest.mark.parametrize("measure", [ndcg, recall, judged_share])
def test_a_cutoff_below_1_is_refused(measure):
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        measure(["a"], GRADES, k=0)


@pytest.mark.parametrize("measure", [partial(recall, k=1), reciprocal_rank, average_precision])
def test_a_min_grade_of_0_is_refused(measure):
    with pytest.raises(ValueError, match=r"min_grade must be at least 1 .* got 0"):
        measure(["a"], GRADES, min_grade=0)


def test_the_mean_charges_unanswered_queries_and_leaves_out_those_without_a_good_product():
    qrels = {"q1": {"a": 1}, "q2": {"b": 1}, "q3": {"c": 1}, "all-zero": {"d": 0}}
    run = {"q1": [("a", 1.0)], "q2": [("x", 2.0), ("b", 1.0)], "all-zero": [("d", 1.0)], "extra": [("a", 1.0)]}
    assert mean_over(qrels, run, reciprocal_rank) == pytest.approx((1 + 1 / 2 + 0) / 3)


def test_the_mean_reads_the_order_of_the_run_and_not_its_scores():
    qrels = {"q": {"a": 1, "b": 2}}
    assert mean_over(qrels, {"q": [("b", 0.0), ("a", 9.0)]}, partial(ndcg, k=2)) == 1.0


def test_the_mean_over_no_queries_is_0():
    assert mean_over({}, {}, reciprocal_rank) == 0.0
    assert mean_over({"q": {"a": 0}}, {"q": [("a", 1.0)]}, reciprocal_rank) == 0.0
