import csv
import datetime
import decimal
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexing.errors import ConfigError, SourceDataError
from retrieval.catalog import open_catalog
from retrieval.config import BadRows, CatalogConfig, FileFormat, TabularCatalog
from retrieval.records import Product

FORMATS = ["parquet", "jsonl", "csv"]
TABLE = [
    {
        "product_id": f"{number:03d}",
        "title": f"Title {number}",
        "brand": "Norvik" if number % 2 else "",
        "price": 1.5 * number,
    }
    for number in range(12)
]


def write_products(folder, file_format, rows, name=None):
    path = folder / (name or f"products.{file_format}")
    if file_format == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif file_format == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return path


def tabular(folder, file_format="parquet", **settings):
    settings = {"name": "shop", "products": f"products.{file_format}", "format": FileFormat[file_format]} | settings
    return open_catalog(TabularCatalog(**settings), folder)


def read(catalog, **options):
    return [product for batch in catalog.products(**options) for product in batch.products]


def read_one(folder, row, file_format="parquet", **settings):
    write_products(folder, file_format, [{"product_id": "1", "title": "Lamp"} | row])
    (product,) = read(tabular(folder, file_format, **settings))
    return product


# --- what comes out ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file_format", FORMATS)
def test_count_first_tenth_and_last_record_are_those_of_the_file(tmp_path, file_format):
    write_products(tmp_path, file_format, TABLE)
    products = read(tabular(tmp_path, file_format), batch_rows=5)
    assert len(products) == 12
    assert products[0] == Product(product_id="000", title="Title 0", brand="", price=0.0)
    assert products[9] == Product(product_id="009", title="Title 9", brand="Norvik", price=13.5)
    assert products[11] == Product(product_id="011", title="Title 11", brand="Norvik", price=16.5)


@pytest.mark.parametrize("file_format", FORMATS)
def test_batches_have_the_rows_asked_for_and_no_vectors(tmp_path, file_format):
    write_products(tmp_path, file_format, TABLE)
    batches = list(tabular(tmp_path, file_format).products(batch_rows=5))
    assert [len(batch.products) for batch in batches] == [5, 5, 2]
    assert all(batch.vectors is None for batch in batches)


@pytest.mark.parametrize("file_format", FORMATS)
def test_leading_zeros_of_an_id_survive(tmp_path, file_format):
    assert read_one(tmp_path, {"product_id": "0017"}, file_format).product_id == "0017"


@pytest.mark.parametrize("file_format", FORMATS)
def test_field_map_says_which_column_is_which(tmp_path, file_format):
    row = {"sku": "a1", "name": "Lamp", "title": "not this one", "maker": "Norvik", "cents": 1250}
    write_products(tmp_path, file_format, [row])
    fields = {"product_id": "sku", "title": "name", "brand": "maker", "price": "cents"}
    (product,) = read(tabular(tmp_path, file_format, fields=fields, price_divisor=100.0))
    assert product == Product(product_id="a1", title="Lamp", brand="Norvik", price=12.5)


@pytest.mark.parametrize("file_format", FORMATS)
def test_field_mapped_to_nothing_is_left_out(tmp_path, file_format):
    assert read_one(tmp_path, {"price": "ask us"}, file_format, fields={"price": ""}).price is None


@pytest.mark.parametrize("file_format", FORMATS)
def test_columns_become_attributes_by_name_and_by_prefix(tmp_path, file_format):
    row = {"attr_colour": "black", "attr_legs": "4", "attr_": "x", "material": "oak", "attr_none": ""}
    product = read_one(tmp_path, row, file_format, attribute_columns=["attr_*", "material"])
    assert product.attributes == {"colour": "black", "legs": "4", "material": "oak"}


@pytest.mark.parametrize("file_format", FORMATS)
def test_kept_columns_are_there_for_every_product_even_when_empty(tmp_path, file_format):
    rows = [
        {"product_id": "1", "title": "a", "shop": "x", "ean": None},
        {"product_id": "2", "title": "b", "shop": None, "ean": "7"},
    ]
    write_products(tmp_path, file_format, rows)
    first, second = read(tabular(tmp_path, file_format, keep=["ean", "shop"]))
    assert first.extra == {"ean": None, "shop": "x"}
    assert second.extra == {"ean": "7", "shop": None}


@pytest.mark.parametrize("file_format", FORMATS)
def test_star_keeps_every_single_value_that_is_not_used_otherwise(tmp_path, file_format):
    row = {"brand": "Norvik", "attr_legs": "4", "shop": "x", "ean": "7"}
    product = read_one(tmp_path, row, file_format, keep=["*"], attribute_columns=["attr_*"])
    assert product.extra == {"shop": "x", "ean": "7"}


