"""TREC files: what is written says our order to whoever reads scores alone, what is read is checked line by line."""

import re

import numpy as np
import pytest

from indexing.errors import SourceDataError
from shortlist.evaluation.trec import read_qrels, read_run, strictly_decreasing, write_qrels, write_run


def test_judgments_are_written_as_query_0_product_grade(tmp_path):
    write_qrels(tmp_path / "qrels.txt", {"q2": {"b": 0, "a": 3}, "q1": {"é": 1}})
    assert (tmp_path / "qrels.txt").read_text("utf-8") == "q2 0 b 0\nq2 0 a 3\nq1 0 é 1\n"


def test_judgments_survive_writing_and_reading(tmp_path):
    qrels = {"q2": {"b": 0, "a": 3}, "q1": {"商品": 1}}
    write_qrels(tmp_path / "qrels.txt", qrels)
    assert read_qrels(tmp_path / "qrels.txt") == qrels


def test_a_run_is_written_with_its_ranks_and_its_tag(tmp_path):
    write_run(tmp_path / "bm25.trec", {"q": [("b", 2.5), ("a", 0.25)]}, tag="bm25")
    assert (tmp_path / "bm25.trec").read_text() == "q Q0 b 1 2.5 bm25\nq Q0 a 2 0.25 bm25\n"


@pytest.mark.parametrize(
    "scores",
    [
        [1.0, 1.0, 1.0],
        [1.0, 1.0 - 1e-12, 1.0 - 2e-12],
        [0.0, 0.0, -0.0, 0.0],
        [-3.0, 0.9, 0.8, 0.8, -7.0],
        [1e-30, 1e-30, 1e-45, 1e-300, 0.0],
        [1e37, 1e37, -1e37, -1e37],
        [2.0, 2.0, 1.9999999, 1.5],
    ],
)
def test_written_scores_decrease_strictly_in_single_precision(scores, tmp_path):
    lowered = strictly_decreasing(scores, where="here")
    singles = np.array(lowered, dtype=np.float32)
    assert (np.diff(singles) < 0).all()
    assert lowered[0] == pytest.approx(scores[0])
    # What is printed must be told apart too, by readers of single and of double precision.
    write_run(tmp_path / "x.trec", {"q": [(f"p{place}", score) for place, score in enumerate(scores)]}, tag="x")
    printed = [line.split()[4] for line in (tmp_path / "x.trec").read_text().splitlines()]
    assert (np.diff(np.array(printed, dtype=np.float32)) < 0).all()
    assert (np.diff(np.array(printed, dtype=np.float64)) < 0).all()


def test_scores_that_decrease_already_are_kept_to_single_precision():
    scores = [12.3456789, 0.1, 0.0001, -5.0]
    assert strictly_decreasing(scores, where="here") == [float(np.float32(score)) for score in scores]


def test_a_written_run_read_back_has_the_same_order_despite_ties(tmp_path):
    ranking = [("b", 1.0), ("c", 1.0), ("a", 1.0), ("d", 3.0)]
    write_run(tmp_path / "run.trec", {"q": ranking}, tag="x")
    assert [product_id for product_id, _ in read_run(tmp_path / "run.trec")["q"]] == ["b", "c", "a", "d"]


def test_a_run_from_elsewhere_is_ordered_by_score_then_product_descending_whatever_its_lines_and_ranks(tmp_path):
    (tmp_path / "theirs.trec").write_text(
        "q2 Q0 z 1 5 t\nq1 Q0 a 1 0.5 t\nq1\tQ0\tb\t9\t2e0\tt\n\nq1 Q0 c 2 0.5 t\nq1 Q0 d 3 0.5000000001 t\n"
    )
    run = read_run(tmp_path / "theirs.trec")
    assert list(run) == ["q2", "q1"]
    # d's score differs from a's and c's only beyond single precision, so the id decides, as it does in trec_eval.
    assert [product_id for product_id, _ in run["q1"]] == ["b", "d", "c", "a"]
    assert run["q1"][0] == ("b", 2.0)


