"""Every kind of index against brute force, by value: rows, scores, ties, empty places."""

import numpy as np
import pytest

from indexing import ArrayVectors, ExactIndex, VectorStore, build_index, open_index, recall_at
from indexing.config import FlatConfig, HnswConfig, HnswSq8Config, IvfPqConfig, IvfRabitqConfig, IvfSq8Config
from indexing.scores import score_rows

KINDS = {
    "flat": FlatConfig(),
    "hnsw": HnswConfig(),
    "ivf_sq8": IvfSq8Config(),
    "ivf_pq": IvfPqConfig(),
    "hnsw_sq8": HnswSq8Config(),
    "ivf_rabitq": IvfRabitqConfig(),
}
# Settings that leave nothing out: all lists visited, far more refined than asked for.
THOROUGH = {
    "flat": FlatConfig(),
    "hnsw": HnswConfig(links=32, ef_construction=400, ef_search=2000),
    "ivf_sq8": IvfSq8Config(lists=8, probes=8, refine_factor=20),
    "ivf_pq": IvfPqConfig(lists=8, probes=8, code_bytes=16, refine_factor=100),
    "hnsw_sq8": HnswSq8Config(links=32, ef_construction=400, ef_search=2000, refine_factor=20),
    "ivf_rabitq": IvfRabitqConfig(lists=8, probes=8, bits=8, refine_factor=20),
}


def unit_rows(count, dim, seed=0):
    rows = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def slow_search(vectors, queries, k, *, tie_rank, eligible=None):
    """The definition: sort all rows by (score, tie rank), one query at a time, with Python's own sort."""
    answers = []
    for query in queries:
        scores = [score_rows(query, row[np.newaxis])[0] for row in vectors]
        rows = [row for row in range(len(vectors)) if eligible is None or eligible[row]]
        rows.sort(key=lambda row: (-scores[row], tie_rank[row]))
        answers.append([(row, scores[row]) for row in rows[:k]] + [(-1, -np.inf)] * (k - len(rows)))
    return answers


def assert_same(found, answers):
    assert found.rows.tolist() == [[row for row, _ in answer] for answer in answers]
    expected = np.array([[score for _, score in answer] for answer in answers], np.float32)
    assert np.array_equal(found.scores, expected)


@pytest.mark.parametrize("k", [1, 7, 600, 1300])
@pytest.mark.parametrize("share", [None, 0.3])
def test_exact_search_equals_sorting_everything(k, share, monkeypatch):
    monkeypatch.setattr("indexing.exact._BLOCK_ROWS", 97)
    vectors = unit_rows(600, 8)
    vectors[100:400] = vectors[5]
    tie_rank = np.random.default_rng(1).permutation(600)
    eligible = None if share is None else np.random.default_rng(2).random(600) < share
    queries = np.concatenate([unit_rows(3, 8, seed=3), vectors[5:6], np.zeros((1, 8), np.float32)])
    found = ExactIndex(ArrayVectors(vectors), tie_rank=tie_rank).search(queries, k, eligible=eligible)
    assert_same(found, slow_search(vectors, queries, k, tie_rank=tie_rank, eligible=eligible))


@pytest.mark.parametrize("kind", KINDS)
def test_a_thorough_index_equals_exact_search_bit_for_bit(kind):
    vectors, tie_rank = ArrayVectors(unit_rows(2000, 32)), np.random.default_rng(1).permutation(2000)
    queries = unit_rows(40, 32, seed=2)
    index = build_index(THOROUGH[kind], vectors, tie_rank=tie_rank)
    for k in (1, 10, 100):
        expected, found = ExactIndex(vectors, tie_rank=tie_rank).search(queries, k), index.search(queries, k)
        assert np.array_equal(found.rows, expected.rows)
        assert np.array_equal(found.scores, expected.scores)


