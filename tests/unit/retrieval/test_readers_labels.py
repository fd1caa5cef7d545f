import csv

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexing.errors import ConfigError, SourceDataError
from retrieval.catalog import open_catalog
from retrieval.config import TabularCatalog
from retrieval.records import Judgment, Query

PRODUCTS = [{"product_id": "1", "title": "Lamp"}, {"product_id": "2", "title": "Desk"}]


def write_products(folder):
    pq.write_table(pa.Table.from_pylist(PRODUCTS), folder / "products.parquet")


def tabular(folder, **settings):
    return open_catalog(TabularCatalog(**({"name": "shop"} | settings)), folder)


def read(catalog, **options):
    return [product for batch in catalog.products(**options) for product in batch.products]


def write_labels(folder, queries=None, judgments=None, splits=None):
    for name, text in {"queries.csv": queries, "judgments.csv": judgments, "splits.csv": splits}.items():
        if text is not None:
            (folder / name).write_text(text, encoding="utf-8")
    return folder


QUERIES = "query_id,text\nq1,red mouse\nq2,usb hub\nq3,toner\n"
JUDGMENTS = "query_id,product_id,grade\nq1,007,3\nq2,007,0\nq3,8,1\n"


def test_queries_and_judgments_come_in_the_order_of_their_files(tmp_path):
    catalog = tabular(write_labels(tmp_path, QUERIES, JUDGMENTS))
    assert catalog.queries() == [Query("q1", "red mouse"), Query("q2", "usb hub"), Query("q3", "toner")]
    assert catalog.judgments() == [Judgment("q1", "007", 3), Judgment("q2", "007", 0), Judgment("q3", "8", 1)]


def test_absent_files_give_nothing(tmp_path):
    catalog = tabular(tmp_path)
    assert (catalog.queries(), catalog.judgments(), catalog.splits()) == ([], [], {})


def test_columns_of_queries_and_judgments_can_be_named(tmp_path):
    write_labels(tmp_path, "qid,q\n1,toner\n", "qid,pid,gain\n1,a,2\n")
    settings = {"query_fields": {"query_id": "qid", "text": "q"}}
    fields = {"query_id": "qid", "product_id": "pid", "grade": "gain"}
    catalog = tabular(tmp_path, **settings, judgment_fields=fields)
    assert catalog.queries() == [Query("1", "toner")]
    assert catalog.judgments() == [Judgment("1", "a", 2)]


def test_judgments_by_text_need_no_file_of_queries(tmp_path):
    catalog = tabular(
        write_labels(tmp_path, judgments="query,product_id,grade\nusb hub,1,2\nUSB hub,1,1\nusb hub,2,0\n")
    )
    first, second = catalog.queries()
    assert first == Query("usb-hub", "usb hub")
    assert second.text == "USB hub"
    assert second.query_id.startswith("usb-hub-")
    assert [judgment.query_id for judgment in catalog.judgments()] == [first.query_id, second.query_id, first.query_id]


def test_judgments_by_text_beside_a_file_of_queries_take_its_ids_and_no_other_text(tmp_path):
    catalog = tabular(write_labels(tmp_path, QUERIES, "query,product_id,grade\ntoner,1,2\n"))
    assert catalog.judgments() == [Judgment("q3", "1", 2)]
    write_labels(tmp_path, QUERIES, "query,product_id,grade\ntonner,1,2\n")
    with pytest.raises(SourceDataError, match=r"query: 'tonner' is not among the queries \(1 row: 2\)"):
        tabular(tmp_path).judgments()


def test_one_pair_judged_twice_alike_is_one_judgment(tmp_path):
    catalog = tabular(write_labels(tmp_path, QUERIES, JUDGMENTS + "q1,007,3\n"))
    assert len(catalog.judgments()) == 3


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("q9,1,2", r"query_id: 'q9' is not among the queries"),
        ("q1,1,2.5", r"grade: expected a whole number from 0, got '2.5'"),
        ("q1,1,3.0", r"grade: expected a whole number from 0, got '3.0'"),
        ("q1,1,-1", r"grade: expected a whole number from 0, got '-1'"),
        ("q1,1,", r"grade: expected a whole number from 0, got ''"),
        ("q1,1,good", r"grade: expected a whole number from 0, got 'good'"),
        ("q1,,2", r"product_id: empty"),
        ("q1,007,2", r"grade: 2, but row 2 gives this pair 3"),
        ("q1,1", r"row: expected 3 cells, got 2"),
    ],
)
def test_bad_judgment_is_refused_with_file_and_row(tmp_path, row, problem):
    catalog = tabular(write_labels(tmp_path, QUERIES, JUDGMENTS + row + "\n"))
    with pytest.raises(SourceDataError, match=rf"judgments\.csv\n    {problem} \(1 row: 5\)"):
        catalog.judgments()


def test_judged_product_need_not_be_in_the_catalogue(tmp_path):
    write_products(tmp_path)
    assert len(tabular(write_labels(tmp_path, QUERIES, JUDGMENTS)).judgments()) == 3


def test_message_stops_after_ten_problems(tmp_path):
    rows = "".join(f"new{number},1,2\n" for number in range(12))
    catalog = tabular(write_labels(tmp_path, QUERIES, JUDGMENTS + rows))
    with pytest.raises(
        SourceDataError, match=r"'new9' is not among the queries \(1 row: 14\)\n    and 2 more problems$"
    ):
        catalog.judgments()


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (",x", "query_id: empty"),
        ("q4,", "text: empty"),
        ("q1,x", "query_id: duplicate"),
        ("q 4,x", "query_id: has white space, which TREC files cannot carry"),
    ],
)
def test_bad_query_is_refused_with_file_and_row(tmp_path, row, problem):
    catalog = tabular(write_labels(tmp_path, QUERIES + row + "\n"))
    with pytest.raises(
        SourceDataError, match=rf"1 row cannot become queries:\n.*queries\.csv\n    {problem} \(1 row: 5\)"
    ):
        catalog.queries()


