"""The two-level bfloat16 search against brute force: no vector missed, whatever is drawn, cut, masked or tied."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from indexing import ArrayVectors, ExactIndex
from retrieval import tiled_search
from retrieval.tiled_search import TiledSearch, best_of


def unit_rows(count, dim, seed=0):
    rows = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def searching(matrix):
    return TiledSearch.of([matrix], count=len(matrix), dim=matrix.shape[1], device="cpu")


def assert_same(found, matrix, queries, k, *, selected=None):
    """Compare by value: as many as there are, their own scores, and as high a score at every place as brute force."""
    scores, numbers = found
    expected = ExactIndex(ArrayVectors(matrix)).search(queries, k, eligible=selected)
    assert np.array_equal(numbers >= 0, expected.rows >= 0)
    assert np.array_equal(np.isneginf(scores), expected.rows < 0)
    lengths = np.maximum(np.linalg.norm(queries, axis=1, keepdims=True), 1e-30)
    for place, query in enumerate(queries):
        there = numbers[place][numbers[place] >= 0]
        assert len(set(there.tolist())) == len(there)
        assert selected is None or selected[there].all()
        own = np.vecdot(matrix[there], query)
        assert np.abs(scores[place][: len(there)] - own).max(initial=0) <= 1e-5 * lengths[place]
        assert np.abs(np.sort(own)[::-1] - expected.scores[place][: len(there)]).max(initial=0) <= 1e-5 * lengths[place]


@pytest.fixture(params=["one block", "many blocks"])
def blocks(request, monkeypatch):
    if request.param == "many blocks":
        monkeypatch.setattr(tiled_search, "TILE", 8)
        monkeypatch.setattr(tiled_search, "SCORES", 700)
        monkeypatch.setattr(tiled_search, "QUERIES", 3)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("k", [1, 7, 100, 3000, 4000])
@pytest.mark.parametrize("share", [None, 0.3, 0.01])
def test_it_finds_what_brute_force_finds(k, share):
    matrix, queries = unit_rows(3000, 24), unit_rows(10, 24, seed=1)
    queries[0] *= 1e3
    queries[1] = 0
    selected = None if share is None else np.random.default_rng(2).random(3000) < share
    found = searching(matrix).search(queries, k, selected=selected)
    assert_same(found, matrix, queries, k, selected=selected)


@pytest.mark.usefixtures("blocks")
def test_vectors_that_bfloat16_cannot_tell_apart_are_told_apart():
    """1,500 vectors within 1e-4 of each other: many times more than are kept, and all alike in bfloat16."""
    rng = np.random.default_rng(0)
    matrix = unit_rows(2000, 32)
    matrix[:1500] = matrix[0] + rng.standard_normal((1500, 32)).astype(np.float32) * 1e-4
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    queries = np.concatenate([matrix[:3], unit_rows(5, 32, seed=3)])
    for k in (1, 10, 100):
        assert_same(searching(matrix).search(queries, k), matrix, queries, k)


def test_a_query_in_doubt_and_no_other_is_searched_again_in_float32(monkeypatch):
    matrix = unit_rows(5000, 32)
    matrix[:1000] = matrix[0]
    again = []

    def watched(queries, vectors, k, **others):
        if vectors.dtype == torch.float32:
            again.append(len(queries))
        return best_of(queries, vectors, k, **others)

    monkeypatch.setattr(tiled_search, "best_of", watched)
    # Away from the thousand equal ones no doubt is left; along them bfloat16 cannot know that none is better.
    clear = unit_rows(40, 32, seed=4)
    clear -= np.outer(clear @ matrix[0], matrix[0]) + matrix[0] * 0.5
    searching(matrix).search(np.concatenate([clear, matrix[:1]]).astype(np.float32), 10)
    assert again == [1]


@settings(max_examples=60)
@given(
    st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 9), st.integers(1, 70), st.sampled_from([1, 3, 1000])
)
@example(0, 55, 2, 1, 3)  # padding of the last tile was found where everything was masked
def test_it_finds_what_brute_force_finds_whatever_is_drawn(seed, count, dim, k, tile):
    rng = np.random.default_rng(seed)
    matrix = unit_rows(max(1, count // 2), dim, seed)[rng.integers(0, max(1, count // 2), count)]
    queries = (rng.standard_normal((3, dim)) * rng.choice([1e-3, 1, 1e3])).astype(np.float32)
    selected = rng.random(count) < rng.choice([0.0, 0.2, 1.0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiled_search, "TILE", tile)
        patch.setattr(tiled_search, "SCORES", 50)
        patch.setattr(tiled_search, "SPARE", 1)
        patch.setattr(tiled_search, "OVERSAMPLE", 1)
        found = searching(matrix).search(queries, k, selected=selected)
    assert_same(found, matrix, queries, k, selected=selected)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_two_levels_find_the_same_scores_as_one(dtype):
    queries, vectors = (torch.from_numpy(unit_rows(n, 16, seed=n)).to(dtype) for n in (5, 2001))
    mask = torch.from_numpy(np.random.default_rng(1).random(2001) < 0.4)
    scores, numbers = best_of(queries, vectors, 30, mask=mask)
    everything = (queries @ vectors.T).masked_fill(mask, -torch.inf)
    assert torch.equal(scores, everything.topk(30, dim=1).values)
    assert torch.equal(everything.gather(1, numbers), scores)


@pytest.mark.parametrize("length", [3, 3e-25])
def test_no_exact_score_exceeds_its_bfloat16_score_by_more_than_the_bound(length):
    """The proof's premise, on every pair: each coarse score is taken for the last one that was kept."""
    matrix, queries = unit_rows(2000, 384), unit_rows(8, 384, seed=1) * np.float32(length)
    found = searching(matrix)
    given_queries = torch.from_numpy(queries)
    coarse = (given_queries.to(torch.bfloat16) @ found._coarse.T).float()
    exact = torch.from_numpy(queries.astype(np.float64) @ matrix.T.astype(np.float64))
    for column in range(0, 2000, 7):
        last = coarse[:, column]
        assert (exact[:, column] - last <= found._bound(given_queries, last)).all()
    if length > tiled_search.SHORTEST:
        assert float((exact - coarse).abs().max()) > float(found._bound(given_queries, coarse[:, 0]).min()) / 20
