"""Equal vectors are found, numbered by first appearance, and expanded again in tie order."""

import hashlib

import numpy as np
import pytest

from indexing.distinct import DistinctRows, digest_vectors, number_vectors
from indexing.errors import VectorError
from indexing.vectors import ArrayVectors


class SmallBlocks(ArrayVectors):
    """Yields two rows at a time whatever is asked for, so that groups span blocks."""

    def blocks(self, size):
        return super().blocks(2)


def letters(text):
    """One-hot vectors for the letters of a word, so that equal letters are equal vectors."""
    return SmallBlocks(np.eye(26, dtype=np.float32)[[ord(letter) - ord("a") for letter in text]])


def test_vectors_are_numbered_by_first_appearance():
    numbers, sha256 = number_vectors(letters("banana"))
    assert numbers.tolist() == [0, 1, 2, 1, 2, 1]
    assert sha256 == hashlib.sha256(letters("banana").matrix.tobytes()).hexdigest()
    assert sha256 == digest_vectors(letters("banana"))


def test_each_distinct_vector_is_handed_out_once_in_order():
    vectors = letters("abracadabra")
    numbers, _ = number_vectors(vectors)
    distinct = DistinctRows.of(numbers, tie_rank=None)
    assert distinct.count == 5
    handed_out = np.concatenate(list(distinct.blocks(vectors)))
    assert np.array_equal(handed_out, letters("abrcd").matrix)


def test_a_group_is_expanded_in_tie_order_up_to_k():
    distinct = DistinctRows.of(np.array([0, 1, 2, 1, 2, 1]), tie_rank=np.array([5, 4, 3, 2, 1, 0]))
    rows, scores = distinct.expand(np.array([1, 0]), np.array([0.5, 0.2], np.float32), k=9)
    assert rows.tolist() == [5, 3, 1, 0]
    assert scores.tolist() == pytest.approx([0.5, 0.5, 0.5, 0.2])
    assert distinct.expand(np.array([1, 0]), np.array([0.5, 0.2], np.float32), k=2)[0].tolist() == [5, 3, 0]
    assert distinct.expand(np.empty(0, np.int64), np.empty(0, np.float32), k=2)[0].tolist() == []


def test_a_number_stands_for_a_row_that_holds_its_vector():
    vectors = letters("mississippi")
    numbers, _ = number_vectors(vectors)
    distinct = DistinctRows.of(numbers, tie_rank=None)
    representatives = distinct.first_rows(np.arange(distinct.count))
    assert np.array_equal(vectors.take(representatives), letters("misp").matrix)
    assert np.array_equal(numbers[representatives], np.arange(4))


def test_a_bad_vector_in_a_later_block_is_named_by_its_row():
    vectors = letters("abcdef")
    vectors.matrix[4] = np.nan
    with pytest.raises(VectorError, match="row 4 is not finite"):
        number_vectors(vectors)
