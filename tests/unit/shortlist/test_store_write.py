import csv
import hashlib

import pyarrow.parquet as pq
import pytest

from indexing.errors import StorageError
from retrieval.catalog import open_catalog
from retrieval.config import TabularCatalog
from retrieval.records import Product
from shortlist.store import write_store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop") / "store"
    return folder, write_store(folder)


def rows(folder, name):
    with (folder / name).open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def test_the_report_counts_what_was_written(store):
    folder, report = store
    assert report.folder == folder
    assert report.products == pq.read_metadata(folder / "products.parquet").num_rows == 2956
    assert (report.types, report.brands, report.variant_groups) == (136, 45, 952)
    assert report.queries == {"train": 550, "dev": 100, "test": 270, "no_answer": 270}
    assert sum(report.queries.values()) == len(rows(folder, "queries.csv")) == len(rows(folder, "splits.csv"))
    assert sum(report.judgments.values()) == len(rows(folder, "judgments.csv"))
    assert sorted(report.judgments) == [0, 1, 2, 3]
    for name, sha256 in report.files.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == sha256


def test_writing_over_a_store_gives_the_same_bytes(store):
    folder, report = store
    assert write_store(folder) == report
    assert sorted(path.name for path in folder.iterdir()) == sorted(report.files)


def test_another_seed_writes_another_shop_with_the_same_splits(store, tmp_path):
    first, second = store[1].files, write_store(tmp_path, seed=8).files
    assert {name for name in first if first[name] == second[name]} == {"splits.csv"}


def test_the_store_of_seed_7_is_the_one_that_the_published_numbers_are_of(store):
    # A change here changes every number that the README gives for the store: measure them again.
    assert {name: sha256[:16] for name, sha256 in store[1].files.items() if name.endswith(".csv")} == {
        "queries.csv": "ea9fa5eeea24647f",
        "judgments.csv": "008b5181c07e311e",
        "splits.csv": "c31252ef081d61df",
    }


def test_a_plain_parquet_read_gives_products(store):
    table = pq.read_table(store[0] / "products.parquet")
    assert table.column_names == [
        "product_id",
        "title",
        "description",
        "brand",
        "category",
        "price",
        "variant_group",
        "stock",
        "attributes",
    ]
    products = [
        Product(**{**row, "attributes": dict(row["attributes"])}, extra={"variant_group": group, "stock": stock})
        for row in table.to_pylist()
        for group, stock in [(row.pop("variant_group"), row.pop("stock"))]
    ]
    first, last = products[0], products[-1]
    assert (first.product_id, last.product_id) == ("00001", "02956")
    assert all(p.title and p.description and p.brand and p.price > 0 and p.extra["stock"] >= 0 for p in products)
    kettle = next(p for p in products if p.category == "Kitchen and household > kettle")
    assert set(kettle.attributes) == {"model", "colour", "capacity", "material"}
    assert kettle.attributes["model"] in kettle.title
    assert kettle.attributes["colour"] in kettle.title
    assert kettle.attributes["material"] in kettle.description


def test_the_tabular_reader_takes_the_folder_as_it_is(store):
    config = TabularCatalog(name="demo", keep=["variant_group", "stock"], split="test")
    catalog = open_catalog(config, store[0])
    products = [product for batch in catalog.products() for product in batch.products]
    queries, judgments = catalog.queries(), catalog.judgments()
    assert (len(products), len(queries)) == (2956, 270)
    assert products[0].attributes
    assert products[0].extra["variant_group"].startswith("g")
    assert {judgment.query_id for judgment in judgments} == {query.query_id for query in queries}
    assert {judgment.grade for judgment in judgments} == {0, 1, 2, 3}


def test_queries_say_what_they_are(store):
    folder = store[0]
    queries = rows(folder, "queries.csv")
    assert list(queries[0]) == ["query_id", "text", "template", "synonym_group", "kind", "answerable"]
    split_of = {row["query_id"]: row["split"] for row in rows(folder, "splits.csv")}
    assert split_of.keys() == {query["query_id"] for query in queries}
    for query in queries:
        assert query["template"].split(":")[0] == query["kind"]
        assert query["answerable"] == ("false" if split_of[query["query_id"]] == "no_answer" else "true")
        assert bool(query["synonym_group"]) == (query["kind"] == "synonym")


def test_no_text_of_a_held_out_query_is_trained_on(store):
    split_of = {row["query_id"]: row["split"] for row in rows(store[0], "splits.csv")}
    texts = {split: set() for split in ("train", "dev", "test", "no_answer")}
    for query in rows(store[0], "queries.csv"):
        texts[split_of[query["query_id"]]].add(query["text"])
    assert not texts["train"] & (texts["dev"] | texts["test"] | texts["no_answer"])
    assert not texts["dev"] & texts["test"]


def test_judgments_name_known_queries_and_products_once(store):
    folder = store[0]
    products = set(pq.read_table(folder / "products.parquet", columns=["product_id"])["product_id"].to_pylist())
    judgments = rows(folder, "judgments.csv")
    pairs = {(row["query_id"], row["product_id"]) for row in judgments}
    assert len(pairs) == len(judgments)
    assert {product for _, product in pairs} <= products
    assert {query for query, _ in pairs} <= {row["query_id"] for row in rows(folder, "queries.csv")}


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="file"):
        write_store(tmp_path / "file" / "store")