@pytest.mark.parametrize("file_format", ["parquet", "jsonl"])
def test_star_leaves_lists_out(tmp_path, file_format):
    product = read_one(tmp_path, {"tags": ["a", "b"], "stars": 4, "new": True}, file_format, keep=["*"])
    assert product.extra == {"stars": 4, "new": True}


@pytest.mark.parametrize("file_format", FORMATS)
def test_several_files_are_one_catalogue_in_the_order_of_their_names(tmp_path, file_format):
    write_products(tmp_path, file_format, TABLE[4:], f"products-2.{file_format}")
    write_products(tmp_path, file_format, TABLE[:4], f"products-1.{file_format}")
    catalog = tabular(tmp_path, file_format, products=f"products-*.{file_format}")
    assert [product.product_id for product in read(catalog, batch_rows=3)] == [row["product_id"] for row in TABLE]
    assert [path.name for path in catalog.files()] == [f"products-1.{file_format}", f"products-2.{file_format}"]


def test_file_name_may_hold_what_a_glob_would_read_as_its_own(tmp_path):
    write_products(tmp_path, "csv", TABLE, "products [new].csv")
    assert len(read(tabular(tmp_path, "csv", products="products [new].csv"))) == 12


def test_source_path_may_hold_an_equals_sign_a_comma_and_a_space(tmp_path):
    folder = tmp_path / "a=b, c [d]"
    folder.mkdir()
    write_products(folder, "parquet", TABLE)
    assert len(read(tabular(folder))) == 12


