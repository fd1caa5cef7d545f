"""Every named convention against a case worked by hand, and what it says of itself."""

from math import log2

import pytest

from indexing.errors import SourceDataError
from shortlist.evaluation import Convention, EvaluationOptions, SystemRun, evaluate_runs
from shortlist.evaluation.conventions import RULES, conventions, evaluated
from shortlist.evaluation.measures import measure_names

# WANDS grades: Exact 2, Partial 1, Irrelevant 0; "x" is judged by nobody.
WANDS = {"q": {"e1": 2, "e2": 2, "p": 1, "i": 0}, "partial": {"p": 1}, "nothing": {"i": 0}}
WANDS_RUN = {"q": [("p", 4.0), ("x", 3.0), ("e1", 2.0)], "partial": [("p", 1.0)]}
IDEAL_LIN = 2 + 2 / log2(3) + 1 / 2
IDEAL_EXP = 3 + 3 / log2(3) + 1 / 2
IDEAL_BIN = 1 + 1 / log2(3)
H10 = sum(1 / rank for rank in range(1, 11))

# ESCI grades: E 100, S 10, C 1, I 0.
ESCI = {"q": {"e": 100, "s": 10, "c": 1, "i": 0}, "nothing": {"i": 0}}
ESCI_RUN = {"q": [("x", 9.0), ("s", 3.0), ("c", 2.0), ("e", 1.0), ("i", 0.5)]}

CASES = [
    (Convention.linear, WANDS, WANDS_RUN, {"q": (1 + 2 / 2) / IDEAL_LIN, "partial": 1.0}),
    (Convention.exponential, WANDS, WANDS_RUN, {"q": (1 + 3 / 2) / IDEAL_EXP, "partial": 1.0}),
    (Convention.w_lin, WANDS, WANDS_RUN, {"q": (1 + 2 / 2) / IDEAL_LIN, "partial": 1.0, "nothing": 0.0}),
    (Convention.w_exp, WANDS, WANDS_RUN, {"q": (1 + 3 / 2) / IDEAL_EXP}),
    (
        Convention.w_dt,
        WANDS,
        WANDS_RUN,
        {"q": (1 + 3 / 3) / (3 * H10), "partial": 1 / (3 * H10), "nothing": 0.0},
    ),
    # Judged products alone: p, e1; no cut-off.
    (Convention.w_bin, WANDS, WANDS_RUN, {"q": (1 / log2(3)) / IDEAL_BIN, "partial": 0.0, "nothing": 0.0}),
    (
        Convention.esci_paper,
        ESCI,
        ESCI_RUN,
        {"q": (0.1 + 0.01 / log2(3) + 1 / 2) / (1 + 0.1 / log2(3) + 0.01 / 2), "nothing": 0.0},
    ),
    (
        Convention.esci_released,
        ESCI,
        ESCI_RUN,
        {"q": (0.01 + 0.1 / log2(3) + 1 / 2) / (1 + 0.1 / log2(3) + 0.01 / 2), "nothing": 0.0},
    ),
]


def test_every_convention_has_rules_and_a_case():
    assert set(RULES) == set(Convention) == {case[0] for case in CASES}


@pytest.mark.parametrize(("convention", "qrels", "run", "expected"), CASES)
def test_ndcg_of_every_query_is_what_the_publication_computes(convention, qrels, run, expected):
    options = EvaluationOptions(convention=convention, trials=20)
    evaluation = evaluate_runs("toy", qrels, {"system": SystemRun(run)}, options=options)
    result = evaluation.systems["system"]
    assert result.per_query[evaluation.primary] == pytest.approx(expected, abs=1e-12)
    assert result.means[evaluation.primary] == pytest.approx(sum(expected.values()) / len(expected), abs=1e-12)
    assert (*evaluation.qrels, *evaluation.left_out) == tuple(sorted(qrels, key=lambda query: query not in expected))


@pytest.mark.parametrize(("convention", "qrels", "run", "expected"), CASES)
def test_every_measure_of_one_report_has_the_same_number_of_queries(convention, qrels, run, expected):
    options = EvaluationOptions(convention=convention, trials=20)
    result = evaluate_runs("toy", qrels, {"system": SystemRun(run)}, options=options).systems["system"]
    queries = {measure: list(of) for measure, of in result.per_query.items()}
    assert queries == {measure: list(expected) for measure in measure_names(options).all()}


def test_where_judged_products_alone_are_ranked_condensed_ndcg_is_the_same():
    for convention, qrels, run, _ in CASES:
        options = EvaluationOptions(convention=convention, trials=20)
        result = evaluate_runs("toy", qrels, {"system": SystemRun(run)}, options=options).systems["system"]
        names = measure_names(options)
        same = result.per_query[names.ndcg] == pytest.approx(result.per_query[names.condensed_ndcg], abs=1e-12)
        assert same == RULES[convention].judged_only


def test_the_name_of_an_ndcg_tells_what_another_tool_would_not_reproduce():
    names = {convention: measure_names(EvaluationOptions(convention=convention)).ndcg for convention in Convention}
    assert list(names.values()) == [
        "nDCG@10",
        "nDCG(dcg='exp-log2')@10",
        "nDCG@10",
        "nDCG(dcg='exp-log2')@10",
        "nDCG[W-DT]@10",
        "nDCG[W-BIN]",
        "nDCG[E-T1]",
        "nDCG[E-T1-released]",
    ]


def test_conventions_are_said_in_words():
    words = conventions(EvaluationOptions())
    assert (words.name, words.gains, words.discount) == ("linear", "the grade", "1 / log2(rank + 1)")
    assert words.ideal == "the query's best 10 judged products, found or not"
    assert words.queries == "those with a grade above 0; the others are left out and counted"
    steep = conventions(EvaluationOptions(convention=Convention.w_dt))
    assert (steep.name, steep.discount) == ("W-DT", "1 / rank")
    assert steep.ideal == "grade 2 at all 10 places, whether so many products have it or not"
    assert steep.queries == "all that have judgments; without a gain a query scores 0"
    pool = conventions(EvaluationOptions(convention=Convention.esci_paper))
    assert (pool.cutoff, pool.unjudged) == ("none: the whole ranking", "left out of the run")
    assert pool.ranked == "the judged products of the query alone"
    exact = conventions(EvaluationOptions(convention=Convention.w_exp))
    assert exact.queries == "those with a grade of 2 or more; the others are left out and counted"


def test_queries_that_do_not_count_are_parted_in_order():
    qrels = {"z": {"a": 0}, "q": {"a": 1}, "empty": {}, "r": {"a": 0, "b": 2}}
    assert evaluated(qrels, RULES[Convention.linear]) == ({"q": {"a": 1}, "r": {"a": 0, "b": 2}}, ("z", "empty"))
    assert evaluated(qrels, RULES[Convention.w_exp]) == ({"r": {"a": 0, "b": 2}}, ("z", "q", "empty"))
    # A query without a single judgment counts nowhere.
    assert evaluated(qrels, RULES[Convention.w_lin])[1] == ("empty",)


def test_a_set_without_a_query_that_counts_is_refused():
    with pytest.raises(SourceDataError, match="a query with a grade of 2 or more, got 1 judged queries of 'toy'"):
        evaluate_runs(
            "toy", {"q": {"a": 1}}, {"s": SystemRun({})}, options=EvaluationOptions(convention=Convention.w_exp)
        )
