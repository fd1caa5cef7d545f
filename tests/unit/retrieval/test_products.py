"""The product table: what comes back is what went in, in order, or an error that says why not."""

import math
import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexing import storage
from indexing.errors import (
    ArtifactCorrupt,
    ArtifactIncompatible,
    ArtifactNotFound,
    InvalidQuery,
    SourceDataError,
    StorageError,
    StorageFull,
)
from retrieval import product_file
from retrieval.products import ProductTable
from retrieval.records import Product


@pytest.fixture
def path(tmp_path):
    return tmp_path / "products.parquet"


def stored(path, *products):
    ProductTable.write(path, [products])
    return ProductTable.open(path)


def extras(path, *values):
    """Store one product for each mapping of extra values and return the extra values that come back."""
    table = stored(path, *(Product(str(n), "t", extra=extra) for n, extra in enumerate(values)))
    return [table.get(row).extra for row in range(table.count)]


# --- what comes back --------------------------------------------------------------------------------------------------


def test_every_product_comes_back_as_it_was(path, tiny_products):
    table = stored(path, *tiny_products)
    assert table.count == 60
    assert [table.get(row) for row in range(60)] == list(tiny_products)


def test_a_product_with_nothing_but_a_title_comes_back(path):
    assert stored(path, Product("1", "mouse")).get(0) == Product("1", "mouse")


def test_rows_keep_the_order_of_the_catalogue_and_ties_that_of_the_ids(path):
    table = stored(path, *(Product(product_id, "t") for product_id in ("10", "9", "é", "Z", "0010", "a")))
    assert table.product_ids == ["10", "9", "é", "Z", "0010", "a"]
    assert table.tie_rank.dtype == np.int64
    assert [table.product_ids[row] for row in np.argsort(table.tie_rank)] == sorted(table.product_ids)


def test_a_row_is_found_by_its_product_id(path):
    table = stored(path, Product("007", "a"), Product("7", "b"))
    assert (table.row_of("7"), table.row_of("007")) == (1, 0)
    assert "7" in table
    assert "07" not in table


def test_the_makers_of_a_table_are_those_of_its_column(path):
    values = ["Orlanth", "", "Old Mill", "Orlanth"]
    brands = stored(path, *(Product(str(n), "thing", brand=brand) for n, brand in enumerate(values))).brands
    assert len(brands) == 2
    assert brands.asked(["old", "mill"]) == {("old", "mill")}


def test_an_unknown_product_id_is_refused(path):
    with pytest.raises(InvalidQuery, match="there is no product '8' among the 1 of this index"):
        stored(path, Product("7", "a")).row_of("8")


@pytest.mark.parametrize("row", [-1, 2])
def test_a_row_out_of_range_is_refused(path, row):
    table = stored(path, Product("1", "a"), Product("2", "b"))
    with pytest.raises(IndexError, match=rf"row must be in \[0, 2\), got {row}"):
        table.get(row)


@pytest.mark.parametrize("batches", [[], [()], iter([(), ()])])
def test_an_empty_catalogue_is_an_empty_table(path, batches):
    ProductTable.write(path, batches)
    table = ProductTable.open(path)
    assert (table.count, table.product_ids, table.tie_rank.tolist()) == (0, [], [])
    assert table.eligible([("price", "<", 5)]).tolist() == []


# --- types of extra columns -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, None, 2**63 - 1], [1, None, 2**63 - 1]),
        ([0.5, None, -1.0], [0.5, None, -1.0]),
        ([1, 0.5], [1.0, 0.5]),
        ([2**53 + 1, 0.5], [str(2**53 + 1), "0.5"]),
        ([2**53, 0.5], [float(2**53), 0.5]),
        ([True, None, False], [True, None, False]),
        (["a", None, ""], ["a", None, ""]),
        ([True, 1], ["yes", "1"]),
        ([4, "4b", 4.5, 4.0, False, None], ["4", "4b", "4.5", "4", "no", None]),
        ([2**63, 1], [str(2**63), "1"]),
        ([None, None], [None, None]),
        ([math.nan, 1.5, math.inf], [None, 1.5, None]),
    ],
)
def test_an_extra_column_has_one_type_that_holds_all_its_values(path, values, expected):
    found = [extra["x"] for extra in extras(path, *({"x": value} for value in values))]
    assert found == expected
    assert [type(value) for value in found] == [type(value) for value in expected]


