"""The measures of the evaluation library equal the plain ones, query by query and file by file."""

from collections.abc import Sequence
from functools import partial

import ir_measures
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexing.errors import SourceDataError
from retrieval.metrics import average_precision, has_gain, judged_share, mean_over, ndcg, recall, reciprocal_rank
from shortlist.evaluation import Convention, EvaluationOptions, SystemRun, evaluate_runs, write_evaluation
from shortlist.evaluation.conventions import RULES, evaluated
from shortlist.evaluation.measures import Scorer, measure_names

# trec_eval sums in another order than the twin; two values further apart than this are two values.
SAME = 1e-12

PRODUCTS = [f"p{number}" for number in range(12)] + ["P1", "é", "p-1", "商品"]
QUERIES = ["q1", "q2", "Q1", "問"]
# Few scores for many products, so that most rankings hold ties; some that only double precision tells apart.
SCORES = st.sampled_from([0.0, -0.0, 1.0, 1.0 + 1e-12, 1.5, -2.0, 3.25e-30])

qrels_of = st.dictionaries(
    st.sampled_from(QUERIES), st.dictionaries(st.sampled_from(PRODUCTS), st.integers(0, 4), max_size=9), min_size=1
)
ranking = st.lists(st.tuples(st.sampled_from(PRODUCTS), SCORES), max_size=14, unique_by=lambda pair: pair[0])
run_of = st.dictionaries(st.sampled_from([*QUERIES, "unjudged"]), ranking)
options_of = st.builds(
    EvaluationOptions,
    k=st.integers(1, 12),
    recall_k=st.integers(1, 12),
    min_grade_recall=st.integers(1, 4),
    convention=st.sampled_from([Convention.linear, Convention.exponential]),
    trials=st.just(20),
)


def plain_measures(options):
    """Return our name of a measure -> the plain function for one query."""
    names, rules = measure_names(options), RULES[options.convention]
    return {
        names.ndcg: rules.plain_ndcg(options.k),
        names.condensed_ndcg: rules.plain_condensed_ndcg(options.k),
        names.recall: partial(recall, k=options.recall_k, min_grade=options.min_grade_recall),
        names.judged: partial(judged_share, k=options.k),
        names.reciprocal_rank: reciprocal_rank,
        names.average_precision: average_precision,
    }


def ranked_ids(ranking: Sequence[tuple[str, float]]) -> list[str]:
    return [product_id for product_id, _ in ranking]


@settings(max_examples=300)
@given(qrels_of, run_of, options_of)
def test_every_measure_of_every_query_equals_its_plain_twin(qrels, run, options):
    kept, left_out = evaluated(qrels, RULES[options.convention])
    values = Scorer(kept, options).per_query(run) if kept else {}
    measures = plain_measures(options)
    for name, of_query in values.items():
        assert list(of_query) == list(kept)
        for query_id, value in of_query.items():
            twin = measures[name](ranked_ids(run.get(query_id, [])), kept[query_id])
            assert value == pytest.approx(twin, abs=SAME), (name, query_id)
    assert set(values) == (set(measures) if kept else set())
    assert set(left_out) | set(kept) == set(qrels)
    assert not any(has_gain(qrels[query_id]) for query_id in left_out)


@settings(max_examples=100)
@given(qrels_of.filter(lambda qrels: any(map(has_gain, qrels.values()))), run_of, options_of)
def test_every_mean_equals_the_plain_mean_over_the_same_queries(qrels, run, options):
    kept, _ = evaluated(qrels, RULES[Convention.linear])
    if run and not kept.keys() & run.keys():
        with pytest.raises(SourceDataError, match="none of them judged"):
            evaluate_runs("drawn", qrels, {"system": SystemRun(run)}, options=options)
        return
    evaluation = evaluate_runs("drawn", qrels, {"system": SystemRun(run)}, options=options)
    for name, measure in plain_measures(options).items():
        assert evaluation.systems["system"].means[name] == pytest.approx(mean_over(qrels, run, measure), abs=SAME)


@settings(max_examples=60)
@given(qrels_of.filter(lambda qrels: any(map(has_gain, qrels.values()))), run_of)
def test_a_third_party_reading_our_files_gets_our_means(tmp_path_factory, qrels, run):
    kept, _ = evaluated(qrels, RULES[Convention.linear])
    run = {query_id: ranking for query_id, ranking in run.items() if query_id in kept}
    options = EvaluationOptions(trials=20)
    folder = tmp_path_factory.mktemp("files")
    evaluation = evaluate_runs("drawn", qrels, {"system": SystemRun(run)}, options=options)
    write_evaluation(evaluation, folder)
    measures = {
        "nDCG@10": ir_measures.nDCG @ 10,
        "condensed_nDCG@10": ir_measures.nDCG(judged_only=True) @ 10,
        "R(rel=2)@100": ir_measures.R(rel=2) @ 100,
        "RR": ir_measures.RR,
        "AP": ir_measures.AP,
        "Judged@10": ir_measures.Judged @ 10,
    }
    found = ir_measures.calc_aggregate(
        measures.values(),
        ir_measures.read_trec_qrels(str(folder / "qrels.txt")),
        ir_measures.read_trec_run(str(folder / "system.trec")),
    )
    assert {name: found[measure] for name, measure in measures.items()} == pytest.approx(
        evaluation.systems["system"].means, abs=SAME
    )


@pytest.mark.parametrize("convention", [Convention.linear, Convention.exponential])
def test_both_implementations_refuse_a_product_ranked_twice(convention):
    qrels = {"q": {"a": 3, "b": 1}}
    run = {"q": [("a", 3.0), ("b", 2.0), ("a", 1.0)]}
    with pytest.raises(SourceDataError, match=r"once per query, got 'a' at ranks 1 and 3 \(run 'system', query 'q'\)"):
        evaluate_runs("twice", qrels, {"system": SystemRun(run)}, options=EvaluationOptions(convention=convention))
    with pytest.raises(ValueError, match="got 'a' at ranks 1 and 3"):
        mean_over(qrels, run, partial(ndcg, k=10))
