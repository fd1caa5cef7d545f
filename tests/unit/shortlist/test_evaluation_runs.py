"""An evaluation as a whole: who is compared with whom, what is counted, which queries are shown."""

import pytest

from indexing.errors import ConfigError, SourceDataError
from retrieval.records import Product
from shortlist.evaluation import EvaluationOptions, Provenance, SystemRun, evaluate_runs

QRELS = {
    "q1": {"a": 3, "b": 1},
    "q2": {"a": 2, "c": 1, "d": 0},
    "q3": {"b": 1},
    "zero": {"a": 0},
}
GOOD = {"q1": [("a", 2.0), ("b", 1.0)], "q2": [("a", 1.0), ("c", 0.5)], "q3": [("b", 1.0)]}
FAIR = {"q1": [("b", 2.0), ("a", 1.0)], "q2": [("a", 1.0)], "q3": [("x", 3.0), ("b", 1.0)], "more": [("a", 1.0)]}
POOR = {"q1": [("x", 1.0)], "q2": []}

OPTIONS = EvaluationOptions(trials=50)


def evaluate(runs, **settings):
    settings.setdefault("options", OPTIONS)
    return evaluate_runs("toy", QRELS, {name: SystemRun(run) for name, run in runs.items()}, **settings)


def test_means_are_over_every_query_with_a_good_product_and_the_rest_is_counted():
    evaluation = evaluate({"poor": POOR, "fair": FAIR})
    assert (evaluation.queries, evaluation.left_out) == (3, ("zero",))
    assert list(evaluation.qrels) == ["q1", "q2", "q3"]
    poor, fair = evaluation.systems["poor"], evaluation.systems["fair"]
    assert (poor.unanswered, poor.not_evaluated) == (2, 0)
    assert (fair.unanswered, fair.not_evaluated) == (0, 1)
    assert fair.means["RR"] == pytest.approx((1 + 1 + 1 / 2) / 3)
    assert poor.means["RR"] == 0.0
    assert list(fair.per_query["RR"].items()) == [("q1", 1.0), ("q2", 1.0), ("q3", 0.5)]


def test_the_run_kept_is_that_of_the_evaluated_queries():
    evaluation = evaluate({"fair": FAIR, "poor": POOR})
    assert list(evaluation.systems["fair"].run) == ["q1", "q2", "q3"]
    assert evaluation.systems["poor"].run == {"q1": [("x", 1.0)]}


def test_every_mean_lies_in_its_interval():
    for result in evaluate({"good": GOOD, "fair": FAIR}).systems.values():
        for measure, mean in result.means.items():
            interval = result.intervals[measure]
            assert interval.low <= mean + 1e-12
            assert mean - 1e-12 <= interval.high


def test_the_baseline_is_the_best_first_stage_and_the_others_are_held_against_it():
    evaluation = evaluate({"poor": POOR, "fair": FAIR, "good_rerank": GOOD})
    assert (evaluation.baseline, evaluation.candidate) == ("fair", "good_rerank")
    assert set(evaluation.comparisons) == {"poor", "good_rerank"}
    found = evaluation.comparisons["good_rerank"]
    assert (found.wins, found.ties, found.losses) == (3, 0, 0)
    means = {name: result.means["nDCG@10"] for name, result in evaluation.systems.items()}
    assert found.difference == pytest.approx(means["good_rerank"] - means["fair"])


def test_the_baseline_can_be_chosen():
    evaluation = evaluate(
        {"poor": POOR, "fair": FAIR, "good": GOOD}, options=EvaluationOptions(trials=50, baseline="poor")
    )
    assert (evaluation.baseline, evaluation.candidate) == ("poor", "good")


def test_one_system_alone_is_compared_with_nobody():
    evaluation = evaluate({"hybrid_rerank": GOOD})
    assert (evaluation.baseline, evaluation.candidate) == ("hybrid_rerank", "")
    assert (evaluation.comparisons, evaluation.best, evaluation.worst) == ({}, (), ())


def test_examples_are_the_largest_gains_and_losses_with_both_answers():
    products = {"a": Product("a", "Acme mouse", brand="Acme", price=1234.5), "b": Product("b", "Pad")}
    evaluation = evaluate(
        {"good": GOOD, "poor": POOR},
        options=EvaluationOptions(trials=50, examples=2, shown=1, k=2, baseline="poor"),
        products_for_display=products.__getitem__,
        query_texts={"q1": "mouse", "q2": "mice"},
    )
    assert [(example.query_id, example.text) for example in evaluation.best] == [("q1", "mouse"), ("q2", "mice")]
    assert evaluation.worst == ()
    first = evaluation.best[0]
    assert first.gain == 1.0
    poor, good = first.rankings
    assert (poor.system, poor.value, poor.grades) == ("poor", 0.0, (None,))
    # Without a product of that id the id itself is shown.
    assert [(shown.title, shown.detail, shown.grade) for shown in poor.products] == [("x", "", None)]
    assert (good.system, good.value, good.grades) == ("good", 1.0, (3, 1))
    assert [(shown.rank, shown.title, shown.detail, shown.grade) for shown in good.products] == [
        (1, "Acme mouse", "Acme · 1,234.50", 3)
    ]
    assert evaluation.best[1].rankings[0].products == ()


def test_losses_are_shown_worst_first():
    evaluation = evaluate({"fair": FAIR, "good": GOOD}, options=EvaluationOptions(trials=50, baseline="good"))
    losses = [example.gain for example in evaluation.worst]
    assert losses == sorted(losses)
    assert len(losses) == 3
    assert evaluation.best == ()


def test_the_same_input_gives_the_same_evaluation():
    settings = {"generated_at": "2026-01-02T03:04:05+00:00", "provenance": Provenance(bundle="b")}
    assert evaluate({"good": GOOD, "fair": FAIR}, **settings) == evaluate({"good": GOOD, "fair": FAIR}, **settings)


def test_the_versions_that_can_move_a_number_are_recorded():
    versions = evaluate({"good": GOOD}).versions
    assert {"python", "numpy", "ir-measures", "pytrec-eval-terrier"} <= set(versions)
    assert "faiss-gpu" not in versions or "faiss-cpu" not in versions


def test_no_system_or_an_unknown_baseline_is_refused():
    with pytest.raises(ConfigError, match="at least one system, got none"):
        evaluate({})
    with pytest.raises(ConfigError, match=r"one of the systems \['good'\], got 'bm25'"):
        evaluate({"good": GOOD}, options=EvaluationOptions(baseline="bm25"))


@pytest.mark.parametrize("name", ["../up", ".hidden", "a/b"])
def test_a_system_whose_name_is_no_file_name_is_refused(name):
    with pytest.raises(ConfigError, match=f"a system's name becomes a file name, got '{name}'"):
        evaluate({name: GOOD})


def test_judgments_without_a_good_product_are_refused():
    with pytest.raises(SourceDataError, match="a query with a grade above 0, got 1 judged queries of 'toy'"):
        evaluate_runs("toy", {"q": {"a": 0}}, {"good": SystemRun({"q": [("a", 1.0)]})})