@pytest.mark.parametrize("copies", [150, 1500])
@pytest.mark.parametrize("kind", KINDS)
def test_hundreds_of_equal_vectors_are_settled_by_tie_rank_and_hide_nothing(kind, copies):
    rng = np.random.default_rng(0)
    matrix = unit_rows(2000, 32)
    matrix[rng.choice(2000, copies, replace=False)] = matrix[7]
    vectors, tie_rank = ArrayVectors(matrix), rng.permutation(2000)
    queries = np.concatenate([matrix[7:8], unit_rows(1, 32, seed=4) * 0.1 + matrix[7:8], unit_rows(30, 32, seed=3)])
    index = build_index(THOROUGH[kind], vectors, tie_rank=tie_rank)
    for k in (1, 100, 400):
        expected = ExactIndex(vectors, tie_rank=tie_rank).search(queries, k)
        found = index.search(queries, k)
        assert np.array_equal(found.rows, expected.rows)
        assert np.array_equal(found.scores, expected.scores)


@pytest.mark.parametrize("kind", ["flat", "hnsw", "hnsw_sq8", "ivf_sq8", "ivf_rabitq"])
def test_different_vectors_with_the_same_score_are_settled_by_tie_rank(kind):
    """All rows but one share their first coordinate, so a query along it scores them alike: bit for bit."""
    angles = np.linspace(0.1, 6.1, 1000)
    matrix = np.stack([np.full(1000, 0.6), 0.8 * np.cos(angles), 0.8 * np.sin(angles)], axis=1).astype(np.float32)
    matrix[500] = [1, 0, 0]
    vectors, tie_rank = ArrayVectors(matrix), np.random.default_rng(1).permutation(1000)
    queries = np.array([[1, 0, 0], [2, 0, 0], [0.5, 0, 0]], np.float32)
    expected = ExactIndex(vectors, tie_rank=tie_rank).search(queries, 20)
    assert expected.rows[0, 0] == 500
    assert tie_rank[expected.rows[0, 1:]].tolist() == sorted(np.delete(tie_rank, 500))[:19]
    found = build_index(THOROUGH[kind], vectors, tie_rank=tie_rank).search(queries, 20)
    assert np.array_equal(found.rows, expected.rows)
    assert np.array_equal(found.scores, expected.scores)


