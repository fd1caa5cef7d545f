"""Judgments and runs in other people's forms."""

import gzip
from collections import namedtuple
from pathlib import Path

import pytest

from indexing.errors import ConfigError, SourceDataError
from retrieval.records import Query
from shortlist.evaluation.interchange import qrels_of, read_judgments, read_runs, run_of
from shortlist.evaluation.trec import read_run, write_qrels, write_run

QUERIES = [Query("q1", "usb hub"), Query("q2", "mouse"), Query("q3", "nobody judged this")]
QRELS = {"q1": {"a": 2, "b": 0}, "q2": {"007": 1}}

FORMS = {
    "judgments.csv": "query_id,product_id,grade\nq1,a,2\nq1,b,0\nq2,007,1\n",
    "by_text.csv": "query,product_id,grade\nusb hub,a,2\nusb hub,b,0\nmouse,007,1\n",
    "test.tsv": "query-id\tcorpus-id\tscore\nq1\ta\t2\nq1\tb\t0\nq2\t007\t1\n",
    "qrels.jsonl": '{"query_id": "q1", "doc_id": "a", "relevance": 2, "iteration": "0"}\n'
    '{"query_id": "q1", "doc_id": "b", "relevance": 0}\n{"query_id": "q2", "doc_id": "007", "relevance": 1}\n',
    "qrels.txt": "q1 0 a 2\nq1 0 b 0\nq2 0 007 1\n",
    "qrels": "q1 Q0 a 2\nq1 Q0 b 0\nq2 Q0 007 1\n",
}


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_judgments_and_their_queries(tmp_path, name):
    judged, qrels = read_judgments(written(tmp_path / name, FORMS[name]), QUERIES)
    assert qrels == QRELS
    assert judged == QUERIES[:2]


def test_packed_trec_judgments_and_runs_are_unpacked(tmp_path):
    (tmp_path / "qrels.txt.gz").write_bytes(gzip.compress(FORMS["qrels.txt"].encode()))
    assert read_judgments(tmp_path / "qrels.txt.gz", [])[1] == QRELS
    (tmp_path / "run.trec.gz").write_bytes(gzip.compress(b"q1 Q0 a 1 2.5 x\n"))
    assert read_run(tmp_path / "run.trec.gz") == {"q1": [("a", 2.5)]}
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"q1 Q0 a 1 2.5 x\n")[:-9])
    with pytest.raises(SourceDataError, match=r"expected a UTF-8 text file at .*cut\.gz"):
        read_run(tmp_path / "cut.gz")


def test_without_a_catalogue_judgments_have_no_texts(tmp_path):
    assert read_judgments(written(tmp_path / "qrels.txt", FORMS["qrels.txt"]), []) == ([], QRELS)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.tsv", "query-id\tcorpus-id\tscore\nq1\ta\t-1\n", r"a\.tsv, line 2: expected a whole grade .* got '-1'"),
        ("a.tsv", "query-id\tcorpus-id\tscore\nq1\ta\t1\nq1\ta\t1\n", r"line 3: product 'a' is judged twice for 'q1'"),
        ("a.tsv", "query\tcorpus-id\tscore\nq1\ta\t1\n", "has no column 'query-id'"),
        ("a.tsv", "query-id\tcorpus-id\tscore\n", "expected judgments in .*, found none"),
        ("a.jsonl", '{"query_id": "q1", "doc_id": "a"}\n', r"line 1: expected query_id, .* 'relevance' is missing"),
        ("a.jsonl", '{"query_id": "q1", "doc_id": "a", "relevance": 1.5}\n', "line 1: expected a whole grade"),
        ("a.jsonl", '{"query_id": "q1", "doc_id": "a", "relevance": true}\n', "line 1: expected a whole grade"),
        ("a.jsonl", "q1 a 1\n", "line 1: row: not JSON"),
        ("a.txt", "q1 0 a 1\nq1 0 a 2\n", "line 2: product 'a' is judged twice for query 'q1'"),
    ],
)
def test_judgments_that_break_their_form_are_refused_with_the_line(tmp_path, name, text, message):
    with pytest.raises(SourceDataError, match=message):
        read_judgments(written(tmp_path / name, text), QUERIES)


def test_a_missing_file_is_refused(tmp_path):
    for name in ("a.tsv", "a.txt", "a.csv", "a.jsonl"):
        with pytest.raises(SourceDataError, match=name):
            read_judgments(tmp_path / name, QUERIES)


def test_records_of_ir_datasets_become_judgments_and_runs():
    qrel = namedtuple("TrecQrel", "query_id doc_id relevance iteration")
    scored = namedtuple("GenericScoredDoc", "query_id doc_id score")
    assert qrels_of([qrel("q1", "a", 2, "0"), qrel("q1", "b", 0, "0"), qrel("q2", "007", 1, "0")]) == QRELS
    assert qrels_of([{"query_id": "q1", "doc_id": "a", "relevance": 2}]) == {"q1": {"a": 2}}
    assert run_of([scored("q1", "a", 1.0), scored("q1", "c", 1.0), scored("q1", "b", 2.0)]) == {
        "q1": [("b", 2.0), ("c", 1.0), ("a", 1.0)]
    }
    with pytest.raises(SourceDataError, match="line 2: product 'a' is judged twice for 'q1'"):
        qrels_of([qrel("q1", "a", 2, "0"), qrel("q1", "a", 2, "0")])
    with pytest.raises(SourceDataError, match=r"line 1: expected a whole grade of 0 or more, got -2"):
        qrels_of([qrel("q1", "a", -2, "0")])
    with pytest.raises(SourceDataError, match="record 2: product 'a' stands twice in query 'q1'"):
        run_of([scored("q1", "a", 1.0), scored("q1", "a", 2.0)])


def test_records_go_through_ir_measures_own_reader_to_the_same_judgments(tmp_path):
    import ir_measures

    write_qrels(tmp_path / "qrels.txt", QRELS)
    assert qrels_of(ir_measures.read_trec_qrels(str(tmp_path / "qrels.txt"))) == QRELS
    run = {"q1": [("b", 3.0), ("a", 1.5)]}
    write_run(tmp_path / "a.trec", run, tag="t")
    assert run_of(ir_measures.read_trec_run(str(tmp_path / "a.trec"))) == run


def test_runs_are_named_by_tag_then_file_then_folder(tmp_path):
    (tmp_path / "old").mkdir()
    paths = [tmp_path / "one.trec", tmp_path / "two.trec.gz", tmp_path / "old" / "two.trec"]
    for path in paths:
        text = b"q1 Q0 a 1 2.5 theirs\nq1 Q0 b 2 1.5 theirs\n"
        path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    assert list(read_runs(paths)) == ["theirs", "two", "old_two"]
    assert list(read_runs(paths[:1], taken=["theirs"])) == ["one"]
    with pytest.raises(ConfigError, match=r"run .*one\.trec would be called 'theirs' or 'one', as another one is"):
        read_runs([paths[0]] * 4)


@pytest.mark.parametrize("tag", ["a/b", ".hidden"])
def test_a_tag_that_is_no_file_name_gives_way_to_the_files_name(tmp_path, tag):
    assert list(read_runs([written(tmp_path / "x.y.trec", f"q1 Q0 a 1 2.5 {tag}\n")])) == ["x.y"]
