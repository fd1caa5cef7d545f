"""The search on a device: what is copied, what is refused, what an empty answer looks like."""

import numpy as np
import pytest
import torch

from indexing.errors import EnvironmentProblem
from retrieval import tiled_search
from retrieval.tiled_search import TiledSearch, require_room

MATRIX = np.eye(4, dtype=np.float32)


def test_blocks_are_put_together_in_order():
    found = TiledSearch.of([MATRIX[:1], MATRIX[1:]], count=4, dim=4, device="cpu")
    assert (found.count, found.dim, found.device) == (4, 4, "cpu")
    assert found.search(MATRIX, 1)[1].tolist() == [[0], [1], [2], [3]]


def test_vectors_that_are_mapped_for_reading_only_are_taken_without_a_warning():
    mapped = MATRIX.copy()
    mapped.flags.writeable = False
    assert TiledSearch.of([mapped], count=4, dim=4, device="cpu").search(MATRIX[2:3], 1)[1].tolist() == [[2]]


@pytest.mark.parametrize("count", [3, 5])
def test_another_number_of_vectors_than_announced_is_refused(count):
    with pytest.raises(ValueError, match=rf"expected {count} vectors, got 4"):
        TiledSearch.of([MATRIX], count=count, dim=4, device="cpu")


def test_without_vectors_and_without_queries_the_answer_is_empty():
    nothing = TiledSearch.of([], count=0, dim=4, device="cpu")
    scores, numbers = nothing.search(MATRIX[:2], 3)
    assert numbers.tolist() == [[-1] * 3] * 2
    assert np.isneginf(scores).all()
    assert TiledSearch.of([MATRIX], count=4, dim=4, device="cpu").search(MATRIX[:0], 3)[1].shape == (0, 3)


def test_a_filter_that_lets_nothing_through_leaves_every_place_empty():
    found = TiledSearch.of([MATRIX], count=4, dim=4, device="cpu")
    scores, numbers = found.search(MATRIX[:1], 2, selected=np.zeros(4, dtype=np.bool_))
    assert numbers.tolist() == [[-1, -1]]
    assert np.isneginf(scores).all()


def test_a_cuda_device_that_is_absent_is_an_error_before_anything_is_copied(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def blocks():
        raise AssertionError("nothing may be read")
        yield MATRIX

    with pytest.raises(EnvironmentProblem, match=r"torch sees no CUDA device; search on the cpu"):
        TiledSearch.of(blocks(), count=4, dim=4, device="cuda")


def test_a_device_with_too_little_memory_is_an_error_that_says_how_much(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (8 << 30, 16 << 30))
    require_room(1_000_000, 384)
    with pytest.raises(
        EnvironmentProblem, match=r"10,000,000 vectors of dimension 384 need 23\.0 GiB .*, and 8\.0 GiB are free"
    ):
        require_room(10_000_000, 384)


def test_scores_are_held_for_a_block_at_a_time(monkeypatch):
    """The widest block of scores is what `SCORES` allows, whatever the number of vectors."""
    widest = []
    whole = tiled_search._two_levels

    def watched(scores, k):
        widest.append(scores.numel())
        return whole(scores, k)

    monkeypatch.setattr(tiled_search, "_two_levels", watched)
    monkeypatch.setattr(tiled_search, "SCORES", 4096)
    vectors = np.random.default_rng(0).standard_normal((5000, 4)).astype(np.float32)
    TiledSearch.of([vectors], count=5000, dim=4, device="cpu").search(MATRIX, 10)
    assert len(widest) >= 5
    assert max(widest) <= 4096