@pytest.mark.parametrize("count", [1, 2, 3, 17])
@pytest.mark.parametrize("kind", ["flat", "hnsw", "hnsw_sq8", "ivf_sq8", "ivf_rabitq"])
def test_a_tiny_catalogue_is_answered_completely_with_empty_places_last(kind, count):
    vectors = ArrayVectors(unit_rows(count, 8))
    queries = unit_rows(5, 8, seed=1)
    expected = ExactIndex(vectors).search(queries, 20)
    found = build_index(KINDS[kind], vectors).search(queries, 20)
    assert np.array_equal(found.rows, expected.rows)
    assert np.array_equal(found.scores, expected.scores)
    assert (found.rows[:, count:] == -1).all()
    assert np.isneginf(found.scores[:, count:]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_is_never_shorter_than_the_catalogue_allows(kind):
    """The default visits half of the lists; what it cannot fill from them is filled by an exact scan."""
    vectors, queries = ArrayVectors(unit_rows(500, 8)), unit_rows(5, 8, seed=1)
    index = build_index(KINDS[kind], vectors)
    for k in (400, 500, 600):
        found, expected = index.search(queries, k), ExactIndex(vectors).search(queries, k)
        assert np.array_equal(found.rows[:, 499:] >= 0, expected.rows[:, 499:] >= 0)
        assert np.array_equal(found.rows, expected.rows)


def test_more_than_the_visited_lists_hold_is_looked_for_in_further_lists_and_not_in_all_vectors():
    vectors, queries = ArrayVectors(unit_rows(4000, 16)), unit_rows(20, 16, seed=1)
    index = build_index(IvfSq8Config(lists=40, probes=1, refine_factor=1.0), vectors)
    found, scans = index.search_counting_scans(queries, 300)  # a list holds some 100
    assert scans <= 2
    assert (found.rows >= 0).all()
    assert (np.diff(found.scores, axis=1) <= 0).all()
    assert index.proposer.holding(20, count=4000) is index.proposer
    assert index.proposer.holding(300, count=4000).plan.parameters["probes"] == 5  # 1.5 x 300 / 100, rounded up
    assert index.proposer.holding(100_000, count=4000).plan.parameters["probes"] == 40


@pytest.mark.parametrize("kind", KINDS)
def test_with_eligible_rows_every_kind_is_exact(kind):
    vectors, tie_rank = ArrayVectors(unit_rows(800, 16)), np.random.default_rng(1).permutation(800)
    eligible = np.random.default_rng(2).random(800) < 0.2
    queries = unit_rows(7, 16, seed=3)
    index = build_index(KINDS[kind], vectors, tie_rank=tie_rank)
    for k in (1, 50, 200):
        expected = ExactIndex(vectors, tie_rank=tie_rank).search(queries, k, eligible=eligible)
        found = index.search(queries, k, eligible=eligible)
        assert np.array_equal(found.rows, expected.rows)
        assert np.array_equal(found.scores, expected.scores)


@pytest.mark.parametrize("kind", KINDS)
def test_the_answer_does_not_depend_on_the_batch(kind):
    """700 queries of 256 dimensions are past FAISS's switch to matrix products (128,000 numbers)."""
    vectors, queries = ArrayVectors(unit_rows(600, 256)), unit_rows(700, 256, seed=1)
    index = build_index(KINDS[kind], vectors)
    together = index.search(queries, 10)
    for size in (1, 7, 64, 333):
        parts = [index.search(queries[first : first + size], 10) for first in range(0, 700, size)]
        assert np.array_equal(np.concatenate([part.rows for part in parts]), together.rows)
        assert np.array_equal(np.concatenate([part.scores for part in parts]), together.scores)


@pytest.mark.parametrize("kind", KINDS)
def test_the_scores_are_those_of_brute_force_on_whatever_was_retrieved(kind):
    vectors, queries = ArrayVectors(unit_rows(3000, 32)), unit_rows(20, 32, seed=1)
    found = build_index(KINDS[kind], vectors).search(queries, 50)
    for query, rows, scores in zip(queries, found.rows, found.scores, strict=True):
        assert np.array_equal(scores, score_rows(query, vectors.matrix[rows]))
        assert (np.diff(scores) <= 0).all()
        assert len(set(rows.tolist())) == 50


@pytest.mark.parametrize("kind", KINDS)
def test_vectors_from_a_store_give_the_same_index_as_an_array(kind, tmp_path):
    matrix = unit_rows(400, 16)
    store = VectorStore.open(tmp_path / "vectors", dim=16, create=True)
    keys = [bytes([n % 256, n // 256]) * 8 for n in range(400)]
    for first in range(0, 400, 150):
        store.append(keys[first : first + 150], matrix[first : first + 150])
    order = np.random.default_rng(1).permutation(400)
    view, queries = store.view(order), unit_rows(9, 16, seed=2)
    expected = build_index(KINDS[kind], ArrayVectors(matrix[order]), threads=1)
    found = build_index(KINDS[kind], view, threads=1)
    assert found.record.vectors_sha256 == expected.record.vectors_sha256
    assert found.write(tmp_path / "index")["faiss.index"] == expected.write(tmp_path / "other")["faiss.index"]
    reopened = open_index(tmp_path / "index", view)
    assert np.array_equal(reopened.search(queries, 20).rows, expected.search(queries, 20).rows)


@pytest.mark.parametrize("kind", KINDS)
def test_the_defaults_reach_their_recall_on_clustered_vectors(kind):
    """Clusters of unequal size, as text embeddings have; the figures for real texts stand in `indexing.config`."""
    rng = np.random.default_rng(0)
    centres = unit_rows(60, 48)[rng.zipf(1.5, 4000) % 60]
    matrix = centres + rng.standard_normal((4000, 48)).astype(np.float32) * 0.12
    matrix = (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).astype(np.float32)
    queries = matrix[rng.choice(4000, 100)] + rng.standard_normal((100, 48)).astype(np.float32) * 0.08
    vectors = ArrayVectors(matrix)
    exact = ExactIndex(vectors).search(queries.astype(np.float32), 100)
    found = build_index(KINDS[kind], vectors).search(queries.astype(np.float32), 100)
    assert recall_at(100, found, exact) >= (1.0 if kind == "flat" else 0.99)
