"""Saying that there is no good match: the features by hand, the threshold's promise, and that nothing leaks."""

from dataclasses import replace

import numpy as np
import pytest

from indexing.errors import SourceDataError
from rerank.abstention import Abstention, AnswerExample, AnswerModel, area_under_curve, fit_answers
from rerank.answer import EARLIER, FIRST_STAGE, RERANKED, Shown, answer_features
from retrieval.names import Brands

NONE = Brands(())
MODEL = AnswerModel(("dense_best", "words_any"), (0.5, 0.5), (0.1, 0.25), (2.0, 1.0), 0.0, 0.4)


def answers(count, *, apart, seed=0, per_query=1, names=("dense_best",)):
    rng = np.random.default_rng(seed)
    matches = np.arange(count) % 2 == 0
    values = rng.normal(size=(count, len(names))) + apart * matches[:, None]
    return [
        AnswerExample(place // per_query, dict(zip(names, row.tolist(), strict=True)), bool(match))
        for place, (row, match) in enumerate(zip(values, matches, strict=True))
    ]


def test_the_features_of_an_answer_worked_by_hand():
    shown = [
        Shown({"dense": 0.7, "lexical": 3.0, "rerank": 2.0}, "Red kettle KX-4410, 1 l", "Orlanth"),
        Shown({"lexical": 2.0, "rerank": 0.0}, "Blue kettles of Old Mill"),
        Shown({"dense": 0.5, "rerank": -2.0}, "Toaster", "Old Mill"),
    ]
    found = answer_features("old mill kettle kx4410 of 1 l", shown, Brands.of(["Orlanth", "Old Mill", "Old"]))
    # words: old, mill, kettle, kx4410 (and its parts kx, 4410), of, 1, l; the first hit holds kettle, kx, 4410, 1, l
    assert found == {
        "dense_best": 0.7,
        "dense_mean": pytest.approx((0.7 + 0.5 + 0.5) / 3),
        "words_best": 5 / 9,
        "words_any": 8 / 9,
        "brand_best": 1.0,
        "brand_first": 0.0,
        "codes_best": 1.0,
        "codes_first": 1.0,
        "codes_any": 1 / 2,
        "rerank_best": 2.0,
        "rerank_mean": 0.0,
        "rerank_gap": pytest.approx(2 / np.std([2, 0, -2])),
    }
    assert set(found) == {*FIRST_STAGE, *RERANKED, *EARLIER}


def test_features_look_at_ten_hits_and_at_the_cross_encoder_only_where_it_saw_all_of_them():
    seen, unseen = Shown({"dense": 0.1, "rerank": 1.0}, "x"), Shown({"dense": 0.1}, "y")
    assert answer_features("x y", [seen] * 10 + [unseen], NONE) == answer_features("x y", [seen] * 10, NONE)
    assert set(answer_features("x y", [seen, unseen], NONE)) == {*FIRST_STAGE, *EARLIER}


def test_an_answer_without_hits_or_a_query_without_words_has_finite_features():
    assert set(answer_features("kettle", [], NONE).values()) == {0.0, 1.0}  # 1: it names no maker and no model number
    assert set(answer_features("orlanth 4410", [], Brands.of(["Orlanth"])).values()) == {0.0}
    assert answer_features("???", [Shown({"dense": 0.2}, "kettle")], NONE)["words_best"] == 0.0
    assert answer_features("a", [Shown({"rerank": 1.0}, "a")] * 3, NONE)["rerank_gap"] == 0.0


def test_a_maker_is_borne_by_the_text_or_the_field_and_not_across_both():
    brands = Brands.of(["Old Mill"])
    for text, brand, share in (("old mill", "", 1.0), ("kettle", "Old Mill", 1.0), ("old", "mill", 0.0)):
        assert answer_features("old mill", [Shown({}, text, brand)], brands)["brand_first"] == share


def test_a_model_s_probability_is_the_sigmoid_of_its_standardised_features():
    odds = 2.0 * (0.6 - 0.5) / 0.1 + 1.0 * (1.0 - 0.5) / 0.25
    assert MODEL.probability({"dense_best": 0.6, "words_any": 1.0}) == pytest.approx(1 / (1 + np.exp(-odds)))


def test_the_area_under_the_curve_counts_pairs_and_halves_ties():
    assert area_under_curve([3, 1], [2, 1]) == (2 + 0.5) / 4
    assert area_under_curve([1, 2, 3], [0]) == 1


def test_answers_that_lie_apart_are_told_apart_as_well_as_they_can_be():
    model, evidence = fit_answers(answers(600, apart=3.0), ["dense_best"], precision=0.9, share=0.2)
    assert evidence.auc == pytest.approx(0.983, abs=0.012)  # of two normals three deviations apart: Phi(3 / sqrt 2)
    assert evidence.precision == pytest.approx(0.9, abs=0.06)
    assert evidence.noticed > 0.7
    assert model.probability({"dense_best": -1.0}) < model.threshold < model.probability({"dense_best": 3.0})


def test_a_rarer_miss_or_a_higher_precision_lowers_the_threshold():
    examples = answers(600, apart=4.0)
    thresholds = [
        fit_answers(examples, ["dense_best"], precision=precision, share=share)[0].threshold
        for precision, share in ((0.8, 0.3), (0.8, 0.1), (0.9, 0.1))
    ]
    assert thresholds[0] > thresholds[1] > thresholds[2] > 0


def test_features_that_say_nothing_have_chance_s_area_though_they_fit_what_they_were_fitted_on():
    names = (*FIRST_STAGE, *RERANKED)
    areas, own = [], []
    for seed in range(6):
        examples = answers(60, apart=0.0, seed=seed, names=names)
        model, evidence = fit_answers(examples, names, precision=0.9, share=0.2)
        areas.append(evidence.auc)
        fitted = [model.probability(example.features) for example in examples]
        own.append(area_under_curve(fitted[::2], fitted[1::2]))
    assert np.mean(own) > 0.65
    assert np.mean(areas) < 0.55


def test_a_threshold_is_chosen_on_probabilities_that_did_not_see_the_answer():
    names = (*FIRST_STAGE, *RERANKED)
    for seed in range(8):  # features that say nothing; on what they were fitted on, two of these look precise enough
        examples = answers(60, apart=0.0, seed=seed, names=names)
        assert fit_answers(examples, names, precision=0.75, share=0.4)[0].threshold == 0


def test_where_no_threshold_is_precise_enough_none_is_set_and_the_answer_never_abstains():
    model, evidence = fit_answers(answers(100, apart=0.0), ["dense_best"], precision=0.99, share=0.05)
    assert (model.threshold, evidence.noticed, evidence.withheld) == (0.0, 0.0, 0.0)


def test_one_answer_withheld_more_than_was_seen_is_reckoned_with():
    examples = answers(60, apart=100.0)  # 30 of each, and no overlap: nothing but the reckoning limits the threshold
    assert fit_answers(examples, ["dense_best"], precision=0.85, share=0.2)[0].threshold > 0
    # noticed: all; withheld: (0 + 1) / (30 + 1); precision: .2 / (.2 + .8 / 31) = .886
    assert fit_answers(examples, ["dense_best"], precision=0.9, share=0.2)[0].threshold == 0


def test_too_few_answers_on_either_side_are_refused_with_their_counts():
    few = [replace(example, has_match=place < 19) for place, example in enumerate(answers(60, apart=1.0))]
    with pytest.raises(SourceDataError, match=r"takes 20 answers.*got 19 and 41"):
        fit_answers(few, ["dense_best"], precision=0.9, share=0.2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": ("dense_best", "dense_best")}, "distinct features"),
        ({"features": ("dense_best",)}, "one centre, spread and coefficient"),
        (
            {"features": ("dense_best", "price")},
            "unknown feature 'price'; known are brand_best, brand_first, codes_any",
        ),
        ({"spread": (0.1, 0.0)}, "every spread above 0"),
        ({"threshold": 1.5}, r"a threshold in \[0, 1\]"),
        ({"intercept": float("inf")}, "finite numbers"),
    ],
)
def test_a_model_that_cannot_be_computed_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(MODEL, **change)


def test_an_answer_is_checked_by_the_model_that_knows_all_its_features():
    reranked = replace(MODEL, features=("dense_best", "rerank_best"))
    both = Abstention(2, 0.9, 0.2, MODEL, reranked)
    assert both.model_for({"dense_best": 1.0, "words_any": 1.0}) is MODEL
    assert both.model_for({"dense_best": 1.0, "words_any": 1.0, "rerank_best": 0.0}) is reranked
    assert replace(both, reranked=None).model_for({"rerank_best": 0.0}) is MODEL