def test_a_product_without_an_extra_column_has_none_there(path):
    assert extras(path, {"a": 1}, {}, {"b": "x", "c.d": True}) == [
        {"a": 1, "b": None, "c.d": None},
        {"a": None, "b": None, "c.d": None},
        {"a": None, "b": "x", "c.d": True},
    ]


def test_a_price_that_is_not_finite_is_none(path):
    table = stored(
        path, Product("1", "t", price=math.nan), Product("2", "t", price=math.inf), Product("3", "t", price=2.5)
    )
    assert [table.get(row).price for row in range(3)] == [None, None, 2.5]


# --- writing ----------------------------------------------------------------------------------------------------------


def test_the_file_does_not_depend_on_how_the_stream_was_cut(tmp_path, tiny_products, monkeypatch):
    monkeypatch.setattr(product_file, "_ROW_GROUP", 16)
    written = set()
    for size in (1, 7, 16, 60):
        batches = [tiny_products[first : first + size] for first in range(0, 60, size)]
        ProductTable.write(tmp_path / f"{size}.parquet", batches)
        written.add((tmp_path / f"{size}.parquet").read_bytes())
    assert len(written) == 1
    assert pq.ParquetFile(tmp_path / "1.parquet").num_row_groups == 4
    assert ProductTable.open(tmp_path / "1.parquet").get(59) == tiny_products[59]


def test_writing_returns_the_digest_and_leaves_no_spool(path, tiny_products):
    assert ProductTable.write(path, [tiny_products]) == storage.digest(path)
    assert [entry.name for entry in path.parent.iterdir()] == ["products.parquet"]


def test_an_existing_file_is_not_written_over(path):
    stored(path, Product("1", "mouse"))
    with pytest.raises(StorageError, match=r"could not create .*products\.parquet"):
        ProductTable.write(path, [[Product("2", "other")]])
    assert ProductTable.open(path).product_ids == ["1"]


def test_a_stream_that_breaks_leaves_nothing_behind(path):
    def breaking():
        yield [Product("1", "mouse")]
        raise SourceDataError("row 2 is bad")

    with pytest.raises(SourceDataError, match="row 2 is bad"):
        ProductTable.write(path, breaking())
    assert list(path.parent.iterdir()) == []


def test_a_spool_that_a_killed_build_left_is_no_obstacle(path):
    spool = path.with_name("products.parquet.spool")
    spool.mkdir()
    (spool / "rows.parquet").write_bytes(b"half a fi")
    assert stored(path, Product("1", "mouse")).count == 1
    assert not spool.exists()


@pytest.mark.parametrize("call", [1, 2, 3, 6, 9])
def test_a_full_disk_is_said_and_leaves_no_product_file(path, tiny_products, call):
    class Full(storage.FileSystem):
        writes = 0

        def write(self, descriptor, content):
            self.writes += 1
            if self.writes >= call:
                raise OSError(28, "No space left on device")
            return super().write(descriptor, content)

    with storage.using(Full()), pytest.raises(StorageFull, match="No space left on device"):
        ProductTable.write(path, [tiny_products])
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("name", ["price", "title", "attributes", "attributes.colour"])
def test_an_extra_column_with_the_name_of_a_field_is_refused(path, name):
    with pytest.raises(
        SourceDataError, match=rf"extra column '{name}' \(product 'p1'\) has the name of a product field"
    ):
        stored(path, Product("p1", "t", extra={name: 1}))


def test_an_extra_value_that_is_no_scalar_is_refused(path):
    with pytest.raises(SourceDataError, match=r"extra column 'tags' of product 'p1' must hold text, .* got list"):
        stored(path, Product("p1", "t", extra={"tags": ["a"]}))


@pytest.mark.parametrize(
    "product",
    [Product("1", "a\ud800"), Product("1", "t", attributes={"k": "\udfff"}), Product("1", "t", extra={"k": "\ud801"})],
)
def test_text_that_is_not_unicode_is_refused(path, product):
    with pytest.raises(SourceDataError, match=r"expected valid Unicode in every text, got .*surrogates not allowed"):
        stored(path, product)


