import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexing.errors import ConfigError, SourceDataError
from retrieval.catalog import open_catalog
from retrieval.config import BadRows, EsciCatalog
from retrieval.records import Judgment, Product, Query

PRODUCTS = "shopping_queries_dataset_products.parquet"
EXAMPLES = "shopping_queries_dataset_examples.parquet"


def product_row(number, locale="us", **cells):
    return {
        "product_id": f"B{number:03d}",
        "product_title": f"Title {number}",
        "product_description": f"<p>Text {number}</p>",
        "product_bullet_point": f"Point {number}" if number % 2 else None,
        "product_brand": "Norvik",
        "product_color": "red" if number % 2 else None,
        "product_locale": locale,
    } | cells


def example_row(query_id, query, product_id, label, *, locale="us", split="train", small=1, large=1):
    return {
        "example_id": 0,
        "query": query,
        "query_id": query_id,
        "product_id": product_id,
        "product_locale": locale,
        "esci_label": label,
        "small_version": small,
        "large_version": large,
        "split": split,
    }


EXAMPLE_ROWS = [
    example_row(1, "usb hub", "B001", "E"),
    example_row(1, "usb hub", "B002", "S"),
    example_row(7, "hub usb", "B001", "E", locale="es"),
    example_row(2, "toner", "B003", "C", split="test"),
    example_row(2, "toner", "B004", "I", split="test"),
    example_row(3, "lamp", "B005", "E", small=0),
]


def write_set(folder, products=(), examples=EXAMPLE_ROWS):
    if products:
        pq.write_table(pa.Table.from_pylist(list(products)), folder / PRODUCTS)
    if examples:
        pq.write_table(pa.Table.from_pylist(list(examples)), folder / EXAMPLES)
    return folder


def esci(folder, **settings):
    return open_catalog(EsciCatalog(**({"name": "esci"} | settings)), folder)


def read(catalog, **options):
    return [product for batch in catalog.products(**options) for product in batch.products]


def test_count_first_tenth_and_last_record_of_the_locale(tmp_path):
    rows = [row for number in range(12) for row in (product_row(number, "jp"), product_row(number))]
    products = read(esci(write_set(tmp_path, rows)), batch_rows=5)
    assert len(products) == 12
    for place in (0, 9, 11):
        odd = place % 2 == 1
        assert products[place] == Product(
            product_id=f"B{place:03d}",
            title=f"Title {place}",
            description=f"<p>Text {place}</p>",
            brand="Norvik",
            attributes={"color": "red"} if odd else {},
            extra={"bullet_point": f"Point {place}" if odd else None},
        )


def test_rows_of_other_locales_are_not_read_and_the_others_keep_their_numbers(tmp_path):
    rows = [product_row(1, "es"), product_row(1), product_row(2, None), product_row(2, product_title=" ")]
    catalog = esci(write_set(tmp_path, rows), on_bad_rows=BadRows.quarantine)
    assert len(read(catalog, batch_rows=2)) == 1
    assert (catalog.report.rows, catalog.report.quarantined) == (2, 1)
    assert catalog.report.examples[0].row == 4


def test_locale_without_products_is_refused_with_those_that_there_are(tmp_path):
    write_set(tmp_path, [product_row(1), product_row(2, "jp")])
    with pytest.raises(
        SourceDataError, match=r"no product of catalog\.locale='uss' \(there: jp, us\); did you mean 'us'\?"
    ):
        read(esci(tmp_path, locale="uss"))


def test_missing_column_and_wrong_type_are_refused(tmp_path):
    row = product_row(1)
    del row["product_title"]
    with pytest.raises(SourceDataError, match="has no column 'product_title'"):
        read(esci(write_set(tmp_path, [row])))
    with pytest.raises(SourceDataError, match="product_id: expected text, got int64"):
        read(esci(write_set(tmp_path, [product_row(1, product_id=7)])))


def test_queries_and_grades_are_those_of_locale_and_version(tmp_path):
    catalog = esci(write_set(tmp_path))
    assert catalog.queries() == [Query("1", "usb hub"), Query("2", "toner")]
    assert catalog.judgments() == [
        Judgment("1", "B001", 100),
        Judgment("1", "B002", 10),
        Judgment("2", "B003", 1),
        Judgment("2", "B004", 0),
    ]
    assert [query.text for query in esci(tmp_path, version="large").queries()] == ["usb hub", "toner", "lamp"]
    assert [query.text for query in esci(tmp_path, locale="es").queries()] == ["hub usb"]


def test_gains_are_configuration(tmp_path):
    catalog = esci(write_set(tmp_path), grades={"E": 3, "S": 2, "C": 1, "I": 0})
    assert [judgment.grade for judgment in catalog.judgments()] == [3, 2, 1, 0]


def test_split_column_keeps_train_or_test(tmp_path):
    write_set(tmp_path)
    assert esci(tmp_path).splits() == {"1": "train", "2": "test"}
    test = esci(tmp_path, split="test")
    assert test.queries() == [Query("2", "toner")]
    assert [judgment.query_id for judgment in test.judgments()] == ["2", "2"]
    with pytest.raises(ConfigError, match=r"catalog\.split is 'dev', but .* has test, train"):
        esci(tmp_path, split="dev").queries()


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (example_row(1, "usb hub", "B009", "X"), "esci_label: expected E or S or C or I, got 'X'"),
        (example_row(1, "usb hub", "B001", "S"), "esci_label: 10, but row 1 gives this pair 100"),
        (example_row(1, "usb hub", None, "S"), "product_id: empty"),
    ],
)
def test_bad_example_is_refused_with_file_and_row(tmp_path, row, problem):
    catalog = esci(write_set(tmp_path, examples=[*EXAMPLE_ROWS, row]))
    with pytest.raises(SourceDataError, match=rf"examples\.parquet\n    {problem} \(1 row: 7\)"):
        catalog.judgments()


def test_one_query_with_two_texts_or_in_two_splits_is_refused(tmp_path):
    write_set(tmp_path, examples=[*EXAMPLE_ROWS, example_row(1, "usb hubs", "B009", "E")])
    with pytest.raises(SourceDataError, match=r"query_id: duplicate \(1 row: 7\)"):
        esci(tmp_path).queries()
    write_set(tmp_path, examples=[*EXAMPLE_ROWS, example_row(1, "usb hub", "B009", "E", split="test")])
    with pytest.raises(SourceDataError, match=r"split: 'test', where the query is in 'train' before \(1 row: 7\)"):
        esci(tmp_path).splits()


def test_version_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(
        ConfigError, match=r"catalog\.version must be small or large, got 'smal'; did you mean 'small'\?"
    ):
        esci(tmp_path, version="smal")


def test_products_alone_have_no_queries(tmp_path):
    catalog = esci(write_set(tmp_path, [product_row(1)], examples=()))
    assert (catalog.queries(), catalog.judgments(), catalog.splits()) == ([], [], {})
