"""The floor of chance, the ceiling of people, and what does not fit between judgments and catalogue."""

import math

import pytest

from retrieval.chance import random_ndcg
from shortlist.evaluation import Convention, EvaluationOptions, SystemRun, evaluate_runs, table
from shortlist.evaluation.caveats import caveats
from shortlist.evaluation.facts import CatalogueFacts
from shortlist.evaluation.references import random_floors, rater_ceiling
from shortlist.evaluation.report import report_document

QRELS = {"q": {"a": 3, "b": 1, "c": 0}, "r": {"a": 1, "d": 2}}
RATERS = {
    "1": {"q": {"a": 3, "b": 2, "c": 0}, "r": {"a": 0, "d": 2}},
    "2": {"q": {"a": 1, "b": 1, "c": 2}, "r": {"a": 3, "d": 2}},
}
OPTIONS = EvaluationOptions(trials=50)
IDEAL = 3 + 1 / math.log2(3)
RIGHT = {"q": [("x", 9.0), ("a", 3.0), ("b", 2.0)], "r": [("d", 2.0), ("a", 1.0)]}


def test_the_floors_are_means_over_the_queries():
    floors = random_floors(QRELS, OPTIONS, products=100)
    assert floors.judged == pytest.approx(sum(random_ndcg(of, k=10) for of in QRELS.values()) / 2)
    assert floors.catalogue == pytest.approx(sum(random_ndcg(of, k=10, among=100) for of in QRELS.values()) / 2)
    assert random_floors(QRELS, OPTIONS, products=None).catalogue is None


def test_the_floor_follows_the_convention():
    # Two judged products, no cut-off: mean gain .55 at both places, under an ideal of 1 + .1 / log2(3).
    floors = random_floors({"q": {"e": 100, "s": 10}}, EvaluationOptions(convention=Convention.esci_paper), products=9)
    assert floors.judged == pytest.approx(0.55 * (1 + 1 / math.log2(3)) / (1 + 0.1 / math.log2(3)))


def test_a_catalogue_smaller_than_the_judgments_of_a_query_counts_them_as_held():
    assert random_floors(QRELS, OPTIONS, products=1).catalogue == random_floors(QRELS, OPTIONS, products=None).judged


def test_raters_are_scored_as_systems_with_their_ties_averaged():
    ceiling = rater_ceiling(QRELS, RATERS, {"right": RIGHT}, OPTIONS)
    assert ceiling is not None
    assert ceiling.raters["1"].mean == 1.0
    # Query q: c first, then a and b in either order; query r: the worse product first.
    tied = (2 / math.log2(3) + 2 / 2) / IDEAL
    swapped = (1 + 2 / math.log2(3)) / (2 + 1 / math.log2(3))
    assert ceiling.raters["2"].mean == pytest.approx((tied + swapped) / 2)
    assert ceiling.mean == pytest.approx((1 + (tied + swapped) / 2) / 2)
    # The system's unjudged product is left out here.
    assert ceiling.systems["right"].mean == pytest.approx(1.0)
    assert (ceiling.measure, ceiling.queries, ceiling.products) == ("nDCG@10", 2, 5)
    assert ceiling.random == pytest.approx(random_floors(QRELS, OPTIONS, products=None).judged)
    second = ceiling.raters["2"]
    assert second.interval.low <= second.mean <= second.interval.high


def test_only_what_all_raters_graded_and_somebody_judged_counts():
    raters = {"1": {"q": {"a": 3, "b": 0, "x": 3}}, "2": {"q": {"a": 0, "c": 1}, "elsewhere": {"a": 1}}}
    ceiling = rater_ceiling(QRELS, raters, {}, OPTIONS)
    assert ceiling is not None
    assert (ceiling.queries, ceiling.products) == (1, 1)
    assert ceiling.random == 1.0 > random_floors(QRELS, OPTIONS, products=None).judged  # one product has one order


@pytest.mark.parametrize("raters", [{}, {"1": {}}, {"1": {"q": {"c": 0}}}])
def test_without_common_grades_there_is_no_ceiling(raters):
    assert rater_ceiling(QRELS, raters, {}, OPTIONS) is None


def evaluation(**settings):
    return evaluate_runs(
        "toy", QRELS, {"right": SystemRun(RIGHT), "silent": SystemRun({})}, options=OPTIONS, **settings
    )


def test_table_and_report_json_hold_floor_and_ceiling():
    facts = CatalogueFacts(product_ids={"a", "b", "c", "d", "x"})
    found = evaluation(raters=RATERS, facts=facts)
    floors = random_floors(QRELS, OPTIONS, products=5)
    text = table(found)
    judged, catalogue = f"{floors.judged:.4f}", f"{floors.catalogue:.4f}"
    assert f"random order: nDCG@10 {judged} of the judged products, {catalogue} of the whole catalogue" in text
    assert "ceiling: human raters as systems get nDCG@10 0.8" in text
    assert "on the 5 products of 2 queries that all graded; there right 1.0000, silent 0.0000" in text
    document = report_document(found)
    assert document["floors"] == {"judged": floors.judged, "catalogue": floors.catalogue}
    assert f"a random order {found.ceiling.random:.4f}" in text
    assert document["ceiling"]["random"] == found.ceiling.random
    assert document["ceiling"]["raters"]["1"]["mean"] == 1.0
    assert document["ceiling"]["systems"]["silent"] == {"mean": 0.0, "interval_95": [0.0, 0.0]}
    assert report_document(evaluation())["ceiling"] is None


def test_judgments_and_answers_outside_the_catalogue_are_counted_and_said():
    found = evaluation(facts=CatalogueFacts(product_ids={"a", "b"}), query_texts={"q": "one", "r": "two", "s": "three"})
    gaps = found.gaps
    assert (gaps.outside, gaps.outside_relevant, gaps.outside_examples) == (2, 1, ("c", "d"))
    assert gaps.outside_runs == {"right": 2}
    assert gaps.unjudged_queries == 1
    said = "\n".join(caveats(found))
    assert "The catalogue does not hold the products of 2 judgments, 1 of them with a grade above 0" in said
    assert "such as c, d: no system can find them" in said
    assert "Ranked products that the catalogue does not hold: right 2." in said
    assert "1 query of the catalogue has no judgments" in said
    assert report_document(found)["gaps"]["outside"] == 2


def test_answers_to_queries_without_judgments_are_counted_and_said():
    run = SystemRun(RIGHT | {"other": [("a", 1.0)]})
    said = caveats(evaluate_runs("toy", QRELS, {"right": run}, options=OPTIONS))
    assert "Answers to queries that are not evaluated (no judgments that count), ignored: right 1." in said


def test_a_catalogue_that_holds_everything_needs_no_caveat():
    found = evaluation(facts=CatalogueFacts(product_ids=set("abcdx")), query_texts={"q": "one", "r": "two"})
    assert not [caveat for caveat in caveats(found) if "catalogue" in caveat]
