"""Exact search against hand-worked answers: order, ties, eligible rows, empty places."""

import numpy as np
import pytest

from indexing.errors import VectorError
from indexing.exact import ExactIndex, best_first, place_of
from indexing.scores import score_rows
from indexing.vectors import ArrayVectors


def unit_rows(count, dim, seed=0):
    rows = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def compass():
    """North, east, south, west, and north once more."""
    return ArrayVectors(np.array([[0, 1], [1, 0], [0, -1], [-1, 0], [0, 1]], np.float32))


def test_the_nearest_come_first_and_empty_places_last():
    found = ExactIndex(compass()).search(np.array([[0.6, 0.8]], np.float32), 7)
    assert found.rows.tolist() == [[0, 4, 1, 3, 2, -1, -1]]
    assert np.allclose(found.scores[0, :5], [0.8, 0.8, 0.6, -0.6, -0.8])
    assert found.scores[0, 5:].tolist() == [-np.inf, -np.inf]
    assert (found.rows.dtype, found.scores.dtype) == (np.int64, np.float32)


def test_rows_that_tie_are_ordered_by_their_rank():
    tie_rank = np.array([9, 0, 1, 2, 3])
    found = ExactIndex(compass(), tie_rank=tie_rank).search(np.array([[0.6, 0.8]], np.float32), 1)
    assert found.rows.tolist() == [[4]]


def test_only_eligible_rows_are_returned():
    eligible = np.array([False, True, True, False, False])
    found = ExactIndex(compass()).search(np.array([[0.6, 0.8]], np.float32), 3, eligible=eligible)
    assert found.rows.tolist() == [[1, 2, -1]]
    none = ExactIndex(compass()).search(np.array([[0.6, 0.8]], np.float32), 2, eligible=np.zeros(5, bool))
    assert none.rows.tolist() == [[-1, -1]]


def test_an_index_over_nothing_finds_nothing():
    found = ExactIndex(ArrayVectors(np.empty((0, 2), np.float32))).search(np.array([[1, 0]], np.float32), 2)
    assert found.rows.tolist() == [[-1, -1]]


def test_no_queries_give_no_answers():
    assert ExactIndex(compass()).search(np.empty((0, 2), np.float32), 3).rows.shape == (0, 3)


def test_a_zero_query_ties_everywhere_and_is_answered_in_tie_order():
    found = ExactIndex(compass(), tie_rank=np.array([4, 3, 2, 1, 0])).search(np.zeros((1, 2), np.float32), 3)
    assert found.rows.tolist() == [[4, 3, 2]]


def test_a_query_of_another_dimension_is_refused():
    with pytest.raises(VectorError, match="expected vectors of dimension 2, got 3"):
        ExactIndex(compass()).search(np.ones((1, 3), np.float32), 1)


def test_a_tie_rank_of_another_length_is_refused():
    with pytest.raises(ValueError, match=r"expected tie_rank as int64 \[5\], got int64 \[4\]"):
        ExactIndex(compass(), tie_rank=np.arange(4))


@pytest.mark.parametrize("dim", [1, 2, 3, 7, 16, 17, 64, 100, 384, 1000])
def test_a_score_does_not_depend_on_the_rows_beside_it(dim):
    vectors, query = unit_rows(300, dim), unit_rows(1, dim, seed=1)[0]
    together = score_rows(query, vectors)
    assert np.allclose(together, vectors.astype(np.float64) @ query.astype(np.float64), atol=1e-6)
    for size in (1, 2, 3, 5, 8, 33):
        for first in (0, 1, 7, 250):
            assert np.array_equal(score_rows(query, vectors[first : first + size]), together[first : first + size])
    shuffled = np.random.default_rng(2).permutation(300)
    assert np.array_equal(score_rows(query, vectors[shuffled]), together[shuffled])


def test_a_score_does_not_depend_on_where_in_memory_the_row_lies():
    vectors, query = unit_rows(50, 33), unit_rows(1, 33, seed=1)[0]
    room = np.empty(vectors.nbytes + 64, np.uint8)
    for offset in (0, 4, 8, 20, 36):
        moved = room[offset : offset + vectors.nbytes].view(np.float32).reshape(vectors.shape)
        moved[:] = vectors
        assert np.array_equal(score_rows(query, moved), score_rows(query, vectors))


def test_the_best_are_chosen_by_score_then_rank_then_row():
    scores = np.array([0.5, 0.9, 0.5, 0.5, 0.1, 0.5], np.float32)
    rows = np.array([0, 1, 2, 3, 4, 5])
    tie_rank = np.array([7, 7, 3, 3, 0, 9])
    assert best_first(scores, rows, k=3, tie_rank=tie_rank).tolist() == [1, 2, 3]
    assert best_first(scores, rows, k=9, tie_rank=tie_rank).tolist() == [1, 2, 3, 0, 5, 4]
    assert best_first(scores, rows, k=2, tie_rank=None).tolist() == [1, 0]


@pytest.mark.parametrize("with_ties", [False, True])
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_the_place_of_a_row_is_where_the_order_puts_it(with_ties, share):
    random = np.random.default_rng(3)
    scores = random.integers(0, 4, 40).astype(np.float32) / 8  # many rows tie
    tie_rank = random.permutation(40) if with_ties else None
    eligible = random.random(40) < share
    rows = np.flatnonzero(eligible)
    order = rows[best_first(scores[rows], rows, k=40, tie_rank=tie_rank)].tolist()
    for row in rows.tolist():
        place = place_of(row, scores, tie_rank=tie_rank, eligible=eligible)
        assert place == (order.index(row) + 1, len(order))


def test_the_scores_of_all_rows_are_bit_for_bit_those_of_a_search():
    vectors = ArrayVectors(unit_rows(9000, 8))  # three blocks
    query = unit_rows(1, 8, seed=1)
    found = ExactIndex(vectors).search(query, 9000)
    assert np.array_equal(ExactIndex(vectors).scores(query[0])[found.rows[0]], found.scores[0])