def test_parquet_types_become_plain_values(tmp_path):
    stamp = datetime.datetime(2020, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    table = pa.table(
        {
            "product_id": pa.array(["1"], pa.large_string()),
            "title": pa.array(["Lamp"]).dictionary_encode(),
            "price": pa.array([decimal.Decimal("12.50")]),
            "attributes": pa.array([[("colour", "black"), ("none", None)]], pa.map_(pa.string(), pa.string())),
            "day": pa.array([datetime.date(2020, 1, 2)]),
            "at": pa.array([stamp], pa.timestamp("ns", "UTC")),
            "rate": pa.array([decimal.Decimal("0.5")]),
            "nan": pa.array([float("nan")]),
        }
    )
    pq.write_table(table, tmp_path / "products.parquet")
    (product,) = read(tabular(tmp_path, keep=["*"]))
    assert (product.title, product.price, product.attributes) == ("Lamp", 12.5, {"colour": "black"})
    assert product.extra == {"day": "2020-01-02", "at": "2020-01-02 03:04:05.000000000Z", "rate": 0.5, "nan": None}


@pytest.mark.parametrize(
    "attributes",
    [{"colour": "black", "legs": 4, "new": True, "sizes": ["S", "M"], "none": None}],
)
def test_attributes_may_be_an_object(tmp_path, attributes):
    expected = {"colour": "black", "legs": "4", "new": "yes", "sizes": "S, M"}
    assert read_one(tmp_path, {"attributes": attributes}, "jsonl").attributes == expected
    assert read_one(tmp_path, {"attributes": attributes}, "parquet").attributes == expected
    assert read_one(tmp_path, {"attributes": json.dumps(attributes)}, "csv").attributes == expected


def test_json_lines_may_lack_fields_and_have_blank_lines_and_a_byte_order_mark(tmp_path):
    text = '\ufeff{"product_id": "1", "title": "a"}\n\n   \n{"product_id": "2", "title": "b", "brand": "x"}'
    (tmp_path / "products.jsonl").write_text(text, encoding="utf-8")
    assert [product.brand for product in read(tabular(tmp_path, "jsonl"))] == ["", "x"]


def test_csv_may_have_a_byte_order_mark_quoted_commas_and_line_breaks(tmp_path):
    text = '\ufeff"product_id",title\r\n007,"Lamp, ""big""\nround"\r\n\r\n'
    (tmp_path / "products.csv").write_bytes(text.encode())
    (product,) = read(tabular(tmp_path, "csv"))
    assert product == Product(product_id="007", title='Lamp, "big"\nround')


def test_accents_and_chinese_survive_csv(tmp_path):
    assert read_one(tmp_path, {"title": "Café 红色 ½"}, "csv").title == "Café 红色 ½"


def test_products_may_be_streamed_twice_with_a_new_report_each_time(tmp_path):
    write_products(tmp_path, "parquet", TABLE)
    catalog = tabular(tmp_path)
    assert read(catalog) == read(catalog)
    assert catalog.report.rows == 12


def test_report_grows_with_the_batches(tmp_path):
    write_products(tmp_path, "parquet", TABLE)
    catalog = tabular(tmp_path)
    batches = catalog.products(batch_rows=5)
    assert catalog.report.rows == 0
    next(batches)
    assert catalog.report.rows == 5
    assert len(list(batches)) == 2
    assert (catalog.report.rows, catalog.report.accepted, catalog.report.quarantined) == (12, 12, 0)


def test_file_without_rows_gives_no_batches(tmp_path):
    pq.write_table(
        pa.table({"product_id": pa.array([], pa.string()), "title": pa.array([], pa.string())}),
        tmp_path / "products.parquet",
    )
    assert list(tabular(tmp_path).products()) == []


# --- what is refused --------------------------------------------------------------------------------------------------


def test_folder_that_is_not_there_is_refused_with_the_nearest_name(tmp_path):
    (tmp_path / "shop").mkdir()
    with pytest.raises(SourceDataError, match=r"there is no source folder .*shpo; did you mean 'shop'\?"):
        tabular(tmp_path / "shpo")


def test_missing_products_file_is_refused_with_what_is_there(tmp_path):
    (tmp_path / "product.parquet").touch()
    with pytest.raises(
        SourceDataError, match=r"no products file products.parquet \(there: product.parquet\); did you mean"
    ):
        read(tabular(tmp_path))


@pytest.mark.parametrize("pattern", ["", "/nowhere/*.parquet"])
def test_pattern_that_is_none_is_refused(tmp_path, pattern):
    with pytest.raises(ConfigError, match="expected the name or glob of products file inside"):
        read(tabular(tmp_path, products=pattern))


@pytest.mark.parametrize("file_format", ["parquet", "csv"])
def test_missing_required_column_is_refused_before_any_row(tmp_path, file_format):
    write_products(tmp_path, file_format, [{"product_id": "1", "titel": "Lamp"}])
    with pytest.raises(
        SourceDataError,
        match=r"products\.\w+ has no column 'title' \(there: product_id, titel\); catalog.fields .* mean 'titel'\?",
    ):
        read(tabular(tmp_path, file_format, on_bad_rows=BadRows.quarantine))


@pytest.mark.parametrize("file_format", ["parquet", "csv"])
@pytest.mark.parametrize(
    "settings", [{"fields": {"brand": "makr"}}, {"keep": ["makr"]}, {"attribute_columns": ["makr"]}]
)
def test_column_that_the_configuration_names_must_be_there(tmp_path, file_format, settings):
    write_products(tmp_path, file_format, [{"product_id": "1", "title": "Lamp", "maker": "x"}])
    with pytest.raises(SourceDataError, match=r"has no column 'makr' .*did you mean 'maker'\?"):
        read(tabular(tmp_path, file_format, **settings))


def test_column_missing_from_the_second_file_is_found_before_the_first_is_read(tmp_path):
    write_products(tmp_path, "parquet", TABLE, "products-1.parquet")
    write_products(tmp_path, "parquet", [{"product_id": "x"}], "products-2.parquet")
    with pytest.raises(SourceDataError, match=r"products-2\.parquet has no column 'title'"):
        next(tabular(tmp_path, products="products-*").products())


def test_json_lines_report_the_configured_columns_that_no_line_has(tmp_path):
    write_products(tmp_path, "jsonl", TABLE)
    catalog = tabular(tmp_path, "jsonl", fields={"brand": "makr"}, keep=["price", "colour"])
    assert len(read(catalog)) == 12
    assert catalog.report.absent_columns == ("colour", "makr")


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ("product_id", [1, 2], r"product_id: expected text, got int64; write ids as text"),
        ("title", [1.5, 2.5], "title: expected text, got double"),
        ("price", ["1", "2"], "price: expected a number, got string"),
        ("price", [True, False], "price: expected a number, got bool"),
        ("vector", ["a", "b"], "vector: expected a list of float or half float, got string"),
        ("vector", [[1], [2]], "vector: expected a list of float or half float, got list<"),
        ("attributes", [1, 2], "attributes: expected a map, a struct, or a JSON object as text, got int64"),
    ],
)
def test_wrong_column_type_is_refused_for_the_file_with_its_rows(tmp_path, column, values, expected):
    rows = [{"product_id": str(number), "title": "x"} | {column: value} for number, value in enumerate(values)]
    write_products(tmp_path, "parquet", rows)
    with pytest.raises(SourceDataError, match=rf"products\.parquet: wrong column types, in all 2 rows:\n  {expected}"):
        read(tabular(tmp_path, on_bad_rows=BadRows.quarantine))


def test_kept_column_that_holds_lists_is_refused_by_row(tmp_path):
    with pytest.raises(SourceDataError, match=r"tags: expected a single value to keep, got a list \(1 row: 1\)"):
        read_one(tmp_path, {"tags": ["a"]}, keep=["tags"])


@pytest.mark.parametrize("name", ["brnad", "id"])
def test_map_of_an_unknown_field_is_refused(tmp_path, name):
    with pytest.raises(ConfigError, match=rf"catalog\.fields maps '{name}' \(there: product_id, title"):
        tabular(tmp_path, fields={name: "x"})


