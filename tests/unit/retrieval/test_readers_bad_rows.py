import csv
import json
import threading
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexing.errors import SourceDataError, StorageError
from retrieval.catalog import BadRow, open_catalog
from retrieval.config import BadRows, FileFormat, TabularCatalog
from retrieval.readers import delimited

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


BAD_CELLS = [
    ({"product_id": None}, "product_id: missing"),
    ({"product_id": " "}, "product_id: empty"),
    ({"title": None}, "title: missing"),
    ({"title": "  "}, "title: empty"),
    ({"price": -0.01}, "price: negative"),
    ({"price": float("nan")}, "price: not a finite number"),
    ({"price": float("inf")}, "price: not a finite number"),
]


@pytest.mark.parametrize(("cells", "problem"), BAD_CELLS)
def test_bad_cell_fails_with_file_column_row_and_count(tmp_path, cells, problem):
    write_products(tmp_path, "parquet", [*TABLE[:2], {**TABLE[2], **cells}, TABLE[3]])
    with pytest.raises(SourceDataError) as caught:
        read(tabular(tmp_path))
    assert str(caught.value).splitlines() == [
        "1 of 4 rows cannot become products (the first batch with one, "
        "row 1 of products.parquet to row 4 of products.parquet):",
        f"  {tmp_path}/products.parquet",
        f"    {problem} (1 row: 3)",
        *(["  of the products '002'"] if "product_id" not in cells else []),
        "Correct them, or set catalog.on_bad_rows=quarantine to set such rows aside.",
    ]


@pytest.mark.parametrize(
    ("cells", "problem"),
    [
        *[case for case in BAD_CELLS if "inf" not in str(case) and "nan" not in str(case)],
        ({"product_id": 7}, "product_id: expected text, got an integer"),
        ({"title": ["a"]}, "title: expected text, got a list"),
        ({"price": "12"}, "price: expected a number, got text"),
        ({"price": True}, "price: expected a number, got true/false"),
        ({"brand": {"a": 1}}, "brand: expected text, got an object"),
        ({"attributes": [1]}, "attributes: expected attributes (a mapping of names to values), got a list"),
        ({"attributes": {"a": {"b": 1}}}, "a: expected a single value to keep, got an object"),
    ],
)
def test_bad_json_field_is_set_aside_with_its_line(tmp_path, cells, problem):
    write_products(tmp_path, "jsonl", [TABLE[0], {**TABLE[1], **cells}, TABLE[2]])
    catalog = tabular(tmp_path, "jsonl", on_bad_rows=BadRows.quarantine)
    assert [product.product_id for product in read(catalog)] == ["000", "002"]
    assert catalog.report.examples == (BadRow(f"{tmp_path}/products.jsonl", 2, (problem,)),)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"{", "row: not JSON"),
        (b'{"product_id": "1"', "row: not JSON"),
        (b"[" * 100_000, "row: not JSON"),
        (b'["1", "Lamp"]', "row: expected a JSON object, got a list"),
        (b'{"product_id": "1", "title": "\xff"}', "row: not UTF-8 (invalid start byte)"),
        (b'{"product_id": "1", "title": "\\ud83d"}', "row: holds half a surrogate pair, which is no text"),
    ],
)
def test_line_that_is_no_product_is_set_aside_and_the_rest_is_read(tmp_path, line, problem):
    good = b'{"product_id": "2", "title": "\\ud83d\\ude00 a pair is a character"}'
    (tmp_path / "products.jsonl").write_bytes(line + b"\n" + good + b"\n")
    catalog = tabular(tmp_path, "jsonl", on_bad_rows=BadRows.quarantine)
    assert [product.title for product in read(catalog)] == ["\N{GRINNING FACE} a pair is a character"]
    assert catalog.report.problems == {problem: 1}


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (b"1", "row: expected 3 cells, got 1"),
        (b"1,a,2,x", "row: expected 3 cells, got 4"),
        (b"1,\xff,2,x", "row: expected 3 cells, got 4"),
        (b"1,\xff,2", "title: not UTF-8"),
        (b"1,a,2 EUR", "price: not a number"),
        (b"1,a,1_000", "price: not a number"),
        (b"1,a,nan", "price: not a finite number"),
        (b"1,a,-1", "price: negative"),
        (b",a,1", "product_id: missing"),
        (b'1,"",1', "title: missing"),
        (b"1, ,1", "title: empty"),
    ],
)
def test_bad_csv_row_is_set_aside_with_its_number_and_the_rest_is_read(tmp_path, row, problem):
    (tmp_path / "products.csv").write_bytes(b"product_id,title,price\n2,b,3\n" + row + b"\n4,d,\n")
    catalog = tabular(tmp_path, "csv", on_bad_rows=BadRows.quarantine)
    assert [product.product_id for product in read(catalog)] == ["2", "4"]
    assert catalog.report.examples == (BadRow(f"{tmp_path}/products.csv", 3, (problem,)),)


