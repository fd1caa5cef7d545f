from dataclasses import replace

import numpy as np
import pytest

from rerank.fusion import WEIGHTS, HeldOutQuery, best_weight, final_order, final_scores


def test_final_scores_match_a_case_worked_by_hand():
    # first: mean 2, deviation sqrt(2/3); cross: mean 0, deviation sqrt(8/3). Both standardise to +-1.2247 and 0.
    mixed = final_scores([3.0, 2.0, 1.0], [-2.0, 2.0, 0.0], weight=0.25)
    root = np.sqrt(1.5)
    assert mixed == pytest.approx([0.75 * root - 0.25 * root, 0.25 * root, -0.75 * root], abs=1e-6)
    assert mixed.dtype == np.float32


def test_weight_0_keeps_the_first_order_and_weight_1_takes_the_second():
    first, cross = [9.0, 5.0, 4.0, 1.0], [0.1, 0.3, 0.2, 0.4]
    ids = ["a", "b", "c", "d"]
    assert final_order(final_scores(first, cross, weight=0.0), ids).tolist() == [0, 1, 2, 3]
    assert final_order(final_scores(first, cross, weight=1.0), ids).tolist() == [3, 1, 2, 0]


def test_final_scores_do_not_depend_on_either_scale():
    rng = np.random.default_rng(1)
    first, cross = rng.normal(size=20), rng.normal(size=20)
    expected = final_scores(first, cross, weight=0.4)
    assert final_scores(first * 0.001 + 7, cross * 50 - 3, weight=0.4) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("constant", [0.1, -3.3, 0.0])
def test_a_stage_that_scores_all_alike_adds_nothing(constant):
    cross = [constant] * 7
    assert final_scores(cross, cross, weight=0.5).tolist() == [0.0] * 7
    first = np.arange(7.0)
    alone = final_scores(first, np.zeros(7), weight=0.3)
    assert final_scores(first, cross, weight=0.3).tolist() == alone.tolist()


def test_one_candidate_and_none_are_scored_without_a_division_by_zero():
    assert final_scores([4.2], [-1.0], weight=0.5).tolist() == [0.0]
    assert final_scores([], [], weight=0.5).tolist() == []


@pytest.mark.parametrize("weight", [-0.1, 1.01, float("nan")])
def test_a_weight_outside_0_to_1_is_refused(weight):
    with pytest.raises(ValueError, match=rf"weight must lie in \[0, 1\], got {weight}"):
        final_scores([1.0], [1.0], weight=weight)


def test_scores_of_other_candidates_are_refused():
    with pytest.raises(ValueError, match=r"the same candidates, got \(2,\) and \(3,\)"):
        final_scores([1.0, 2.0], [1.0, 2.0, 3.0], weight=0.5)


def test_scores_that_are_not_finite_are_refused_and_counted():
    with pytest.raises(ValueError, match="2 of 3 cross-encoder scores are NaN or infinite"):
        final_scores([1.0, 2.0, 3.0], [np.nan, 1.0, np.inf], weight=0.5)


def test_equal_scores_are_ordered_by_product_id():
    ids = ["10", "9", "B", "a", "1"]
    assert final_order([0.5, 0.5, 0.5, 0.5, 0.7], ids).tolist() == [4, 0, 1, 2, 3]


def test_the_order_does_not_depend_on_the_order_of_the_candidates():
    rng = np.random.default_rng(5)
    scores, ids = rng.integers(0, 4, size=30) / 4, [f"p{number}" for number in range(30)]
    expected = [ids[i] for i in final_order(scores, ids)]
    shuffled = rng.permutation(30)
    found = final_order(scores[shuffled], [ids[i] for i in shuffled])
    assert [ids[shuffled[i]] for i in found] == expected


def test_a_score_too_few_is_refused():
    with pytest.raises(ValueError, match=r"3 product_ids, scores of shape \(2,\)"):
        final_order([1.0, 2.0], ["a", "b", "c"])


# --- the weight -------------------------------------------------------------------------------------------------------


