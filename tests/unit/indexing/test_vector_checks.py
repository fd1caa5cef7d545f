"""What no index may hold is refused by name, and what is asked of an index is checked before FAISS sees it."""

import numpy as np
import pytest

from indexing.checks import check_queries, check_search, check_tie_rank
from indexing.errors import VectorError
from indexing.vectors import check_vectors


def unit_rows(count, dim, seed=0):
    rows = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_good_vectors_come_back_as_they_are():
    vectors = unit_rows(50, 16)
    assert check_vectors(vectors, dim=16) is vectors
    assert check_vectors(np.empty((0, 16), np.float32), dim=16).shape == (0, 16)


def test_vectors_in_another_order_come_back_contiguous_with_the_same_values():
    vectors = np.asfortranarray(unit_rows(50, 16))
    checked = check_vectors(vectors)
    assert checked.flags.c_contiguous
    assert np.array_equal(checked, vectors)


def test_every_kind_of_bad_vector_is_named_with_its_product_and_counted():
    vectors = unit_rows(8, 4)
    vectors[1, 2] = np.nan
    vectors[3] = 0
    vectors[4] *= 1.5
    vectors[6, 0] = -np.inf
    names = [f"p{n}" for n in range(8)]
    message = (
        r"4 of 8 vectors cannot be indexed: 'p1' is not finite, 'p3' is zero, 'p4' has length 1\.5, "
        r"'p6' is not finite; encode them again"
    )
    with pytest.raises(VectorError, match=message) as caught:
        check_vectors(vectors, names=names)
    assert caught.value.positions == (1, 3, 4, 6)
    assert caught.value.names == ("p1", "p3", "p4", "p6")


def test_without_names_the_rows_are_numbered_from_the_first():
    vectors = unit_rows(8, 4)
    vectors[5] = 0
    with pytest.raises(VectorError, match="1 of 8 vectors cannot be indexed: row 5 is zero;"):
        check_vectors(vectors)
    with pytest.raises(VectorError, match="row 4101 is zero"):
        check_vectors(vectors, first_row=4096)


def test_ten_bad_vectors_are_shown_and_all_are_counted():
    with pytest.raises(VectorError, match=r"^500 of 500 .* row 9 is zero, \.\.\.; encode"):
        check_vectors(np.zeros((500, 4), np.float32))


@pytest.mark.parametrize(("length", "is_fine"), [(0.9992, True), (1.0008, True), (0.9985, False), (1.0015, False)])
def test_unit_length_is_meant_within_a_thousandth(length, is_fine):
    vectors = unit_rows(3, 8) * np.float32(length)
    if is_fine:
        check_vectors(vectors)
    else:
        with pytest.raises(VectorError, match=f"3 of 3 .* row 0 has length {length}"):
            check_vectors(vectors)


def test_numbers_too_large_to_square_are_refused_without_a_warning():
    with pytest.raises(VectorError, match="row 0 has length inf"):
        check_vectors(np.full((1, 4), 3e38, np.float32))


@pytest.mark.parametrize(
    ("vectors", "found"),
    [
        (np.zeros((2, 4), np.float64), r"float64 \[2, 4\]"),
        (np.zeros((2, 4), np.float16), r"float16 \[2, 4\]"),
        (np.zeros(4, np.float32), r"float32 \[4\]"),
        ([[1.0, 0.0]], "list"),
    ],
)
def test_another_shape_or_type_is_refused_and_not_converted(vectors, found):
    for check in (check_vectors, lambda queries: check_queries(queries, dim=4)):
        with pytest.raises(VectorError, match=rf"expected a float32 array \[n, d\], got {found}"):
            check(vectors)


def test_another_dimension_is_refused():
    with pytest.raises(VectorError, match="expected vectors of dimension 384, got 768; was another encoder used"):
        check_vectors(unit_rows(1, 768), dim=384)
    with pytest.raises(VectorError, match="expected vectors of dimension at least 1, got 0"):
        check_vectors(np.empty((1, 0), np.float32))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, np.float32(2e19)])
def test_a_query_that_is_not_finite_is_refused(value):
    queries = np.ones((3, 4), np.float32)
    queries[1, 2] = value
    with pytest.raises(VectorError, match="1 of 3 query vectors are not finite: rows 1; encode them again"):
        check_queries(queries, dim=4)


def test_queries_of_any_length_are_fine():
    queries = np.array([[0, 0], [1e-20, 0], [1e18, 1e18]], np.float32)
    assert np.array_equal(check_queries(queries, dim=2)[0], queries)


def test_arguments_of_a_search_are_checked():
    queries = np.ones((1, 4), np.float32)
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        check_search(queries, 0, None, count=3, dim=4)
    with pytest.raises(ValueError, match=r"expected eligible as bool \[3\], got bool \[2\]"):
        check_search(queries, 1, np.ones(2, bool), count=3, dim=4)
    with pytest.raises(ValueError, match=r"expected eligible as bool \[3\], got int64 \[3\]"):
        check_search(queries, 1, np.ones(3, np.int64), count=3, dim=4)


def test_a_tie_rank_has_one_entry_per_vector():
    with pytest.raises(ValueError, match=r"expected tie_rank as int64 \[3\], got int64 \[2\]"):
        check_tie_rank(np.arange(2), count=3)
    with pytest.raises(ValueError, match=r"expected tie_rank as int64 \[3\], got int32 \[3\]"):
        check_tie_rank(np.arange(3, dtype=np.int32), count=3)
