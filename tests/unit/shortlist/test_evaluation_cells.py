"""Pairs compared over all queries and in every slice."""

import numpy as np
import pytest

from shortlist.evaluation.cells import Cells, ComparisonOptions, Pair, compare_pairs, comparison_weights
from shortlist.evaluation.paired import bootstrap_interval, holm, randomisation_p

OPTIONS = ComparisonOptions(trials=2_000, min_queries=4)


def pair_of(before, after, *, measure="nDCG@10", candidate="new", **others):
    ids = [f"q{number}" for number in range(len(before))]
    sides = ({measure: dict(zip(ids, values, strict=True))} for values in (before, after))
    first, second = sides
    for name, (old, new) in others.items():
        first[name] = dict(zip(ids, old, strict=True))
        second[name] = dict(zip(ids, new, strict=True))
    return Pair("old", candidate, first, second)


def test_wins_ties_and_losses_are_counted_by_query_not_by_place():
    before = {"q1": 0.5, "q2": 0.5, "q3": 0.5, "q4": 0.5}
    after = {"q4": 0.4, "q3": 0.5, "q2": 0.9, "q1": 0.6}
    (found,) = compare_pairs([Pair("old", "new", {"RR": before}, {"RR": after})], measure="RR").comparisons
    assert (found.wins, found.ties, found.losses, found.queries) == (2, 1, 1, 4)
    assert found.difference == pytest.approx(0.1)
    assert (found.baseline_mean, found.candidate_mean) == pytest.approx((0.5, 0.6))
    assert (found.baseline, found.candidate, found.measure, found.cell) == ("old", "new", "RR", "all")
    assert found.interval.low < found.difference < found.interval.high
    assert found.p == found.p_holm


def test_every_slice_is_compared_on_its_own_queries():
    generator = np.random.default_rng(2)
    before = generator.uniform(0, 1, 30)
    after = before + np.where(np.arange(30) < 10, -0.2, 0.1)
    slices = {"typos": {f"q{number}": "yes" if number < 10 else "no" for number in range(30)}}
    cells = compare_pairs([pair_of(before, after)], measure="nDCG@10", slices=slices, options=OPTIONS)
    assert [found.cell for found in cells.comparisons] == ["all", "typos/no", "typos/yes"]
    everything, no, yes = cells.comparisons
    assert (everything.queries, no.queries, yes.queries) == (30, 20, 10)
    assert (everything.difference, no.difference, yes.difference) == pytest.approx((0.0, 0.1, -0.2))
    assert yes.interval == bootstrap_interval((after - before)[:10], trials=2_000)
    assert yes.p == pytest.approx(randomisation_p((after - before)[:10], trials=2_000), abs=0.02)


def test_all_p_values_are_corrected_together_over_pairs_and_slices():
    generator = np.random.default_rng(3)
    before = generator.uniform(0, 1, 40)
    pairs = [
        pair_of(before, before + generator.normal(shift, 0.1, 40), candidate=name)
        for name, shift in (("a", 0.04), ("b", 0.0))
    ]
    slices = {"numbers": {f"q{number}": str(number % 2) for number in range(40)}}
    cells = compare_pairs(pairs, measure="nDCG@10", slices=slices, options=OPTIONS)
    found = cells.comparisons
    assert [(cell.candidate, cell.cell) for cell in found] == [
        (name, cell) for name in "ab" for cell in ("all", "numbers/0", "numbers/1")
    ]
    weights = [0.25, 0.125, 0.125, 0.25, 0.125, 0.125]
    assert comparison_weights(2, 3) == weights
    assert [cell.p_holm for cell in found] == holm([cell.p for cell in found], weights)
    assert cells.of("b") == list(found[3:])


def test_without_slices_every_pair_weighs_the_same():
    assert comparison_weights(4, 1) == [0.25] * 4


def test_a_value_with_few_queries_is_counted_and_not_tested_and_one_that_all_have_is_the_cell_of_all():
    before = [0.1] * 10
    slices = {
        "brand": {f"q{number}": "named" if number < 3 else "none" for number in range(10)},
        "numbers": {f"q{number}": "no" for number in range(10)},
        "department": {f"q{number}": "toys" for number in range(5)},
    }
    cells = compare_pairs([pair_of(before, before)], measure="nDCG@10", slices=slices, options=OPTIONS)
    assert [found.cell for found in cells.comparisons] == ["all", "brand/none", "department/toys"]
    assert cells.untested == {"brand/named": 3}


def test_judged_share_and_condensed_measure_are_compared_beside_it():
    pair = pair_of(
        [0.5] * 8,
        [0.4] * 8,
        **{"Judged@10": ([0.9] * 8, [0.6] * 8), "condensed_nDCG@10": ([0.5] * 8, [0.55] * 8)},
    )
    (found,) = compare_pairs([pair], measure="nDCG@10", options=OPTIONS).comparisons
    assert found.judged_difference == pytest.approx(-0.3)
    assert found.condensed_difference == pytest.approx(0.05)
    assert found.condensed_p == pytest.approx(2 / 256, abs=0.01)


def test_no_query_says_nothing_and_no_pair_gives_no_comparison():
    (found,) = compare_pairs([pair_of([], [])], measure="nDCG@10").comparisons
    assert (found.p, found.difference, found.wins, found.ties, found.losses) == (1.0, 0.0, 0, 0, 0)
    assert compare_pairs([], measure="nDCG@10") == Cells(())


def test_pairs_on_other_queries_are_refused():
    with pytest.raises(ValueError, match="the same queries on both sides, got 1 and 1"):
        compare_pairs([Pair("old", "new", {"RR": {"q1": 1.0}}, {"RR": {"q2": 1.0}})], measure="RR")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"trials": 0}, "trials and min_queries must be at least 1, got 0 and 10"),
        ({"alpha": 1.0}, r"alpha must be in \(0, 1\) and margin 0 or more, got 1.0 and 0.0"),
        ({"margin": -0.1}, "margin 0 or more, got 0.05 and -0.1"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ComparisonOptions(**settings)