def test_required_field_cannot_be_mapped_to_nothing(tmp_path):
    with pytest.raises(ConfigError, match=r"catalog\.fields\.title is empty, but every product needs one"):
        tabular(tmp_path, fields={"title": ""})


@pytest.mark.parametrize("content", [b"", b"PAR1 but no more", b"not parquet at all"])
def test_file_that_is_no_parquet_is_refused(tmp_path, content):
    (tmp_path / "products.parquet").write_bytes(content)
    with pytest.raises(SourceDataError, match=r"products\.parquet cannot be read as Parquet"):
        read(tabular(tmp_path))


def test_parquet_page_with_a_flipped_bit_is_refused(tmp_path):
    path = tmp_path / "products.parquet"
    rows = [{"product_id": f"{number:06d}", "title": f"Title {number}"} for number in range(2000)]
    pq.write_table(pa.Table.from_pylist(rows), path, write_page_checksum=True, compression="none", use_dictionary=False)
    content = bytearray(path.read_bytes())
    content[content.find(b"Title 1000") + 3] ^= 1
    path.write_bytes(content)
    with pytest.raises(SourceDataError, match="cannot be read as Parquet"):
        read(tabular(tmp_path))


def write_groups_with_a_flipped_bit(path, *, rows, group, flipped_row):
    table = pa.table(
        {"product_id": [f"{n:06d}" for n in range(rows)], "title": [f"Title {n:06d}" for n in range(rows)]}
    )
    pq.write_table(
        table, path, row_group_size=group, write_page_checksum=True, compression="none", use_dictionary=False
    )
    content = bytearray(path.read_bytes())
    content[content.find(f"Title {flipped_row:06d}".encode()) + 3] ^= 1
    path.write_bytes(content)


def test_a_row_group_that_cannot_be_read_is_named(tmp_path):
    write_groups_with_a_flipped_bit(tmp_path / "products.parquet", rows=2_500, group=1_000, flipped_row=1_500)
    with pytest.raises(SourceDataError, match=r"row group 2 of 3 cannot be read.*\(rows 1001 to 2000\).*quarantine"):
        read(tabular(tmp_path))


def test_rows_of_a_row_group_that_cannot_be_read_are_set_aside_and_counted(tmp_path):
    write_groups_with_a_flipped_bit(tmp_path / "products.parquet", rows=2_500, group=1_000, flipped_row=1_500)
    catalog = tabular(tmp_path, on_bad_rows=BadRows.quarantine)
    aside = tmp_path / "aside.jsonl"
    read_ids = [product.product_id for batch in catalog.products(quarantine=aside) for product in batch.products]
    assert read_ids == [f"{n:06d}" for n in [*range(1_000), *range(2_000, 2_500)]]
    report = catalog.report
    assert (report.rows, report.accepted, report.quarantined) == (2_500, 1_500, 1_000)
    lines = [json.loads(line) for line in aside.read_text(encoding="utf-8").splitlines()]
    assert [line["row"] for line in lines] == list(range(1_001, 2_001))
    assert all("row group 2 of 3 cannot be read" in line["problem"] for line in lines)


@pytest.mark.parametrize("file_format", ["parquet", "csv"])
def test_two_columns_of_one_name_are_refused(tmp_path, file_format):
    if file_format == "parquet":
        pq.write_table(
            pa.Table.from_arrays([pa.array(["1"])] * 3, ["product_id", "title", "title"]), tmp_path / "products.parquet"
        )
    else:
        (tmp_path / "products.csv").write_text("product_id,title,title\n1,a,b\n")
    with pytest.raises(SourceDataError, match="has several columns named title"):
        read(tabular(tmp_path, file_format))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read as delimited text"),
        (b"\xff\xfep\x00r\x00", "is UTF-16; save the file as UTF-8"),
        (b"product_id,t\xfftle\n1,a\n", "a column name in row 1 is not UTF-8"),
        (b"product_id,title\n1," + b"x" * (25 * 2**20) + b"\n", "none longer than 8 MiB"),
    ],
)
def test_file_that_is_no_csv_is_refused(tmp_path, content, message):
    (tmp_path / "products.csv").write_bytes(content)
    with pytest.raises(SourceDataError, match=message):
        read(tabular(tmp_path, "csv"))


def test_line_without_end_is_refused_before_it_fills_the_memory(tmp_path):
    (tmp_path / "products.jsonl").write_bytes(b"x" * (16 * 2**20 + 1))
    with pytest.raises(SourceDataError, match="line 1 is over 16777216 bytes; is this JSON Lines"):
        read(tabular(tmp_path, "jsonl"))


def test_configuration_without_a_reader_is_refused(tmp_path):
    with pytest.raises(TypeError, match="no reader for a catalogue of type CatalogConfig"):
        open_catalog(CatalogConfig(name="x"), tmp_path)
