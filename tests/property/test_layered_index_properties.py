"""An index and what changed since answers like an index built anew over what is there now."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexing import ArrayVectors, ExactIndex, build_index, recall_at
from indexing import layered as layers
from indexing.config import (
    AutoConfig,
    FlatConfig,
    HnswConfig,
    HnswSq8Config,
    IndexConfig,
    IvfPqConfig,
    IvfRabitqConfig,
    IvfSq8Config,
)
from indexing.layered import LayeredIndex, LayeredVectors

KINDS = {
    "flat": FlatConfig(),
    "hnsw": HnswConfig(links=16, ef_construction=100, ef_search=40),
    "hnsw_sq8": HnswSq8Config(links=16, ef_construction=100, ef_search=40, refine_factor=2.0),
    "ivf_rabitq": IvfRabitqConfig(lists=16, probes=4),
    "ivf_sq8": IvfSq8Config(lists=16, probes=4),
    "ivf_pq": IvfPqConfig(lists=16, probes=4, code_bytes=12, refine_factor=4.0),
}


@st.composite
def lives(draw):
    """A base of 1 to 40 vectors, many of them equal, dead rows, 0 to 12 newer vectors, a tie rank, queries."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, m, dim = draw(st.integers(1, 40)), draw(st.integers(0, 12)), draw(st.integers(1, 5))
    distinct = unit_rows(draw(st.integers(1, 20)), dim, rng)
    matrix = distinct[rng.integers(0, len(distinct), n + m)]
    dead = rng.random(n) < draw(st.sampled_from([0.0, 0.1, 0.6, 1.0]))
    queries = np.concatenate([matrix[:1], rng.standard_normal((3, dim)).astype(np.float32)])
    return matrix, dead, rng.permutation(n + m), queries


def unit_rows(count, dim, rng):
    rows = rng.standard_normal((count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def layered(matrix, dead, tie_rank, config=None):
    base, ties = ArrayVectors(matrix[: len(dead)]), tie_rank[: len(dead)]
    index = ExactIndex(base, tie_rank=ties)
    if config is not None:
        alive = max(1, np.count_nonzero(~dead))
        index = build_index(config, base, tie_rank=ties, threads=1).widened(len(dead) / alive)
    return LayeredIndex(index, dead, matrix[len(dead) :], tie_rank=tie_rank)


def exact(matrix, dead, tie_rank, queries, k, eligible=None):
    """Exact search over the rows that are there, in the numbering of all rows."""
    there = np.flatnonzero(~np.concatenate((dead, np.zeros(len(matrix) - len(dead), dtype=np.bool_))))
    part = None if eligible is None else eligible[there]
    found = ExactIndex(ArrayVectors(matrix[there]), tie_rank=tie_rank[there]).search(queries, k, eligible=part)
    rows = np.append(there, -1)[found.rows]
    return rows, found.scores


@pytest.fixture(params=["scanned", "fetched"])
def _way(request, monkeypatch):
    """Both ways around dead rows, whatever the size of the catalogue."""
    monkeypatch.setattr(layers, "_SCANNED_SHARE", {"scanned": 0.0, "fetched": 100.0}[request.param])
    monkeypatch.setattr(layers, "_SPARE", 1)


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize("config", [None, FlatConfig()])
def test_with_an_exact_base_every_answer_is_the_exact_one(config):
    @given(lives(), st.integers(1, 60))
    def holds(life, k):
        matrix, dead, tie_rank, queries = life
        found = layered(matrix, dead, tie_rank, config).search(queries, k)
        rows, scores = exact(matrix, dead, tie_rank, queries, k)
        assert found.rows.tolist() == rows.tolist()
        assert found.scores.tolist() == scores.tolist()

    holds()


@given(lives(), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_dead_rows_are_not_found_even_when_a_filter_lets_them_through(life, k, seed):
    matrix, dead, tie_rank, queries = life
    eligible = np.random.default_rng(seed).random(len(matrix)) < 0.5
    found = layered(matrix, dead, tie_rank).search(queries, k, eligible=eligible)
    rows, scores = exact(matrix, dead, tie_rank, queries, k, eligible)
    assert found.rows.tolist() == rows.tolist()
    assert found.scores.tolist() == scores.tolist()


@given(lives())
def test_vectors_are_taken_from_both(life):
    matrix, dead, _, _ = life
    vectors = LayeredVectors(ArrayVectors(matrix[: len(dead)]), matrix[len(dead) :])
    rows = np.arange(len(matrix))[::-1]
    assert vectors.take(rows).tolist() == matrix[::-1].tolist()
    assert np.concatenate([block for _, block in vectors.blocks(7)]).tolist() == matrix.tolist()
    assert [first for first, _ in vectors.blocks(10**9)] == [0, len(dead)][: 1 + (vectors.count > len(dead))]


def test_every_kind_of_index_is_held_to_the_recall_of_one_built_anew():
    held = {type(config).__name__ for config in KINDS.values()}
    known = {kind.__name__ for kind in IndexConfig.__subclasses__()}  # classes with slots are there twice
    assert held == known - {AutoConfig.__name__}, "a new kind belongs into KINDS"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gone", ["a tenth", "half", "the nearest 300"])
def test_recall_is_not_lower_than_that_of_an_index_built_anew(kind, gone):
    rng = np.random.default_rng(3)
    matrix, queries, k, n = unit_rows(3300, 24, rng), unit_rows(40, 24, rng), 50, 3000
    tie_rank = rng.permutation(len(matrix))
    dead = rng.random(n) < {"a tenth": 0.1, "half": 0.5}.get(gone, 0.0)
    if gone == "the nearest 300":
        dead[np.argsort(matrix[:n] @ queries[0])[-300:]] = True
    there = np.flatnonzero(~np.concatenate((dead, np.zeros(300, dtype=np.bool_))))
    vectors, ties = ArrayVectors(matrix[there]), tie_rank[there]
    truth = ExactIndex(vectors, tie_rank=ties).search(queries, k)
    fresh = build_index(KINDS[kind], vectors, tie_rank=ties, threads=1).search(queries, k)
    found = layered(matrix, dead, tie_rank, KINDS[kind]).search(queries, k)
    slack = 0.005  # two graphs of the same quality differ by some rows of 2,000
    assert recall_at(k, found, truth) >= recall_at(k, fresh, truth) - slack
    assert not dead[found.rows[found.rows < n]].any()
    assert (found.rows >= 0).all()


def test_parts_that_do_not_fit_are_refused():
    base = ExactIndex(ArrayVectors(np.eye(3, dtype=np.float32)))
    nothing = np.empty((0, 3), dtype=np.float32)
    with pytest.raises(ValueError, match=r"expected dead as bool \[3\], got \[2\]"):
        LayeredIndex(base, np.zeros(2, dtype=np.bool_), nothing, tie_rank=np.arange(3))
    with pytest.raises(ValueError, match=r"expected tie_rank as int64 \[3\]"):
        LayeredIndex(base, np.zeros(3, dtype=np.bool_), nothing, tie_rank=np.arange(4))