def test_csv_rows_with_wrong_cells_keep_the_numbers_of_the_others_right(tmp_path):
    lines = [f"{n},t" if n % 3 else f"{n}" for n in range(2, 1000)]
    lines[500] = "502,t,t"
    (tmp_path / "products.csv").write_text("product_id,title\n" + "\n".join(lines) + "\n", encoding="utf-8")
    catalog = tabular(tmp_path, "csv", on_bad_rows=BadRows.quarantine)
    quarantine = tmp_path / "bad.jsonl"
    products = read(catalog, quarantine=quarantine, batch_rows=100)
    bad = [json.loads(line) for line in quarantine.read_text().splitlines()]
    assert [record["row"] for record in bad] == sorted([*range(3, 1000, 3), 502])
    assert {int(product.product_id) for product in products} == {n for n in range(2, 1000) if n % 3} - {502}


def test_one_row_can_have_several_problems_and_each_is_counted(tmp_path):
    write_products(tmp_path, "jsonl", [{"product_id": "1", "title": "", "price": -1}, {"product_id": "2", "title": ""}])
    catalog = tabular(tmp_path, "jsonl", on_bad_rows=BadRows.quarantine)
    assert read(catalog) == []
    assert catalog.report.problems == {"title: empty": 2, "price: negative": 1}
    assert (catalog.report.rows, catalog.report.quarantined) == (2, 2)


def test_message_puts_the_most_frequent_problem_first_and_shows_ten_rows_of_it(tmp_path):
    rows = [{"product_id": str(n), "title": "" if n else "x", "price": 1.0 if n else -1.0} for n in range(13)]
    write_products(tmp_path, "jsonl", rows)
    with pytest.raises(SourceDataError) as caught:
        read(tabular(tmp_path, "jsonl"))
    assert str(caught.value).splitlines()[2:4] == [
        "    title: empty (12 rows: 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, ...)",
        "    price: negative (1 row: 1)",
    ]


def test_message_names_the_first_ten_products(tmp_path):
    write_products(tmp_path, "jsonl", [{"product_id": f"p{n}", "title": ""} for n in range(12)])
    with pytest.raises(SourceDataError, match=r"  of the products 'p0', 'p1', .*'p9', \.\.\.\nCorrect them"):
        read(tabular(tmp_path, "jsonl"))


def test_lists_nested_too_deeply_are_set_aside_and_kept_as_far_as_they_can_be(tmp_path):
    deep = json.loads("[" * 450 + "]" * 450)
    rows = [
        {"product_id": "1", "title": "a", "attributes": {"sizes": [["S", ["M"]]]}},
        {"product_id": "2", "title": "b", "attributes": {"sizes": deep}},
        {"product_id": "3", "title": deep},
    ]
    write_products(tmp_path, "jsonl", rows)
    catalog = tabular(tmp_path, "jsonl", on_bad_rows=BadRows.quarantine)
    (product,) = read(catalog, quarantine=tmp_path / "bad.jsonl")
    assert product.attributes == {"sizes": "S, M"}
    assert catalog.report.problems == {
        "sizes: lists nested more than 8 deep": 1,
        "title: expected text, got a list": 1,
    }
    kept = [json.loads(line) for line in (tmp_path / "bad.jsonl").read_text().splitlines()]
    assert [line["product_id"] for line in kept] == ["2", "3"]
    cell, levels = kept[1]["values"]["title"], 0
    while isinstance(cell, list):
        (cell,), levels = cell, levels + 1
    assert (levels, cell) == (31, "(nested too deeply to be kept)")


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("batch_rows", [1, 2, 100])
def test_duplicate_id_is_bad_across_batches_and_files_and_the_first_one_stays(tmp_path, file_format, batch_rows):
    write_products(tmp_path, file_format, [*TABLE[:3], {**TABLE[1], "title": "again"}], f"products-1.{file_format}")
    write_products(tmp_path, file_format, [{**TABLE[0], "title": "again"}, TABLE[4]], f"products-2.{file_format}")
    settings = {"products": f"products-*.{file_format}"}
    catalog = tabular(tmp_path, file_format, **settings, on_bad_rows=BadRows.quarantine)
    products = read(catalog, batch_rows=batch_rows)
    assert [product.product_id for product in products] == ["000", "001", "002", "004"]
    assert "again" not in {product.title for product in products}
    header = file_format == "csv"
    assert [(example.file[-12:].split("-")[-1][0], example.row) for example in catalog.report.examples] == [
        ("1", 4 + header),
        ("2", 1 + header),
    ]
    with pytest.raises(SourceDataError, match="product_id: duplicate"):
        read(tabular(tmp_path, file_format, **settings), batch_rows=batch_rows)


def test_duplicate_is_named_by_the_files_own_column(tmp_path):
    write_products(tmp_path, "parquet", [{"sku": "1", "title": "a"}, {"sku": "1", "title": "b"}])
    with pytest.raises(SourceDataError, match=r"sku: duplicate \(1 row: 2\)"):
        read(tabular(tmp_path, fields={"product_id": "sku"}))