def test_missing_column_of_queries_or_judgments_is_refused(tmp_path):
    write_labels(tmp_path, "query_id,query\n1,x\n", "qid,product_id,grade\n1,2,3\n")
    with pytest.raises(SourceDataError, match=r"queries\.csv has no column 'text' \(there: query_id, query\)"):
        tabular(tmp_path).queries()
    with pytest.raises(SourceDataError, match="has neither a column query_id nor a column query"):
        tabular(tmp_path, queries="").judgments()


def test_split_from_a_file_keeps_its_queries_and_their_judgments(tmp_path):
    write_labels(tmp_path, QUERIES, JUDGMENTS, "query_id,split\nq1,train\nq2,dev\n")
    assert tabular(tmp_path).splits() == {"q1": "train", "q2": "dev"}
    dev = tabular(tmp_path, split="dev")
    assert [query.query_id for query in dev.queries()] == ["q2"]
    assert dev.judgments() == [Judgment("q2", "007", 0)]
    assert len(tabular(tmp_path).queries()) == 3
    assert dev.splits() == {"q1": "train", "q2": "dev"}


def test_split_by_rule_depends_on_the_text_alone(tmp_path):
    write_labels(tmp_path, QUERIES, JUDGMENTS)
    # md5 modulo 10: red mouse 6, usb hub 1, toner 1
    assert tabular(tmp_path, split_modulus=10, split_dev=[6]).splits() == {"q1": "dev", "q2": "train", "q3": "train"}
    write_labels(tmp_path, "query_id,text\nx,red mouse\n", "query_id,product_id,grade\n")
    assert tabular(tmp_path, split_modulus=10, split_dev=[6]).splits() == {"x": "dev"}


def test_rule_and_file_of_splits_together_are_refused(tmp_path):
    write_labels(tmp_path, QUERIES, splits="query_id,split\nq1,dev\n")
    with pytest.raises(ConfigError, match=r"catalog\.split_modulus=10 splits by rule, but there is also .*splits\.csv"):
        tabular(tmp_path, split_modulus=10).splits()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"split_modulus": -1}, "split_modulus must be 0 .* got -1"),
        ({"split_modulus": 5, "split_dev": [5]}, r"split_dev must hold remainders from 0 to 4, got \[5\]"),
        ({"price_divisor": 0.0}, "price_divisor must be above 0, got 0.0"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        TabularCatalog(name="x", **settings)


def test_split_that_does_not_exist_is_refused_with_those_that_do(tmp_path):
    write_labels(tmp_path, QUERIES, splits="query_id,split\nq1,train\nq2,dev\n")
    with pytest.raises(ConfigError, match=r"catalog\.split is 'deev', but .* has dev, train; did you mean 'dev'\?"):
        tabular(tmp_path, split="deev").queries()


def test_split_of_a_source_without_splits_is_refused(tmp_path):
    write_labels(tmp_path, QUERIES)
    with pytest.raises(ConfigError, match="has no splits; leave catalog"):
        tabular(tmp_path, split="dev").queries()


@pytest.mark.parametrize(
    ("row", "problem"),
    [("q9,dev", "'q9' is not among the queries"), ("q1,dev", "query_id: duplicate"), ("q2,", "split: empty")],
)
def test_bad_split_is_refused_with_file_and_row(tmp_path, row, problem):
    write_labels(tmp_path, QUERIES, splits=f"query_id,split\nq1,train\n{row}\n")
    with pytest.raises(SourceDataError, match=rf"splits\.csv\n    .*{problem} \(1 row: 3\)"):
        tabular(tmp_path).splits()


def test_files_are_all_that_is_there_products_first(tmp_path):
    write_products(write_labels(tmp_path, QUERIES, JUDGMENTS, "query_id,split\n"))
    names = ["products.parquet", "queries.csv", "judgments.csv", "splits.csv"]
    assert [path.name for path in tabular(tmp_path).files()] == names


# --- Home Depot -------------------------------------------------------------------------------------------------------


@pytest.mark.shared
def test_home_depot_has_its_products_and_judgments(shared_data):
    catalog = tabular(shared_data / "homedepot")
    products = read(catalog)
    assert len(products) == catalog.report.rows == 54_667
    table = pq.read_table(shared_data / "homedepot" / "products.parquet").to_pylist()
    for place in (0, 9, 54_666):
        assert products[place].product_id == table[place]["product_id"]
        assert products[place].title == table[place]["title"].strip()
    with (shared_data / "homedepot" / "queries.csv").open(encoding="utf-8", newline="") as file:
        queries = [Query(row["query_id"], row["text"].strip()) for row in csv.DictReader(file)]
    assert catalog.queries() == queries
    assert len(queries) == 10_295
    judgments = catalog.judgments()
    assert len(judgments) == 64_718
    assert (judgments[0], judgments[1]) == (Judgment("q2262", "100001", 4), Judgment("q6560", "100001", 3))


@pytest.mark.shared
def test_home_depot_dev_split_by_rule_has_1056_queries_with_a_grade_above_0(shared_data):
    dev = tabular(shared_data / "homedepot", split_modulus=10, split="dev")
    assert len({judgment.query_id for judgment in dev.judgments() if judgment.grade > 0}) == 1_056
    train = tabular(shared_data / "homedepot", split_modulus=10, split="train")
    assert len(dev.queries()) + len(train.queries()) == 10_295
