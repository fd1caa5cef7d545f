import json

import pytest

from indexing.errors import ConfigError, SourceDataError
from retrieval.catalog import open_catalog
from retrieval.config import BadRows, BeirCatalog
from retrieval.records import Judgment, Product, Query

QUERY_LINES = [{"_id": "q1", "text": "usb hub"}, {"_id": "q2", "text": "toner", "metadata": {}}]
QRELS = {"test": "q1\t7\t2\nq1\t8\t0\n", "dev": "q2\t7\t1\n"}


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_set(folder, corpus=(), queries=QUERY_LINES, qrels=QRELS):
    write_lines(folder / "corpus.jsonl", corpus)
    write_lines(folder / "queries.jsonl", queries)
    (folder / "qrels").mkdir(exist_ok=True)
    for split, rows in qrels.items():
        (folder / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + rows, encoding="utf-8")
    return folder


def beir(folder, **settings):
    return open_catalog(BeirCatalog(**({"name": "beir"} | settings)), folder)


def read(catalog, **options):
    return [product for batch in catalog.products(**options) for product in batch.products]


def test_count_first_tenth_and_last_record(tmp_path):
    corpus = [{"_id": f"{n:03d}", "title": f"Title {n}", "text": f"Text {n}", "metadata": {}} for n in range(12)]
    products = read(beir(write_set(tmp_path, corpus)))
    assert len(products) == 12
    for place in (0, 9, 11):
        assert products[place] == Product(f"{place:03d}", f"Title {place}", f"Text {place}")


@pytest.mark.parametrize("title", [{}, {"title": ""}, {"title": "  "}, {"title": None}])
def test_text_stands_in_for_a_title_that_is_empty(tmp_path, title):
    (product,) = read(beir(write_set(tmp_path, [{"_id": "1", "text": "A hub"} | title])))
    assert product == Product("1", "A hub")


def test_line_with_neither_title_nor_text_is_set_aside_as_it_was(tmp_path):
    write_set(tmp_path, [{"_id": "1", "title": "", "text": " "}, {"_id": "2", "title": 3, "text": "x"}, {"_id": "3"}])
    catalog = beir(tmp_path, on_bad_rows=BadRows.quarantine)
    assert read(catalog, quarantine=tmp_path / "bad.jsonl") == []
    problems = [example.problems for example in catalog.report.examples]
    assert problems == [("title: empty",), ("title: expected text, got an integer",), ("title: missing",)]
    first = json.loads((tmp_path / "bad.jsonl").read_text().splitlines()[0])
    assert first["values"] == {"_id": "1", "title": "", "text": " "}


def test_default_split_is_test(tmp_path):
    catalog = beir(write_set(tmp_path))
    assert catalog.queries() == [Query("q1", "usb hub")]
    assert catalog.judgments() == [Judgment("q1", "7", 2), Judgment("q1", "8", 0)]
    assert catalog.splits() == {"q1": "test", "q2": "dev"}


def test_other_split_or_all_of_them(tmp_path):
    write_set(tmp_path)
    assert beir(tmp_path, split="dev").judgments() == [Judgment("q2", "7", 1)]
    everything = beir(tmp_path, split="")
    assert len(everything.queries()) == 2
    assert len(everything.judgments()) == 3
    with pytest.raises(ConfigError, match=r"catalog\.split is 'tset', but .* has dev, test; did you mean 'test'\?"):
        beir(tmp_path, split="tset").queries()


def test_query_without_judgments_is_in_no_split(tmp_path):
    write_set(tmp_path, queries=[*QUERY_LINES, {"_id": "q3", "text": "lamp"}])
    assert [query.query_id for query in beir(tmp_path).queries()] == ["q1"]
    assert [query.query_id for query in beir(tmp_path, split="").queries()] == ["q1", "q2", "q3"]


def test_query_that_two_files_judge_is_refused(tmp_path):
    write_set(tmp_path, qrels={**QRELS, "train": "q1\t9\t1\n"})
    with pytest.raises(SourceDataError, match=r"train\.tsv judges query 'q1', which is in split test too"):
        beir(tmp_path).splits()


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("q9\t7\t1", "query-id: 'q9' is not among the queries"),
        ("q1\t9\t0.5", "score: expected a whole number from 0, got '0.5'"),
        ("q1\t\t1", "corpus-id: empty"),
        ("q1\t7\t1", "score: 1, but row 2 gives this pair 2"),
    ],
)
def test_bad_judgment_is_refused_with_file_and_row(tmp_path, row, problem):
    write_set(tmp_path, qrels={"test": f"q1\t7\t2\n{row}\n"})
    with pytest.raises(SourceDataError, match=rf"test\.tsv\n    {problem} \(1 row: 3\)"):
        beir(tmp_path).judgments()


def test_bad_query_is_refused_with_file_and_line(tmp_path):
    write_set(tmp_path, queries=[*QUERY_LINES, {"_id": 3, "text": "x"}, {"_id": "q4"}])
    with (tmp_path / "queries.jsonl").open("a") as file:
        file.write("oops\n")
    with pytest.raises(
        SourceDataError, match=r"_id, text: expected text \(2 rows: 3, 4\)\n    row: not JSON \(1 row: 5\)"
    ):
        beir(tmp_path).queries()


def test_corpus_alone_has_no_judgments(tmp_path):
    write_lines(tmp_path / "corpus.jsonl", [{"_id": "1", "text": "x"}])
    catalog = beir(tmp_path, split="")
    assert (catalog.queries(), catalog.judgments(), catalog.splits()) == ([], [], {})
    assert [path.name for path in catalog.files()] == ["corpus.jsonl"]


def test_folder_without_a_corpus_is_refused(tmp_path):
    (tmp_path / "corpus.json").touch()
    with pytest.raises(SourceDataError, match=r"no corpus corpus\.jsonl \(there: corpus\.json\); did you mean"):
        read(beir(tmp_path))