def _held_out(queries: int, *, first_noise: float, cross_noise: float, seed: int) -> list[HeldOutQuery]:
    """Queries whose stages see the grade through noise of a given size."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(queries):
        grades = rng.integers(0, 4, size=30)
        ids = tuple(f"p{number:02d}" for number in range(30))
        first, cross = (grades + rng.normal(scale=noise, size=30) for noise in (first_noise, cross_noise))
        found.append(
            HeldOutQuery(
                product_ids=ids,
                first=first.astype(np.float32),
                cross=cross.astype(np.float32),
                grades=dict(zip(ids, grades.tolist(), strict=True)),
            )
        )
    return found


@pytest.mark.parametrize("seed", range(5))
def test_a_cross_encoder_that_is_noise_gets_weight_0(seed):
    choice = best_weight(_held_out(40, first_noise=1.0, cross_noise=1e6, seed=seed))
    assert choice.weight == 0
    assert choice.gain == 0
    assert choice.ndcg[0.0] > choice.ndcg[1.0]


def test_a_cross_encoder_that_knows_the_truth_gets_most_of_the_weight():
    choice = best_weight(_held_out(40, first_noise=3.0, cross_noise=0.01, seed=3))
    assert choice.weight >= 0.7
    assert choice.ndcg[choice.weight] == pytest.approx(1.0, abs=1e-9)
    assert choice.gain == pytest.approx(choice.ndcg[choice.weight] - choice.ndcg[0.0])
    assert choice.gain > choice.standard_error > 0


def test_two_equally_good_stages_that_err_apart_are_mixed():
    choice = best_weight(_held_out(60, first_noise=1.5, cross_noise=1.5, seed=8))
    assert 0.2 <= choice.weight <= 0.8
    assert choice.ndcg[choice.weight] > max(choice.ndcg[0.0], choice.ndcg[1.0])


def test_the_nested_gain_is_what_the_choice_is_worth_to_queries_without_a_part_in_it():
    inner, outer = [], []
    for seed in range(60):  # a gain of the best of ten weights that are all noise: what it was chosen on flatters it
        queries = _held_out(14, first_noise=1.0, cross_noise=1.0, seed=seed)
        rng = np.random.default_rng(seed)
        lame = [replace(query, cross=rng.permutation(query.first)) for query in queries]
        choice = best_weight(lame)
        if choice.weight > 0:
            inner.append(choice.gain)
            outer.append(choice.nested_gain)
    assert len(inner) >= 3
    assert np.mean(inner) > 0.003
    assert np.mean(outer) < np.mean(inner) / 2


def test_the_nested_gain_of_a_cross_encoder_that_knows_is_its_gain():
    choice = best_weight(_held_out(40, first_noise=3.0, cross_noise=0.01, seed=3))
    assert choice.nested_gain == pytest.approx(choice.gain, abs=0.01)
    assert choice.nested_error > 0


def test_the_seed_of_the_folds_moves_the_nested_gain_alone():
    held_out = _held_out(30, first_noise=1.5, cross_noise=1.5, seed=8)
    one, other = (best_weight(held_out, seed=seed) for seed in (1, 2))
    assert (one.weight, one.gain, one.ndcg) == (other.weight, other.gain, other.ndcg)


def test_of_equally_good_weights_the_smallest_is_taken():
    # Two candidates in the wrong order: every weight above one half turns them round, and all of those score 1.
    query = HeldOutQuery(("a", "b"), np.float32([1, 0]), np.float32([0, 1]), {"b": 1})
    half = HeldOutQuery(("a", "b"), np.float32([1, 0]), np.float32([0, 1]), {"a": 1, "b": 1})
    choice = best_weight([query] * 11 + [half])
    assert choice.weight == 0.6
    assert choice.ndcg[0.6] == choice.ndcg[1.0] == 1.0
    assert choice.ndcg[0.0] == pytest.approx((11 / np.log2(3) + 1) / 12)
    assert choice.queries == 12


def test_a_gain_within_its_standard_error_does_not_win():
    # Of twelve queries two gain .37, one loses as much, nine stay: a mean gain of .031 with a standard error of .055.
    first, cross = np.float32([1, 0]), np.float32([0, 1])
    won = HeldOutQuery(("a", "b"), first, cross, {"b": 1})
    lost = HeldOutQuery(("a", "b"), first, cross, {"a": 1})
    same = HeldOutQuery(("a", "b"), first, cross, {"a": 1, "b": 1})
    choice = best_weight([won, won, lost, *[same] * 9])
    assert choice.weight == 0
    assert choice.ndcg[1.0] > choice.ndcg[0.0]


def test_nine_queries_are_too_few_to_decide():
    held_out = _held_out(10, first_noise=5.0, cross_noise=0.01, seed=2)
    assert best_weight(held_out[:9]).weight == 0
    assert best_weight(held_out).weight > 0


def test_queries_without_a_grade_above_0_do_not_count():
    held_out = _held_out(12, first_noise=2.0, cross_noise=0.1, seed=4)
    silent = HeldOutQuery(("a", "b"), np.float32([1, 0]), np.float32([0, 1]), {"a": 0})
    assert best_weight([*held_out, silent]) == best_weight(held_out)


def test_no_held_out_queries_give_weight_0_and_no_measurements():
    choice = best_weight([])
    assert (choice.weight, choice.queries, dict(choice.ndcg)) == (0.0, 0, {})


def test_a_query_whose_best_product_was_not_recalled_cannot_reach_1():
    query = HeldOutQuery(("a",), np.float32([1]), np.float32([1]), {"a": 1, "missing": 3})
    ideal = 3 + 1 / np.log2(3)
    assert best_weight([query]).ndcg == pytest.approx(dict.fromkeys(WEIGHTS, 1 / ideal))