def test_id_of_a_row_that_was_set_aside_is_free_for_a_later_row(tmp_path):
    write_products(tmp_path, "parquet", [{"product_id": "1", "title": " "}, {"product_id": "1", "title": "b"}])
    catalog = tabular(tmp_path, on_bad_rows=BadRows.quarantine)
    assert [product.title for product in read(catalog)] == ["b"]


def test_quarantine_file_has_one_line_per_row_set_aside_with_its_values(tmp_path):
    rows = [
        b'{"product_id": "1", "title": "", "price": NaN, "n": [1.5, Infinity]}',
        b"oops \xff",
        b'{"product_id": "2", "title": "ok"}',
        b'{"product_id": "3", "title": "\\ud83d"}',
    ]
    (tmp_path / "products.jsonl").write_bytes(b"\n".join(rows))
    quarantine = tmp_path / "bad.jsonl"
    catalog = tabular(tmp_path, "jsonl", on_bad_rows=BadRows.quarantine)
    assert len(read(catalog, quarantine=quarantine)) == 1

    def refuse(constant):
        raise AssertionError(constant)

    lines = [json.loads(line, parse_constant=refuse) for line in quarantine.read_text(encoding="ascii").splitlines()]
    file = f"{tmp_path}/products.jsonl"
    assert lines == [
        {
            "file": file,
            "row": 1,
            "product_id": "1",
            "problem": "title: empty; price: not a finite number",
            "values": {"product_id": "1", "title": "", "price": "nan", "n": [1.5, "inf"]},
        },
        {
            "file": file,
            "row": 2,
            "product_id": "",
            "problem": "row: not UTF-8 (invalid start byte)",
            "values": {"line": "oops \\xff\n"},
        },
        {
            "file": file,
            "row": 4,
            "product_id": "3",
            "problem": "row: holds half a surrogate pair, which is no text",
            "values": {"product_id": "3", "title": "\ud83d"},
        },
    ]


def test_quarantine_file_is_not_made_when_no_row_is_bad(tmp_path):
    write_products(tmp_path, "parquet", TABLE)
    read(tabular(tmp_path, on_bad_rows=BadRows.quarantine), quarantine=tmp_path / "bad.jsonl")
    assert not (tmp_path / "bad.jsonl").exists()


def test_quarantine_file_that_exists_is_not_overwritten(tmp_path):
    write_products(tmp_path, "jsonl", [{"product_id": "1", "title": ""}])
    (tmp_path / "bad.jsonl").write_text("mine")
    with pytest.raises(StorageError, match=r"create .*bad\.jsonl"):
        read(tabular(tmp_path, "jsonl", on_bad_rows=BadRows.quarantine), quarantine=tmp_path / "bad.jsonl")
    assert (tmp_path / "bad.jsonl").read_text() == "mine"


def test_report_keeps_the_first_twenty_bad_rows_and_counts_all(tmp_path):
    write_products(tmp_path, "jsonl", [{"product_id": str(n), "title": ""} for n in range(30)])
    catalog = tabular(tmp_path, "jsonl", on_bad_rows=BadRows.quarantine)
    assert read(catalog, batch_rows=7) == []
    assert [example.row for example in catalog.report.examples] == list(range(1, 21))
    assert catalog.report.problems == {"title: empty": 30}


def test_failing_batch_is_not_counted_and_the_ones_before_are(tmp_path):
    write_products(tmp_path, "parquet", [*TABLE[:5], {**TABLE[5], "title": ""}])
    catalog = tabular(tmp_path)
    with pytest.raises(SourceDataError, match="1 of 2 rows"):
        read(catalog, batch_rows=4)
    assert (catalog.report.rows, catalog.report.accepted, catalog.report.quarantined) == (4, 4, 0)


@pytest.mark.parametrize("lent", ["file", "handler"])
def test_a_csv_file_is_left_only_when_arrow_has_let_go_of_what_it_was_lent(tmp_path, monkeypatch, lent):
    # A thread of Arrow's that drops a Python object while the interpreter shuts down aborts the process.
    path = tmp_path / "products.csv"
    path.write_text("product_id,title\na,lamp\n", encoding="utf-8")
    dropped, threads = [], []

    def slow(file, *, parse_options, **others):
        held = [file if lent == "file" else parse_options.invalid_row_handler]

        def drop_late():
            time.sleep(0.2)
            dropped.append(True)
            held.clear()

        threads.append(threading.Thread(target=drop_late))
        threads[-1].start()
        return open_csv(file, parse_options=parse_options, **others)

    open_csv = delimited.pc.open_csv
    monkeypatch.setattr(delimited.pc, "open_csv", slow)
    assert delimited.delimited_header(path) == ["product_id", "title"]
    assert dropped
    for thread in threads:
        thread.join()
