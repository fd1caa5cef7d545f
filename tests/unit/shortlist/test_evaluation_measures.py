"""Names and checks of the measures; their values are in the congruence tests."""

import sys

import pytest

from indexing.errors import EnvironmentProblem, SourceDataError
from shortlist.evaluation import Convention, EvaluationOptions
from shortlist.evaluation.checks import check_known, check_qrels, check_run
from shortlist.evaluation.conventions import RULES
from shortlist.evaluation.measures import Scorer, measure_names

QRELS = {"q": {"a": 3, "b": 1, "c": 0}}
RUN = {"q": [("x", 9.0), ("a", 8.0), ("c", 8.0), ("b", 1.0)]}


def test_measures_carry_the_names_of_the_library():
    assert measure_names(EvaluationOptions()).all() == (
        "nDCG@10",
        "condensed_nDCG@10",
        "R(rel=2)@100",
        "Judged@10",
        "RR",
        "AP",
    )


def test_names_follow_the_options_and_tell_exponential_gains_apart():
    options = EvaluationOptions(k=5, recall_k=50, min_grade_recall=1, convention=Convention.exponential)
    assert measure_names(options).all() == (
        "nDCG(dcg='exp-log2')@5",
        "condensed_nDCG(dcg='exp-log2')@5",
        "R@50",
        "Judged@5",
        "RR",
        "AP",
    )


def test_the_names_are_those_the_library_prints():
    import ir_measures

    printed = [
        ir_measures.nDCG @ 10,
        ir_measures.R(rel=2) @ 100,
        ir_measures.Judged @ 10,
        ir_measures.nDCG(dcg="exp-log2") @ 10,
    ]
    assert [str(measure) for measure in printed] == ["nDCG@10", "R(rel=2)@100", "Judged@10", "nDCG(dcg='exp-log2')@10"]


def test_values_worked_by_hand():
    values = Scorer(QRELS, EvaluationOptions()).per_query(RUN)
    assert {name: of["q"] for name, of in values.items()} == pytest.approx(
        {
            "nDCG@10": (3 / 1.584962500721156 + 1 / 2.321928094887362) / (3 + 1 / 1.584962500721156),
            "condensed_nDCG@10": (3 + 1 / 2) / (3 + 1 / 1.584962500721156),
            "R(rel=2)@100": 1.0,
            "Judged@10": 3 / 4,
            "RR": 1 / 2,
            "AP": (1 / 2 + 2 / 4) / 2,
        }
    )


def test_the_order_of_the_run_counts_and_not_its_scores():
    turned = {"q": [(product_id, -score) for product_id, score in RUN["q"]]}
    scorer = Scorer(QRELS, EvaluationOptions())
    assert scorer.per_query(turned) == scorer.per_query(RUN)


def test_an_unanswered_query_scores_0_in_every_measure_absent_or_empty():
    scorer = Scorer(QRELS | {"r": {"a": 1}}, EvaluationOptions())
    for run in ({}, {"q": []}, {"r": [("a", 1.0)]}, {"elsewhere": [("a", 1.0)]}):
        assert {of["q"] for of in scorer.per_query(run).values()} == {0.0}


def test_without_the_extra_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ir_measures", None)
    with pytest.raises(EnvironmentProblem, match=r"pip install 'shortlist\[eval\]'"):
        Scorer(QRELS, EvaluationOptions())


@pytest.mark.parametrize("name", ["k", "recall_k", "min_grade_recall", "trials"])
def test_options_below_1_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        EvaluationOptions(**{name: 0})


@pytest.mark.parametrize("name", ["examples", "shown"])
def test_a_negative_number_of_examples_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be 0 or more, got -1"):
        EvaluationOptions(**{name: -1})


@pytest.mark.parametrize(
    ("grade", "convention", "message"),
    [
        (2.5, Convention.linear, r"from 0 to 1000 with linear gains, got 1 others: 2\.5 \(query 'q', product 'a'\)"),
        (-1, Convention.linear, r"got 1 others: -1 \(query 'q', product 'a'\)"),
        (True, Convention.linear, "got 1 others: True"),
        (1001, Convention.linear, "got 1 others: 1001"),
        (11, Convention.exponential, "from 0 to 10 with exponential gains, got 1 others: 11"),
        (3, Convention.w_lin, r"one of 0, 1, 2 under convention W-LIN \(WANDS: Exact 2, .*\), got 1 others: 3"),
        (2, Convention.esci_paper, r"one of 0, 1, 10, 100 under convention E-T1 \(ESCI: E 100, .*\), got 1 others: 2"),
    ],
)
def test_a_grade_outside_the_scale_is_refused(grade, convention, message):
    with pytest.raises(SourceDataError, match=message):
        check_qrels({"q": {"a": grade, "b": 1}}, RULES[convention])


def test_many_bad_grades_are_counted_and_three_are_named():
    with pytest.raises(SourceDataError, match=r"got 5 others: -1 .*'p0'\), -1 .*'p1'\), -1 .*'p2'\); map them"):
        check_qrels({"q": {f"p{number}": -1 for number in range(5)}}, RULES[Convention.linear])


@pytest.mark.parametrize("score", [float("nan"), float("inf"), float("-inf")])
def test_a_score_that_is_no_number_is_refused(score):
    with pytest.raises(SourceDataError, match=rf"finite, got {score} for product 'b' \(run 'bm25', query 'q'\)"):
        check_run("bm25", {"q": [("a", 1.0), ("b", score)]})


def test_ids_with_white_space_are_refused_before_anything_is_measured():
    with pytest.raises(SourceDataError, match=r"a query id must .* got 'usb hub' \(run 'bm25'\)"):
        check_run("bm25", {"usb hub": [("a", 1.0)]})
    with pytest.raises(SourceDataError, match=r"a product id must .* got 'a b' \(run 'bm25', query 'q'\)"):
        check_run("bm25", {"q": [("a b", 1.0)]})
    with pytest.raises(SourceDataError, match=r"a query id must .* got 'usb hub' \(judgments\)"):
        check_qrels({"usb hub": {"a": 1}}, RULES[Convention.linear])
    with pytest.raises(SourceDataError, match=r"a product id must .* got 'a b' \(judgments of query 'q'\)"):
        check_qrels({"q": {"a b": 1}}, RULES[Convention.linear])


def test_a_run_of_another_data_set_is_refused():
    with pytest.raises(
        SourceDataError, match=r"'theirs' answers 2 queries, none of them judged: it has '7', the judgments have 'q'"
    ):
        check_known(QRELS, {"theirs": {"8": [], "7": []}})
    check_known(QRELS, {"silent": {}, "ours": {"q": [], "8": []}})
