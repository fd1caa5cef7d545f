import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexing.errors import SourceDataError
from retrieval.catalog import open_catalog
from retrieval.config import BadRows, FileFormat, TabularCatalog


def write_lines(folder, rows):
    (folder / "products.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def tabular(folder, file_format="parquet", **settings):
    settings = {"name": "shop", "products": f"products.{file_format}", "format": FileFormat[file_format]} | settings
    return open_catalog(TabularCatalog(**settings), folder)


def read(catalog, **options):
    return [product for batch in catalog.products(**options) for product in batch.products]


VECTOR_TYPES = [
    pa.list_(pa.float32()),
    pa.list_(pa.float32(), 3),
    pa.list_(pa.float16(), 3),
    pa.large_list(pa.float64()),
]
VECTORS = [[3.0, 0.0, 4.0], [0.0, 1.0, 0.0], [0.0, -2.0, 0.0]]


def write_vectors(folder, vectors, kind, column="vector"):
    names = {"product_id": [str(n) for n in range(len(vectors))], "title": ["x"] * len(vectors)}
    pq.write_table(pa.table(names | {column: pa.array(vectors, kind)}), folder / "products.parquet")


@pytest.mark.parametrize("kind", VECTOR_TYPES, ids=str)
def test_vectors_come_as_unit_float32_in_the_order_of_the_products(tmp_path, kind):
    write_vectors(tmp_path, [[np.float16(number) for number in row] for row in VECTORS], kind)
    catalog = tabular(tmp_path)
    (batch,) = catalog.products()
    assert batch.vectors.dtype == np.float32
    assert batch.vectors.flags.c_contiguous
    np.testing.assert_allclose(batch.vectors, [[0.6, 0, 0.8], [0, 1, 0], [0, -1, 0]], atol=1e-7)
    assert catalog.report.rescaled_vectors == 2


def test_vectors_of_unit_length_keep_their_bits(tmp_path):
    matrix = np.random.default_rng(3).standard_normal((50, 32)).astype(np.float32)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    write_vectors(tmp_path, list(matrix), pa.list_(pa.float32(), 32))
    catalog = tabular(tmp_path)
    found = np.concatenate([batch.vectors for batch in catalog.products(batch_rows=7)])
    np.testing.assert_array_equal(found, matrix)
    assert catalog.report.rescaled_vectors == 0


def test_vectors_of_any_size_that_is_not_zero_are_scaled(tmp_path):
    write_vectors(tmp_path, [[1e300, 1e300], [5e-324, 0.0]], pa.list_(pa.float64()))
    (batch,) = tabular(tmp_path).products()
    np.testing.assert_allclose(batch.vectors, [[0.5**0.5, 0.5**0.5], [1, 0]], rtol=1e-6)


def test_vectors_of_json_lines_are_read_and_their_column_can_be_named(tmp_path):
    rows = [
        {"product_id": "1", "title": "a", "embedding": [0, 2]},
        {"product_id": "2", "title": "b", "embedding": [1.0, 0]},
    ]
    write_lines(tmp_path, rows)
    (batch,) = tabular(tmp_path, "jsonl", fields={"vector": "embedding"}).products()
    assert batch.vectors.tolist() == [[0, 1], [1, 0]]


def test_column_named_vector_is_taken_without_a_map(tmp_path):
    write_lines(tmp_path, [{"product_id": "1", "title": "a", "vector": [0, 1]}])
    (batch,) = tabular(tmp_path, "jsonl").products()
    assert batch.vectors.tolist() == [[0, 1]]


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.large_list(pa.float64())], ids=str)
@pytest.mark.parametrize(
    ("vector", "problem"),
    [
        (None, "vector: missing"),
        ([1.0, 0.0], "vector: expected 3 numbers, got 2"),
        ([], "vector: not a list of numbers"),
        ([0.0, 0.0, 0.0], "vector: zero"),
        ([1.0, float("nan"), 0.0], "vector: not finite"),
        ([1.0, float("-inf"), 0.0], "vector: not finite"),
        ([1.0, None, 0.0], "vector: not finite"),
    ],
)
def test_bad_vector_is_set_aside_and_the_others_stay_with_their_products(tmp_path, kind, vector, problem):
    write_vectors(tmp_path, [vector, *VECTORS], kind)
    catalog = tabular(tmp_path, on_bad_rows=BadRows.quarantine)
    (batch,) = catalog.products(quarantine=tmp_path / "bad.jsonl")
    assert [product.product_id for product in batch.products] == ["1", "2", "3"]
    np.testing.assert_allclose(batch.vectors, [[0.6, 0, 0.8], [0, 1, 0], [0, -1, 0]], atol=1e-7)
    assert catalog.report.problems == {problem: 1}


@pytest.mark.parametrize("vector", ["text", [1, "a"], [1, None], [True, False], {"a": 1}, [[1.0], [2.0]]])
def test_json_field_that_is_no_vector_is_set_aside(tmp_path, vector):
    rows = [{"product_id": "1", "title": "a", "vector": [0, 1]}, {"product_id": "2", "title": "b", "vector": vector}]
    write_lines(tmp_path, rows)
    catalog = tabular(tmp_path, "jsonl", on_bad_rows=BadRows.quarantine)
    assert len(read(catalog)) == 1
    assert catalog.report.problems == {"vector: not a list of numbers": 1}


def test_dimension_is_that_of_the_first_batch_and_holds_for_the_later_ones(tmp_path):
    write_vectors(tmp_path, [*VECTORS, [1.0, 0.0]], pa.list_(pa.float32()))
    with pytest.raises(SourceDataError, match=r"vector: expected 3 numbers, got 2 \(1 row: 4\)"):
        read(tabular(tmp_path), batch_rows=3)


def test_null_and_nan_in_vectors_of_a_fixed_size_are_set_aside(tmp_path):
    vectors = [None, VECTORS[0], [1.0, None, 0.0], VECTORS[1]]
    write_vectors(tmp_path, vectors, pa.list_(pa.float32(), 3))
    catalog = tabular(tmp_path, on_bad_rows=BadRows.quarantine)
    (batch,) = catalog.products()
    assert [product.product_id for product in batch.products] == ["1", "3"]
    np.testing.assert_allclose(batch.vectors, [[0.6, 0, 0.8], [0, 1, 0]], atol=1e-7)
    assert catalog.report.problems == {"vector: missing": 1, "vector: not finite": 1}