def test_the_order_of_ties_read_is_that_of_trec_eval(tmp_path):
    import pytrec_eval

    products = ["p1", "p10", "P2", "é", "z", "商"]
    (tmp_path / "ties.trec").write_text("".join(f"q Q0 {product_id} 1 1.0 t\n" for product_id in products), "utf-8")
    ranked = [product_id for product_id, _ in read_run(tmp_path / "ties.trec")["q"]]
    for place, product_id in enumerate(ranked, start=1):
        found = pytrec_eval.RelevanceEvaluator({"q": {product_id: 1}}, {"recip_rank"}).evaluate(
            {"q": dict.fromkeys(products, 1.0)}
        )
        assert found["q"]["recip_rank"] == pytest.approx(1 / place)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("q Q0 a 1 1.0\n", r"line 1: expected 6 columns \(query_id Q0 product_id rank score tag\), got 5"),
        ("q Q0 a 1 1.0 t\nq Q0 b c 2 1.0 t\n", "line 2: expected 6 columns .* got 7"),
        ("q Q0 a 1 nan t\n", "line 1: expected a finite number, got 'nan'"),
        ("q Q0 a 1 inf t\n", "line 1: expected a finite number, got 'inf'"),
        ("q Q0 a 1 high t\n", "line 1: expected a finite number, got 'high'"),
        ("q Q0 a 1 1_0 t\n", "line 1: expected a finite number, got '1_0'"),
        ("q Q0 a 1 1e300 t\n", "line 1: expected a score within 1e38 of 0, got '1e300'"),
        ("q Q0 a 1 2 t\nq Q0 b 2 1 t\nq Q0 a 3 0 t\n", "line 3: product 'a' stands twice in query 'q'"),
        ("\n \n", "expected lines of query_id Q0 product_id rank score tag in .*bad.trec, found none"),
    ],
)
def test_a_bad_run_file_is_refused_with_file_and_line(content, message, tmp_path):
    (tmp_path / "bad.trec").write_text(content)
    with pytest.raises(SourceDataError, match=message) as caught:
        read_run(tmp_path / "bad.trec")
    assert str(tmp_path / "bad.trec") in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("q 0 a\n", r"line 1: expected 4 columns \(query_id 0 product_id grade\), got 3"),
        ("q 0 a 1.5\n", "line 1: expected a whole number, got '1.5'"),
        ("q 0 a 1\nq 0 b -2\n", "line 2: expected a grade of 0 or more, got -2"),
        ("q 0 a 1\nq 0 a 1\n", "line 2: product 'a' is judged twice for query 'q'"),
        ("", "expected lines of query_id 0 product_id grade in .*bad.txt, found none"),
    ],
)
def test_a_bad_judgment_file_is_refused_with_file_and_line(content, message, tmp_path):
    (tmp_path / "bad.txt").write_text(content)
    with pytest.raises(SourceDataError, match=message):
        read_qrels(tmp_path / "bad.txt")


def test_a_file_that_is_absent_or_not_text_is_refused(tmp_path):
    with pytest.raises(SourceDataError, match=r"expected a UTF-8 text file at .*none\.trec"):
        read_run(tmp_path / "none.trec")
    (tmp_path / "binary.trec").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SourceDataError, match=r"expected a UTF-8 text file at .*binary\.trec"):
        read_run(tmp_path / "binary.trec")


@pytest.mark.parametrize("identity", ["two words", "tab\tbed", "line\nbreak", "", "no\xa0break", "nul\0", "\udc80"])
def test_an_id_that_a_trec_file_cannot_carry_is_named(identity, tmp_path):
    with pytest.raises(SourceDataError, match=r"a product id must be text without white space, got .*replace it"):
        write_qrels(tmp_path / "qrels.txt", {"q": {identity: 1}})
    with pytest.raises(SourceDataError, match="a query id must be text without white space"):
        write_run(tmp_path / "run.trec", {identity: [("a", 1.0)]}, tag="x")
    with pytest.raises(SourceDataError, match="a system id must be text without white space"):
        write_run(tmp_path / "run.trec", {"q": [("a", 1.0)]}, tag=identity)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("score", [float("nan"), float("inf"), -1e39])
def test_a_score_that_is_no_number_is_not_written(score, tmp_path):
    with pytest.raises(SourceDataError, match=rf"within 1e38 of 0 .* got {re.escape(str(score))} \(query 'q'"):
        write_run(tmp_path / "run.trec", {"q": [("a", score)]}, tag="x")
    assert not list(tmp_path.iterdir())


def test_an_existing_file_is_replaced(tmp_path):
    write_qrels(tmp_path / "qrels.txt", {"q": {"a": 1}})
    write_qrels(tmp_path / "qrels.txt", {"q": {"b": 2}})
    assert [path.name for path in tmp_path.iterdir()] == ["qrels.txt"]
    assert read_qrels(tmp_path / "qrels.txt") == {"q": {"b": 2}}
