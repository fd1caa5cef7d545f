"""`Refiner.quick`: what it answers by itself, and what it leaves to be settled."""

import numpy as np
import pytest

from indexing import ArrayVectors
from indexing.distinct import DistinctRows
from indexing.refine import Refiner
from indexing.scores import score_rows

K = 3


@pytest.fixture
def world():
    rows = np.random.default_rng(0).standard_normal((20, 16)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def refiner(vectors, *, in_place, is_exact=False, numbers=None):
    numbers = np.arange(len(vectors)) if numbers is None else numbers
    matrix = vectors[np.unique(numbers, return_index=True)[1]] if in_place else None
    return Refiner(ArrayVectors(vectors), DistinctRows.of(numbers, tie_rank=None), None, is_exact, matrix)


def ask(refiner, queries, numbers, proposed=None):
    proposed = np.full(numbers.shape, -9, np.float32) if proposed is None else proposed
    return refiner.quick(queries, proposed, numbers, k=K, length=float(np.linalg.norm(queries)))


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("in_place", [True, False])
def test_vectors_and_scores_that_differ_leave_nothing_to_settle(world, in_place, count):
    numbers = np.stack([np.random.default_rng(place).permutation(20)[:7] for place in range(count)])
    found, left = ask(refiner(world, in_place=in_place), world[:count], numbers)
    assert list(left) == []
    for query, own, rows, scores in zip(world, numbers, found.rows, found.scores, strict=False):
        expected = own[np.argsort(-score_rows(query, world[own]))[:K]]
        assert np.array_equal(rows, expected)
        assert np.array_equal(scores, score_rows(query, world[expected]))


@pytest.mark.parametrize("in_place", [True, False])
def test_a_query_whose_proposals_ended_early_is_left_empty(world, in_place):
    numbers = np.array([[0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, -1]])
    found, left = ask(refiner(world, in_place=in_place), world[:2], numbers)
    assert list(left) == [1]
    assert found.rows[1].tolist() == [-1] * K
    assert np.isneginf(found.scores[1]).all()
    assert (found.rows[0] >= 0).all()


def test_as_many_proposals_as_rows_wanted_show_no_cut(world):
    found, left = ask(refiner(world, in_place=True), world[:2], np.array([[0, 1, 2], [3, 4, 5]]))
    assert list(left) == [0, 1]
    assert (found.rows == -1).all()


@pytest.mark.parametrize("in_place", [True, False])
def test_equal_scores_and_vectors_of_several_rows_are_left(world, in_place):
    world[7] = world[3]  # as two numbers, which score the same
    numbers = np.array([[3, 7, 1, 2, 4]])
    assert list(ask(refiner(world, in_place=in_place), world[3:4], numbers)[1]) == [0]
    shared = np.concatenate((np.arange(7), [3], np.arange(7, 19)))  # as one number of two rows
    assert list(ask(refiner(world, in_place=in_place, numbers=shared), world[3:4], np.array([[3, 0, 1, 2, 4]]))[1]) == [
        0
    ]


def test_a_last_proposal_near_the_cut_is_left_where_its_score_says_so(world):
    own = score_rows(world[0], world[:6])
    order = np.argsort(-own)
    numbers, proposed = order[np.newaxis], own[order][np.newaxis].copy()
    exact = refiner(world, in_place=True, is_exact=True)
    assert list(ask(exact, world[:1], numbers, proposed)[1]) == []
    proposed[0, -1] = proposed[0, K - 1] - 1e-6
    assert list(ask(exact, world[:1], numbers, proposed)[1]) == [0]
    assert list(ask(refiner(world, in_place=True), world[:1], numbers, proposed)[1]) == []
