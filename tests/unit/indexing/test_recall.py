"""Recall, worked by hand."""

import numpy as np
import pytest

from indexing.recall import recall_at
from indexing.types import Neighbors


def neighbors(scores, rows):
    return Neighbors(scores=np.array(scores, np.float32), rows=np.array(rows, np.int64))


EXACT = neighbors([[0.9, 0.8, 0.7, 0.7], [0.5, 0.4, 0.3, 0.2]], [[4, 2, 7, 8], [1, 3, 5, 6]])


def test_everything_found_is_one_and_half_is_half():
    assert recall_at(4, EXACT, EXACT) == 1.0
    half = neighbors([[0.9, 0.8, 0.1, 0.0], [0.5, 0.4, 0.1, 0.0]], [[4, 2, 9, 0], [1, 3, 9, 0]])
    assert recall_at(4, half, EXACT) == 0.5
    assert recall_at(2, half, EXACT) == 1.0


def test_the_mean_is_over_queries():
    found = neighbors([[0.9, 0.8, 0.7, 0.7], [0.5, 0.1, 0.1, 0.1]], [[4, 2, 7, 8], [1, 11, 12, 13]])
    assert recall_at(4, found, EXACT) == (1 + 0.25) / 2


def test_any_row_that_ties_at_the_last_place_counts():
    other = neighbors([[0.9, 0.8, 0.7], [0.5, 0.4, 0.3]], [[4, 2, 8], [1, 3, 5]])
    assert recall_at(3, other, EXACT) == 1.0


def test_a_row_that_is_returned_twice_counts_once():
    twice = neighbors([[0.9, 0.9, 0.9, 0.9], [0.5, 0.4, 0.3, 0.2]], [[4, 4, 4, 4], [1, 3, 5, 6]])
    assert recall_at(4, twice, EXACT) == (0.25 + 1) / 2


def test_the_cut_off_is_clipped_to_the_rows_that_exist():
    exact = neighbors([[0.9, 0.8, -np.inf], [0.5, -np.inf, -np.inf]], [[4, 2, -1], [1, -1, -1]])
    found = neighbors([[0.9, -np.inf, -np.inf], [0.5, -np.inf, -np.inf]], [[4, -1, -1], [1, -1, -1]])
    assert recall_at(3, exact, exact) == 1.0
    assert recall_at(3, found, exact) == 0.75


def test_queries_with_nothing_to_find_are_left_out():
    exact = neighbors([[0.9, 0.8], [-np.inf, -np.inf]], [[4, 2], [-1, -1]])
    found = neighbors([[0.9, 0.1], [-np.inf, -np.inf]], [[4, 3], [-1, -1]])
    assert recall_at(2, found, exact) == 0.5
    nothing = neighbors([[-np.inf]], [[-1]])
    with pytest.raises(ValueError, match="there is nothing to find for any of 1 queries"):
        recall_at(1, nothing, nothing)


@pytest.mark.parametrize("k", [0, 5])
def test_a_cut_off_out_of_range_is_refused(k):
    with pytest.raises(ValueError, match=rf"k must be at least 1 and at most .* \(4, 4\), got {k}"):
        recall_at(k, EXACT, EXACT)


def test_another_number_of_queries_is_refused():
    one = neighbors([[0.9, 0.8, 0.7, 0.7]], [[4, 2, 7, 8]])
    with pytest.raises(ValueError, match="expected as many queries retrieved as exact, got 1 and 2"):
        recall_at(4, one, EXACT)
