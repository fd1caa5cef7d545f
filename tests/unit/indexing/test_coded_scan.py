"""`indexing.coded_scan`: the answers of an exact scan, whatever the codes make of the vectors."""

import numpy as np
import pytest

from indexing import ArrayVectors, build_index, coded_scan
from indexing.coded_scan import CodedProposer
from indexing.config import FlatConfig
from indexing.exact import ExactIndex

DIM, K = 24, 10


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def crowded():
    """Far more vectors within one step of a code than are proposed at first."""
    generator = np.random.default_rng(3)
    centre = unit(generator.standard_normal((1, DIM)))
    crowd = unit(centre + 1e-4 * generator.standard_normal((600, DIM)))
    others = unit(generator.standard_normal((4000, DIM)))
    rows = np.concatenate((others[:2000], crowd, others[2000:], crowd[:50]))  # 50 of them twice
    return ArrayVectors(rows), np.concatenate((centre, crowd[:3], others[:3]))


@pytest.mark.parametrize("k", [1, K, 700])
@pytest.mark.parametrize("share", [1.0, 0.9, 0.3])
def test_every_answer_is_that_of_the_exact_twin(crowded, k, share):
    vectors, queries = crowded
    index, exact = build_index(FlatConfig(), vectors), ExactIndex(vectors)
    assert isinstance(index.proposer, CodedProposer)
    eligible = None if share == 1 else np.random.default_rng(5).random(vectors.count) < share
    others = [np.float32(length) * query for length in (1e3, 1e-25, 1e-40) for query in queries[:2]]
    for query in (*queries, *others):
        found = index.search(query[np.newaxis], k, eligible=eligible)
        expected = exact.search(query[np.newaxis], k, eligible=eligible)
        assert np.array_equal(found.rows, expected.rows)
        assert np.array_equal(found.scores, expected.scores)


def test_without_the_bound_it_would_not_be(crowded, monkeypatch):
    vectors, queries = crowded
    monkeypatch.setattr(coded_scan, "_differences", lambda held, codes: [np.zeros((1, DIM))])
    index, exact = build_index(FlatConfig(), vectors), ExactIndex(vectors)
    answers = [(index.search(query[np.newaxis], K), exact.search(query[np.newaxis], K)) for query in queries]
    assert any(not np.array_equal(found.rows, expected.rows) for found, expected in answers)


def test_no_code_is_farther_off_than_is_said(crowded):
    vectors, queries = crowded
    proposer = build_index(FlatConfig(), vectors).proposer
    scores, numbers = proposer.ask(queries[:1], vectors.count)
    exact = proposer.index.reconstruct_n(0, proposer.index.ntotal)[numbers[0]] @ queries[0]
    assert 0 < proposer.off < 0.05
    assert (scores[0] >= exact - 1e-6).all()
    assert (scores[0] <= exact + 2 * proposer.off + 1e-6).all()


def test_a_few_vectors_are_scanned_as_they_are(crowded):
    vectors, _ = crowded
    few = ArrayVectors(vectors.take(np.arange(100)))
    assert not isinstance(build_index(FlatConfig(), few).proposer, CodedProposer)


def test_the_codes_are_counted(crowded):
    vectors, _ = crowded
    index = build_index(FlatConfig(), vectors)
    assert index.size_bytes > index.distinct_count * DIM * 5
