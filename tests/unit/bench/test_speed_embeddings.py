"""The vectors that graphs are measured on: real ones, and others made from them by the stated recipe."""

import numpy as np
import pytest

from tools.bench.speed.jobs import _embeddings
from tools.bench.speed.records import Options

REAL = np.random.default_rng(0).standard_normal((400, 16)).astype(np.float32)
REAL /= np.linalg.norm(REAL, axis=1, keepdims=True)
TEXTS = [f"query {number}" for number in range(100)]


@pytest.fixture(autouse=True)
def _no_encoder(monkeypatch):
    parts = {"homedepot": REAL[:250], "icecat": np.concatenate([REAL[250:], REAL[:5]])}  # five stand in both
    monkeypatch.setattr(_embeddings, "_kept", lambda options, name: (parts[name], REAL[:100], TEXTS))


def held(rows):
    return {row.tobytes() for row in rows}


def test_real_vectors_come_first_and_each_once():
    assert held(_embeddings.catalogue(Options(), 400).vectors) == held(REAL)
    few = _embeddings.catalogue(Options(), 100).vectors
    assert len(held(few)) == 100
    assert held(few) < held(REAL)


def test_missing_ones_are_made_of_unit_length_near_a_real_one_and_no_two_alike():
    embedded = _embeddings.catalogue(Options(), 1_000)
    assert embedded.facts["real"] == 400
    assert len(held(embedded.vectors)) == 1_000
    assert held(REAL) < held(embedded.vectors)
    assert np.linalg.norm(embedded.vectors, axis=1) == pytest.approx(1, abs=1e-5)
    made = np.array([row for row in embedded.vectors if row.tobytes() not in held(REAL)])
    drawn = np.random.default_rng(1).standard_normal(made.shape)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    assert np.median((made @ REAL.T).max(axis=1)) > np.median((drawn @ REAL.T).max(axis=1))


def test_the_same_seed_gives_the_same_vectors_and_another_seed_others():
    first, again, other = (_embeddings.catalogue(Options(seed=seed), 500) for seed in (7, 7, 8))
    assert np.array_equal(first.vectors, again.vectors)
    assert np.array_equal(first.tuning, again.tuning)
    assert not np.array_equal(first.vectors, other.vectors)


def test_operating_points_are_never_chosen_on_queries_that_are_scored():
    embedded = _embeddings.catalogue(Options(), 400)
    assert len(embedded.tuning) + len(embedded.scoring) == 100
    assert not held(embedded.tuning) & held(embedded.scoring)
    assert 0 < len(embedded.scoring) < 30
