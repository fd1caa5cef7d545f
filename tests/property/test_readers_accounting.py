"""Every row is accounted for, whatever it holds, and products are those of a slow reader that follows the contract."""

import csv
import json
import math
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import example, given
from hypothesis import strategies as st

from indexing.errors import InvalidQuery, SourceDataError
from retrieval.catalog import open_catalog
from retrieval.config import BadRows, FileFormat, TabularCatalog, TextConfig
from retrieval.records import Product
from retrieval.text import TextTemplate, normalise_query

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
ids = st.sampled_from(["0", "00", "1", "2", "3", "a b", "", " ", "\u00e9", '"', ","])
titles = st.one_of(texts, st.sampled_from(["lamp", "", " ", 'a "b", c', "line\nbreak"]))
prices = st.one_of(st.none(), st.floats(width=32), st.sampled_from([-1.0, 0.0, 12.5]))


@st.composite
def tables(draw):
    row = st.fixed_dictionaries({"product_id": st.none() | ids, "title": st.none() | titles, "price": prices})
    return draw(st.lists(row, min_size=1, max_size=12))


def expected_products(rows):
    """Follow the contract one row at a time: the first good row of every id."""
    products = {}
    for row in rows:
        price = row["price"]
        good_price = price is None or (math.isfinite(price) and price >= 0)
        if (row["product_id"] or "").strip() and (row["title"] or "").strip() and good_price:
            products.setdefault(row["product_id"], Product(row["product_id"], row["title"].strip(), price=price))
    return list(products.values())


def write(folder, file_format, rows):
    path = folder / "products"
    if file_format is FileFormat.parquet:
        kinds = pa.schema([("product_id", pa.string()), ("title", pa.string()), ("price", pa.float64())])
        pq.write_table(pa.Table.from_pylist(rows, kinds), path)
    elif file_format is FileFormat.jsonl:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, quoting=csv.QUOTE_ALL)
            writer.writerow(["product_id", "title", "price"])
            writer.writerows([row["product_id"], row["title"], row["price"]] for row in rows)


def read(folder, file_format, batch_rows):
    config = TabularCatalog(name="x", products="products", format=file_format, on_bad_rows=BadRows.quarantine)
    catalog = open_catalog(config, folder)
    quarantine = folder / f"bad-{batch_rows}.jsonl"
    products = []
    for batch in catalog.products(quarantine=quarantine, batch_rows=batch_rows):
        products += batch.products
        assert catalog.report.rows == catalog.report.accepted + catalog.report.quarantined
    lines = quarantine.read_text(encoding="ascii").splitlines() if quarantine.exists() else []
    return products, catalog.report, [json.loads(line) for line in lines]


@given(rows=tables(), file_format=st.sampled_from(FileFormat), batch_rows=st.integers(1, 13))
@example(rows=[{"product_id": "1", "title": "", "price": None}], file_format=FileFormat.csv, batch_rows=1)
def test_products_are_those_of_the_contract_and_every_row_is_accounted_for(rows, file_format, batch_rows):
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), file_format, rows)
        products, report, bad = read(Path(name), file_format, batch_rows)
    assert products == expected_products(rows)
    assert (report.rows, report.accepted, report.quarantined) == (len(rows), len(products), len(bad))
    header = int(file_format is FileFormat.csv)
    assert len({record["row"] for record in bad}) == len(bad)
    assert all(1 + header <= record["row"] <= len(rows) + header and record["problem"] for record in bad)


@given(
    lines=st.lists(st.binary(max_size=12).filter(lambda line: b"\n" not in line), max_size=12),
    batch_rows=st.integers(1, 5),
)
def test_any_lines_of_bytes_are_accounted_for_as_json_lines(lines, batch_rows):
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "products").write_bytes(b"\n".join([*lines, b'{"product_id": "x", "title": "good"}']))
        products, report, bad = read(Path(name), FileFormat.jsonl, batch_rows)
    written = [number for number, line in enumerate(lines, start=1) if line.strip()]
    if lines and lines[0] == b"\xef\xbb\xbf":  # a byte order mark alone is a blank line
        written.remove(1)
    assert [product.title for product in products] == ["good"]
    assert [record["row"] for record in bad] == written
    assert report.rows == len(written) + 1


cells = st.binary(max_size=4).filter(lambda cell: not set(cell) & set(b'\n\r,"'))


@given(rows=st.lists(st.lists(cells, min_size=1, max_size=5), max_size=12), batch_rows=st.integers(1, 5))
def test_any_cells_of_bytes_are_accounted_for_as_csv(rows, batch_rows):
    lines = [b",".join(row) for row in rows]
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "products").write_bytes(b"\n".join([b"product_id,title,price", *lines, b"x,good,1", b""]))
        products, report, bad = read(Path(name), FileFormat.csv, batch_rows)
    counted = [row for row in rows if row != [b""]]  # a blank line is no row
    short = [place for place, row in enumerate(counted, start=2) if len(row) != 3]
    assert report.rows == len(counted) + 1
    assert {record["row"] for record in bad if record["problem"].startswith("row: expected 3 cells")} == set(short)
    assert "good" in [product.title for product in products] or "x" in [product.product_id for product in products]


@given(content=st.binary(max_size=200), file_format=st.sampled_from(FileFormat))
def test_any_bytes_give_products_or_an_error_about_the_data(content, file_format):
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "products").write_bytes(content)
        try:
            _, report, bad = read(Path(name), file_format, 4)
        except SourceDataError:
            return
    assert report.quarantined == len(bad)


@given(st.text())
def test_normalising_a_query_twice_is_normalising_it_once(text):
    try:
        once = normalise_query(text, max_chars=10_000)
    except InvalidQuery:
        return
    assert normalise_query(once, max_chars=10_000) == once
    assert once == once.strip()
    assert "  " not in once
    once.encode("utf-8")


@given(
    title=texts,
    attributes=st.dictionaries(texts, texts, max_size=4),
    separator=st.sampled_from([" ", ". ", " | "]),
    max_chars=st.integers(1, 20),
)
def test_text_of_a_product_is_its_parts_joined_and_cut(title, attributes, separator, max_chars):
    config = TextConfig(fields=["title", "attributes"], separator=separator, max_chars=max_chars)
    parts = [part.strip() for part in (title, *attributes.values()) if part.strip()]
    product = Product("1", title, attributes=attributes)
    assert TextTemplate(config).render(product) == separator.join(parts)[:max_chars]
