"""What holds for every catalogue, query and cut-off: brute force is the oracle, order and batches change nothing."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from indexing import ArrayVectors, ExactIndex, build_index, recall_at
from indexing.config import FlatConfig, HnswConfig, IvfSq8Config
from indexing.scores import score_rows

CONFIGS = st.sampled_from([FlatConfig(), HnswConfig(), IvfSq8Config(lists=3, probes=3, refine_factor=50)])


@st.composite
def catalogues(draw):
    """1 to 60 unit vectors, many of them equal; a tie rank; 1 to 9 queries, some of them rows, one perhaps zero."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dim = draw(st.integers(1, 9))
    distinct = rng.standard_normal((draw(st.integers(1, 30)), dim)).astype(np.float32)
    distinct /= np.maximum(np.linalg.norm(distinct, axis=1, keepdims=True), np.float32(1e-6))
    matrix = distinct[rng.integers(0, len(distinct), draw(st.integers(1, 60)))]
    queries = rng.standard_normal((draw(st.integers(1, 9)), dim)).astype(np.float32)
    queries[0] = matrix[0] * draw(st.sampled_from([0.0, 1e-3, 1.0, 1e3]))
    return matrix, rng.permutation(len(matrix)), queries


@given(catalogues(), st.integers(1, 80))
def test_exact_search_equals_sorting_by_score_and_rank(catalogue, k):
    matrix, tie_rank, queries = catalogue
    found = ExactIndex(ArrayVectors(matrix), tie_rank=tie_rank).search(queries, k)
    for query, rows, scores in zip(queries, found.rows, found.scores, strict=True):
        all_scores = score_rows(query, matrix)
        expected = sorted(range(len(matrix)), key=lambda row: (-all_scores[row], tie_rank[row]))[:k]
        assert rows.tolist() == expected + [-1] * (k - len(expected))
        assert scores[: len(expected)].tolist() == all_scores[expected].tolist()
        assert np.isneginf(scores[len(expected) :]).all()


@given(catalogues(), CONFIGS, st.integers(1, 80))
def test_every_kind_equals_exact_search_on_a_small_catalogue(catalogue, config, k):
    matrix, tie_rank, queries = catalogue
    vectors = ArrayVectors(matrix)
    expected = ExactIndex(vectors, tie_rank=tie_rank).search(queries, k)
    found = build_index(config, vectors, tie_rank=tie_rank).search(queries, k)
    assert np.array_equal(found.rows, expected.rows)
    assert np.array_equal(found.scores, expected.scores)
    assert recall_at(k, found, expected) == 1.0


@given(catalogues(), CONFIGS, st.integers(1, 20), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_change_the_answer(catalogue, config, k, random):
    matrix, tie_rank, queries = catalogue
    order = np.array(random.sample(range(len(matrix)), len(matrix)))
    plain = build_index(config, ArrayVectors(matrix), tie_rank=tie_rank).search(queries, k)
    moved = build_index(config, ArrayVectors(matrix[order]), tie_rank=tie_rank[order]).search(queries, k)
    there = moved.rows >= 0
    assert np.array_equal(np.where(there, order[moved.rows], -1), plain.rows)
    assert np.array_equal(moved.scores, plain.scores)


@given(catalogues(), CONFIGS, st.integers(1, 20), st.integers(1, 9))
def test_the_split_into_batches_does_not_change_the_answer(catalogue, config, k, size):
    matrix, tie_rank, queries = catalogue
    index = build_index(config, ArrayVectors(matrix), tie_rank=tie_rank)
    together = index.search(queries, k)
    parts = [index.search(queries[first : first + size], k) for first in range(0, len(queries), size)]
    assert np.array_equal(np.concatenate([part.rows for part in parts]), together.rows)
    assert np.array_equal(np.concatenate([part.scores for part in parts]), together.scores)


@given(catalogues(), CONFIGS, st.integers(1, 20))
def test_a_longer_answer_begins_with_the_shorter_one(catalogue, config, k):
    matrix, tie_rank, queries = catalogue
    index = build_index(config, ArrayVectors(matrix), tie_rank=tie_rank)
    assert np.array_equal(index.search(queries, k + 5).rows[:, :k], index.search(queries, k).rows)