def test_memory_does_not_grow_with_the_number_of_products(tmp_path, monkeypatch):
    monkeypatch.setattr(product_file, "_ROW_GROUP", 512)

    def peak(batches):
        stream = ([Product(f"{b}-{n}", "t" * 400, extra={"n": n}) for n in range(256)] for b in range(batches))
        tracemalloc.start()
        try:
            ProductTable.write(tmp_path / f"{batches}.parquet", stream)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1)  # imports and caches
    assert peak(32) < 1.5 * peak(4)


# --- opening ----------------------------------------------------------------------------------------------------------


def test_a_missing_file_is_said(path):
    with pytest.raises(ArtifactNotFound, match=r"there is no product file .*products\.parquet"):
        ProductTable.open(path)


def test_a_flipped_bit_in_the_titles_is_refused_or_harmless(path, tiny_products):
    ProductTable.write(path, [tiny_products])
    content = bytearray(path.read_bytes())
    titles = pq.ParquetFile(path).metadata.row_group(0).column(1)
    first = titles.dictionary_page_offset or titles.data_page_offset
    refused = 0
    for place in range(first, first + titles.total_compressed_size, 5):
        content[place] ^= 1
        path.write_bytes(content)
        try:
            table = ProductTable.open(path)
        except ArtifactCorrupt:
            refused += 1
        else:
            assert [table.get(row) for row in range(60)] == list(tiny_products)
        content[place] ^= 1
    assert refused > 0.9 * titles.total_compressed_size / 5


@pytest.mark.parametrize("kept", [0, 3, 100, -1])
def test_a_truncated_file_is_refused(path, tiny_products, kept):
    ProductTable.write(path, [tiny_products])
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ArtifactCorrupt, match="does not read as Parquet"):
        ProductTable.open(path)


def test_a_column_name_that_is_not_unicode_is_refused(path):
    stored(path, Product("1", "mouse"))
    path.write_bytes(path.read_bytes().replace(b"brand", b"bran\xe4"))
    with pytest.raises(ArtifactCorrupt, match="does not read as Parquet"):
        ProductTable.open(path)


def rewritten(path, change):
    """Rewrite the product file after ``change`` of its Arrow table."""
    table = pq.read_table(path)
    pq.write_table(change(table), path)
    return path


def test_text_in_the_file_that_is_not_utf8_is_refused(path):
    stored(path, Product("1", "t"))
    rewritten(path, lambda table: table.set_column(1, "title", pa.array([b"\xff"]).view(pa.string())))
    with pytest.raises(ArtifactCorrupt, match=r"does not read as Parquet: .*UTF8"):
        ProductTable.open(path)


def test_another_format_version_is_refused(path):
    stored(path, Product("1", "t"))
    rewritten(path, lambda table: table.replace_schema_metadata({product_file.FORMAT_KEY: "2"}))
    with pytest.raises(ArtifactIncompatible, match=r"expected product format 1 in .*, found 2"):
        ProductTable.open(path)
    rewritten(path, lambda table: table.replace_schema_metadata({}))
    with pytest.raises(ArtifactIncompatible, match="found none"):
        ProductTable.open(path)


def test_other_columns_than_ours_are_refused(path):
    stored(path, Product("1", "t", extra={"x": 1}))
    rewritten(path, lambda table: table.set_column(7, "x", pa.array([[1]])))
    with pytest.raises(ArtifactCorrupt, match=r"expected the columns product_id, title, .* and plain extra ones"):
        ProductTable.open(path)
    rewritten(path, lambda table: table.drop_columns(["x", "brand"]))
    with pytest.raises(ArtifactCorrupt, match="expected the columns product_id, title"):
        ProductTable.open(path)


@pytest.mark.parametrize(("ids", "found"), [(["1", "1"], "1 ids and 0 nulls"), (["1", None], "2 ids and 1 nulls")])
def test_product_ids_that_are_missing_or_not_unique_are_refused(path, ids, found):
    stored(path, Product("1", "a"), Product("2", "b"))
    rewritten(path, lambda table: table.set_column(0, "product_id", pa.array(ids, pa.string())))
    with pytest.raises(ArtifactCorrupt, match=f"expected 2 rows with product_ids of their own .*, found {found}"):
        ProductTable.open(path)
